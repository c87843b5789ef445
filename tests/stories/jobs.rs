//! What of a release runs once: its release command, and its cron table.
use crate::harness::{Town, eventually};
use serde_json::Value;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);
/// A minute of the clock, and what a start takes.
const A_MINUTE: Duration = Duration::from_secs(75);

fn history(town: &Town) -> Vec<Value> {
    town.paas(&["cron:history", "-a", "blog", "--json"]).json().as_array().expect("a list of runs").clone()
}

fn scheduled(town: &Town) -> Vec<Value> {
    history(town).into_iter().filter(|run| run["trigger"] == "schedule").collect()
}

#[test]
fn cron_runs_once_a_minute_over_kills_and_deploys_and_its_history_tells() {
    let mut town = Town::start();
    let work = town.work("jobs", "blog");
    work.push().succeeds().says("2 cron entries");
    let ran = town.paas(&["cron:run", "2", "-a", "blog"]);
    assert_eq!((ran.code, ran.stdout.trim()), (Some(7), "report"), "{ran:?}");
    town.paas(&["cron:run", "3", "-a", "blog"]).fails_with(1, "has no cron entry 3");
    // Its number is the first one or, when a minute began just now, the second.
    town.paas(&["cron:list", "-a", "blog"]).succeeds().says("-02-29T03:00Z").says(" exited with status 7");

    town.paas(&["config:set", "TICK_SECONDS=4", "TICK_END=3", "-a", "blog"]).succeeds();
    let of_v2 = |town: &Town| scheduled(town).into_iter().find(|run| run["release"] == "v2");
    eventually("the clock runs the first entry", A_MINUTE, || of_v2(&town).is_some());
    eventually("its instance has begun", SOON, || town.log_of("blog").contains("tick of v2"));
    // In the same minute: paas dies and comes back, then a deploy.
    town.kill9();
    town.start_again(&[]);
    work.set_version("jobs v2").push().succeeds();
    eventually("the run that went on is recorded", SOON, || {
        scheduled(&town).iter().all(|run| run["state"] != "running")
    });
    let runs = scheduled(&town);
    let first = of_v2(&town).expect("a run");
    assert_eq!((&first["exit_code"], &first["state"]), (&3.into(), &"failed".into()), "{first}");
    assert!(first["duration_ms"].as_u64().is_some_and(|ms| ms >= 3000), "{first}");
    let due: std::collections::BTreeSet<String> = runs.iter().map(|run| run["due"].to_string()).collect();
    assert_eq!(due.len(), runs.len(), "a minute was run twice: {runs:?}");
    let name = first["run"].as_str().expect("a name");
    let shown = town.paas(&["cron:history", name, "-a", "blog"]);
    shown.succeeds().says("tick of v2").says("tock").says("exited with status 3");
    assert_eq!(shown.stdout.matches("tick of").count(), 1, "{shown:?}");
    town.doctor_is_clean();
}

#[test]
fn a_bad_cron_table_is_refused_before_anything_is_built() {
    let town = Town::start();
    let work = town.work("jobs", "blog");
    work.write(
        "app.json",
        "{\n  \"cron\": [\n    { \"command\": \"./tick.sh\", \"schedule\": \"0 25 * * *\" }\n  ]\n}\n",
    );
    let push = work.commit("bad").push();
    push.fails_with("app.json line 3: cron[0].schedule `0 25 * * *` is no schedule: hour: `25` is no hour");
    work.write("app.json", "{ \"cron\": [], \"addons\": [\"x\"] }\n").commit("good");
    work.push().succeeds().says("app.json: add-ons are not provided: x");
    town.doctor_is_clean();
}

#[test]
fn a_release_command_runs_first_and_its_failure_changes_nothing_that_serves() {
    let town = Town::start();
    let work = town.work("jobs", "blog");
    work.push().succeeds().says("-----> Release command: ./release.sh").says("migrating for v1 as release.1");
    town.shows("blog", "jobs v1");
    town.paas(&["ps:scale", "release=1", "-a", "blog"]).fails_with(1, "`release` is no process type");
    town.paas(&["config:set", "RELEASE_END=4", "-a", "blog"]).fails_with(1, "the release command exited with status 4");
    town.paas(&["config:unset", "RELEASE_END", "-a", "blog"]).succeeds();
    work.set_version("jobs v2").push().succeeds();
    town.shows("blog", "jobs v2");
    town.paas(&["rollback", "v1", "-a", "blog"]).succeeds();
    town.shows("blog", "jobs v1");
    let log = town.log_of("blog");
    let said: Vec<&str> = log.lines().filter(|line| line.contains("migrating for")).collect();
    assert_eq!(said.len(), 4, "v1 to v4, and not the rollback: {said:?}");
    assert!(log.contains("app[release.1]: migrating for v1"), "{log}");
    town.doctor_is_clean();
}

#[test]
fn a_pusher_who_leaves_ends_the_release_command_and_so_does_a_kill_of_paas() {
    let mut town = Town::start();
    let work = town.work("jobs", "blog");
    work.push().succeeds();
    let one_off = |town: &Town| town.engine.instances(&["paas.job"]).len();
    work.write("release.sh", "#!/bin/sh\necho hanging for good\nexec sleep 1000\n").commit("hangs");
    let push = work.begin_push();
    push.wait_for("hanging for good");
    push.interrupt();
    eventually("the one-off is gone", SOON, || one_off(&town) == 0);
    town.shows("blog", "jobs v1");
    town.start_again(&[("PAAS_CRASH_POINT", "release-command")]);
    let push = work.set_version("jobs v2").begin_push();
    town.wait_for_crash(Duration::from_mins(1));
    push.finish_within(SOON).fails_with("");
    town.start_again(&[]);
    let release = town.paas(&["releases", "-a", "blog", "--json"]).json()[0].take();
    assert!(release["failure"].as_str().is_some_and(|failure| failure.starts_with("interrupted")), "{release}");
    eventually("the one-off of before is gone", SOON, || one_off(&town) == 0);
    town.shows("blog", "jobs v1");
    town.doctor_is_clean();
}
