//! An instance: one running container. Only ever observed, never stored as truth.
use super::failure::Exit;
use super::{ContainerId, Moment, ProcessType, ReleaseNo};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A place in the formation (`web.1`), or the name of a one-off instance (`run.7`), which stands beside it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Slot {
    pub process: ProcessType,
    /// Counts from 1.
    pub index: u32,
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.process, self.index)
    }
}

impl FromStr for Slot {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || format!("`{text}` is no instance; instances are named like web.1");
        let (process, index) = text.rsplit_once('.').ok_or_else(refuse)?;
        let index: u32 = index.parse().ok().filter(|index| *index > 0).ok_or_else(refuse)?;
        Ok(Self { process: process.parse().map_err(|_| refuse())?, index })
    }
}

/// What is known of one instance at one moment, from the engine, the probes and the proxy together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub id: ContainerId,
    pub slot: Slot,
    pub release: ReleaseNo,
    /// The restart epoch it was started in; a slot whose epoch moved on is replaced.
    pub epoch: u64,
    pub state: State,
    pub traffic: Traffic,
}

impl Seen {
    /// Whether it was made ahead for this place, and waits to be started. Of two, the first one seen is taken.
    pub fn is_made_for(&self, release: ReleaseNo, slot: &Slot, epoch: u64) -> bool {
        self.state == State::Made && (self.release, &self.slot, self.epoch) == (release, slot, epoch)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Made and not started: it waits for its turn, or nobody wants it any more.
    Made,
    /// Runs, and is not known to be ready yet.
    Starting { since: Moment, probe: Probe },
    /// Web: it passed its health check. Other types: it has run for [`super::plan::SETTLE_TIME`].
    Ready,
    /// We asked it to end.
    Stopping,
    /// It ended by itself.
    Exited { at: Moment, exit: Exit },
}

/// What the last probe of a starting web instance met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    NoAnswer,
    Status(u16),
}

/// Whether the proxy still sends or carries something to an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// In the published route table.
    Routed,
    /// Out of the table, with requests still under way.
    Draining,
    /// Nothing goes there, and nothing will.
    Quiet,
}
