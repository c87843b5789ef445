//! `apps:destroy`: nothing is left, whatever was under way, whoever dies on the way, and the name is free.
use crate::harness::{Town, Wire, eventually};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(40);

/// The n-th command line of somebody who does the same again and again.
type Line = fn(u32) -> Vec<String>;

/// No trace in the engine, in the folders and in the lists.
#[track_caller]
fn nothing_is_left(town: &Town) {
    assert_eq!(town.engine.everything(), Vec::<String>::new(), "the engine keeps something");
    for folder in ["repos", "logs"] {
        let left: Vec<_> = std::fs::read_dir(town.data_dir().join(folder)).expect("list a folder").collect();
        assert!(left.is_empty(), "{folder} keeps {left:?}");
    }
    assert_eq!(town.paas(&["apps", "--json"]).json(), serde_json::json!([]));
    town.doctor_is_clean();
}

#[test]
fn a_destroyed_app_leaves_nothing_and_its_name_is_free() {
    let town = Town::start();
    let work = town.work("echo", "blog");
    work.push().succeeds();
    town.paas(&["config:set", "TOKEN=canary-8151", "-a", "blog"]).succeeds();
    for (words, said) in [
        (&["apps:destroy", "blog"][..], "wants to be confirmed"),
        (&["apps:destroy", "blog", "--confirm", "shop"], "does not name blog"),
        (&["apps:destroy", "nobody", "--confirm", "nobody"], "no such app: nobody"),
    ] {
        town.paas(words).fails_with(1, said);
    }
    town.paas(&["apps:destroy"]).fails_with(2, "");
    let mut visitor = town.connect("blog").expect("connect");
    visitor.send("GET", "/slow?ms=3000", &[], b"").expect("send a slow request");
    work.write("Dockerfile", "FROM debian:trixie-slim\nRUN echo hanging && sleep 60\nCMD [\"true\"]\n").commit("hang");
    let push = work.begin_push();
    push.wait_for("hanging");
    std::thread::scope(|scope| {
        let destroying = scope.spawn(|| town.ssh("apps:destroy blog --confirm blog"));
        eventually("it is on its way out", SOON, || {
            town.paas(&["apps", "--json"]).json()[0]["state"] == "being destroyed"
        });
        town.paas(&["config:set", "A=b", "-a", "blog"]).fails_with(1, "blog is being destroyed");
        town.work("hello-shell", "blog").push().fails_with("blog is being destroyed");
        town.paas(&["apps:create", "blog"]).fails_with(1, "blog is being destroyed");
        let answer = visitor.answer().expect("the request under way ends well");
        assert_eq!((answer.status, answer.text().trim()), (200, "echo v1"));
        destroying.join().expect("no panic").succeeds().says("its name is free");
    });
    push.finish_within(SOON).is_rejected_with("cancelled by apps:destroy");
    assert_eq!(town.get("blog", "/").status, 404);
    nothing_is_left(&town);
    assert!(town.log().contains("destroyed blog"));
    let again = town.work("hello-shell", "blog");
    again.push().succeeds().says("Live: v1 serves");
    town.paas(&["config", "-a", "blog"]).succeeds().says("blog has no config vars");
    town.doctor_is_clean();
}

#[test]
fn killed_at_any_point_of_a_destruction_the_next_server_carries_it_on() {
    let mut town = Town::start();
    for point in ["app-destroying", "app-images-removed", "app-files-removed"] {
        town.push("hello-shell", "blog").succeeds();
        town.start_again(&[("PAAS_CRASH_POINT", point)]);
        town.paas(&["apps:destroy", "blog", "--confirm", "blog"]).fails_with(1, "lost the server");
        town.wait_for_crash(SOON);
        town.start_again(&[]);
        eventually(&format!("nothing is left after {point}"), SOON, || town.engine.everything().is_empty());
        eventually("the app is gone", SOON, || town.paas(&["apps", "--json"]).stdout.trim() == "[]");
        nothing_is_left(&town);
    }
    town.push("echo", "blog").succeeds();
    let mut visitor = town.connect("blog").expect("connect");
    visitor.send("GET", "/slow?ms=8000", &[], b"").expect("send a slow request");
    let mut destroying = town.paas_command(&["apps:destroy", "blog", "--confirm", "blog"]).spawn().expect("destroy it");
    eventually("it drains", SOON, || town.paas(&["ps", "-a", "blog"]).stderr.contains("is being destroyed"));
    town.kill9();
    destroying.wait().expect("wait for a command");
    town.start_again(&[]);
    eventually("the app is gone", SOON, || town.paas(&["apps", "--json"]).stdout.trim() == "[]");
    nothing_is_left(&town);
}

#[test]
fn without_the_engine_a_destruction_says_so_and_goes_on_when_it_is_back() {
    let folder = tempfile::tempdir().expect("make a folder");
    let wire = Wire::lay(folder.path());
    let town = Town::start_with(&[("PAAS_DOCKER_HOST", &wire.address())]);
    town.push("hello-shell", "blog").succeeds();
    wire.cut();
    let said = town.paas(&["apps:destroy", "blog", "--confirm", "blog"]);
    said.fails_with(1, "the container engine does not answer").fails_with(1, "it goes on by itself");
    assert_eq!(town.paas(&["server:doctor"]).code, Some(1));
    wire.mend();
    eventually("the app is gone", SOON, || town.paas(&["apps", "--json"]).stdout.trim() == "[]");
    nothing_is_left(&town);
}

#[test]
fn whatever_is_done_to_an_app_at_once_its_destruction_leaves_nothing() {
    let town = Town::start();
    let work = town.work("hello-shell", "blog");
    work.push().succeeds();
    let stop = AtomicBool::new(false);
    let goes_on = || !stop.load(Ordering::SeqCst);
    std::thread::scope(|scope| {
        // Each of them may be refused at any time, but must say so, and must not hang.
        let tries: [(&str, Line); 5] = [
            ("rename", |n| words(&["apps:rename", "blog", ["news", "blog"][n as usize % 2]])),
            ("config", |n| words(&["config:set", &format!("N={n}"), "-a", "blog"])),
            ("domain", |n| words(&["domains:add", &format!("d{n}.example.com"), "-a", "blog"])),
            ("limits", |n| words(&["ps:limits", "web", &format!("memory={}M", 64 + n % 2), "-a", "blog"])),
            ("restart", |_| words(&["ps:restart", "-a", "blog"])),
        ];
        for (what, line) in tries {
            let town = &town;
            scope.spawn(move || {
                let (mut done, mut refused) = (0, 0);
                for n in (1..).take_while(|_| goes_on()) {
                    let line = line(n);
                    let outcome = town.paas(&line.iter().map(String::as_str).collect::<Vec<_>>());
                    assert!(outcome.code.is_some_and(|code| code < 2), "{outcome:?}");
                    *if outcome.code == Some(0) { &mut done } else { &mut refused } += 1;
                    assert!(outcome.code == Some(0) || outcome.stderr.contains("paas: "), "{outcome:?}");
                }
                println!("{what}: {done} done, {refused} refused");
            });
        }
        scope.spawn(|| {
            while goes_on() {
                work.commit("again").push();
            }
        });
        std::thread::sleep(Duration::from_secs(3));
        let name =
            town.paas(&["apps:info", "-a", "blog", "--json"]).json()["name"].as_str().expect("a name").to_owned();
        let other = if name == "blog" { "news" } else { "blog" };
        // It may be renamed between the question and the command.
        let ended = town.paas(&["apps:destroy", "-a", "blog", "--confirm", &name]);
        if ended.code != Some(0) {
            town.paas(&["apps:destroy", "-a", "blog", "--confirm", other]);
        }
        stop.store(true, Ordering::SeqCst);
    });
    for app in town.paas(&["apps", "--json"]).json().as_array().expect("a list") {
        // A push that came behind the destruction made the app anew.
        let name = app["name"].as_str().expect("a name");
        town.paas(&["apps:destroy", name, "--confirm", name]).succeeds();
    }
    nothing_is_left(&town);
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
