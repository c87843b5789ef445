//! Commands over SSH: input, output, exit codes, and people who leave.
use crate::town::{Town, run, until};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

const AT: &str = "paas@127.0.0.1";

#[tokio::test(flavor = "multi_thread")]
async fn a_command_gets_its_words_and_gives_its_exit_code() {
    let town = Town::start().await;
    let done = run(&mut town.ssh("laptop", &[AT, "whoami 'two words' $HOME"])).await.succeeds();
    assert_eq!(done.out, "laptop\n");
    assert_eq!(town.runner.ran.lock().unwrap()[0], ["whoami", "two words", "$HOME"]);
    let done = run(&mut town.ssh("laptop", &[AT, "nonsense"])).await;
    assert_eq!((done.code, done.err.as_str()), (Some(2), "paas: no such command: nonsense\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn long_input_is_read_to_its_end() {
    let town = Town::start().await;
    let mut ssh = town.ssh("laptop", &[AT, "count"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = ssh.stdin.take().unwrap();
    let chunk = vec![b'x'; 1 << 20];
    for _ in 0..30 {
        input.write_all(&chunk).await.unwrap();
    }
    drop(input);
    let output = ssh.wait_with_output().await.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), (30 << 20).to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn long_output_waits_for_its_reader() {
    let town = Town::start().await;
    let mut ssh = town.ssh("laptop", &[AT, "flood"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = ssh.stdout.take().unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let mut bytes = 0;
    let mut chunk = vec![0; 1 << 16];
    loop {
        match output.read(&mut chunk).await.unwrap() {
            0 => break,
            read => bytes += read,
        }
    }
    assert_eq!(bytes, 64 << 20);
    assert_eq!(ssh.wait().await.unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_hears_that_its_user_has_left() {
    let town = Town::start().await;
    let mut ssh = town.ssh("laptop", &[AT, "follow"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(ssh.stdout.take().unwrap()).lines();
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("following"));
    assert!(!town.runner.was_left.is_cancelled());
    ssh.kill().await.unwrap();
    until("the news", async || town.runner.was_left.is_cancelled()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_commands_share_a_connection() {
    let town = Town::start().await;
    let socket = town.dir.path().join("control");
    let socket = format!("ControlPath={}", socket.display());
    let mut master = town.ssh("laptop", &["-o", &socket, "-o", "ControlMaster=yes", "-N", AT]).spawn().unwrap();
    until("the master", async || town.dir.path().join("control").exists()).await;
    for _ in 0..15 {
        run(&mut town.ssh("laptop", &["-o", &socket, AT, "whoami"])).await.succeeds().says("laptop");
    }
    master.kill().await.unwrap();
}
