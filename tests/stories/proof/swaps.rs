//! Releases come and go at random moments under every class of traffic: good ones, misbehaving ones, and ones that never
//! come up. Every figure that the router promises is nought.
use super::ledger::{Ledger, Swap};
use super::{APP, Load, Tally, is_long, push_ledger, unix_ms};
use crate::harness::{Dice, Town, Work, eventually};
use std::collections::BTreeMap;
use std::time::Duration;

/// How an app behaves that goes live, however badly it does.
const LIVABLE: [&str; 6] = ["plain", "idle-1", "idle-5", "close", "deaf", "slow"];
/// How one behaves that must not.
const HOPELESS: [&str; 3] = ["crash", "crash-after-200", "loopback"];

#[test]
fn over_random_swaps_no_request_of_any_class_fails_and_the_ledger_agrees() {
    let swaps: u64 = if is_long() { 100 } else { 10 };
    let mut dice = Dice::thrown();
    let town = Town::start();
    let work = push_ledger(&town);
    town.paas(&["checks:set", "timeout=10s", "-a", APP]).succeeds();
    // The first swap has opened what stays open: the database's files, the pools of the engine.
    work.set_version("warm").push().succeeds();
    let sockets = settled_sockets(&town);
    let load = Load::new(&town, if is_long() { Duration::from_secs(20) } else { Duration::from_secs(10) });
    let (tallies, done) = std::thread::scope(|scope| {
        let visitors = load.begin(scope);
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut done = Vec::new();
            // Every kind of hopeless release comes once in the short form, wherever.
            let mut hopeless: Vec<(u64, &str)> = Vec::new();
            for _ in 0..=swaps.div_euclid(30) {
                hopeless.extend(HOPELESS.map(|behaviour| (dice.below(swaps), behaviour)));
            }
            for number in 0..swaps {
                for (_, behaviour) in hopeless.iter().filter(|(at, _)| *at == number) {
                    fails(&work, behaviour);
                }
                std::thread::sleep(Duration::from_millis(dice.below(1500)));
                done.push(swap(&town, &work, &load, (&mut dice, number)));
            }
            done
        }));
        let tallies = visitors.finish(&load);
        (tallies, done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    nothing_failed(&tallies);
    let ledger = Ledger::read(&town);
    let complaints = [ledger.agrees(&tallies), ledger.leaves_old_instances_alone(&done)].concat();
    assert!(complaints.is_empty(), "{} complaints of the ledger: {complaints:#?}", complaints.len());
    eprintln!("{swaps} swaps, {} instances, sockets of paas before: {sockets}", ledger.instances());
    eventually("paas holds no more sockets than before", Duration::from_mins(1), || town.sockets() <= sockets);
    town.doctor_is_clean();
}

/// Something that brings another release, or the same one again, by chance.
fn swap(town: &Town, work: &Work, load: &Load, (dice, number): (&mut Dice, u64)) -> Swap {
    let begun_ms = unix_ms();
    match dice.below(10) {
        0 => {
            town.paas(&["config:set", &format!("NUMBER={number}"), "-a", APP]).succeeds();
        }
        1 => {
            town.paas(&["rollback", "-a", APP]).succeeds();
        }
        _ => {
            let behaviour = dice.of(&LIVABLE);
            eprintln!("swap {number}: {behaviour}");
            work.write("BEHAVIOUR", behaviour).set_version(&format!("{number} {behaviour}"));
            let push = work.begin_push();
            push.wait_for("-----> Live: v");
            let first_id = load.id();
            push.finish().succeeds();
            return Swap { begun_ms, first_id };
        }
    }
    Swap { begun_ms, first_id: load.id() }
}

/// A release that never serves; who serves goes on.
fn fails(work: &Work, behaviour: &str) {
    eprintln!("a release that fails: {behaviour}");
    work.write("BEHAVIOUR", behaviour).set_version(&format!("hopeless {behaviour}"));
    work.push().fails_with("still serves");
    work.git(&["reset", "--quiet", "--hard", "HEAD~1"]).succeeds();
}

fn nothing_failed(tallies: &BTreeMap<&str, Tally>) {
    for (class, tally) in tallies {
        let told: Vec<&str> = tally.failed.iter().map(|failure| &*failure.why).take(5).collect();
        assert!(tally.failed.is_empty(), "{class}: {} of {} failed: {told:?}", tally.failed.len(), tally.done);
        assert!(tally.done > 0, "{class}: nothing was done");
        assert_eq!(tally.closed_idle, 0, "{class}: kept connections were closed");
    }
}

/// Once nothing drains any more.
fn settled_sockets(town: &Town) -> usize {
    eventually("only one instance is left", Duration::from_mins(1), || town.engine.instances(&[]).len() == 1);
    // Idle upstream connections are closed within four seconds, and a tick.
    std::thread::sleep(Duration::from_secs(5));
    town.sockets()
}
