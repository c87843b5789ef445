//! `kill -9` of the old or the new server at every step of an upgrade: one server is in charge, or can be started.
use super::{SOON, while_visited};
use crate::harness::{Town, Work, eventually};

/// A town whose next server to come to a place dies there, once.
fn doomed(place: &str) -> (Town, Work) {
    let once = std::env::temp_dir().join(format!("paas-once-{place}-{}", std::process::id()));
    // It may be left of an earlier run.
    let _ = std::fs::remove_file(&once);
    let crash_point = format!("{place}@{}", once.display());
    let town = Town::start_installed(&[("PAAS_CRASH_POINT", crash_point.as_str())]);
    let work = town.work("echo", "blog");
    work.push().succeeds();
    (town, work)
}

/// Whoever is in charge now does all its work, and nothing was lost.
fn all_is_well(town: &Town, work: &Work) {
    town.shows("blog", "echo v1");
    let pushed = work.set_version("echo v2").push();
    pushed.succeeds();
    town.shows("blog", "echo v2");
    assert_eq!(work.remote_head("main"), Some(work.head()));
    town.doctor_is_clean();
}

#[test]
fn a_new_server_that_dies_before_its_turn_leaves_the_old_one_as_it_was() {
    for place in ["successor-met", "successor-prepared"] {
        eprintln!("the new one dies at {place}");
        let (town, work) = doomed(place);
        let (before, program) = (town.in_charge(), std::fs::read(town.installed()).expect("read the program"));
        let file = town.another_version("version-2");
        let upgraded = while_visited(&town, || town.upgrade(&file));
        upgraded.fails_with(1, "nothing has changed");
        assert_eq!(town.servers(), [before]);
        assert_eq!(std::fs::read(town.installed()).expect("read the program"), program);
        assert!(town.runs_what_is_installed());
        all_is_well(&town, &work);
    }
}

#[test]
fn when_the_new_server_dies_while_it_takes_over_the_old_version_serves_again() {
    for place in ["lease-taken", "before-serving"] {
        eprintln!("the new one dies at {place}");
        let (town, work) = doomed(place);
        let (before, program) = (town.in_charge(), std::fs::read(town.installed()).expect("read the program"));
        let file = town.another_version("version-2");
        // What it had accepted dies with a server that accepts already; before that nothing does.
        let upgraded = match place {
            "lease-taken" => while_visited(&town, || town.upgrade(&file)),
            _accepts => town.upgrade(&file),
        };
        upgraded.fails_with(1, "the one before serves again");
        assert_ne!(town.in_charge(), before);
        assert_eq!(std::fs::read(town.installed()).expect("read the program"), program);
        assert!(town.runs_what_is_installed());
        all_is_well(&town, &work);
        let again = town.another_version("version-3");
        town.upgrade(&again).succeeds();
        assert!(town.runs_what_is_installed());
    }
}

#[test]
fn when_the_old_server_dies_before_the_new_one_has_its_turn_a_start_mends_it() {
    for place in ["successor-started", "before-go"] {
        eprintln!("the old one dies at {place}");
        let (mut town, work) = doomed(place);
        let file = town.another_version("version-2");
        town.upgrade(&file).fails_with(1, "nothing has changed");
        eventually("the new one does not go on alone", SOON, || town.servers().is_empty());
        town.start_installed_again();
        assert!(town.runs_what_is_installed());
        all_is_well(&town, &work);
    }
}

#[test]
fn when_the_old_server_dies_after_that_the_new_one_is_in_charge() {
    for place in ["after-go", "successor-serves"] {
        eprintln!("the old one dies at {place}");
        let (town, work) = doomed(place);
        let before = town.in_charge();
        let file = town.another_version("version-2");
        town.upgrade(&file).succeeds();
        assert_ne!(town.in_charge(), before);
        assert_eq!(town.servers(), [town.in_charge()]);
        assert!(town.runs_what_is_installed());
        all_is_well(&town, &work);
    }
}

#[test]
fn when_the_new_server_dies_later_the_old_one_does_not_keep_another_from_starting() {
    let (mut town, work) = doomed("nowhere");
    let mut visitor = town.connect("blog").expect("connect");
    visitor.send("GET", "/slow?ms=12000", &[], b"").expect("send a slow request");
    town.upgrade(&town.another_version("version-2")).succeeds();
    town.kill_in_charge();
    town.start_another();
    let answer = visitor.answer().expect("the answer comes whole");
    assert_eq!((answer.status, answer.text().trim()), (200, "echo v1"));
    all_is_well(&town, &work);
}
