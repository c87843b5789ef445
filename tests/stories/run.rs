//! `paas run` and `paas exec`, over the socket and over SSH, with and without a terminal; and `paas` in a checkout.
use crate::harness::{Outcome, Town, eventually};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

/// The one-off instances that `ps` lists.
fn one_offs(town: &Town) -> Vec<String> {
    let listed = town.paas(&["ps", "-a", "blog", "--json"]).json();
    let names = listed.as_array().expect("a list").iter().filter_map(|one| one["instance"].as_str());
    names.filter(|name| name.starts_with("run.")).map(str::to_owned).collect()
}

/// A command on a terminal of 101 columns and 33 rows, which is said to be as it was before.
fn on_a_terminal(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let quoted: Vec<String> =
        words.map(|word| format!("'{}'", word.to_string_lossy().replace('\'', "'\\''"))).collect();
    let line =
        format!("stty rows 33 cols 101; {}; echo code=$?; stty -a | tr ' ;' '\\n\\n' | grep icanon", quoted.join(" "));
    let mut script = Command::new("script");
    script.args(["-qec", &line, "/dev/null"]).env("TERM", "xterm").stdin(Stdio::null());
    String::from_utf8_lossy(&script.output().expect("start script").stdout).into_owned()
}

#[test]
fn a_run_passes_everything_through_and_leaves_nothing() {
    let town = Town::start();
    town.paas(&["apps:create", "blog"]).succeeds();
    town.paas(&["run", "-a", "blog", "ls"]).fails_with(1, "no live release");
    town.push("web-worker", "blog").succeeds();

    let done = town.paas_with_input(&["run", "-a", "blog", "cat; echo no >&2; exit 7"], b"hello");
    assert_eq!((done.code, done.stdout.as_str(), done.stderr.as_str()), (Some(7), "hello", "no\n"));
    let done = town.ssh("run -a blog -e A='x  y' -- sh -c 'echo \"$A\" \"$PAAS_APP\"; echo no >&2; exit 8'");
    assert_eq!((done.code, done.stdout.as_str(), done.stderr.as_str()), (Some(8), "x  y blog\n", "no\n"));
    town.paas(&["run", "-a", "blog", "echo", "$HOME", "a  b"]).succeeds().says("$HOME a  b\n");
    town.paas(&["run", "-a", "blog", "no-such-program"]).fails_with(127, "no-such-program");
    town.paas(&["run", "-a", "blog", "-e", "PORT", "ls"]).fails_with(2, "NAME=VALUE");
    let hungry = "my $x = chr(120) x 900_000_000; sleep 60";
    town.paas(&["run", "-a", "blog", "perl", "-e", hungry]).fails_with(137, "used all of its memory, 512 MiB");

    // As much as no pipe, window or queue on the way holds, both ways at once.
    let blob: Vec<u8> = (0..=255_u8).cycle().take(12 << 20).collect();
    let mut command = town.ssh_command("key", &[], "run -a blog cat");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("start ssh");
    let mut input = child.stdin.take().expect("it is piped");
    let sent = blob.clone();
    let feeding = std::thread::spawn(move || std::io::Write::write_all(&mut input, &sent));
    let output = child.wait_with_output().expect("wait for ssh");
    feeding.join().expect("it does not panic").expect("all is taken");
    assert!(output.stdout == blob, "{} bytes of {} came back", output.stdout.len(), blob.len());

    eventually("nothing is left", SOON, || one_offs(&town).is_empty());
    town.doctor_is_clean();
}

#[test]
fn programs_get_terminals_and_other_commands_do_not() {
    let town = Town::start();
    town.push("hello-shell", "blog").succeeds();
    let line = "sleep 0.5; tty; stty size; echo $TERM; exit 4";
    let over_ssh = town.ssh_command("key", &["-tt"], &format!("run -a blog '{line}'"));
    for command in [town.paas_command(&["run", "-a", "blog", line]), over_ssh] {
        let shown = on_a_terminal(&command);
        for expected in ["/dev/pts/", "33 101\r\n", "xterm\r\n", "code=4", "\nicanon"] {
            assert!(shown.contains(expected), "{expected:?} should be in {shown:?}");
        }
    }
    let inside = town.paas_command(&["exec", "-a", "blog", "web.1", "sleep 0.5; stty size; exit 5"]);
    let shown = on_a_terminal(&inside);
    assert!(shown.contains("33 101\r\n") && shown.contains("code=5"), "{shown:?}");
    // Not a program's: shown as ever, and nothing was made for it.
    let shown = on_a_terminal(&town.ssh_command("key", &["-tt"], "ps -a blog"));
    assert!(shown.contains("web.1") && shown.contains("code=0"), "{shown:?}");
    let clone = town.ssh_as("key", &["-tt"], "git-upload-pack blog");
    assert!(clone.stdout.ends_with(" refs/heads/main\n0000"), "git's bytes are left alone: {clone:?}");
    // Without one at this end, none is given.
    town.paas(&["run", "-a", "blog", "tty"]).says("not a tty");
    town.doctor_is_clean();
}

#[test]
fn a_run_ends_with_its_user_and_a_detached_one_by_itself() {
    let mut town = Town::start();
    town.push("hello-shell", "blog").succeeds();
    let begin = |command: &mut Command| {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("start");
        eventually("it runs", SOON, || one_offs(&town).len() == 1);
        child
    };
    let mut here = begin(&mut town.paas_command(&["run", "-a", "blog", "sleep", "1000"]));
    here.kill().expect("kill paas");
    here.wait().expect("wait for paas");
    eventually("it is gone with its user", SOON, || one_offs(&town).is_empty());
    let mut there = begin(&mut town.ssh_command("key", &[], "run -a blog 'trap \"\" TERM; sleep 1000 & wait; wait'"));
    there.kill().expect("kill ssh");
    there.wait().expect("wait for ssh");
    eventually("it is gone though it ignores SIGTERM", SOON, || one_offs(&town).is_empty());

    let mut inside = town.paas_command(&["exec", "-a", "blog", "web.1", "sleep", "1001"]);
    let mut inside = inside.stdin(Stdio::null()).spawn().expect("start paas");
    let sleeps = || {
        let look = "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline; done 2>/dev/null";
        town.paas(&["exec", "-a", "blog", "web.1", look]).stdout.contains("sleep 1001")
    };
    eventually("it runs inside web.1", SOON, &sleeps);
    inside.kill().expect("kill paas");
    inside.wait().expect("wait for paas");
    eventually("a command inside an instance goes too", SOON, || !sleeps());
    town.paas(&["exec", "-a", "blog", "web.9", "ls"]).fails_with(1, "no instance web.9");

    let name = town.paas(&["run", "-d", "-a", "blog", "echo begun; sleep 3; echo done"]).succeeds().stdout.clone();
    let name = name.trim();
    let stays = town.paas(&["run", "-d", "-a", "blog", "sleep", "1000"]).succeeds().stdout.clone();
    assert_eq!(one_offs(&town).len(), 2);
    // The server dies, and the next one follows what goes on.
    let lost = town.paas_command(&["run", "-a", "blog", "sleep", "1000"]).stdin(Stdio::null()).spawn();
    eventually("three run", SOON, || one_offs(&town).len() == 3);
    town.kill9();
    lost.expect("start paas").wait().expect("it ends with the server");
    town.start_again(&[]);
    eventually("what nobody waits for is removed", SOON, || one_offs(&town).len() <= 2);
    eventually("it has ended by itself", SOON, || one_offs(&town) == [stays.trim()]);
    let log = town.log_of("blog");
    for said in ["begun", "done"] {
        let line = format!("app[{name}]: {said}");
        assert_eq!(log.matches(&line).count(), 1, "{line} in\n{log}");
    }
    town.paas(&["ps:stop", stays.trim(), "-a", "blog"]).succeeds();
    town.paas(&["ps:stop", "web.1", "-a", "blog"]).fails_with(1, "ps:scale");
    eventually("the last one is stopped", SOON, || one_offs(&town).is_empty());
    town.doctor_is_clean();
}

#[test]
fn in_a_checkout_paas_goes_where_the_remote_leads() {
    let town = Town::start();
    let work = town.work("hello-shell", "blog");
    work.push().succeeds();
    // The user's own settings of ssh, in the shape of a program before it on PATH.
    let bin = town.home().join("bin");
    std::fs::create_dir(&bin).expect("make a folder");
    let script = format!("#!/bin/sh\nexec /usr/bin/ssh {} \"$@\"\n", town.ssh_options("key").join(" "));
    std::fs::write(bin.join("ssh"), script).expect("write ssh");
    std::fs::set_permissions(bin.join("ssh"), std::fs::Permissions::from_mode(0o755)).expect("make it executable");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let program = town.paas_command(&[]).get_program().to_owned();
    let laptop = |folder: &str, words: &[&str]| {
        let mut paas = Command::new(&program);
        paas.args(words).current_dir(work.path(folder)).env("PATH", &path).env_remove("PAAS_DATA_DIR");
        Outcome::new(&format!("paas {}", words.join(" ")), &paas.stdin(Stdio::null()).output().expect("start paas"))
    };
    std::fs::create_dir(work.path("below")).expect("make a folder");
    laptop("below", &["ps"]).succeeds().says("web.1");
    laptop("", &["ps", "-a", "nobody"]).fails_with(1, "nobody");
    laptop("", &["config:set", "GREETING=two  'words' $HOME"]).succeeds();
    laptop("", &["config:get", "GREETING"]).succeeds().says("two  'words' $HOME\n");
    let done = laptop("", &["run", "echo", "$GREETING", "a'b"]);
    assert_eq!((done.code, done.stdout.as_str()), (Some(0), "$GREETING a'b\n"));
    laptop("", &["run", "exit 9"]).fails_with(9, "");
    laptop("", &["apps:open"]).succeeds().says("http://blog.localhost");
    laptop("", &["ps", "-r", "staging"]).fails_with(2, "no remote named `staging`");
    work.git(&["remote", "add", "evil", "ssh://-oProxyCommand=touch%20evil/blog"]).succeeds();
    laptop("", &["ps", "-r", "evil"]).fails_with(2, "no name of a host");
    work.git(&["remote", "rename", "paas", "staging"]).succeeds();
    laptop("", &["ps", "--remote", "staging"]).succeeds().says("web.1");
    laptop("", &["ps"]).fails_with(1, "git remote add paas ssh://paas@HOST:2222/APP");
    laptop("", &["--help"]).succeeds().says("run");
}
