//! Apps that take more than their share, beside one that does not.
use crate::harness::{Town, eventually};
use std::time::{Duration, Instant};

/// The victim answers; returns how long its slowest answer took.
fn watch_victim(town: &Town, limit: Duration, what: &str, mut is_over: impl FnMut() -> bool) -> Duration {
    let mut slowest = Duration::ZERO;
    eventually(what, limit, || {
        let begun = Instant::now();
        town.shows("victim", "hello-docker v1");
        slowest = slowest.max(begun.elapsed());
        is_over()
    });
    slowest
}

#[test]
fn an_app_that_fills_its_disk_is_stopped_with_the_reason_and_its_neighbour_serves_on() {
    let town = Town::start_with(&[("PAAS_INSTANCE_DISK_MAX", "64MiB")]);
    town.push("hello-docker", "victim").succeeds();
    town.push("disk-filler", "filler").succeeds();
    town.get("filler", "/fill");
    let reason = "web.1 of v1 was stopped: it wrote more than 64.0 MiB to its own disk; crash 1 in a row";
    let slowest = watch_victim(&town, Duration::from_secs(30), reason, || town.log_of("filler").contains(reason));
    println!("the victim's slowest answer took {slowest:?}");
    eventually("it serves again", Duration::from_secs(20), || {
        town.try_get("filler", "/").is_ok_and(|response| response.status == 200)
    });
    let status = town.paas(&["server:status"]);
    status.succeeds().says("GOES WHEN ROOM IS NEEDED").says("filler").says("victim");
    let report = town.paas(&["server:status", "--json"]).json();
    let disk = &report["disk"];
    assert!(disk["places"][0]["free_bytes"].as_u64().is_some_and(|free| free > 0), "{report}");
    // What the images of two apps share is nobody's alone, so their sizes may be 0 here.
    assert!(disk["apps"].as_array().is_some_and(|apps| apps.len() == 2) && disk["complaint"].is_null(), "{report}");
    town.doctor_is_clean();
}

#[test]
fn a_build_without_room_is_refused_with_numbers_and_what_serves_goes_on() {
    let mut town = Town::start();
    let work = town.work("hello-docker", "victim");
    work.push().succeeds();
    // More than the disk has.
    town.start_again(&[("PAAS_DISK_RESERVE", "900T")]);
    work.set_version("next");
    // The data's disk is looked at before the pack is received, the engine's before the build.
    let refused = work.push();
    refused.fails_with("paas: no room for a push to victim: needs 900.0 TiB free on").says("repository of victim");
    town.shows("victim", "hello-docker v1");
    town.paas(&["builds:run", "-a", "victim"]).fails_with(1, "needs 900.0 TiB free on");
    town.shows("victim", "hello-docker v1");
    town.start_again(&[]);
    work.push().succeeds();
    town.shows("victim", "next");
    town.doctor_is_clean();
}

#[test]
fn a_log_flood_holds_up_nobody_and_is_cut_and_told() {
    let town = Town::start();
    town.push("hello-docker", "victim").succeeds();
    town.push("log-flood", "flood").succeeds();
    let (cpu, begun) = (town.cpu(), Instant::now());
    town.get("flood", "/flood");
    let is_over = || town.get("flood", "/").text().starts_with("wrote ");
    let slowest = watch_victim(&town, Duration::from_secs(30), "the flood is over", is_over);
    let wrote = town.get("flood", "/").text();
    let percent = town.cpu().saturating_sub(cpu).as_secs_f64() / begun.elapsed().as_secs_f64() * 100.0;
    println!("the app {wrote} in 6 s; paas used {percent:.1} % of a core; the victim's slowest answer: {slowest:?}");
    eventually("the log tells what was dropped", Duration::from_secs(20), || {
        let told = town.paas(&["logs", "-a", "flood", "-s", "paas", "--search", "DROPPED"]).succeeds().stdout.clone();
        told.contains("lines: the app writes more than 1000 lines or 512 KiB a second")
    });
    eventually("the last line is there", Duration::from_secs(10), || {
        let said = town.paas(&["logs", "-a", "flood", "-p", "web.1", "--search", "the flood is over"]);
        said.succeeds().stdout.contains("app[web.1]: the flood is over")
    });
    let victim = town.log_of("victim");
    assert!(!victim.contains("dropped") && victim.contains("GET"), "{victim}");
    let bytes: u64 = walk(&town.data_dir().join("logs"));
    assert!(bytes < 20 << 20, "the logs take {bytes} bytes");
    town.doctor_is_clean();
}

fn walk(folder: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(folder).expect("read a folder").map(|entry| entry.expect("read a folder"));
    entries
        .map(|entry| {
            let facts = entry.metadata().expect("look at a file");
            if facts.is_dir() { walk(&entry.path()) } else { facts.len() }
        })
        .sum()
}
