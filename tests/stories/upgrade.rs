//! The server replaced by another version of itself while everything goes on.
mod deaths;

use super::https::{Authority, url};
use super::traffic::{self, Tally};
use crate::harness::{Town, eventually};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(20);

/// Puts another version in place, which must go well; how long the command took.
fn upgrade(town: &Town, name: &str) -> Duration {
    let (before, file, begun) = (town.in_charge(), town.another_version(name), Instant::now());
    town.upgrade(&file).succeeds().says("serves, as process");
    let took = begun.elapsed();
    assert_ne!(town.in_charge(), before);
    assert!(town.runs_what_is_installed());
    took
}

/// Lets visitors of every kind come while something is done; none of their requests may fail.
fn while_visited<T>(town: &Town, act: impl FnOnce() -> T) -> T {
    type Visitor = fn(&Town, &AtomicBool) -> Tally;
    let kinds: [(&str, Visitor, usize); 5] = [
        ("fresh", traffic::fresh, 2),
        ("reconnecting", traffic::reconnecting, 2),
        ("slow", traffic::slow, 3),
        ("upload", traffic::uploads, 1),
        ("slow upload", traffic::slow_uploads, 1),
    ];
    let stop = AtomicBool::new(false);
    let (done, tallies) = std::thread::scope(|scope| {
        let visitors: Vec<_> = kinds
            .into_iter()
            .flat_map(|(name, visit, count)| std::iter::repeat_n((name, visit), count))
            .map(|(name, visit)| {
                let stop = &stop;
                (name, scope.spawn(move || visit(town, stop)))
            })
            .collect();
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
        stop.store(true, Ordering::SeqCst);
        let mut tallies: BTreeMap<&str, Tally> = BTreeMap::new();
        for (name, visitor) in visitors {
            tallies.entry(name).or_default().add(visitor.join().expect("a visitor does not panic"));
        }
        (done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)), tallies)
    });
    eprintln!("{tallies:#?}");
    for (name, tally) in &tallies {
        assert!(tally.failed.is_empty(), "{name}: {} of {} failed: {:?}", tally.failed.len(), tally.done, tally.failed);
        assert!(tally.done >= 1, "{name}: none was done");
    }
    done
}

#[test]
fn upgrades_under_mixed_load_fail_no_request_and_cut_no_stream() {
    let upgrades = if std::env::var_os("PAAS_LONG").is_some() { 20 } else { 3 };
    let town = Town::start_installed(&[]);
    town.push("echo", "blog").succeeds();
    let instance = town.get("blog", "/pid").text().trim().to_owned();
    std::thread::scope(|scope| {
        let events = scope.spawn(|| traffic::events_until_cut(&town));
        let socket = scope.spawn(|| traffic::websocket_until_cut(&town));
        let took: Vec<Duration> = while_visited(&town, || {
            (0..upgrades)
                .map(|no| {
                    // What ends in the old ones ends before there are too many of them.
                    eventually("earlier servers finish", SOON * 3, || town.servers().len() < 6);
                    upgrade(&town, &format!("version-{no}"))
                })
                .collect()
        });
        eprintln!("{upgrades} upgrades took {took:?}");
        assert!(!events.is_finished() && !socket.is_finished(), "a stream was cut");
        eventually("only the server with the streams is left of the earlier ones", SOON * 2, || {
            town.servers().len() == 2
        });
        town.end_earlier_servers();
        let (events, socket) = (events.join().expect("no panic"), socket.join().expect("no panic"));
        for stream in [&events, &socket] {
            assert!(stream.in_order && stream.instance == instance, "{stream:?}");
        }
    });
    assert_eq!(town.get("blog", "/pid").text().trim(), instance, "no instance was touched");
    town.doctor_is_clean();
}

#[test]
fn an_instance_is_not_stopped_while_the_server_before_still_sends_to_it() {
    let town = Town::start_installed(&[]);
    let work = town.work("echo", "blog");
    work.push().succeeds();
    let mut visitor = town.connect("blog").expect("connect");
    visitor.send("GET", "/slow?ms=15000", &[], b"").expect("send a slow request");
    upgrade(&town, "version-2");
    work.set_version("echo v2").push().succeeds();
    town.shows("blog", "echo v2");
    assert!(!town.log_of("blog").contains("SIGTERM"), "SIGTERM came before the request of the server before was over");
    let answer = visitor.answer().expect("the answer comes whole");
    assert_eq!((answer.status, answer.text().trim()), (200, "echo v1"));
    eventually("then SIGTERM comes", SOON, || town.log_of("blog").contains("app[web.1]: SIGTERM: finishing"));
    let log = town.log_of("blog");
    let lines = log.lines().filter(|line| line.contains("path=\"/slow?ms=15000\"")).count();
    assert_eq!(lines, 1, "the router's line of a request that ended in the server before is in the log: {log}");
    town.doctor_is_clean();
}

#[test]
fn visitors_by_http_2_lose_nothing_and_come_to_the_new_server() {
    let town = Town::start_installed(&[]);
    let ca = Authority::new(town.home());
    town.push("echo", "blog").succeeds();
    town.paas_with_input(&["certs:add", "blog.localhost"], ca.bundle("blog.localhost").as_bytes()).succeeds();
    let address = |path: &str| url(&town, "blog.localhost", path);
    let (slow, many) = (address("/slow?ms=8000"), address("/?[1-400]"));
    let told = "%{http_code} %{http_version} %{num_connects}\n";
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| ca.visit(&["--http2", "-w", told, &slow]));
        // One after the other, by a connection that is kept as long as the server keeps it.
        let many = scope.spawn(|| ca.visit(&["--http2", "--rate", "40/s", "-o", "/dev/null", "-w", told, &many]));
        eventually("they visit", SOON, || town.log_of("blog").contains("path=\"/?20\""));
        upgrade(&town, "version-2");
        ca.visit(&["--http2", &address("/pid")]).succeeds();
        slow.join().expect("no panic").succeeds().says("echo v1").says("200 2 1");
        let many = many.join().expect("no panic");
        let lines: Vec<&str> = many.succeeds().stdout.lines().collect();
        assert_eq!(lines.len(), 400, "{many:?}");
        assert!(lines.iter().all(|line| line.starts_with("200 2 ")), "{many:?}");
        let connections = lines.iter().filter(|line| line.ends_with(" 1")).count();
        assert!(connections >= 2, "the old server sent them on with GOAWAY");
    });
    eventually("the server before has ended", SOON, || town.servers().len() == 1);
    town.doctor_is_clean();
}

#[test]
fn sessions_go_on_over_an_upgrade() {
    let town = Town::start_installed(&[]);
    town.push("echo", "blog").succeeds();
    let mut following = town.ssh_command("key", &[], "logs -f -a blog -s router");
    let mut following = following.stdout(Stdio::piped()).spawn().expect("start ssh");
    let mut lines = BufReader::new(following.stdout.take().expect("it is piped")).lines();
    let mut reads = |path: &str| {
        town.get("blog", path);
        let said = lines.by_ref().map_while(Result::ok).find(|line| line.contains(path));
        assert!(said.is_some(), "the log ended before a line of {path}");
    };
    reads("/before");
    let running = town.ssh_command("key", &[], "run -a blog -- sh -c 'echo begun; sleep 8; echo ended; exit 7'");
    let town_ = &town;
    std::thread::scope(|scope| {
        let running = scope.spawn(move || crate::harness::run(running, "run", b""));
        eventually("the program runs", SOON, || !town_.engine.instances(&["paas.job"]).is_empty());
        upgrade(town_, "version-2");
        reads("/after");
        let ran = running.join().expect("no panic");
        assert_eq!(ran.code, Some(7), "{ran:?}");
        ran.says("begun").says("ended");
    });
    reads("/much-later");
    following.kill().expect("end ssh");
    following.wait().expect("wait for ssh");
    eventually("the server before has ended", SOON, || town.servers().len() == 1);
    town.doctor_is_clean();
}

#[test]
fn a_push_under_way_is_waited_for_and_ends_as_it_should() {
    let town = Town::start_installed(&[]);
    let work = town.work("hello-docker", "blog");
    work.push().succeeds();
    let dockerfile = std::fs::read_to_string(work.path("Dockerfile")).expect("read a file");
    let (base, rest) = dockerfile.split_once("FROM debian:trixie-slim\n").expect("its base is known");
    work.write("Dockerfile", &format!("{base}FROM debian:trixie-slim\nRUN echo slowly && sleep 6\n{rest}"));
    work.set_version("second");
    let push = work.begin_push();
    push.wait_for("slowly");
    let file = town.another_version("version-2");
    std::thread::scope(|scope| {
        let upgrading = scope.spawn(|| town.upgrade(&file));
        // Who comes meanwhile waits for the new version.
        let listed = town.ssh("apps");
        listed.succeeds().says("blog");
        let upgraded = upgrading.join().expect("no panic");
        upgraded.succeeds().says("waiting for the push to blog");
    });
    push.finish_within(SOON).succeeds();
    town.shows("blog", "second");
    assert_eq!(work.remote_head("main"), Some(work.head()));
    work.set_version("third").push().succeeds();
    town.shows("blog", "third");
    town.doctor_is_clean();
}

#[test]
fn a_file_that_may_not_take_over_is_refused_before_anything_happens() {
    let town = Town::start_installed(&[]);
    let (before, program) = (town.in_charge(), std::fs::read(town.installed()).expect("read the program"));
    let file = |name: &str, bytes: &[u8]| {
        let path = town.home().join(name);
        std::fs::write(&path, bytes).expect("write a file");
        path
    };
    let mut foreign = program.clone();
    foreign[18] ^= 0xff;
    let hangs = "#!/bin/sh\nsleep 1000 # and what else a script may say, so that it is not too short\n";
    for (file, reason) in [
        (file("script", hangs.as_bytes()), "it is no program"),
        (file("half", &program[..program.len() / 2]), "it is cut off"),
        (file("foreign", &foreign), "it is for another kind of machine"),
        (std::fs::canonicalize("/bin/cat").expect("find cat"), "and not paas"),
        (town.home().join("nowhere"), "No such file"),
    ] {
        town.upgrade(&file).fails_with(1, reason);
    }
    town.ssh("server:upgrade /tmp/x").fails_with(1, "only root may do this");
    assert_eq!(town.in_charge(), before);
    assert!(town.runs_what_is_installed());
    assert_eq!(std::fs::read(town.installed()).expect("read the program"), program);
    assert!(!town.home().join("paas.new").exists(), "nothing is left of what was refused");
    upgrade(&town, "version-2");
    assert!(town.data_dir().join("backups/before-upgrade.db").exists());
}
