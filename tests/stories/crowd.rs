//! Several pushes at once.
use crate::harness::Town;
use std::time::Duration;

#[test]
fn a_push_behind_a_running_one_waits_and_a_third_supersedes_it() {
    let town = Town::start();
    let work = town.work("slow-start", "blog");
    let first = work.begin_push();
    first.wait_for("Release v1: starting web.1");
    let second = work.set_version("second").begin_push_with(&["--force", "main"]);
    crate::harness::eventually("the second is queued", Duration::from_secs(10), || {
        town.paas(&["builds", "-a", "blog", "--json"]).json().as_array().is_some_and(|builds| builds.len() == 2)
    });
    work.set_version("third");
    let third = work.begin_push();
    let second = second.finish();
    second.is_rejected_with(&format!("superseded by {}", &work.head()[..7]));
    first.finish().succeeds();
    third.finish().succeeds();
    town.shows("blog", "third");
    assert_eq!(work.remote_head("main"), Some(work.head()));
    town.doctor_is_clean();
}

#[test]
fn pushes_to_two_apps_do_not_wait_for_each_others_rollout() {
    let town = Town::start();
    let slow = town.work("never-listens", "slow");
    let slow = slow.begin_push();
    slow.wait_for("starting web.1");
    town.push("hello-shell", "quick").succeeds();
    town.shows("quick", "hello-shell v1");
    slow.interrupt();
    slow.finish();
    town.doctor_is_clean();
}

#[test]
fn five_apps_pushed_at_once_all_go_live() {
    let town = Town::start();
    let names = ["a1", "a2", "a3", "a4", "a5"];
    std::thread::scope(|scope| {
        for name in names {
            let town = &town;
            scope.spawn(move || {
                town.work("hello-docker", name).set_version(name).push().succeeds().says("Live: v1");
            });
        }
    });
    for name in names {
        town.shows(name, name);
    }
    town.doctor_is_clean();
}
