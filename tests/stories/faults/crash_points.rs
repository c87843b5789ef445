//! `kill -9` at every named place between "ref received" and "old instance removed": what was promoted serves, what was
//! not is told as interrupted, the next push goes through, and nothing is left over.
use super::{SOON, branch_is_what_is_live, is_long, newest_build_was_interrupted, pid, start_again_and_answer_at_once};
use crate::harness::{Town, Work, eventually};
use std::time::Duration;

/// Who serves after a death.
#[derive(Clone, Copy, PartialEq)]
enum Serves {
    Old,
    New,
}

#[test]
fn killed_before_a_build_begins_the_old_release_serves() {
    dies_at_each(&["ref-received", "build-queued", "pin-written", "build-begun"], Serves::Old);
}

#[test]
fn killed_while_a_build_goes_on_the_old_release_serves() {
    dies_at_each(&["context-streamed", "image-made", "release-made"], Serves::Old);
}

#[test]
fn killed_while_the_candidate_comes_up_the_old_release_serves() {
    dies_at_each(&["before-start", "instance-created", "instance-started", "before-promotion"], Serves::Old);
}

#[test]
fn killed_between_promotion_and_route_the_new_release_serves() {
    dies_at_each(&["after-promotion", "after-route", "before-branch", "branch-moved"], Serves::New);
}

#[test]
fn killed_before_the_pusher_hears_of_it_the_new_release_serves() {
    dies_at_each(&["before-verdict", "before-stop", "instance-stopped"], Serves::New);
}

#[test]
fn killed_right_after_a_release_failed_the_old_release_serves() {
    let mut town = Town::start();
    let work = town.work("echo", "blog");
    work.push().succeeds();
    let (served_by, old) = (pid(&town, "blog"), work.head());
    for _ in 0..times() {
        work.write("Procfile", "web: exit 3\n").commit("crash");
        die(&mut town, &work, "release-failed");
        start_again_and_answer_at_once(&mut town, "blog", &served_by);
        let release = town.paas(&["releases", "-a", "blog", "--json"]).json()[0].take();
        assert!(release["failure"].as_str().is_some_and(|failure| failure.contains("status 3")), "{release}");
        assert_eq!(work.remote_head("main").as_ref(), Some(&old));
        town.doctor_is_clean();
    }
    work.remove("Procfile").set_version("echo mended").push().succeeds();
    town.shows("blog", "echo mended");
    town.doctor_is_clean();
}

fn times() -> usize {
    if is_long() { 5 } else { 1 }
}

/// Dies at each place in turn, during a push of a new version that follows the death before.
fn dies_at_each(places: &[&str], serves: Serves) {
    let mut town = Town::start();
    let work = town.work("echo", "blog");
    work.push().succeeds();
    let mut live = "echo v1".to_owned();
    for place in places.iter().flat_map(|place| std::iter::repeat_n(place, times())) {
        eprintln!("dies at {place}");
        let served_by = pid(&town, "blog");
        let pushed = format!("echo at {place} after {live}");
        work.set_version(&pushed);
        die(&mut town, &work, place);
        match serves {
            Serves::Old => {
                start_again_and_answer_at_once(&mut town, "blog", &served_by);
                newest_push_was_interrupted(&town, place);
                town.shows("blog", &live);
            }
            Serves::New => {
                town.start_again(&[]);
                // The row is the commit point: the route follows as soon as the engine was asked.
                eventually(&format!("what was promoted before {place} serves"), Duration::from_secs(5), || {
                    town.try_get("blog", "/").is_ok_and(|response| response.text().trim() == pushed)
                });
                live = pushed;
            }
        }
        branch_is_what_is_live(&town, &work, "blog");
        town.doctor_is_clean();
    }
    work.set_version("echo last").push().succeeds();
    town.shows("blog", "echo last");
    town.doctor_is_clean();
}

/// Pushes what is committed to a server that dies at `place`; its pusher sees a push that failed.
fn die(town: &mut Town, work: &Work, place: &str) {
    town.start_again(&[("PAAS_CRASH_POINT", place)]);
    let push = work.begin_push_with(&["--force", "main"]);
    town.wait_for_crash(Duration::from_mins(1));
    push.finish_within(SOON).fails_with("");
}

/// The newest thing that there is of the push ended as interrupted. Before it was queued there is nothing.
fn newest_push_was_interrupted(town: &Town, place: &str) {
    if place == "ref-received" {
        return;
    }
    let releases = town.paas(&["releases", "-a", "blog", "--json"]).json();
    let builds = town.paas(&["builds", "-a", "blog", "--json"]).json();
    // A build that made its image ended well, and its release is what was interrupted.
    if builds[0]["state"] == "interrupted" {
        return newest_build_was_interrupted(town, "blog");
    }
    let failure = releases[0]["failure"].as_str();
    assert!(failure.is_some_and(|failure| failure.starts_with("interrupted")), "{builds} {releases}");
}
