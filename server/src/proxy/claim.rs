//! The claim protocol, the whole guarantee of a swap: nobody sends to an instance after its drain was reported.
//!
//! A request loads the route snapshot, enters the instance's count, and only then looks whether the instance is closed;
//! when it is, it leaves again and loads the new snapshot. Draining publishes the new snapshot, closes, and waits for
//! zero. All sequentially consistent: either the request sees `closed`, or the drain sees the request.
//!
//! The drain reads the count by a read-modify-write. Those of one atomic stand in one order: an `enter` before it is
//! counted, an `enter` behind it synchronizes with it and so sees `closed`. That holds without sequential consistency
//! too, which is as much as loom can prove (it takes `SeqCst` loads and stores for acquire and release).
//!
//! No dependencies but the atomics of `super::sync`, so that `tests/claim_model.rs` can include this file and let loom
//! try every interleaving.
use super::sync::{AtomicBool, AtomicU64, Ordering::SeqCst};

#[derive(Debug)]
pub(super) struct Claim {
    in_flight: AtomicU64,
    closed: AtomicBool,
}

/// What came of an attempt to enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// Counted: the request may be sent, and must leave once.
    Claimed,
    /// Closed, and not counted: take the new snapshot.
    Closed(Left),
}

/// What somebody left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Others are still in, or the instance is open.
    Others,
    /// The last one out of a closed instance: tell whoever waits for it. More than one may be told.
    Nobody,
}

impl Claim {
    pub(super) fn new() -> Self {
        Self { in_flight: AtomicU64::new(0), closed: AtomicBool::new(false) }
    }

    pub(super) fn enter(&self) -> Entry {
        self.in_flight.fetch_add(1, SeqCst);
        if self.closed.load(SeqCst) { Entry::Closed(self.leave()) } else { Entry::Claimed }
    }

    pub(super) fn leave(&self) -> Left {
        let was_last = self.in_flight.fetch_sub(1, SeqCst) == 1;
        if was_last && self.closed.load(SeqCst) { Left::Nobody } else { Left::Others }
    }

    /// To be called after the snapshot without this instance was published.
    pub(super) fn close(&self) -> Left {
        self.closed.store(true, SeqCst);
        if self.settled_count() == 0 { Left::Nobody } else { Left::Others }
    }

    /// To be called before a snapshot with this instance is published again.
    pub(super) fn reopen(&self) {
        self.closed.store(false, SeqCst);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(SeqCst)
    }

    /// Closed and empty: nothing goes there, and nothing will.
    pub(super) fn is_drained(&self) -> bool {
        self.is_closed() && self.settled_count() == 0
    }

    /// For balancing: may lag behind.
    pub(super) fn in_flight(&self) -> u64 {
        self.in_flight.load(SeqCst)
    }

    /// The count, in one order with all who enter and leave.
    fn settled_count(&self) -> u64 {
        self.in_flight.fetch_add(0, SeqCst)
    }
}
