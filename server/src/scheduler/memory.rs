//! What the scheduler remembers of an app between two looks. All of it can be lost: a restart observes anew.
use super::probe::ProbeState;
use crate::domain::failure::Exit;
use crate::domain::instance::Slot;
use crate::domain::plan::{CommandLedger, CommandRun, CrashLedger, Crashes, STEADY_TIME, Wanted};
use crate::domain::{ContainerId, Moment, Protocol, ReleaseNo};
use crate::proxy::DrainReport;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

#[derive(Default)]
pub(super) struct AppMemory {
    /// Whether a pass has observed the app since the server started.
    pub(super) adopted: bool,
    pub(super) instances: HashMap<ContainerId, Known>,
    pub(super) stopping: HashSet<ContainerId>,
    pub(super) crashes: CrashLedger,
    /// How often new instances were asked for in each slot, at the last look.
    pub(super) epochs: BTreeMap<Slot, u64>,
    /// Release commands that run or have run.
    pub(super) commands: BTreeMap<ReleaseNo, Commanded>,
    /// Instances whose end was counted already.
    pub(super) counted: HashSet<ContainerId>,
    /// Instances that we ended for what they did: the true cause, which the engine does not know.
    pub(super) ended_by_us: HashMap<ContainerId, Exit>,
    /// What the instances of a release carried when they left the route.
    pub(super) drained: HashMap<ReleaseNo, Drained>,
    /// Releases whose start was told.
    pub(super) told: HashSet<ReleaseNo>,
    /// Releases whose long wait was told.
    pub(super) told_wait: HashSet<ReleaseNo>,
    /// Since when requests wait for instances that may not run yet.
    pub(super) held_since: Option<Moment>,
    /// When the timer that is set will wake the app.
    pub(super) next_look: Option<Moment>,
    /// How far the clearing away of a destroyed app has come.
    pub(super) clearing: Clearing,
    /// The instances of the last look, to notice in a sweep that something changed without an event.
    pub(super) last_seen: Vec<(ContainerId, bool)>,
}

pub(super) struct Commanded {
    pub(super) run: CommandRun,
    /// Cancelled when nobody waits for it any more.
    pub(super) end: CancellationToken,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Clearing {
    #[default]
    UnderWay,
    /// The last look failed, and why; the next one may not.
    Stuck(String),
    /// Nothing is left in the engine and in the routes.
    Done,
}

/// A running instance that we look after.
pub(super) struct Known {
    pub(super) release: ReleaseNo,
    pub(super) address: IpAddr,
    pub(super) protocol: Protocol,
    /// By our own clock, which the engine's may differ from.
    pub(super) seen_since: Moment,
    pub(super) probe: Arc<ProbeState>,
    /// Ends the probe and the log collection of this instance.
    pub(super) watch: CancellationToken,
}

impl Drop for Known {
    fn drop(&mut self) {
        self.watch.cancel();
    }
}

/// Sum over the instances of a release that were drained.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Drained {
    pub(super) requests: u64,
    pub(super) forced: u64,
    pub(super) took_ms_max: u64,
}

impl AppMemory {
    pub(super) fn command_ledger(&self) -> CommandLedger {
        self.commands.iter().map(|(no, command)| (*no, command.run.clone())).collect()
    }

    pub(super) fn count_crash(
        &mut self,
        release: ReleaseNo,
        slot: &Slot,
        now: Moment,
        ran_since: Option<Moment>,
    ) -> Crashes {
        let crashes = self.crashes.entry((release, slot.clone())).or_default();
        let was_steady = ran_since.is_some_and(|since| now.since(since) >= STEADY_TIME);
        crashes.count = if was_steady { 1 } else { crashes.count.saturating_add(1) };
        crashes.last = now;
        *crashes
    }

    /// Who stopped the app, or asked for new instances, does not wait for what crashed before.
    pub(super) fn forgive(&mut self, wanted: &Wanted) {
        let before = std::mem::replace(&mut self.epochs, wanted.epochs.clone());
        self.crashes.retain(|(_, slot), _| !wanted.stopped && before.get(slot) == wanted.epochs.get(slot));
    }

    pub(super) fn forgive_all(&mut self) {
        self.crashes.clear();
    }

    pub(super) fn add_drained(&mut self, release: ReleaseNo, report: &DrainReport) {
        let sum = self.drained.entry(release).or_default();
        sum.requests += report.requests;
        sum.forced += report.forced;
        sum.took_ms_max = sum.took_ms_max.max(u64::try_from(report.took.as_millis()).unwrap_or(u64::MAX));
    }

    /// Forgets instances that the engine no longer has, and releases that nobody asks about any more.
    pub(super) fn forget_gone(&mut self, there: &HashSet<&ContainerId>, current: &[ReleaseNo]) {
        self.instances.retain(|id, _| there.contains(id));
        self.stopping.retain(|id| there.contains(id));
        self.counted.retain(|id| there.contains(id));
        self.ended_by_us.retain(|id, _| there.contains(id));
        let newest = current.iter().map(|no| no.0).max().unwrap_or(0);
        let is_recent = |no: &ReleaseNo| current.contains(no) || no.0 + 3 > newest;
        self.drained.retain(|no, _| is_recent(no));
        self.told.retain(is_recent);
        self.told_wait.retain(is_recent);
        self.crashes.retain(|(no, _), _| is_recent(no));
        let is_there = |run: &CommandRun| matches!(run, CommandRun::Running | CommandRun::Ending);
        self.commands.retain(|no, command| is_recent(no) || is_there(&command.run));
    }
}
