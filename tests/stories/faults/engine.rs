//! The container engine stops, is exchanged, hangs, or loses what is ours by somebody's hand.
use super::{ends_within, is_long, push_named, while_asking};
use crate::harness::{OwnEngine, Town, eventually};
use std::process::Command;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(30);
/// No command waits longer than this for an engine that does not answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(40);

fn serves(town: &Town, app: &str) -> bool {
    town.try_get(app, "/").is_ok_and(|answer| answer.status == 200 && answer.text().trim() == app)
}

#[test]
fn a_stopped_engine_takes_its_instances_along_and_they_come_back_with_it() {
    let mut town = Town::start_on(OwnEngine::start());
    let work = push_named(&town, "blog");
    town.own().stop();
    let page = town.get("blog", "/");
    assert!(matches!(page.status, 502 | 503), "an honest page, not {page:?}");
    ends_within(&town, ANSWER_LIMIT, &["apps"]).succeeds().says("blog");
    ends_within(&town, ANSWER_LIMIT, &["ps", "-a", "blog"]).fails_with(1, "the container engine does not answer");
    ends_within(&town, ANSWER_LIMIT, &["server:doctor"]).says("start it, e.g. `systemctl start docker`");
    work.set_version("blog");
    work.commit("again").push().is_rejected_with("the container engine does not answer");
    town.own().start_again();
    eventually("the app serves again by itself", SOON, || serves(&town, "blog"));
    town.doctor_is_clean();
    work.push().succeeds();
    town.doctor_is_clean();
}

#[test]
fn an_engine_with_live_restore_is_restarted_under_load_and_no_request_fails() {
    let mut town = Town::start_on(OwnEngine::start_with_live_restore());
    let work = push_named(&town, "blog");
    let times = if is_long() { 5 } else { 2 };
    for _ in 0..times {
        // The visitors borrow the town, so the engine is restarted by way of its own handle.
        let mut engine = town.take_own();
        let ((), witness) = while_asking(&town, &["blog"], || {
            engine.stop();
            engine.start_again();
            std::thread::sleep(Duration::from_secs(3));
        });
        town.give_own(engine);
        assert!(witness.asked > 100, "{} requests", witness.asked);
        assert!(witness.failed.is_empty(), "{} of {}: {:?}", witness.failed.len(), witness.asked, witness.failed);
    }
    town.doctor_is_clean();
    work.set_version("two").push().succeeds();
    town.shows("blog", "two");
    town.doctor_is_clean();
}

#[test]
fn while_the_engine_hangs_apps_serve_and_everybody_gets_an_answer() {
    let mut town = Town::start_on(OwnEngine::start());
    let work = push_named(&town, "blog");
    let hung = Duration::from_secs(if is_long() { 60 } else { 15 });
    let engine = town.take_own();
    engine.freeze();
    let begun = Instant::now();
    let (push, witness) = while_asking(&town, &["blog"], || {
        work.write("note", "changed").commit("changed");
        let push = work.begin_push();
        ends_within(&town, Duration::from_secs(5), &["apps"]).succeeds().says("blog");
        let ps = ends_within(&town, ANSWER_LIMIT, &["ps", "-a", "blog"]);
        ps.fails_with(1, "the container engine does not answer");
        ends_within(&town, ANSWER_LIMIT, &["server:status"]).succeeds().says("does not answer");
        std::thread::sleep(hung.saturating_sub(begun.elapsed()));
        engine.thaw();
        push.finish_within(Duration::from_mins(2))
    });
    town.give_own(engine);
    assert!(witness.failed.is_empty(), "{} of {}: {:?}", witness.failed.len(), witness.asked, witness.failed);
    // It waited, or it was told why not.
    if !push.succeeded() {
        push.is_rejected_with("the container engine does not answer");
    }
    work.set_version("two");
    work.push().succeeds();
    town.shows("blog", "two");
    town.doctor_is_clean();
}

#[test]
fn networks_and_images_removed_by_hand_are_healed_or_told() {
    let town = Town::start();
    let work = push_named(&town, "blog");
    let docker = |words: &[&str]| {
        let output = Command::new("docker").args(words).output().expect("start docker");
        assert!(output.status.success(), "docker {words:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let ours = format!("label=paas.installation={}", town.engine.installation);
    // The network: its instance cannot be reached any more, and another one is made on a new network.
    let network = docker(&["network", "ls", "--quiet", "--filter", &ours]);
    docker(&["network", "disconnect", "--force", &network, &town.engine.instances(&[])[0]]);
    docker(&["network", "rm", &network]);
    eventually("the app serves from a new network", SOON, || {
        serves(&town, "blog") && !docker(&["network", "ls", "--quiet", "--filter", &ours]).contains(&network)
    });
    town.doctor_is_clean();
    // The image: what has to start anew says what is missing and what to do.
    town.paas(&["ps:stop", "-a", "blog"]).succeeds();
    eventually("nothing runs", SOON, || town.engine.instances(&[]).is_empty());
    for image in docker(&["images", "--quiet", "--filter", &ours, "--filter", "label=paas.app"]).lines() {
        docker(&["rmi", "--force", image]);
    }
    town.paas(&["ps:start", "-a", "blog"]);
    eventually("the log tells what is missing and the way out", SOON, || {
        town.log_of("blog").contains("the engine has no such image; push again to build it anew")
    });
    work.commit("again").push().succeeds();
    town.shows("blog", "blog");
    town.doctor_is_clean();
}
