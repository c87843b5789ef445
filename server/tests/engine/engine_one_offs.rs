//! One-off instances: their streams, their end, and that plans never see them.
use crate::ground::{Ground, eventually};
use bytes::Bytes;
use futures_util::StreamExt as _;
use paas::domain::failure::Exit;
use paas::domain::{AppId, ContainerId};
use paas::engine::{
    Attachment, Engine as _, EngineError, Keep, OneOffEngine as _, OneOffSpec, Stdio, WindowSize, Written,
};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt as _;

const APP: AppId = AppId(7);

async fn spec(ground: &Ground, line: &str, stdio: Stdio) -> OneOffSpec {
    let mut instance = ground.spec(APP, line).await;
    instance.slot = "run.7".parse().unwrap();
    OneOffSpec { instance, words: None, stdio, keep: Keep::WithServer }
}

/// Makes one, attaches, starts it.
async fn started(ground: &Ground, spec: &OneOffSpec) -> (ContainerId, Attachment) {
    let id = ground.engine.create_one_off(spec).await.unwrap();
    let attachment = ground.engine.attach(&id, spec.stdio).await.unwrap();
    ground.engine.start_one_off(&id).await.unwrap();
    (id, attachment)
}

/// All that it writes until it closes its output: output and errors.
async fn read_all(attachment: &mut Attachment) -> (Vec<u8>, Vec<u8>) {
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    while let Some(written) = attachment.output.next().await {
        match written.unwrap() {
            Written::Output(bytes) => output.extend_from_slice(&bytes),
            Written::Error(bytes) => errors.extend_from_slice(&bytes),
        }
    }
    (output, errors)
}

#[tokio::test]
async fn input_output_errors_and_exit_are_passed_through_and_plans_do_not_see_it() {
    let ground = Ground::new().await;
    let (id, mut attachment) = started(&ground, &spec(&ground, "cat; echo no >&2; exit 7", Stdio::Streams).await).await;
    assert!(ground.engine.instances(None).await.unwrap().is_empty());
    assert!(ground.engine.inventory().await.unwrap().containers.contains(&(id.clone(), Some(APP))));
    let seen = ground.engine.one_offs(Some(APP)).await.unwrap();
    assert_eq!((seen.len(), seen[0].name.to_string().as_str(), seen[0].keep), (1, "run.7", Keep::WithServer));

    // More than any pipe holds, with every byte there is.
    let sent: Vec<u8> = (0..=255_u8).cycle().take(3 << 20).collect();
    let Attachment { mut input, output } = attachment;
    let bytes = sent.clone();
    let feeding = async move { input.write_all(&bytes).await.unwrap() };
    attachment = Attachment { input: Box::new(tokio::io::sink()), output };
    let ((output, errors), ()) = tokio::join!(read_all(&mut attachment), feeding);
    assert!(output == sent, "{} bytes of {} came back", output.len(), sent.len());
    assert_eq!(errors, b"no\n");
    assert_eq!(ground.engine.wait(&id).await.unwrap(), Exit::Status(7));

    ground.engine.remove(&id).await.unwrap();
    assert!(ground.engine.one_offs(None).await.unwrap().is_empty());
    assert!(matches!(ground.engine.wait(&id).await, Err(EngineError::Missing("container"))));
    assert!(matches!(ground.engine.attach(&id, Stdio::Streams).await, Err(EngineError::Missing("container"))));
}

#[tokio::test]
async fn a_reader_that_is_slow_loses_nothing() {
    let ground = Ground::new().await;
    let line = "head -c 20000000 /dev/zero | tr '\\0' x";
    let (id, mut attachment) = started(&ground, &spec(&ground, line, Stdio::Streams).await).await;
    let (mut count, mut chunks) = (0, 0);
    while let Some(written) = attachment.output.next().await {
        let Written::Output(bytes) = written.unwrap() else { panic!("nothing was complained of") };
        assert!(bytes.iter().all(|byte| *byte == b'x'));
        (count, chunks) = (count + bytes.len(), chunks + 1);
        if chunks < 20 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    assert_eq!(count, 20_000_000);
    assert_eq!(ground.engine.wait(&id).await.unwrap(), Exit::Status(0));
}

#[tokio::test]
async fn a_terminal_has_a_size_and_hangs_up() {
    let ground = Ground::new().await;
    let line =
        "read x; stty size; printf '\\001\\002\\n'; trap 'echo hung up; exit 5' HUP; while :; do sleep 0.05; done";
    let (id, mut attachment) = started(&ground, &spec(&ground, line, Stdio::Terminal).await).await;
    ground.engine.resize(&id, WindowSize { columns: 123, rows: 45 }).await.unwrap();
    attachment.input.write_all(b"go\n").await.unwrap();
    let mut all = Vec::new();
    while !all.ends_with(b"\x01\x02\r\n") {
        let Written::Output(bytes) = attachment.output.next().await.unwrap().unwrap() else {
            panic!("a terminal has one output")
        };
        all.extend_from_slice(&bytes);
    }
    assert!(String::from_utf8_lossy(&all).contains("45 123\r\n"), "{}", String::from_utf8_lossy(&all));
    let stop = ground.engine.stop(&id, Duration::from_secs(10));
    let ((), (rest, _)) = tokio::join!(async { stop.await.unwrap() }, read_all(&mut attachment));
    assert_eq!(rest, b"hung up\r\n");
}

#[tokio::test]
async fn words_are_no_shell_line_and_what_is_not_there_is_said_to_be() {
    let ground = Ground::new().await;
    let words = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
    let echo = OneOffSpec { words: words(&["echo", "$HOME", "a  b"]), ..spec(&ground, "", Stdio::Streams).await };
    let (id, mut attachment) = started(&ground, &echo).await;
    assert_eq!(read_all(&mut attachment).await.0, b"$HOME a  b\n");
    assert_eq!(ground.engine.wait(&id).await.unwrap(), Exit::Status(0));
    let nothing = OneOffSpec { words: words(&["no-such-program"]), ..spec(&ground, "", Stdio::Streams).await };
    let (id, mut attachment) = started(&ground, &nothing).await;
    let errors = read_all(&mut attachment).await.1;
    assert!(Bytes::from(errors).windows(15).any(|window| window == b"no-such-program"));
    assert_eq!(ground.engine.wait(&id).await.unwrap(), Exit::Status(127));
}

#[tokio::test]
async fn one_that_nobody_attaches_to_leaves_a_log_and_memory_has_its_limit() {
    let ground = Ground::new().await;
    let mut logged = spec(
        &ground,
        "echo one; echo two >&2; exec perl -e \"my \\$x = chr(120) x 200_000_000; sleep 60\"",
        Stdio::Logged,
    )
    .await;
    logged.keep = Keep::Always;
    let id = ground.engine.create_one_off(&logged).await.unwrap();
    ground.engine.start_one_off(&id).await.unwrap();
    let began = Instant::now();
    assert_eq!(ground.engine.wait(&id).await.unwrap(), Exit::OutOfMemory);
    assert!(began.elapsed() < Duration::from_secs(30));
    assert_eq!(ground.engine.one_offs(None).await.unwrap()[0].keep, Keep::Always);
    eventually("both lines are logged", async || {
        let lines = ground.engine.last_lines(&id, 5).await.unwrap();
        let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
        (texts.contains(&"one") && texts.contains(&"two")).then_some(())
    })
    .await;
}
