//! The clock of the machine is set a month forward and back, for `paas` alone.
use super::{push_named, while_asking};
use crate::harness::{Town, engine as outside, eventually, faketime};
use std::time::Duration;

#[test]
fn a_clock_set_a_month_forward_and_back_restarts_nothing_and_times_stay_true() {
    let library = faketime();
    let folder = tempfile::tempdir().expect("make a folder");
    let offset = folder.path().join("offset");
    let set = |text: &str| {
        // Whole at once: the library reads it again and again.
        let fresh = folder.path().join("fresh");
        std::fs::write(&fresh, format!("{text}\n")).expect("write the offset");
        std::fs::rename(&fresh, &offset).expect("set the offset");
    };
    set("+0");
    let town = Town::start_with(&[
        ("LD_PRELOAD", &library.to_string_lossy()),
        ("FAKETIME_TIMESTAMP_FILE", &offset.to_string_lossy()),
        ("FAKETIME_NO_CACHE", "1"),
        ("DONT_FAKE_MONOTONIC", "1"),
    ]);
    let work = push_named(&town, "blog");
    let begun = |town: &Town| outside::inspect(&town.engine.instances(&[])[0])["State"]["StartedAt"].to_string();
    for (step, version) in [("+30d", "a month later"), ("+0", "and back")] {
        let before = begun(&town);
        let ((), witness) = while_asking(&town, &["blog"], || {
            set(step);
            // Long enough for a sweep of everything.
            std::thread::sleep(Duration::from_secs(11));
        });
        assert!(witness.failed.is_empty(), "{} of {}: {:?}", witness.failed.len(), witness.asked, witness.failed);
        assert_eq!(begun(&town), before, "nothing was restarted by {step}");
        work.set_version(version).push().succeeds();
        town.shows("blog", version);
        work.set_version("blog").push().succeeds();
        town.shows("blog", "blog");
        eventually("the old instances are gone", Duration::from_secs(40), || town.engine.instances(&[]).len() == 1);
        let log = town.paas(&["releases", "-a", "blog", "--json"]).json();
        let times: Vec<&str> =
            log.as_array().expect("a list").iter().filter_map(|r| r["created_at"].as_str()).collect();
        assert!(
            times.len() > 2 && times.is_sorted_by(|newer, older| newer >= older),
            "releases in their order: {times:?}"
        );
    }
    town.doctor_is_clean();
}
