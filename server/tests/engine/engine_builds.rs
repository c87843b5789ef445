//! Builds by BuildKit.
use crate::ground::{BASE, Ground, context, eventually, random_hex};
use bytes::Bytes;
use paas::engine::{BuildError, BuildEvent, Engine, EngineError, label};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

fn steps(events: &[BuildEvent]) -> Vec<(&str, bool)> {
    let steps = events.iter().filter_map(|event| match event {
        BuildEvent::Step { name, cached } => Some((name.as_str(), *cached)),
        BuildEvent::Line(_) => None,
    });
    steps.collect()
}

fn has_line(events: &[BuildEvent], text: &str) -> bool {
    events.contains(&BuildEvent::Line(text.to_owned()))
}

#[tokio::test]
async fn a_build_tells_its_steps_and_lines_and_makes_the_image() {
    let ground = Ground::new().await;
    let nonce = random_hex();
    let mut spec = ground.build_spec("b1", "");
    spec.dockerfile = "meta/Dockerfile".to_owned();
    spec.args.insert("WORD".to_owned(), "a b&c=\"d\"".to_owned());
    spec.labels.insert(label::APP.to_owned(), "7".to_owned());
    let dockerfile = format!(
        "FROM {BASE}\nARG WORD\nCOPY src /app\nRUN cat /app/hello; echo {nonce} $WORD; printf '1%%\\r2%%\\n' >&2\nEXPOSE 8080\nCMD [\"sh\"]\n"
    );
    spec.context =
        context(&[("meta/Dockerfile", dockerfile.as_bytes()), ("src/hello", format!("hello {nonce}\n").as_bytes())]);
    let (to, mut from) = mpsc::channel(100);
    let began = Instant::now();
    let id = ground.engine.build(spec, to, CancellationToken::new()).await.unwrap();
    println!("copy and run, changed: {} ms", began.elapsed().as_millis());
    let mut events = Vec::new();
    while let Some(event) = from.recv().await {
        events.push(event);
    }
    let steps = steps(&events);
    assert!(steps.contains(&("COPY src /app", false)), "{events:?}");
    assert!(steps.iter().any(|(name, _)| name.starts_with("RUN cat /app/hello;")), "{events:?}");
    assert!(!steps.iter().any(|(name, _)| name.contains("internal")), "{events:?}");
    assert!(has_line(&events, &format!("hello {nonce}")) && has_line(&events, "2%"), "{events:?}");
    assert!(has_line(&events, &format!("{nonce} a b&c=\"d\"")), "{events:?}");

    let image = ground.engine.image(&ground.reference("b1")).await.unwrap().unwrap();
    assert_eq!((image.id, image.exposed_ports, image.has_command), (id, vec![8080], true));
    assert_eq!(image.labels.get(label::APP).unwrap(), "7");
    assert_eq!(image.labels.get(label::INSTALLATION).unwrap(), ground.installation.as_str());
}

#[tokio::test]
async fn steps_that_need_not_run_again_are_told_as_cached() {
    let ground = Ground::new().await;
    let dockerfile = format!("FROM {BASE}\nRUN echo {}\n", random_hex());
    ground.build(&dockerfile).await.0.unwrap();
    let began = Instant::now();
    let (built, events) = ground.build(&dockerfile).await;
    println!("nothing changed: {} ms", began.elapsed().as_millis());
    built.unwrap();
    assert!(steps(&events).iter().any(|(name, cached)| name.starts_with("RUN echo") && *cached), "{events:?}");
}

#[tokio::test]
async fn a_failing_step_is_named_with_its_status_and_last_words() {
    let ground = Ground::new().await;
    let (built, events) =
        ground.build(&format!("FROM {BASE} AS one\nRUN echo hi; printf 'no such thing' >&2; exit 3\n")).await;
    let Err(BuildError::Step { step, reason }) = built else { panic!("{built:?}") };
    assert_eq!(step, "RUN echo hi; printf 'no such thing' >&2; exit 3");
    assert_eq!(reason, "exited with status 3: no such thing");
    assert!(has_line(&events, "hi") && has_line(&events, "no such thing"), "{events:?}");
    assert_eq!(ground.engine.image(&ground.reference("built")).await.unwrap(), None);
}

#[tokio::test]
async fn what_is_wrong_with_the_dockerfile_is_said() {
    let ground = Ground::new().await;
    let refused = async |dockerfile: &str| match ground.build(dockerfile).await.0 {
        Err(BuildError::Step { step, reason }) => (step, reason),
        other => panic!("{dockerfile}: {other:?}"),
    };
    let (step, reason) = refused(&format!("FROM {BASE}\nFOO bar\n")).await;
    assert_eq!(step, "Dockerfile");
    assert!(reason.contains("line 2") && reason.contains("unknown instruction: FOO"), "{reason}");
    let (step, reason) = refused(&format!("FROM {BASE}\nCOPY nothing-here /x\n")).await;
    assert_eq!(step, "COPY nothing-here /x");
    assert!(reason.contains("nothing-here") && reason.contains("not found"), "{reason}");
    let (step, _) = refused("FROM nope.invalid/none\n").await;
    assert_eq!(step, "FROM nope.invalid/none:latest");
    let (step, _) = refused("").await;
    assert_eq!(step, "Dockerfile");

    let mut spec = ground.build_spec("x", "FROM scratch\n");
    spec.dockerfile = "elsewhere".to_owned();
    let built = ground.engine.build(spec, mpsc::channel(1).0, CancellationToken::new()).await;
    assert!(matches!(&built, Err(BuildError::Step { step, .. }) if step == "Dockerfile"), "{built:?}");
}

#[tokio::test]
async fn a_cancelled_build_ends_inside_the_engine() {
    let ground = Ground::new().await;
    let stop = CancellationToken::new();
    let mark = unique_seconds();
    let (to, from) = mpsc::channel(100);
    let spec = ground.build_spec("x", &format!("FROM {BASE}\nRUN sleep {mark}\n"));
    let cancel = async {
        eventually("the step runs", async || runs(&mark).then_some(())).await;
        stop.cancel();
    };
    let (built, ()) = tokio::join!(ground.engine.build(spec, to, stop.clone()), cancel);
    assert!(matches!(built, Err(BuildError::Cancelled)), "{built:?}");
    ends_within_five_seconds(&mark).await;
    drop(from);
}

#[tokio::test]
async fn a_build_whose_future_is_dropped_ends_inside_the_engine() {
    let ground = Ground::new().await;
    let mark = unique_seconds();
    let spec = ground.build_spec("x", &format!("FROM {BASE}\nRUN sleep {mark}\n"));
    tokio::select! {
        built = ground.engine.build(spec, mpsc::channel(100).0, CancellationToken::new()) => panic!("{built:?}"),
        () = eventually("the step runs", async || { runs(&mark).then_some(()) }) => {}
    }
    ends_within_five_seconds(&mark).await;
}

#[tokio::test]
async fn a_slow_receiver_only_slows_the_build_down() {
    let ground = Ground::new().await;
    let dockerfile =
        format!("FROM {BASE}\nRUN echo {}; perl -e 'print qq($_\\n) for 1..20000'; exit 0\n", random_hex());
    let (to, mut from) = mpsc::channel(1);
    let build = ground.engine.build(ground.build_spec("flood", &dockerfile), to, CancellationToken::new());
    let read = async {
        let mut count = 0;
        while from.recv().await.is_some() {
            count += 1;
            if count % 500 == 0 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        count
    };
    let (outcome, count) = tokio::join!(build, read);
    outcome.unwrap();
    assert!(count >= 20_000, "{count}");
}

#[tokio::test]
async fn a_receiver_that_is_gone_does_not_matter() {
    let ground = Ground::new().await;
    let spec = ground.build_spec("alone", &format!("FROM {BASE}\nRUN echo {}\n", random_hex()));
    let (to, from) = mpsc::channel(1);
    drop(from);
    ground.engine.build(spec, to, CancellationToken::new()).await.unwrap();
}

#[tokio::test]
async fn an_answer_before_the_context_is_read_is_heard() {
    let ground = Ground::new().await;
    let mut spec = ground.build_spec("x", "");
    spec.reference = "BAD::reference".to_owned();
    let (to, from) = mpsc::channel(1);
    spec.context = from;
    let send = async { while to.send(Ok(Bytes::from(vec![0; 64 << 10]))).await.is_ok() {} };
    let build = ground.engine.build(spec, mpsc::channel(1).0, CancellationToken::new());
    let both = async { tokio::join!(build, send) };
    let (outcome, ()) = tokio::time::timeout(Duration::from_secs(20), both).await.expect("nobody waits for ever");
    let Err(BuildError::Engine(error)) = outcome else { panic!("{outcome:?}") };
    let words = format!("{:#}", anyhow::Error::from(error));
    assert!(words.contains("invalid reference format"), "{words}");
}

#[tokio::test]
async fn a_context_that_breaks_off_fails_the_build() {
    let ground = Ground::new().await;
    let mut spec = ground.build_spec("x", "");
    let (to, from) = mpsc::channel(2);
    to.try_send(Ok(Bytes::from(vec![0; 1024]))).unwrap();
    to.try_send(Err(std::io::Error::other("object 1234 is missing"))).unwrap();
    spec.context = from;
    let built = ground.engine.build(spec, mpsc::channel(1).0, CancellationToken::new()).await;
    let Err(BuildError::Engine(error @ EngineError::Other(_))) = built else { panic!("{built:?}") };
    let words = format!("{:#}", anyhow::Error::from(error));
    assert!(words.contains("object 1234 is missing"), "{words}");
}

/// A duration that no other process sleeps.
fn unique_seconds() -> String {
    format!("60.{}", getrandom::u32().unwrap())
}

/// Whether a process of this machine has the mark as its last argument.
fn runs(mark: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let mut lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    lines.any(|line| line.starts_with(b"sleep\0") && String::from_utf8_lossy(&line).contains(mark))
}

async fn ends_within_five_seconds(mark: &str) {
    let began = Instant::now();
    while runs(mark) {
        assert!(began.elapsed() < Duration::from_secs(5), "the step still runs");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("the step ended {} ms after the cancel", began.elapsed().as_millis());
}
