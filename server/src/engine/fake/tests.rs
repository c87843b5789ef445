//! The fake engine keeps the promises of the real one that the scheduler's tests lean on.
use super::*;
use crate::clock::SystemClock;
use crate::domain::instance::Slot;
use crate::domain::{Protocol, ReleaseNo};
use std::collections::BTreeMap;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const GRACE: Duration = Duration::from_secs(5);
const PORT: u16 = 5000;

fn engine() -> FakeEngine {
    FakeEngine::new(SystemClock::shared())
}

fn spec(image: &str) -> InstanceSpec {
    InstanceSpec {
        app: AppId(1),
        app_key: AppKey::new("k"),
        release: ReleaseNo(3),
        slot: Slot { process: "web".parse().unwrap(), index: 1 },
        epoch: 0,
        protocol: Protocol::Http1,
        image: ImageId::new(image),
        starter: None,
        shell_command: None,
        env: BTreeMap::from([("PORT".to_owned(), PORT.to_string())]),
        network: NetworkId("n".to_owned()),
        memory_bytes: 1,
        mounts: Vec::new(),
        cpu_millis: None,
    }
}

async fn get(address: IpAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((address, PORT)).await?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    if answer.is_empty() { Err(std::io::ErrorKind::UnexpectedEof.into()) } else { Ok(answer) }
}

/// Waits until the instance answers.
async fn answer(address: IpAddr) -> String {
    for _attempt in 0..500 {
        if let Ok(answer) = get(address, "/").await {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{address} does not answer");
}

async fn state(engine: &FakeEngine, id: &ContainerId) -> Option<ObservedState> {
    engine.instances(None).await.unwrap().into_iter().find(|one| one.id == *id).map(|one| one.state)
}

#[tokio::test]
async fn instances_answer_side_by_side_on_one_port() {
    let engine = engine();
    let (_, first) = engine.start(&spec("ok")).await.unwrap();
    let (_, sick) = engine.start(&spec("sick")).await.unwrap();
    let (_, slow) = engine.start(&spec("slow:100")).await.unwrap();
    assert!(get(slow, "/").await.is_err());
    assert!(answer(first).await.ends_with("v3/web.1"));
    assert!(answer(sick).await.starts_with("HTTP/1.1 500"));
    assert!(answer(slow).await.starts_with("HTTP/1.1 200"));
    assert_eq!(engine.starts(), 3);
}

#[tokio::test]
async fn a_stop_lets_requests_under_way_finish_and_takes_no_new_ones() {
    let engine = engine();
    let (id, address) = engine.start(&spec("ok")).await.unwrap();
    answer(address).await;
    let under_way = get(address, "/sleep/300");
    let stop = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let stop = engine.stop(&id, GRACE);
        let late = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            get(address, "/").await
        };
        tokio::join!(stop, late)
    };
    let (finished, (stopped, late)) = tokio::join!(under_way, stop);
    assert!(finished.unwrap().ends_with("v3/web.1"));
    stopped.unwrap();
    late.unwrap_err();
    assert_eq!((state(&engine, &id).await, engine.stops()), (None, 1));
    engine.stop(&id, GRACE).await.unwrap();
    assert_eq!(engine.stops(), 1);
}

#[tokio::test]
async fn requests_that_outlast_the_grace_are_cut() {
    let engine = engine();
    let (id, address) = engine.start(&spec("ok")).await.unwrap();
    answer(address).await;
    let stop = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        engine.stop(&id, Duration::from_millis(50)).await.unwrap();
    };
    let (cut, ()) = tokio::join!(get(address, "/sleep/10000"), stop);
    cut.unwrap_err();
}

#[tokio::test]
async fn a_crash_is_seen_with_its_exit_and_its_words() {
    let engine = engine();
    let (id, address) = engine.start(&spec("crash")).await.unwrap();
    assert_eq!(address, NO_ADDRESS);
    let seen = state(&engine, &id).await.unwrap();
    assert!(matches!(seen, ObservedState::Exited { exit: Exit::Status(1), .. }));
    assert_eq!(engine.last_lines(&id, 5).await.unwrap().len(), 1);

    let (id, address) = engine.start(&spec("dies:50")).await.unwrap();
    answer(address).await;
    let (to, mut from) = mpsc::channel(10);
    engine.follow_logs(&id, None, to).await.unwrap();
    assert!(from.recv().await.unwrap().text.starts_with("listening on"));
    assert!(matches!(state(&engine, &id).await.unwrap(), ObservedState::Exited { .. }));
    assert!(matches!(engine.start(&spec("missing")).await, Err(EngineError::Missing("image"))));
}

#[tokio::test]
async fn events_tell_of_ends_and_of_removals_behind_our_back() {
    let engine = engine();
    let (to, mut from) = mpsc::channel::<EngineEvent>(10);
    let life = async {
        tokio::task::yield_now().await;
        let (killed, _) = engine.start(&spec("ok")).await.unwrap();
        engine.kill(&killed);
        assert!(matches!(
            state(&engine, &killed).await.unwrap(),
            ObservedState::Exited { exit: Exit::Status(137), .. }
        ));
        engine.vanish(&killed);
        assert_eq!(state(&engine, &killed).await, None);
        let mut kinds = Vec::new();
        while kinds.len() < 3 {
            kinds.push(from.recv().await.unwrap().kind);
        }
        assert_eq!(kinds, [EventKind::Started, EventKind::Died, EventKind::Removed]);
        engine.set_reachable(false);
    };
    let (streamed, ()) = tokio::join!(engine.events(to), life);
    streamed.unwrap();
}

#[tokio::test]
async fn an_engine_taken_away_is_unreachable_while_its_instances_serve_on() {
    let engine = engine();
    let (id, address) = engine.start(&spec("ok")).await.unwrap();
    answer(address).await;
    engine.set_reachable(false);
    assert!(matches!(engine.instances(None).await, Err(EngineError::Unreachable(_))));
    assert!(matches!(engine.stop(&id, GRACE).await, Err(EngineError::Unreachable(_))));
    answer(address).await;
    engine.set_reachable(true);
    assert_eq!(engine.instances(None).await.unwrap().len(), 1);
}

#[tokio::test]
async fn builds_do_as_they_were_told() {
    let engine = engine();
    engine.set_next_build(Err(("RUN x".to_owned(), "no".to_owned())));
    let build = async |reference: &str| {
        let spec = BuildSpec {
            reference: reference.to_owned(),
            dockerfile: "Dockerfile".to_owned(),
            target: None,
            args: BTreeMap::new(),
            labels: BTreeMap::new(),
            cache: crate::engine::StepCache::Used,
            context: mpsc::channel(1).1,
        };
        engine.build(spec, mpsc::channel(9).0, CancellationToken::new()).await
    };
    assert!(matches!(build("a:1").await, Err(BuildError::Step { .. })));
    assert_eq!(build("a:2").await.unwrap(), ImageId::new("ok"));
    assert_eq!(engine.image("a:2").await.unwrap().unwrap().references, ["a:2"]);
    engine.remove_image("a:2").await.unwrap();
    assert_eq!(engine.image("a:2").await.unwrap(), None);
}
