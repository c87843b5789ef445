//! `kill -9` at every stage, and hands that reach past us: what was promoted serves, and nothing is left over.
use crate::harness::{Town, Work, engine, eventually};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(20);

/// The instance that answers for the echo app.
fn pid(town: &Town, app: &str) -> String {
    town.get(app, "/pid").text()
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

/// Dies at `place` during a push of a new version; tells who must serve afterwards.
fn dies_at(place: &str, is_promoted: bool) {
    let mut town = Town::start();
    let work = town.work("echo", "blog");
    work.push().succeeds();
    let served_by = pid(&town, "blog");
    town.start_again(&[("PAAS_CRASH_POINT", place)]);
    let push = work.set_version("echo v2").begin_push();
    town.wait_for_crash(Duration::from_mins(1));
    push.finish_within(SOON).fails_with("");
    if is_promoted {
        town.start_again(&[]);
        // The row is the commit point: the route follows as soon as the engine was asked.
        eventually("the promoted release serves", Duration::from_secs(5), || {
            town.try_get("blog", "/").is_ok_and(|response| response.text().contains("echo v2"))
        });
    } else {
        start_again_and_answer_at_once(&mut town, "blog", &served_by);
        newest_release_or_build_was_interrupted(&town);
        town.shows("blog", "echo v1");
    }
    branch_is_what_is_live(&town, &work, "blog");
    town.doctor_is_clean();
    work.set_version("echo v3").push().succeeds();
    town.shows("blog", "echo v3");
    town.doctor_is_clean();
}

fn newest_release_or_build_was_interrupted(town: &Town) {
    let release = town.paas(&["releases", "-a", "blog", "--json"]).json()[0].take();
    if release["release"] == "v1" {
        return newest_build_was_interrupted(town, "blog");
    }
    assert!(release["failure"].as_str().is_some_and(|failure| failure.starts_with("interrupted")), "{release}");
}

#[test]
fn killed_before_the_image_is_made_the_old_release_serves() {
    dies_at("build-begun", false);
}

#[test]
fn killed_before_the_release_is_made_the_old_release_serves() {
    dies_at("image-made", false);
}

#[test]
fn killed_before_the_candidate_is_started_the_old_release_serves() {
    dies_at("before-start", false);
}

#[test]
fn killed_right_before_promotion_the_old_release_serves() {
    dies_at("before-promotion", false);
}

#[test]
fn killed_right_after_promotion_the_new_release_serves() {
    dies_at("after-promotion", true);
}

#[test]
fn killed_right_after_the_route_changed_the_new_release_serves() {
    dies_at("after-route", true);
}

#[test]
fn killed_before_the_branch_moved_the_new_release_serves_and_the_branch_follows() {
    dies_at("before-branch", true);
}

#[test]
fn killed_before_the_old_instance_is_stopped_the_new_release_serves() {
    dies_at("before-stop", true);
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
    let begun = |town: &Town| engine::inspect(&town.engine.instances(&[])[0])["State"]["StartedAt"].to_string();
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
    engine::remove_by_force(&id);
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
    engine::exec(&id, &["sh", "-c", "kill -9 -1"]);
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
    second.args(["server", "--http-listen", "127.0.0.1:0", "--ssh-listen", "127.0.0.1:0", "--data-dir"]);
    let output = second.arg(town.data_dir()).output().expect("start a second paas");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("another server runs on"), "{said}");
    town.doctor_is_clean();
}
