//! Zero downtime, shown by every kind of traffic going on while release after release goes live.
use super::traffic::{self, Tally};
use crate::harness::{Town, eventually};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

/// What a draining instance is given for event streams and WebSockets (server/src/proxy/limits.rs).
const DRAIN: Duration = Duration::from_secs(30);

#[test]
fn swaps_under_mixed_load_fail_no_request_and_reset_none() {
    let swaps = if std::env::var_os("PAAS_LONG").is_some() { 50 } else { 5 };
    let town = Town::start();
    let work = town.work("echo", "blog");
    work.push().succeeds();
    let stop = AtomicBool::new(false);
    let tallies = std::thread::scope(|scope| {
        type Visitor = fn(&Town, &AtomicBool) -> Tally;
        let kinds: [(&str, Visitor, usize); 5] = [
            ("fresh", traffic::fresh, 2),
            ("kept alive", traffic::kept_alive, 2),
            ("slow", traffic::slow, 4),
            ("upload", traffic::uploads, 2),
            ("slow upload", traffic::slow_uploads, 1),
        ];
        let visitors: Vec<(&str, ScopedJoinHandle<Tally>)> = kinds
            .into_iter()
            .flat_map(|(name, visit, count)| std::iter::repeat_n((name, visit), count))
            .map(|(name, visit)| {
                let (town, stop) = (&town, &stop);
                (name, scope.spawn(move || visit(town, stop)))
            })
            .collect();
        let panicked = (2..swaps + 2).find_map(|no| {
            let push = work.set_version(&format!("echo v{no}")).push();
            (!push.stderr.contains(&format!("Live: v{no} serves"))).then_some(push)
        });
        stop.store(true, Ordering::SeqCst);
        assert!(panicked.is_none(), "{panicked:?}");
        let mut tallies: BTreeMap<&str, Tally> = BTreeMap::new();
        for (name, visitor) in visitors {
            tallies.entry(name).or_default().add(visitor.join().expect("a visitor does not panic"));
        }
        tallies
    });
    println!("{swaps} swaps: {tallies:#?}");
    for (name, tally) in &tallies {
        assert!(tally.failed.is_empty(), "{name}: {} of {} failed: {:?}", tally.failed.len(), tally.done, tally.failed);
        assert!(tally.done >= 3, "{name}: only {} done", tally.done);
    }
    assert!(tallies["slow"].ended_on_the_old > 0, "no slow request was under way during a swap");
    town.shows("blog", &format!("echo v{}", swaps + 1));
    town.doctor_is_clean();
}

#[test]
fn event_streams_and_websockets_go_on_until_the_drain_deadline_and_then_comes_sigterm() {
    let town = Town::start();
    let work = town.work("echo", "blog");
    work.push().succeeds();
    let old = town.get("blog", "/pid").text().trim().to_owned();
    std::thread::scope(|scope| {
        let events = scope.spawn(|| traffic::events_until_cut(&town));
        let socket = scope.spawn(|| traffic::websocket_until_cut(&town));
        work.set_version("echo v2").push().succeeds().says("v1 still finishes what it began");
        let swapped = Instant::now();
        assert_ne!(town.get("blog", "/pid").text().trim(), old, "new requests reach the new instance");
        assert!(!town.log_of("blog").contains("SIGTERM"), "SIGTERM came before the drain was over");
        let (events, socket) = (events.join().expect("no panic"), socket.join().expect("no panic"));
        for (what, stream) in [("the event stream", &events), ("the WebSocket", &socket)] {
            assert_eq!(stream.instance, old, "{what} stays on its instance");
            assert!(stream.in_order, "{what} lost or doubled a message");
            let lasted = stream.ended.saturating_duration_since(swapped);
            assert!(lasted.abs_diff(DRAIN) < Duration::from_secs(8), "{what} was cut {lasted:?} after the swap");
        }
    });
    eventually("then SIGTERM comes", Duration::from_secs(10), || {
        town.log_of("blog").contains("app[web.1]: SIGTERM: finishing")
    });
    eventually("the old instance is gone", Duration::from_secs(20), || {
        town.engine.instances(&["paas.release=1"]).is_empty()
    });
    town.doctor_is_clean();
}

#[test]
fn a_request_under_way_ends_on_the_old_instance_before_it_hears_sigterm() {
    let town = Town::start();
    let work = town.work("echo", "blog");
    work.push().succeeds();
    let mut visitor = town.connect("blog").expect("connect");
    visitor.send("GET", "/slow?ms=8000", &[], b"").expect("send a slow request");
    work.set_version("echo v2").push().succeeds().says("v1 still finishes what it began");
    town.shows("blog", "echo v2");
    assert!(!town.log_of("blog").contains("SIGTERM"), "SIGTERM came before the drain was over");
    let answer = visitor.answer().expect("the answer comes whole");
    assert_eq!((answer.status, answer.text().trim()), (200, "echo v1"));
    eventually("then SIGTERM comes", Duration::from_secs(10), || {
        town.log_of("blog").contains("app[web.1]: SIGTERM: finishing")
    });
    // The visitor's connection is still good, and now reaches the new release.
    assert_eq!(visitor.get("/").expect("the connection was kept").text().trim(), "echo v2");
    town.doctor_is_clean();
}

#[test]
fn an_instance_that_ignores_sigterm_is_killed_in_the_end() {
    let town = Town::start();
    let work = town.work("ignores-term", "blog");
    work.push().succeeds();
    work.set_version("two").push().succeeds();
    town.shows("blog", "two");
    eventually("the old instance is gone", Duration::from_mins(1), || {
        town.engine.instances(&["paas.release=1"]).is_empty()
    });
    town.doctor_is_clean();
}
