//! `kill -9` of `paas` at every step of a swap, under every class of traffic, with the listener handed over as systemd does:
//! only what was in flight on the dead process's connections may fail; whoever waits for the next process is served.
use super::ledger::Ledger;
use super::{APP, Load, Tally, is_long, push_ledger};
use crate::harness::{Town, Work, eventually};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// From before the candidate to after the old instance.
const PLACES: [&str; 13] = [
    "ref-received",
    "build-begun",
    "image-made",
    "release-made",
    "before-start",
    "instance-created",
    "instance-started",
    "before-promotion",
    "after-promotion",
    "after-route",
    "before-branch",
    "before-verdict",
    "before-stop",
];
const SHORT: [&str; 5] = ["image-made", "before-promotion", "after-promotion", "after-route", "before-stop"];
/// A failure is told at once where the process dies; reading it may take the visitor some time on a busy machine.
const SLACK: Duration = Duration::from_millis(500);

#[test]
fn killed_in_any_phase_of_a_swap_only_what_was_in_flight_fails_and_who_waits_is_served() {
    let places: &[&str] = if is_long() { &PLACES } else { &SHORT };
    let mut town = Town::start_on_a_listener_of_ours();
    let work = push_ledger(&town);
    town.kill9();
    town.start_again(&[("PAAS_CRASH_POINT", places[0])]);
    let load = Load::new(&town, Duration::from_secs(10));
    let (tallies, deaths) = std::thread::scope(|scope| {
        let visitors = load.begin(scope);
        let deaths = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut deaths = Vec::new();
            for (number, place) in places.iter().enumerate() {
                deaths.push(die(&mut town, &work, number, place));
                let waiting = waits_for_the_next(&load);
                town.start_again(&[]);
                waiting.gets_served();
                // What the dead one left to do must not lead into the next crash point.
                eventually("what was begun is ended", Duration::from_mins(1), || {
                    town.paas(&["ps", "-a", APP]).code == Some(0) && town.engine.instances(&[]).len() == 1
                });
                if let Some(next) = places.get(number + 1) {
                    town.kill9();
                    deaths.push(Instant::now());
                    town.start_again(&[("PAAS_CRASH_POINT", *next)]);
                }
            }
            deaths
        }));
        let tallies = visitors.finish(&load);
        (tallies, deaths.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    only_what_was_in_flight_failed(&tallies, &deaths);
    let complaints = Ledger::read(&town).agrees(&tallies);
    assert!(complaints.is_empty(), "{} complaints of the ledger: {complaints:#?}", complaints.len());
    work.set_version("last").push_with(&["--force", "main"]).succeeds();
    town.doctor_is_clean();
}

/// A push during which the server dies.
fn die(town: &mut Town, work: &Work, number: usize, place: &str) -> Instant {
    eprintln!("dies at {place}");
    work.set_version(&format!("{number} at {place}"));
    let push = work.begin_push_with(&["--force", "main"]);
    town.wait_for_crash(Duration::from_mins(1));
    let death = Instant::now();
    push.finish_within(Duration::from_secs(20)).fails_with("");
    death
}

/// A visitor who comes while nobody is there to accept.
struct Waiting(crate::harness::Connection);

fn waits_for_the_next(load: &Load) -> Waiting {
    let mut connection = load.connect().expect("the listener is there, whoever accepts");
    connection.send("GET", "/?id=7", &[], b"").expect("the kernel takes a small request");
    Waiting(connection)
}

impl Waiting {
    fn gets_served(mut self) {
        let answer = self.0.answer().expect("who waited is answered");
        assert_eq!((answer.status, answer.text().trim()), (200, "7"));
    }
}

/// Each failure was under way when the process died.
fn only_what_was_in_flight_failed(tallies: &BTreeMap<&str, Tally>, deaths: &[Instant]) {
    for (class, tally) in tallies {
        let spans_a_death =
            |begun: Instant, ended: Instant| deaths.iter().any(|death| begun <= *death && *death <= ended + SLACK);
        let others: Vec<&str> = tally
            .failed
            .iter()
            .filter(|failure| !spans_a_death(failure.begun, failure.ended))
            .map(|failure| &*failure.why)
            .collect();
        assert!(others.is_empty(), "{class}: failed while nobody died: {others:?}");
        assert!(tally.done > tally.failed.len(), "{class}: {} of {} failed", tally.failed.len(), tally.done);
    }
}
