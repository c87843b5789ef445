//! One instance as all threads of the proxy share it: its address, its claim, and the account of its drain.
use super::Waker;
use super::claim::{Claim, Entry, Left};
use super::crowd::Crowd;
use super::sync::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};
use crate::domain::instance::Traffic;
use crate::domain::route::Backend;
use crate::domain::{AppId, ContainerId, Protocol, hex::hex};
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Digits of a target's tag.
const TAG_DIGITS: usize = 16;

/// How a drain went. Times and counts are those of the last time the instance left the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainReport {
    /// Requests that were in flight when the instance left the table.
    pub requests: u64,
    /// Those of them that were cut because their time was over.
    pub forced: u64,
    /// From leaving the table to the end of the last request.
    pub took: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entered {
    /// It must leave once.
    Claimed,
    /// As many are in as the app's owner wants; not counted.
    Full,
    /// A table without it was published; not counted.
    Closed,
}

pub(super) struct Target {
    pub(super) id: ContainerId,
    /// Names it to visitors, who learn nothing by it.
    pub(super) tag: String,
    pub(super) app: AppId,
    /// As router lines name it: `web.1`.
    pub(super) process: String,
    pub(super) address: SocketAddr,
    /// What it is spoken to in.
    pub(super) protocol: Protocol,
    /// Never used twice: the pools are keyed by it, so that a reused address cannot meet an old connection.
    pub(super) serial: u64,
    claim: Claim,
    /// Who waits for room in an instance of the app.
    crowd: Arc<Crowd>,
    /// The proxy's tick at which it was last closed.
    closed_tick: AtomicU32,
    is_condemned: AtomicBool,
    /// Closed, and others wait for it to be gone.
    is_hurried: AtomicBool,
    drained: AtomicU64,
    forced: AtomicU64,
    closed_ms: AtomicU64,
    quiet_ms: AtomicU64,
    epoch: Instant,
    waker: Arc<dyn Waker>,
}

/// What a target is told about its beginning.
pub(super) struct Birth {
    pub(super) serial: u64,
    pub(super) epoch: Instant,
    pub(super) waker: Arc<dyn Waker>,
}

impl Target {
    pub(super) fn new(backend: &Backend, app: AppId, crowd: Arc<Crowd>, born: Birth) -> Self {
        let Birth { serial, epoch, waker } = born;
        let mut tag = hex(&Sha256::digest(backend.container.as_str()));
        tag.truncate(TAG_DIGITS);
        Self {
            id: backend.container.clone(),
            tag,
            crowd,
            app,
            process: backend.slot.to_string(),
            address: backend.address,
            protocol: backend.protocol,
            serial,
            claim: Claim::new(),
            closed_tick: AtomicU32::new(0),
            is_condemned: AtomicBool::new(false),
            is_hurried: AtomicBool::new(false),
            drained: AtomicU64::new(0),
            forced: AtomicU64::new(0),
            closed_ms: AtomicU64::new(0),
            quiet_ms: AtomicU64::new(0),
            epoch,
            waker,
        }
    }

    /// One request enters, if there is room for it.
    pub(super) fn enter(&self, room: Option<u64>) -> Entered {
        if room.is_some_and(|room| self.in_flight() >= room) {
            return if self.is_closed() { Entered::Closed } else { Entered::Full };
        }
        match self.claim.enter() {
            // Others came at the same moment.
            Entry::Claimed if room.is_some_and(|room| self.in_flight() > room) => {
                self.back_out(self.claim.leave());
                Entered::Full
            }
            Entry::Claimed => Entered::Claimed,
            Entry::Closed(left) => {
                self.back_out(left);
                Entered::Closed
            }
        }
    }

    fn back_out(&self, left: Left) {
        self.tell(left);
        self.crowd.tell_one();
    }

    pub(super) fn leave(&self) {
        if self.claim.is_closed() {
            self.drained.fetch_add(1, SeqCst);
            self.quiet_ms.fetch_max(self.elapsed_ms(), SeqCst);
        }
        self.back_out(self.claim.leave());
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.claim.in_flight()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.claim.is_closed()
    }

    /// To be called after the table without it was published, by the one who publishes.
    pub(super) fn close(&self, tick: u32) {
        self.closed_tick.store(tick, SeqCst);
        self.closed_ms.store(self.elapsed_ms(), SeqCst);
        self.quiet_ms.store(self.elapsed_ms(), SeqCst);
        self.drained.store(0, SeqCst);
        self.forced.store(0, SeqCst);
        self.tell(self.claim.close());
    }

    /// To be called before a table with it is published again.
    pub(super) fn reopen(&self) {
        self.is_hurried.store(false, SeqCst);
        self.claim.reopen();
    }

    /// A closed one gets the short drain from `tick` on.
    pub(super) fn hurry(&self, tick: u32) {
        if !self.is_hurried.swap(true, SeqCst) {
            self.closed_tick.store(tick, SeqCst);
        }
    }

    pub(super) fn is_hurried(&self) -> bool {
        self.is_hurried.load(SeqCst)
    }

    /// The instance is gone: what is left of its requests is cut at once.
    pub(super) fn condemn(&self) {
        self.is_condemned.store(true, SeqCst);
    }

    pub(super) fn is_condemned(&self) -> bool {
        self.is_condemned.load(SeqCst)
    }

    pub(super) fn closed_tick(&self) -> Option<u32> {
        self.is_closed().then(|| self.closed_tick.load(SeqCst))
    }

    pub(super) fn count_forced(&self) {
        self.forced.fetch_add(1, SeqCst);
    }

    pub(super) fn traffic(&self) -> Traffic {
        match (self.is_closed(), self.claim.is_drained()) {
            (false, _) => Traffic::Routed,
            (true, false) => Traffic::Draining,
            (true, true) => Traffic::Quiet,
        }
    }

    pub(super) fn report(&self) -> Option<DrainReport> {
        self.claim.is_drained().then(|| DrainReport {
            requests: self.drained.load(SeqCst),
            forced: self.forced.load(SeqCst),
            took: Duration::from_millis(self.quiet_ms.load(SeqCst).saturating_sub(self.closed_ms.load(SeqCst))),
        })
    }

    fn tell(&self, left: Left) {
        match left {
            Left::Others => {}
            Left::Nobody => self.waker.app_changed(self.app),
        }
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
