//! `kill -9` at every stage, and hands that reach past us: what was promoted serves, and nothing is left over.
mod clock;
mod crash_points;
mod crowd;
mod database;
mod disks;
mod engine;
mod processes;
mod reboot;

use crate::harness::{Outcome, Town, Work, engine as outside, eventually};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(20);

/// The instance that answers for the echo app.
fn pid(town: &Town, app: &str) -> String {
    town.get(app, "/pid").text()
}

/// Whether the tests that take minutes each run too.
fn is_long() -> bool {
    std::env::var_os("PAAS_LONG").is_some()
}

/// What visitors of some apps got while something was done: every page that was not the app's own, with its moment.
struct Witness {
    asked: usize,
    failed: Vec<(Duration, String)>,
}

/// Asks all `apps` in turn, each over fresh connections, while `act` goes on; each app's page is its name.
fn while_asking<T>(town: &Town, apps: &[&str], act: impl FnOnce() -> T) -> (T, Witness) {
    let (over, begun) = (AtomicBool::new(false), Instant::now());
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut witness = Witness { asked: 0, failed: Vec::new() };
            while !over.load(Ordering::SeqCst) {
                for app in apps {
                    witness.asked += 1;
                    let answer = match town.try_get(app, "/") {
                        Ok(answer) if answer.status == 200 && answer.text().trim() == *app => continue,
                        Ok(answer) => format!("{app}: {} {}", answer.status, answer.text()),
                        Err(error) => format!("{app}: {error}"),
                    };
                    witness.failed.push((begun.elapsed(), answer));
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            witness
        });
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
        over.store(true, Ordering::SeqCst);
        let witness = asking.join().expect("a visitor does not panic");
        (done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)), witness)
    })
}

/// Pushes an app whose page is its name.
fn push_named(town: &Town, app: &str) -> Work {
    let work = town.work("hello-docker", app);
    work.set_version(app).push().succeeds();
    town.shows(app, app);
    work
}

/// Runs a command that must end by itself in time, however it ends.
fn ends_within(town: &Town, limit: Duration, words: &[&str]) -> Outcome {
    let begun = Instant::now();
    let outcome = town.paas(words);
    assert!(begun.elapsed() < limit, "{words:?} took {:?}: {outcome:?}", begun.elapsed());
    outcome
}

/// Starts the server again after a crash; the app must answer within a second, from the instance that ran all along.
fn start_again_and_answer_at_once(town: &mut Town, app: &str, same: &str) {
    town.start_again(&[]);
    let ready = Instant::now();
    eventually("the app answers again", Duration::from_secs(1), || {
        town.try_get(app, "/pid").is_ok_and(|response| response.status == 200 && response.text() == same)
    });
    assert!(ready.elapsed() < Duration::from_secs(1));
}

/// The newest build ended as interrupted.
fn newest_build_was_interrupted(town: &Town, app: &str) {
    let build = town.paas(&["builds", "-a", app, "--json"]).json()[0].take();
    assert_eq!(build["state"], "interrupted", "{build}");
    assert!(build["failure"].as_str().is_some_and(|failure| failure.starts_with("interrupted")), "{build}");
}

/// The branch is where the release that is live came from.
fn branch_is_what_is_live(town: &Town, work: &Work, app: &str) {
    let releases = town.paas(&["releases", "-a", app, "--json"]).json();
    let releases = releases.as_array().expect("a list of releases");
    let live = releases.iter().find(|release| release["state"] == "live").expect("a live release");
    assert_eq!(work.remote_head("main").as_deref(), live["commit"].as_str());
}

#[test]
fn killed_while_building_the_old_release_serves_and_the_push_is_interrupted() {
    let mut town = Town::start();
    let work = town.work("echo", "blog");
    work.push().succeeds();
    let (served_by, old) = (pid(&town, "blog"), work.head());
    work.write("Dockerfile", "FROM debian:trixie-slim\nRUN echo hanging && sleep 20\nCMD [\"true\"]\n").commit("hang");
    let push = work.begin_push();
    push.wait_for("hanging");
    town.kill9();
    push.finish_within(SOON).fails_with("");
    start_again_and_answer_at_once(&mut town, "blog", &served_by);
    newest_build_was_interrupted(&town, "blog");
    assert_eq!(work.remote_head("main"), Some(old));
    town.doctor_is_clean();
    work.remove("Dockerfile").set_version("mended").push().succeeds();
    town.shows("blog", "mended");
    town.doctor_is_clean();
}

#[test]
fn killed_while_the_candidate_starts_the_old_release_serves_and_the_candidate_goes() {
    let mut town = Town::start();
    let work = town.work("echo", "blog");
    work.push().succeeds();
    let (served_by, old) = (pid(&town, "blog"), work.head());
    work.write("Procfile", "web: sleep 1000\n").commit("never listens");
    let push = work.begin_push();
    push.wait_for("Release v2: starting web.1");
    eventually("the candidate runs", SOON, || town.engine.instances(&["paas.release=2"]).len() == 1);
    town.kill9();
    push.finish_within(SOON).fails_with("");
    start_again_and_answer_at_once(&mut town, "blog", &served_by);
    let release = town.paas(&["releases", "-a", "blog", "--json"]).json()[0].take();
    assert_eq!(release["state"], "failed", "{release}");
    assert!(release["failure"].as_str().is_some_and(|failure| failure.starts_with("interrupted")), "{release}");
    eventually("the candidate is gone", SOON, || town.engine.instances(&["paas.release=2"]).is_empty());
    assert_eq!(work.remote_head("main"), Some(old));
    town.doctor_is_clean();
}

#[test]
fn killed_while_draining_the_new_release_serves_and_the_old_instance_goes() {
    let mut town = Town::start();
    let work = town.work("echo", "blog");
    work.push().succeeds();
    let mut visitor = town.connect("blog").expect("connect");
    visitor.send("GET", "/slow?ms=12000", &[], b"").expect("send a slow request");
    let push = work.set_version("echo v2").push();
    push.succeeds().says("v1 still finishes what it began");
    let served_by = pid(&town, "blog");
    assert_eq!(town.engine.instances(&["paas.release=1"]).len(), 1, "v1 drains");
    town.kill9();
    start_again_and_answer_at_once(&mut town, "blog", &served_by);
    eventually("v1 is gone", SOON, || town.engine.instances(&["paas.release=1"]).is_empty());
    town.shows("blog", "echo v2");
    branch_is_what_is_live(&town, &work, "blog");
    town.doctor_is_clean();
}

#[test]
fn killed_while_nothing_happens_apps_go_on_untouched() {
    let mut town = Town::start();
    town.push("echo", "blog").succeeds();
    let served_by = pid(&town, "blog");
    let begun = |town: &Town| outside::inspect(&town.engine.instances(&[])[0])["State"]["StartedAt"].to_string();
    let before = begun(&town);
    for _ in 0..3 {
        town.kill9();
        start_again_and_answer_at_once(&mut town, "blog", &served_by);
    }
    assert_eq!(begun(&town), before);
    town.doctor_is_clean();
}

#[test]
fn a_server_that_is_told_to_stop_finishes_what_is_under_way() {
    let mut town = Town::start();
    town.push("echo", "blog").succeeds();
    let mut visitor = town.connect("blog").expect("connect");
    visitor.send("GET", "/slow?ms=2000", &[], b"").expect("send a slow request");
    eventually("the request is under way", Duration::from_secs(2), || town.try_get("blog", "/").is_ok());
    let answer = std::thread::spawn(move || visitor.answer());
    let begun = Instant::now();
    town.start_again(&[]);
    assert!(begun.elapsed() < Duration::from_secs(9), "stopping took {:?}", begun.elapsed());
    let answer = answer.join().expect("the visitor does not panic").expect("the answer comes whole");
    assert_eq!((answer.status, answer.text().trim()), (200, "echo v1"));
    assert!(!town.log().contains("did not end within"), "every task ends by itself");
    town.doctor_is_clean();
}

#[test]
fn an_instance_removed_by_hand_comes_back() {
    let town = Town::start();
    town.push("echo", "blog").succeeds();
    let (served_by, id) = (pid(&town, "blog"), town.engine.instances(&[]).remove(0));
    outside::remove_by_force(&id);
    eventually("another instance answers", SOON, || {
        let answer = town.try_get("blog", "/pid");
        answer.is_ok_and(|response| response.status == 200 && response.text() != served_by)
    });
    town.doctor_is_clean();
}

#[test]
fn a_process_that_dies_is_started_again() {
    let town = Town::start();
    town.push("echo", "blog").succeeds();
    let id = town.engine.instances(&[]).remove(0);
    outside::exec(&id, &["sh", "-c", "kill -9 -1"]);
    eventually("it answers again", SOON, || town.try_get("blog", "/").is_ok_and(|response| response.status == 200));
    eventually("the log says why it was away", SOON, || {
        town.paas(&["logs", "-a", "blog", "-s", "paas"]).stdout.contains("starting it again")
    });
    town.doctor_is_clean();
}

#[test]
fn a_second_server_on_the_same_folder_is_refused() {
    let town = Town::start();
    let mut second = std::process::Command::new(town.paas_command(&[]).get_program());
    second.args([
        "server",
        "--http-listen",
        "127.0.0.1:0",
        "--https-listen",
        "off",
        "--ssh-listen",
        "127.0.0.1:0",
        "--data-dir",
    ]);
    let output = second.arg(town.data_dir()).output().expect("start a second paas");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("another server runs on"), "{said}");
    town.doctor_is_clean();
}
