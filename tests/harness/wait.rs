//! Waiting for a condition with a limit; nothing in the stories sleeps for luck.
use std::time::{Duration, Instant};

const STEP: Duration = Duration::from_millis(20);

/// Waits until `condition` holds; panics with `what` when it does not within `limit`.
#[track_caller]
pub(crate) fn eventually(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < limit, "not within {} s: {what}", limit.as_secs_f64());
        std::thread::sleep(STEP);
    }
}
