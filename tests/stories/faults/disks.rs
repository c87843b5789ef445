//! No space left on any of the disks: what serves goes on serving, who wants more reads which disk is full, and space that
//! is freed is enough: nothing needs a restart.
use super::{push_named, while_asking};
use crate::harness::{OwnEngine, Push, Town, Work};
use std::path::Path;
use std::time::Duration;

#[test]
fn a_full_disk_stops_no_app_and_is_named_and_space_freed_is_enough() {
    let disks = [(".", 48), ("repos", 24), ("logs", 8)];
    let mut town = Town::start_on_disks(OwnEngine::start_on_disk(900), &disks);
    let work = push_named(&town, "blog");
    town.paas(&["apps:create", "idle"]).succeeds();
    let folder = |name: &str| town.data_dir().join(name);
    let (data, repos, logs) = (folder("."), folder("repos"), folder("logs"));

    while_full(&mut town, &data, |town| {
        // What is written over old pages still has its place: only what grows fails.
        let value = format!("BIG={}", "x".repeat(30_000));
        let full = (0..300).map(|_| town.paas(&["config:set", &value, "-a", "idle"])).find(|set| set.code != Some(0));
        full.expect("the database cannot grow for ever").fails_with(1, "the disk of the database is full");
        town.paas(&["apps"]).succeeds().says("blog");
        changed(&work).fails_with("");
    });
    works_again(&town, &work);

    while_full(&mut town, &repos, |_| {
        // Before its pack comes.
        changed(&work).fails_with("no room for a push to blog: needs 1.0 KiB free on").says("data/repos, 0 B are");
    });
    works_again(&town, &work);

    while_full(&mut town, &logs, |town| {
        // It costs what is written to logs, and no deploy.
        changed(&work).succeeds();
        town.paas(&["logs", "-a", "blog"]).succeeds();
    });
    works_again(&town, &work);

    let engine = town.own().data_root();
    while_full(&mut town, &engine, |_| {
        changed(&work).is_rejected_with("no space left on device");
    });
    works_again(&town, &work);
}

#[test]
fn a_disk_that_fills_up_during_a_build_is_named_and_freed_space_is_enough() {
    let mut town = Town::start_on_disks(OwnEngine::start_on_disk(900), &[(".", 48)]);
    let work = push_named(&town, "blog");
    town.paas(&["apps:create", "idle"]).succeeds();
    let (data, engine) = (town.data_dir(), town.own().data_root());

    // 64 MiB that are in no cache: the step meets the end of the engine's disk.
    fills_up_meanwhile(&mut town, &work, &engine, "head -c 67108864 /dev/urandom > /noise", |push| {
        push.is_rejected_with("that is the engine's disk (").says("free now): free some, nothing needs a restart");
    });
    works_again(&town, &work);

    fills_up_meanwhile(&mut town, &work, &data, "true", |push| {
        // What goes over old pages of the database still has its place: it may even go live.
        assert!(push.stderr.contains("no space left on the disk of"), "{push:?}");
    });
    works_again(&town, &work);
    // What could not be written down is by now: nothing runs for ever, and the branch is where it should be.
    let builds = town.paas(&["builds", "-a", "blog", "--json"]).json();
    let states: Vec<&str> = builds.as_array().expect("a list").iter().filter_map(|b| b["state"].as_str()).collect();
    assert!(!states.contains(&"running") && !states.contains(&"queued"), "{states:?}");
}

/// Pushes an app whose build waits, then does `step`; meanwhile the disk becomes full.
fn fills_up_meanwhile(town: &mut Town, work: &Work, disk: &Path, step: &str, check: impl FnOnce(&Push)) {
    let page = std::fs::read_to_string(work.path("Dockerfile")).expect("the sample has a Dockerfile");
    let end = page.find("WORKDIR").expect("it begins with its base");
    let slow = format!("{}RUN echo waiting for the disk && sleep 6 && {step}\n{}", &page[..end], &page[end..]);
    work.write("Dockerfile", &slow).commit("a build that takes its time");
    let push = work.begin_push();
    push.wait_for("waiting for the disk");
    town.disk(|engine| engine.fill(disk));
    let (push, witness) = while_asking(town, &["blog"], || push.finish_within(Duration::from_mins(2)));
    check(&push);
    assert!(witness.failed.is_empty(), "{} of {}: {:?}", witness.failed.len(), witness.asked, witness.failed);
    town.disk(|engine| engine.free(disk));
    town.shows("blog", "blog");
    work.write("Dockerfile", &page).commit("as before");
}

/// A push of something new, which takes room everywhere.
fn changed(work: &Work) -> Push {
    let mut state = 0x2545_f491_4f6c_dd1d_u64 ^ u64::from(std::process::id());
    let noise = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        format!("{state:016x}")
    });
    work.write("noise", &noise.take(40_000).collect::<String>()).commit("noise");
    work.push()
}

/// Visitors see nothing of it.
fn while_full(town: &mut Town, disk: &Path, act: impl FnOnce(&Town)) {
    eprintln!("{} is full", disk.display());
    let town = &*town;
    town.disk(|engine| engine.fill(disk));
    let ((), witness) = while_asking(town, &["blog"], || act(town));
    assert!(witness.failed.is_empty(), "{} of {}: {:?}", witness.failed.len(), witness.asked, witness.failed);
    town.disk(|engine| engine.free(disk));
}

fn works_again(town: &Town, work: &Work) {
    town.paas(&["config:set", "BIG=small", "-a", "idle"]).succeeds();
    work.commit("again").push().succeeds();
    town.shows("blog", "blog");
    town.doctor_is_clean();
}
