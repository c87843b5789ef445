//! Requests of an app that wait: bounded in number here, in time by the ticks; their bodies are not read meanwhile. Who
//! leaves while waiting is dropped at once, unless a body that nobody reads hides it: then within the time for waiting.
use super::sync::{AtomicU64, AtomicUsize, Ordering::Relaxed};
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

/// Requests of an app that wait for it, over all threads and snapshots.
#[derive(Default)]
pub(super) struct Held {
    waiting: AtomicUsize,
    entered: AtomicU64,
    lost: AtomicU64,
}

impl Held {
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    /// One more, if there is room.
    pub(super) fn enter(self: &Arc<Self>, max: usize) -> Option<HeldPlace> {
        self.entered.fetch_add(1, Relaxed);
        let entered = self.waiting.fetch_update(Relaxed, Relaxed, |held| (held < max).then_some(held + 1));
        if entered.is_err() {
            self.lost.fetch_add(1, Relaxed);
            return None;
        }
        Some(HeldPlace { held: self.clone(), is_admitted: false })
    }
}

pub(super) struct HeldPlace {
    held: Arc<Held>,
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
        self.held.waiting.fetch_sub(1, Relaxed);
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
