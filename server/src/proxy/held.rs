//! Requests of an app that wait: bounded in number here, in time by the ticks; their bodies are not read meanwhile. Who
//! leaves while waiting is dropped at once, or, where a body that nobody reads hides it, at the next tick.
use super::sync::{AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use super::wire::Wire;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How a hold went: the last one that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldReport {
    /// Requests that came while it lasted.
    pub requests: u64,
    /// Those of them that never reached an instance: turned away, their time over, or their client gone.
    pub lost: u64,
    /// From the first table that held to the first one that did not.
    pub took: Duration,
}

/// How many requests may wait, and what they may take up together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HoldLimits {
    pub(super) requests: usize,
    pub(super) bytes: u64,
}

/// Requests of an app that wait for it, over all threads and snapshots.
#[derive(Default)]
pub(super) struct Held {
    waiting: AtomicUsize,
    /// What they may take up.
    bytes: AtomicU64,
    entered: AtomicU64,
    lost: AtomicU64,
}

impl Held {
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(SeqCst)
    }

    /// One more, if there is room.
    pub(super) fn enter(self: &Arc<Self>, max: HoldLimits, weight: u64, wire: Arc<Wire>) -> Option<HeldPlace> {
        self.entered.fetch_add(1, Relaxed);
        // Sequentially consistent: who leaves an instance looks here for somebody to tell.
        let entered = self.waiting.fetch_update(SeqCst, SeqCst, |held| (held < max.requests).then_some(held + 1));
        if entered.is_err() {
            self.lost.fetch_add(1, Relaxed);
            return None;
        }
        let place = HeldPlace { held: self.clone(), wire, weight, is_admitted: false };
        place.wire.set_waiting(true);
        (self.bytes.fetch_add(weight, Relaxed) + weight <= max.bytes).then_some(place)
    }
}

pub(super) struct HeldPlace {
    held: Arc<Held>,
    wire: Arc<Wire>,
    weight: u64,
    is_admitted: bool,
}

impl HeldPlace {
    /// It found an instance.
    pub(super) fn admit(mut self) {
        self.is_admitted = true;
    }
}

impl Drop for HeldPlace {
    fn drop(&mut self) {
        self.wire.set_waiting(false);
        self.held.bytes.fetch_sub(self.weight, Relaxed);
        self.held.waiting.fetch_sub(1, SeqCst);
        if !self.is_admitted {
            self.held.lost.fetch_add(1, Relaxed);
        }
    }
}

/// The account of an app's holds, kept by whoever publishes tables.
#[derive(Default)]
pub(super) struct Holds {
    pub(super) held: Arc<Held>,
    since: Option<Instant>,
    last: Option<HoldReport>,
}

impl Holds {
    /// To be called before a table is published in which the app's requests wait.
    pub(super) fn begin(&mut self) {
        if self.since.is_none() {
            self.held.entered.store(0, Relaxed);
            self.held.lost.store(0, Relaxed);
            self.since = Some(Instant::now());
        }
    }

    /// To be called after a table was published in which they do not.
    pub(super) fn end(&mut self) {
        if let Some(since) = self.since.take() {
            self.last = Some(HoldReport {
                requests: self.held.entered.load(Relaxed),
                lost: self.held.lost.load(Relaxed),
                took: since.elapsed(),
            });
        }
    }

    pub(super) fn last(&self) -> Option<HoldReport> {
        self.last
    }
}
