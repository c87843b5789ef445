//! Who gets in, and what SSH offers that we do not.
use crate::town::{Told, Town, file_names, run, until};
use std::os::unix::fs::PermissionsExt;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_key_is_refused() {
    let town = Town::start().await;
    town.make_key("stranger", "ed25519").await;
    run(&mut town.ssh("stranger", &["paas@127.0.0.1", "whoami"])).await.fails_with(&["Permission denied (publickey)"]);
    let mut checkout = town.checkout("blog").await;
    checkout.who = "stranger";
    checkout.push(&["main"]).await.fails_with(&["Permission denied (publickey)"]);
    town.has_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offering_a_known_key_without_its_private_half_gives_nothing() {
    let town = Town::start().await;
    town.make_key("stranger", "ed25519").await;
    // The agentless client offers the known public key and can sign only with its own.
    std::fs::copy(town.public_key("laptop"), town.public_key("stranger")).unwrap();
    let done = run(&mut town.ssh("stranger", &["paas@127.0.0.1", "whoami"])).await;
    done.fails_with(&["Permission denied (publickey)"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_every_usual_type_get_in_under_any_user_name() {
    let town = Town::start().await;
    for kind in ["rsa", "ecdsa"] {
        town.make_key(kind, kind).await;
        let text = std::fs::read_to_string(town.public_key(kind)).unwrap();
        let key = paas::receiver::parse_public_key(&text).unwrap();
        assert_eq!(key.comment.as_deref(), Some(kind));
        let now = paas::domain::Moment::default();
        town.store.add_key(kind, &key.fingerprint, &key.public_key, now).await.unwrap();
        let done = run(&mut town.ssh(kind, &["git@127.0.0.1", "whoami"])).await.succeeds();
        assert_eq!(done.out.trim(), kind);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn weak_rsa_keys_are_not_taken() {
    let town = Town::start().await;
    let file = town.dir.path().join("weak");
    let mut keygen = crate::town::command("ssh-keygen");
    run(keygen.args(["-q", "-t", "rsa", "-b", "1024", "-N", "", "-f", file.to_str().unwrap()])).await.succeeds();
    let text = std::fs::read_to_string(town.public_key("weak")).unwrap();
    assert_eq!(paas::receiver::parse_public_key(&text), Err(paas::receiver::KeyError::RsaTooShort(1024)));
}

#[tokio::test(flavor = "multi_thread")]
async fn removing_a_key_ends_its_sessions_and_cancels_its_push() {
    let town = Town::start().await;
    let checkout = town.checkout("blog").await;
    town.builder.will(Told::Hang);
    let mut push = checkout.command(&["push", "paas", "main"]);
    let (done, ()) = tokio::join!(run(&mut push), async {
        until("the build", async || town.builder.is_building()).await;
        town.store.remove_key("laptop").await.unwrap();
    });
    done.fails_with(&["remote: -----> Building for ever"]);
    until("the cancel", async || !town.builder.cancelled.lock().unwrap().is_empty()).await;
    run(&mut town.ssh("laptop", &["paas@127.0.0.1", "whoami"])).await.fails_with(&["Permission denied (publickey)"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_a_key_can_be_ended_by_hand() {
    let town = Town::start().await;
    let key = town.add_key("other").await;
    let mut other = town.ssh("other", &["paas@127.0.0.1", "follow"]);
    let mut laptop = town.ssh("laptop", &["paas@127.0.0.1", "follow"]).spawn().unwrap();
    let (done, ()) = tokio::join!(run(&mut other), async {
        until("both", async || town.runner.ran.lock().unwrap().len() == 2).await;
        town.receiver.end_sessions_of(key.id);
    });
    assert!(done.code != Some(0));
    assert!(laptop.try_wait().unwrap().is_none(), "another key's session ended too");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_exec_is_offered() {
    let town = Town::start().await;
    let at = "paas@127.0.0.1";
    run(&mut town.ssh("laptop", &[at])).await.fails_with(&["there is no shell here", "git push paas main"]);
    run(&mut town.ssh("laptop", &["-s", at, "sftp"])).await.fails_with(&["subsystem request failed"]);
    let forward = ["-N", "-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:22", at];
    run(&mut town.ssh("laptop", &forward)).await.fails_with(&["remote port forwarding failed"]);
    let stdio = ["-W", "127.0.0.1:22", at];
    run(&mut town.ssh("laptop", &stdio)).await.fails_with(&["stdio forwarding failed"]);
    // A terminal that is asked for is noted, and no command but `run` and `exec` takes it: there is none on the host.
    run(&mut town.ssh("laptop", &["-tt", at, "whoami"])).await.succeeds().says("laptop");
    // An agent and variables are refused; the command runs without them.
    let with_all = ["-A", "-X", "-o", "SetEnv=LD_PRELOAD=/x GIT_PROTOCOL=evil", at, "whoami"];
    run(&mut town.ssh("laptop", &with_all)).await.succeeds().says("laptop");
    for (line, text) in [
        ("git-upload-archive blog", "only pushes and clones are served"),
        ("git gc", "only pushes and clones are served"),
        ("scp -t /tmp", "no such command: scp"),
        ("rm 'x", "a quote in the command line is not closed"),
    ] {
        run(&mut town.ssh("laptop", &[at, line])).await.fails_with(&["paas: ", text]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_bounded_in_number_and_time() {
    let limits = paas::receiver::Limits {
        handshake: std::time::Duration::from_millis(1500),
        unauthenticated_per_address: 3,
        ..Default::default()
    };
    let town = Town::start_with(limits).await;
    let mut silent = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(town.receiver.local_addr()).await.unwrap();
        let mut hello = [0; 12];
        stream.read_exact(&mut hello).await.unwrap();
        assert_eq!(&hello, b"SSH-2.0-paas");
        silent.push(stream);
    }
    let mut fourth = TcpStream::connect(town.receiver.local_addr()).await.unwrap();
    let mut rest = Vec::new();
    assert_eq!(fourth.read_to_end(&mut rest).await.unwrap_or(0), 0, "a fourth stranger was greeted");
    for mut stream in silent {
        let _ = stream.read_to_end(&mut rest).await;
    }
    run(&mut town.ssh("laptop", &["paas@127.0.0.1", "whoami"])).await.succeeds();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_keeps_is_its_own() {
    let town = Town::start().await;
    let data = town.dir.path().join("data");
    let mode = |name: &str| std::fs::metadata(data.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("keys/ssh_host_ed25519"), 0o600);
    assert_eq!(mode("run/hook.sock"), 0o600);
    assert_eq!(mode("run"), 0o700);
    assert_eq!(file_names(&data.join("run/hooks")), ["pre-receive", "proc-receive"]);
    let before = town.receiver.host_key_fingerprint().to_owned();
    let town = town.restart().await;
    assert_eq!(town.receiver.host_key_fingerprint(), before);
}
