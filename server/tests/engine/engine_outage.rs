//! An engine that is not there, hangs, or comes back.
use crate::ground::{BASE, Ground};
use paas::domain::{AppId, ContainerId, InstallationId};
use paas::engine::{BuildError, BuildEvent, BuildSpec, DockerEngine, Engine, EngineError, StepCache};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

fn engine_at(socket: &std::path::Path) -> DockerEngine {
    let host = format!("unix://{}", socket.display());
    DockerEngine::connect(Some(&host), InstallationId::new("outage")).unwrap()
}

fn build_spec() -> BuildSpec {
    BuildSpec {
        reference: "paas-test/outage:x".to_owned(),
        dockerfile: "Dockerfile".to_owned(),
        target: None,
        args: BTreeMap::new(),
        labels: BTreeMap::new(),
        cache: StepCache::Used,
        context: mpsc::channel(1).1,
    }
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_unreachable_in_every_call() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine_at(&folder.path().join("none.sock"));
    let id = ContainerId::new("abc");
    let is_unreachable = |error: EngineError| matches!(error, EngineError::Unreachable(_));
    assert!(is_unreachable(engine.facts().await.unwrap_err()));
    assert!(is_unreachable(engine.instances(Some(AppId(1))).await.unwrap_err()));
    assert!(is_unreachable(engine.stop(&id, Duration::ZERO).await.unwrap_err()));
    assert!(is_unreachable(engine.events(mpsc::channel(1).0).await.unwrap_err()));
    assert!(is_unreachable(engine.follow_logs(&id, None, mpsc::channel(1).0).await.unwrap_err()));
    let built = engine.build(build_spec(), mpsc::channel(1).0, CancellationToken::new()).await;
    assert!(matches!(built, Err(BuildError::Engine(EngineError::Unreachable(_)))));
    let words = format!("{:#}", anyhow::Error::from(engine.facts().await.unwrap_err()));
    assert!(words.contains("none.sock"), "{words}");
}

#[tokio::test]
async fn an_engine_that_hangs_is_unreachable_too() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("hung.sock");
    // Connections are taken by the kernel and never looked at, as by a stopped process.
    let _listener = UnixListener::bind(&socket).unwrap();
    let began = Instant::now();
    let outcome = engine_at(&socket).instances(None).await;
    assert!(matches!(outcome, Err(EngineError::Unreachable(_))), "{outcome:?}");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_engine_that_comes_back_is_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("flaky.sock");
    let engine = engine_at(&socket);
    for _outage in 0..2 {
        assert!(matches!(engine.facts().await, Err(EngineError::Unreachable(_))));
        let relay = relay(UnixListener::bind(&socket).unwrap());
        let (facts, ()) = tokio::select! {
            facts = engine.facts() => (facts.unwrap(), ()),
            () = relay => unreachable!("the relay runs on"),
        };
        assert!(facts.version.starts_with("Docker "), "{facts:?}");
        assert!(!facts.storage_driver.is_empty());
        std::fs::remove_file(&socket).unwrap();
    }
}

#[tokio::test]
async fn a_build_that_loses_the_engine_says_so() {
    let ground = Ground::new().await;
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("cut.sock");
    let mark = format!("61.{}", getrandom::u32().unwrap());
    let spec = ground.build_spec("x", &format!("FROM {BASE}\nRUN echo {mark}; sleep 60\n"));
    let (to, mut from) = mpsc::channel(100);
    let cut = CancellationToken::new();
    let listener = UnixListener::bind(&socket).unwrap();
    let relay = cut.run_until_cancelled(relay(listener));
    let watch = async {
        while from.recv().await.expect("the step runs") != BuildEvent::Line(mark.clone()) {}
        cut.cancel();
    };
    let engine = engine_at(&socket);
    let (built, (), _cut) = tokio::join!(engine.build(spec, to, CancellationToken::new()), watch, relay);
    assert!(matches!(built, Err(BuildError::Engine(EngineError::Unreachable(_)))), "{built:?}");
}

/// Passes connections on to the real engine.
async fn relay(listener: UnixListener) {
    let mut connections = JoinSet::new();
    loop {
        let (mut near, _) = listener.accept().await.unwrap();
        connections.spawn(async move {
            let mut far = UnixStream::connect("/var/run/docker.sock").await.unwrap();
            tokio::io::copy_bidirectional(&mut near, &mut far).await
        });
    }
}
