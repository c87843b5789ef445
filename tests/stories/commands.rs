//! What users type, over the socket and over SSH.
use crate::harness::{Town, engine, eventually};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

#[test]
fn commands_say_the_same_over_the_socket_and_over_ssh() {
    let town = Town::start();
    town.push("hello-shell", "blog").succeeds();
    town.paas(&["config:set", "GREETING=two words", "-a", "blog"]).succeeds();
    for line in [
        "apps --json",
        "apps:info -a blog --json",
        "config -a blog",
        "config -a blog --json",
        "config get GREETING -a blog",
        "ps -a blog --json",
        "releases -a blog --json",
        "releases:info v1 -a blog",
        "builds -a blog --json",
        "builds:info -a blog",
        "keys",
        "keys --json",
        "domains -a blog",
        "domains -a blog --json",
        "ps:limits -a blog",
        "ps:limits -a blog --json",
        "checks -a blog",
        "checks:info -a blog --json",
        "config:export -a blog",
        "config export -a blog --json",
        "server status --json",
        "help",
        "ps:scale --help",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let (here, there) = (town.paas(&words), town.ssh(line));
        here.succeeds();
        assert!(!here.stdout.is_empty(), "{line}");
        assert_eq!((here.code, &here.stdout, &here.stderr), (there.code, &there.stdout, &there.stderr), "{line}");
        if line.ends_with("--json") {
            here.json();
        }
    }
    for (line, code) in
        [("ps -a nobody", 1), ("nonsense", 2), ("ps:scale -a blog web=many", 2), ("apps:create ../x", 2)]
    {
        let words: Vec<&str> = line.split(' ').collect();
        let (here, there) = (town.paas(&words), town.ssh(line));
        assert_eq!((here.code, here.stderr.is_empty()), (Some(code), false), "{line}: {here:?}");
        assert_eq!((here.code, &here.stdout, &here.stderr), (there.code, &there.stdout, &there.stderr), "{line}");
    }
    town.doctor_is_clean();
}

#[test]
fn every_command_that_reads_gives_json() {
    let town = Town::start();
    town.push("web-worker", "blog").succeeds();
    let json = |words: &[&str]| town.paas(&[words, &["--json"]].concat()).json();
    assert_eq!(json(&["apps"])[0]["name"], "blog");
    assert_eq!(json(&["ps", "-a", "blog"])[0]["instance"], "web.1");
    assert_eq!(json(&["releases", "-a", "blog"])[0]["state"], "live");
    assert_eq!(json(&["releases:info", "v1", "-a", "blog"])["processes"]["worker"], "./worker.sh");
    assert_eq!(json(&["builds", "-a", "blog"])[0]["state"], "released");
    assert_eq!(json(&["builds:info", "-a", "blog"])["pushed_by"], "laptop");
    assert_eq!(json(&["keys"])[0]["name"], "laptop");
    assert_eq!(json(&["domains", "-a", "blog"])[0]["host"], "blog.localhost");
    assert_eq!(json(&["ps:limits", "-a", "blog"])[0]["memory_bytes"], 512 << 20);
    assert_eq!(json(&["checks", "-a", "blog"])["path"], "/");
    assert_eq!(json(&["config:export", "-a", "blog"]), serde_json::json!({}));
    assert_eq!(json(&["server:status"])["apps"], 1);
    assert!(json(&["server:doctor"]).as_array().is_some_and(|checks| checks.len() > 5));
    let lines = town.paas(&["logs", "-a", "blog", "--json"]);
    for line in lines.succeeds().stdout.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("every line is JSON");
        assert!(line["source"].is_string(), "{line}");
    }
}

#[test]
fn logs_follow_across_a_deploy() {
    let town = Town::start();
    let work = town.work("echo", "blog");
    work.push().succeeds();
    let started =
        town.paas_command(&["logs", "-f", "-n", "0", "-a", "blog"]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut following = started.expect("start paas logs");
    let lines = BufReader::new(following.stdout.take().expect("standard output is piped")).lines();
    let heard = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    let writer = std::sync::Arc::clone(&heard);
    let reader = std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            writer.lock().expect("nobody panics with it").push_str(&(line + "\n"));
        }
    });
    work.set_version("echo v2").push().succeeds();
    town.get("blog", "/pid");
    for text in ["v2 is live", "app[web.1]: listening on 5000", "app[web.1]: SIGTERM: finishing", "path=\"/pid\""] {
        eventually(&format!("the log says `{text}`"), SOON, || heard.lock().expect("no panic").contains(text));
    }
    following.kill().expect("end paas logs");
    following.wait().expect("wait for paas logs");
    reader.join().expect("the reader does not panic");
    town.doctor_is_clean();
}

/// Visits the app without pause until told to stop, and gives the number of visits and every one that failed.
fn visits(town: &Town, app: &str, stop: &AtomicBool) -> (usize, Vec<String>) {
    let (mut count, mut failed) = (0, Vec::new());
    while !stop.load(Ordering::SeqCst) {
        count += 1;
        match town.try_get(app, "/") {
            Ok(response) if response.status == 200 => {}
            Ok(response) => failed.push(format!("status {}", response.status)),
            Err(error) => failed.push(error.to_string()),
        }
    }
    (count, failed)
}

#[test]
fn scaling_and_restarting_drop_no_request() {
    let town = Town::start();
    town.push("echo", "blog").succeeds();
    let stop = AtomicBool::new(false);
    let seen = || {
        let pids: Vec<String> = (0..20).map(|_| town.get("blog", "/pid").text()).collect();
        pids.into_iter().collect::<std::collections::BTreeSet<_>>()
    };
    std::thread::scope(|scope| {
        let visitors = scope.spawn(|| visits(&town, "blog", &stop));
        town.paas(&["ps:scale", "-a", "blog", "web=2"]).succeeds().says("web=2");
        eventually("both instances answer", SOON, || seen().len() == 2);
        let before = seen();
        town.paas(&["ps:restart", "-a", "blog"]).succeeds().says("restarting everything of blog");
        eventually("two others answer", Duration::from_secs(40), || {
            let now = seen();
            now.len() == 2 && now.is_disjoint(&before)
        });
        town.paas(&["ps:scale", "-a", "blog", "web=1"]).succeeds();
        eventually("one instance is left", Duration::from_secs(40), || town.engine.instances(&[]).len() == 1);
        stop.store(true, Ordering::SeqCst);
        let (count, failed) = visitors.join().expect("the visitor does not panic");
        assert!(failed.is_empty(), "{} of {count} requests failed: {failed:?}", failed.len());
        assert!(count > 50, "only {count} visits");
    });
    town.doctor_is_clean();
}

#[test]
fn a_stopped_app_answers_503_until_it_is_started() {
    let town = Town::start();
    town.push("hello-shell", "blog").succeeds();
    town.paas(&["ps:stop", "-a", "blog"]).succeeds().says("stopped blog");
    eventually("it answers 503", SOON, || town.get("blog", "/").status == 503);
    eventually("nothing runs", SOON, || town.engine.instances(&[]).is_empty());
    town.doctor_is_clean();
    town.paas(&["ps", "-a", "blog"]).succeeds().says("`paas ps:start` starts it");
    town.paas(&["ps:start", "-a", "blog"]).succeeds();
    eventually("it answers again", SOON, || town.get("blog", "/").status == 200);
    town.doctor_is_clean();
}

#[test]
fn an_unknown_host_is_told_that_there_is_no_such_app() {
    let town = Town::start();
    let response = town.get("nobody", "/");
    assert_eq!(response.status, 404, "{response:?}");
}

#[test]
fn builds_are_listed_shown_and_cancelled() {
    let town = Town::start();
    let work = town.work("hello-shell", "blog");
    work.push().succeeds();
    town.paas(&["builds:cancel", "-a", "blog"]).fails_with(1, "is over already (released)");
    town.paas(&["builds", "-a", "blog"]).succeeds().says("released");
    town.paas(&["builds:info", "1", "-a", "blog"]).succeeds().says("-----> Building").says("-----> Live: v1 serves");
    town.paas(&["builds:info", "77", "-a", "blog"]).fails_with(1, "run `paas builds -a APP`");
    town.paas(&["releases:retry", "-a", "blog"]).succeeds().says("Live: v2");
    town.paas(&["releases", "-a", "blog"]).succeeds().says("Retry of v1");
    town.doctor_is_clean();
}

#[test]
fn the_doctor_finds_what_does_not_belong() {
    let town = Town::start();
    town.push("hello-shell", "blog").succeeds();
    town.doctor_is_clean();
    let stray = town.engine.plant_stray();
    let found = town.paas(&["server:doctor"]);
    assert_eq!(found.code, Some(1), "{found:?}");
    assert!(format!("{}{}", found.stdout, found.stderr).contains(&format!("container {}", &stray[..12])), "{found:?}");
    engine::remove_by_force(&stray);
    town.doctor_is_clean();
    std::fs::create_dir(town.data_dir().join("logs/nobodys")).expect("plant a folder");
    let found = town.paas(&["server:doctor"]);
    assert_eq!(found.code, Some(1), "{found:?}");
    assert!(format!("{}{}", found.stdout, found.stderr).contains("logs/nobodys belongs to no app"), "{found:?}");
}

#[test]
fn the_server_tells_what_it_runs_on() {
    let town = Town::start();
    town.push("hello-shell", "blog").succeeds();
    let status = town.paas(&["server:status", "--json"]).json();
    assert!(status["engine"].as_str().is_some_and(|engine| engine.starts_with("Docker ")), "{status}");
    assert_eq!((&status["apps"], &status["instances"]), (&1.into(), &1.into()), "{status}");
    town.doctor_is_clean();
}
