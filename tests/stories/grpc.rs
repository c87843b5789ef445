//! An app that speaks HTTP/2 in the clear alone: it is probed, served and exchanged in its own protocol.
use crate::harness::{Town, eventually};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(40);

#[test]
fn an_app_that_speaks_h2c_goes_live_once_that_is_said_and_is_swapped_without_a_failure() {
    let town = Town::start();
    town.paas(&["apps:create", "calls"]).succeeds();
    town.paas(&["ps:protocol", "worker=h2c", "-a", "calls"]).fails_with(2, "only `web` has a protocol");
    town.paas(&["ps:protocol", "web=spdy", "-a", "calls"]).fails_with(2, "no protocol of instances");
    town.paas(&["checks:set", "timeout=5s", "-a", "calls"]).succeeds();
    let work = town.work("hello-h2c", "calls");
    work.push().fails_with("did not answer on port");
    town.paas(&["checks:set", "timeout=default", "-a", "calls"]).succeeds();
    town.paas(&["ps:protocol", "web=h2c", "-a", "calls"]).succeeds().says("spoken to in h2c");
    town.paas(&["ps:protocol", "web=h2c", "-a", "calls"]).succeeds().says("nothing changed");
    assert_eq!(town.paas(&["ps:protocol", "-a", "calls", "--json"]).json()[0]["protocol"], "h2c");
    work.set_version("hello-h2c v2").commit("Again").push().succeeds().says("-----> Live:");
    town.shows("calls", "hello-h2c v2");
    assert_eq!(town.get("calls", "/").header("x-asked"), Some("calls.localhost"));
    let (stop, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let visits = scope.spawn(|| {
            let mut failed = Vec::new();
            while !stop.load(Ordering::SeqCst) {
                match town.try_get("calls", "/") {
                    Ok(answer) if answer.status == 200 => drop(served.fetch_add(1, Ordering::SeqCst)),
                    other => failed.push(format!("{other:?}")),
                }
            }
            failed
        });
        work.set_version("hello-h2c v3").commit("And again").push().succeeds();
        let before = served.load(Ordering::SeqCst);
        eventually("requests behind the swap", SOON, || served.load(Ordering::SeqCst) > before + 50);
        stop.store(true, Ordering::SeqCst);
        assert_eq!(visits.join().expect("the visits"), Vec::<String>::new());
    });
    town.shows("calls", "hello-h2c v3");
    town.doctor_is_clean();
}
