//! What a client connection's gate, its requests and its thread's ticks tell each other. Shared only within one thread;
//! atomic because hyper wants an upgraded connection to be `Send`.
use super::sync::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed};
use futures_util::task::AtomicWaker;
use std::sync::Arc;
use std::task::Context;

#[derive(Debug, Default)]
pub(super) struct Wire {
    mood: AtomicU8,
    /// Counts changes of `mood`, so that a tick sees one that went there and back.
    changes: AtomicU32,
    order: AtomicU8,
    upgrade: AtomicU8,
    /// Set while its request is held: its client may leave behind a body that nobody reads.
    is_waiting: AtomicBool,
    /// Set when a body was refused: the rest of it is read and dropped before the connection ends.
    is_lingering: AtomicBool,
    /// Set when the connection ended: it needs no watching any more.
    is_gone: AtomicBool,
    /// Set where the connection carries many requests at a time (HTTP/2): each of them has a wire of its own, and this
    /// one is the connection's.
    carries_many: AtomicBool,
    /// How many of them are under way.
    requests: AtomicU32,
    gate: AtomicWaker,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// A request's first byte.
    Idle = 0,
    /// The rest of a head.
    Head = 1,
    /// Us: a request is under way.
    Busy = 2,
    /// The rest of a TLS handshake.
    Handshake = 3,
}

/// What a tick tells a gate to do. A later order replaces an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    None = 0,
    /// Nothing came for long: end the connection, unless something just came.
    Close = 1,
    /// The head takes too long: refuse it.
    Timeout = 2,
    /// Break the connection, so that nobody takes what was sent for whole.
    Abort = 3,
}

/// What came of a request for an upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upgrade {
    /// None was asked for, or it was not taken up.
    Http = 0,
    Undecided = 1,
    Tunnel = 2,
}

impl Wire {
    pub(super) fn mood(&self) -> (Mood, u32) {
        let mood = match self.mood.load(Relaxed) {
            0 => Mood::Idle,
            1 => Mood::Head,
            3 => Mood::Handshake,
            _ => Mood::Busy,
        };
        (mood, self.changes.load(Relaxed))
    }

    /// A request was answered, or needs no more answer.
    pub(super) fn rest(&self) {
        self.set_mood(Mood::Idle);
    }

    /// The request that asked for an upgrade got another answer. Its own to say: others may be under way before it.
    pub(super) fn decline_upgrade(&self) {
        if self.upgrade() == Upgrade::Undecided {
            self.set_upgrade(Upgrade::Http);
        }
    }

    pub(super) fn set_mood(&self, mood: Mood) {
        self.mood.store(mood as u8, Relaxed);
        self.changes.store(self.changes.load(Relaxed).wrapping_add(1), Relaxed);
    }

    pub(super) fn carry_many(&self) {
        self.carries_many.store(true, Relaxed);
    }

    pub(super) fn carries_many(&self) -> bool {
        self.carries_many.load(Relaxed)
    }

    /// One more request on a connection that carries many.
    pub(super) fn begin(self: &Arc<Self>) -> Turn {
        self.requests.fetch_add(1, Relaxed);
        self.settle();
        Turn { wire: self.clone() }
    }

    /// A head begins, of a connection that carries many: its time starts now.
    pub(super) fn begin_head(&self) {
        self.set_mood(Mood::Head);
    }

    /// The bytes just read left off within a head, maybe the same as before.
    pub(super) fn stay_in_head(&self) {
        if self.mood().0 != Mood::Head {
            self.begin_head();
        }
    }

    /// The bytes just read left off behind a head.
    pub(super) fn leave_head(&self) {
        if self.mood().0 == Mood::Head {
            self.set_mood(self.mood_without_head());
        }
    }

    /// Something moved: an idle connection is not idle since before.
    pub(super) fn stir(&self) {
        if self.mood().0 == Mood::Idle {
            self.set_mood(Mood::Idle);
        }
    }

    fn settle(&self) {
        if self.mood().0 != Mood::Head {
            self.set_mood(self.mood_without_head());
        }
    }

    fn mood_without_head(&self) -> Mood {
        if self.requests.load(Relaxed) == 0 { Mood::Idle } else { Mood::Busy }
    }

    pub(super) fn order(&self) -> Order {
        match self.order.load(Relaxed) {
            0 => Order::None,
            1 => Order::Close,
            2 => Order::Timeout,
            _ => Order::Abort,
        }
    }

    pub(super) fn give(&self, order: Order) {
        self.order.store(order as u8, Relaxed);
        self.gate.wake();
    }

    pub(super) fn withdraw_order(&self) {
        self.order.store(Order::None as u8, Relaxed);
    }

    pub(super) fn upgrade(&self) -> Upgrade {
        match self.upgrade.load(Relaxed) {
            0 => Upgrade::Http,
            1 => Upgrade::Undecided,
            _ => Upgrade::Tunnel,
        }
    }

    pub(super) fn set_upgrade(&self, upgrade: Upgrade) {
        self.upgrade.store(upgrade as u8, Relaxed);
        if upgrade != Upgrade::Undecided {
            self.gate.wake();
        }
    }

    pub(super) fn register_gate(&self, cx: &Context<'_>) {
        self.gate.register(cx.waker());
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.is_waiting.load(Relaxed)
    }

    pub(super) fn set_waiting(&self, is_waiting: bool) {
        self.is_waiting.store(is_waiting, Relaxed);
    }

    /// Lets the gate look whether the client of a held request is still there.
    pub(super) fn look(&self) {
        self.gate.wake();
    }

    /// To be called after [`Self::rest`], which it takes the place of: the time for a head is the time for this too.
    pub(super) fn linger(&self) {
        self.is_lingering.store(true, Relaxed);
        self.set_mood(Mood::Head);
    }

    pub(super) fn is_lingering(&self) -> bool {
        self.is_lingering.load(Relaxed)
    }

    pub(super) fn is_gone(&self) -> bool {
        self.is_gone.load(Relaxed)
    }

    pub(super) fn set_gone(&self) {
        self.is_gone.store(true, Relaxed);
    }
}

/// One of many requests on a connection, from its head until its answer is handed over or given up.
pub(super) struct Turn {
    wire: Arc<Wire>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.wire.requests.fetch_sub(1, Relaxed);
        self.wire.settle();
    }
}
