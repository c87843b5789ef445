//! What to do for one app, as a pure function of what is wanted, what is seen and the time.
//!
//! The order of a plan is its order of execution: fail, promote, start, route, stop, reap. Nothing that serves is touched
//! before its successor is ready, and nothing is stopped while the proxy still routes or drains it.

use super::failure::{Failure, Listening};
use super::health::Health;
use super::instance::{Probe, Seen, Slot, State, Traffic};
use super::release::Formation;
use super::{ContainerId, Moment, ProcessType, ReleaseNo};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a process without a health check has to run before it counts as ready.
pub const SETTLE_TIME: Duration = Duration::from_secs(3);
/// What the types that wait for web get on top: the old ones' grace, the settling, and some.
pub const YIELD_BUDGET: Duration = Duration::from_secs(40);
/// How long requests may wait for the new release of an exclusive app before the old one is started again.
pub const HOLD_BUDGET: Duration = Duration::from_secs(30);
/// Wait before the n-th start in a row after a crash; the last one repeats.
const BACKOFF: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_mins(2),
    Duration::from_mins(10),
];
/// An instance that ran this long before it crashed starts the count anew.
pub const STEADY_TIME: Duration = Duration::from_mins(10);

/// What is asked for, from the store.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub live: Option<Spec>,
    pub starting: Option<Candidate>,
    pub formation: Formation,
    pub stopped: bool,
    pub epochs: BTreeMap<Slot, u64>,
    pub health: Health,
    /// Instances of two releases may not run at the same time, because they share a volume.
    pub exclusive: bool,
    /// Since when requests wait because nobody may serve them.
    pub held_since: Option<Moment>,
}

/// What of a release matters here.
#[derive(Clone, Debug)]
pub struct Spec {
    pub no: ReleaseNo,
    pub processes: BTreeSet<ProcessType>,
    pub port: u16,
}

#[derive(Clone, Debug)]
pub struct Candidate {
    pub spec: Spec,
    pub since: Moment,
}

/// How often a slot of a release crashed in a row, and when last.
#[derive(Clone, Copy, Debug, Default)]
pub struct Crashes {
    pub count: u32,
    pub last: Moment,
}

impl Crashes {
    /// When the next start is due.
    pub fn next_start(self) -> Moment {
        let wait = match (self.count as usize).checked_sub(1) {
            None => Duration::ZERO,
            Some(n) => BACKOFF.get(n).copied().unwrap_or(BACKOFF[BACKOFF.len() - 1]),
        };
        self.last.plus(wait)
    }
}

pub type CrashLedger = BTreeMap<(ReleaseNo, Slot), Crashes>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Fail {
        release: ReleaseNo,
        failure: Failure,
    },
    Promote {
        release: ReleaseNo,
    },
    /// Everything of a start but running it, ahead of the time when it may run.
    Make {
        release: ReleaseNo,
        slot: Slot,
        epoch: u64,
    },
    /// Of an instance that is made already, only the rest.
    Start {
        release: ReleaseNo,
        slot: Slot,
        epoch: u64,
    },
    /// Publish exactly these web instances. Empty: nobody.
    Route {
        to: Vec<ContainerId>,
    },
    Stop {
        id: ContainerId,
    },
    /// Remove what is left of an instance that ended by itself, or one that was made for nothing.
    Reap {
        id: ContainerId,
    },
}

/// Decides what to do next for one app. Calling it again after its actions took effect yields nothing more to do,
/// or what the changed world asks for.
pub fn plan(wanted: &Wanted, seen: &[Seen], crashes: &CrashLedger, now: Moment) -> Vec<Action> {
    let mut planner = Planner { wanted, seen, crashes, now, actions: Vec::new() };
    if wanted.exclusive {
        planner.run_exclusive();
    } else {
        planner.run();
    }
    planner.actions
}

struct Planner<'a> {
    wanted: &'a Wanted,
    seen: &'a [Seen],
    crashes: &'a CrashLedger,
    now: Moment,
    actions: Vec<Action>,
}

/// The verdict on the candidate in this round.
enum Verdict<'a> {
    None,
    Waits(&'a Candidate),
    Failed,
    Promoted(&'a Candidate),
}

impl<'a> Planner<'a> {
    fn run(&mut self) {
        let verdict = self.judge_candidate();
        let (serving, candidate) = match verdict {
            Verdict::None | Verdict::Failed => (self.wanted.live.as_ref(), None),
            Verdict::Waits(candidate) => (self.wanted.live.as_ref(), Some(candidate)),
            Verdict::Promoted(candidate) => (Some(&candidate.spec), None),
        };
        let yielding = candidate.map(|c| self.types_that_yield(c)).unwrap_or_default();
        if let Some(spec) = serving {
            self.start_missing(spec, &yielding);
        }
        if let Some(candidate) = candidate {
            self.start_candidate(candidate);
        }
        let routed = self.route(serving);
        self.stop_unwanted(serving, candidate, &yielding, &routed);
        self.reap(&[]);
    }

    fn judge_candidate(&mut self) -> Verdict<'a> {
        let Some(candidate) = &self.wanted.starting else { return Verdict::None };
        let release = candidate.spec.no;
        let slots = self.slots(&candidate.spec);
        let missing = slots.iter().filter(|slot| self.find_ready(release, slot).is_none());
        // Web first: the other types wait for it.
        let missing = missing.min_by_key(|slot| !slot.process.is_web());
        let failure = self.crash_of(candidate).or_else(|| missing.and_then(|slot| self.timeout_of(candidate, slot)));
        if let Some(failure) = failure {
            self.actions.push(Action::Fail { release, failure });
            return Verdict::Failed;
        }
        if missing.is_none() {
            self.actions.push(Action::Promote { release });
            return Verdict::Promoted(candidate);
        }
        Verdict::Waits(candidate)
    }

    /// The first crash in a wanted slot. One that nobody wants any more was told to end, maybe by an earlier server.
    fn crash_of(&self, candidate: &Candidate) -> Option<Failure> {
        self.seen.iter().filter(|s| self.belongs_to(s, &candidate.spec)).find_map(|s| match s.state {
            State::Exited { exit, .. } => Some(Failure::Crashed { process: s.slot.to_string(), exit }),
            State::Made | State::Starting { .. } | State::Ready | State::Stopping => None,
        })
    }

    /// The failure of a candidate whose time is over while `slot` is not ready.
    fn timeout_of(&self, candidate: &Candidate, slot: &Slot) -> Option<Failure> {
        let (since, limit) = self.budget_of(candidate, slot);
        if self.now.since(since) < limit {
            return None;
        }
        let limit_secs = limit.as_secs();
        let probe =
            self.seen.iter().filter(|s| s.release == candidate.spec.no && s.slot == *slot).find_map(|s| {
                match s.state {
                    State::Starting { probe, .. } => Some(probe),
                    State::Made | State::Ready | State::Stopping | State::Exited { .. } => None,
                }
            });
        let process = slot.to_string();
        Some(match probe.filter(|_| slot.process.is_web()) {
            Some(Probe::Status(status)) => {
                Failure::Unhealthy { process, path: self.wanted.health.path().to_owned(), status }
            }
            Some(Probe::NoAnswer) => {
                Failure::TimedOut { process, port: candidate.spec.port, limit_secs, listening: Listening::Unknown }
            }
            // It was never started, or is no web and began too late: not the app's fault.
            None => Failure::Platform { reason: format!("{process} could not be started within {limit_secs} s") },
        })
    }

    /// From when on, and for how long, a slot of the candidate may be not ready.
    fn budget_of(&self, candidate: &Candidate, slot: &Slot) -> (Moment, Duration) {
        let budget = self.wanted.health.ready_budget();
        let longer = budget + YIELD_BUDGET;
        let holds = self.wanted.exclusive && self.wanted.live.is_some();
        match self.wanted.held_since {
            Some(since) if holds => (since.max(candidate.since), HOLD_BUDGET),
            None if holds => (candidate.since, longer),
            // Other types begin when web is ready and their old ones have ended.
            Some(_) | None if slot.process.is_web() => (candidate.since, budget),
            Some(_) | None => (candidate.since, longer),
        }
    }

    /// Types whose old instances end before the candidate's start: all but web, once the candidate's web is ready.
    fn types_that_yield(&self, candidate: &Candidate) -> BTreeSet<ProcessType> {
        if !self.web_is_ready(&candidate.spec) {
            return BTreeSet::new();
        }
        candidate.spec.processes.iter().filter(|p| !p.is_web()).cloned().collect()
    }

    fn start_candidate(&mut self, candidate: &Candidate) {
        let web_ready = self.web_is_ready(&candidate.spec);
        let release = candidate.spec.no;
        for slot in self.slots(&candidate.spec) {
            let is_there = self.seen.iter().any(|s| s.release == release && s.slot == slot && s.state != State::Made);
            let old_is_there =
                self.seen.iter().any(|s| s.release != release && s.slot.process == slot.process && has_begun(s));
            let may_start = slot.process.is_web() || (web_ready && !old_is_there);
            if !is_there && may_start {
                let epoch = self.epoch(&slot);
                self.actions.push(Action::Start { release, slot, epoch });
            }
        }
    }

    fn web_is_ready(&self, spec: &Spec) -> bool {
        self.slots(spec).iter().filter(|s| s.process.is_web()).all(|slot| self.find_ready(spec.no, slot).is_some())
    }

    fn start_missing(&mut self, spec: &Spec, yielding: &BTreeSet<ProcessType>) {
        for slot in self.slots(spec) {
            if yielding.contains(&slot.process) {
                continue;
            }
            let epoch = self.epoch(&slot);
            let same_slot = |s: &&Seen| s.slot == slot && s.release == spec.no;
            let is_there = self
                .seen
                .iter()
                .filter(same_slot)
                .any(|s| s.epoch >= epoch && matches!(s.state, State::Starting { .. } | State::Ready));
            // Types other than web do not overlap with what they replace, whichever release that is.
            let is_old = |s: &&Seen| s.slot == slot || (s.slot.process == slot.process && s.release != spec.no);
            let waits_for_old = !slot.process.is_web() && self.seen.iter().filter(is_old).any(has_begun);
            let crashes = self.crashes.get(&(spec.no, slot.clone())).copied().unwrap_or_default();
            if !is_there && !waits_for_old && crashes.next_start() <= self.now {
                self.actions.push(Action::Start { release: spec.no, slot, epoch });
            }
        }
    }

    /// Publishes the ready web instances of the serving release: of each slot the newest epoch that is ready. While none
    /// is, those that serve go on: the release may have been promoted by a server that died before it routed it.
    fn route(&mut self, serving: Option<&Spec>) -> Vec<ContainerId> {
        let slots = serving.map(|spec| self.slots(spec)).unwrap_or_default();
        let web: Vec<&Slot> = slots.iter().filter(|slot| slot.process.is_web()).collect();
        let is_routed = |s: &&Seen| s.traffic == Traffic::Routed;
        let ids = |seen: Vec<&Seen>| {
            let mut ids: Vec<ContainerId> = seen.into_iter().map(|s| s.id.clone()).collect();
            ids.sort();
            ids
        };
        let mut to: Vec<&Seen> =
            serving.iter().flat_map(|spec| web.iter().filter_map(|slot| self.find_ready(spec.no, slot))).collect();
        if to.is_empty() && !web.is_empty() {
            to = self.seen.iter().filter(is_routed).filter(|s| s.state == State::Ready).collect();
        }
        let to = ids(to);
        if to != ids(self.seen.iter().filter(is_routed).collect()) {
            self.actions.push(Action::Route { to: to.clone() });
        }
        to
    }

    fn stop_unwanted(
        &mut self,
        serving: Option<&Spec>,
        candidate: Option<&Candidate>,
        yielding: &BTreeSet<ProcessType>,
        routed: &[ContainerId],
    ) {
        for s in self.seen {
            let running = matches!(s.state, State::Starting { .. } | State::Ready);
            let wanted = self.is_kept(s, serving, yielding) || candidate.is_some_and(|c| self.belongs_to(s, &c.spec));
            // One that was routed until this very plan drains first; a later plan stops it.
            if running && !wanted && s.traffic == Traffic::Quiet && !routed.contains(&s.id) {
                self.actions.push(Action::Stop { id: s.id.clone() });
            }
        }
    }

    /// Whether an instance of the serving release is still needed.
    fn is_kept(&self, s: &Seen, serving: Option<&Spec>, yielding: &BTreeSet<ProcessType>) -> bool {
        let Some(spec) = serving else { return false };
        if !self.belongs_to(s, spec) || yielding.contains(&s.slot.process) {
            return false;
        }
        // An older epoch of a web slot serves until the newer one is ready; other types end first.
        if !s.slot.process.is_web() && s.epoch < self.epoch(&s.slot) {
            return false;
        }
        // Of two in one slot the one that `route` picks stays: a server that died may have left an instance half stopped.
        self.find_ready(spec.no, &s.slot).is_none_or(|ready| ready.id == s.id || ready.epoch < s.epoch)
    }

    fn belongs_to(&self, s: &Seen, spec: &Spec) -> bool {
        s.release == spec.no && self.slots(spec).contains(&s.slot)
    }

    fn reap(&mut self, made_to_keep: &[&ContainerId]) {
        for s in self.seen {
            let is_over = match s.state {
                State::Exited { .. } => s.traffic != Traffic::Routed,
                // Else the server that made it died before it could start it.
                State::Made => !made_to_keep.contains(&&s.id) && !self.is_started_now(s),
                State::Starting { .. } | State::Ready | State::Stopping => false,
            };
            if is_over {
                self.actions.push(Action::Reap { id: s.id.clone() });
            }
        }
    }

    /// Whether a start of this plan takes the instance that was made ahead.
    fn is_started_now(&self, s: &Seen) -> bool {
        let takes = |a: &Action| match a {
            Action::Start { release, slot, epoch } => s.is_made_for(*release, slot, *epoch),
            Action::Fail { .. }
            | Action::Promote { .. }
            | Action::Make { .. }
            | Action::Route { .. }
            | Action::Stop { .. }
            | Action::Reap { .. } => false,
        };
        let is_first = |s: &Seen| {
            let same = |other: &&Seen| other.is_made_for(s.release, &s.slot, s.epoch);
            self.seen.iter().find(same).is_some_and(|first| first.id == s.id)
        };
        self.actions.iter().any(takes) && is_first(s)
    }

    /// The places of the formation that `spec` fills.
    fn slots(&self, spec: &Spec) -> Vec<Slot> {
        if self.wanted.stopped {
            return Vec::new();
        }
        let of_type = |(process, count): (&ProcessType, &u16)| {
            let process = process.clone();
            (1..=u32::from(*count)).map(move |index| Slot { process: process.clone(), index })
        };
        self.wanted.formation.iter().filter(|(process, _)| spec.processes.contains(process)).flat_map(of_type).collect()
    }

    /// The newest ready one in a slot; of the same epoch the one that is routed already.
    fn find_ready(&self, release: ReleaseNo, slot: &Slot) -> Option<&'a Seen> {
        self.seen
            .iter()
            .filter(|s| s.release == release && s.slot == *slot && s.state == State::Ready)
            .max_by_key(|s| (s.epoch, s.traffic == Traffic::Routed, &s.id))
    }

    fn epoch(&self, slot: &Slot) -> u64 {
        self.wanted.epochs.get(slot).copied().unwrap_or(0)
    }
}

/// Whether it was started and has not ended.
fn has_begun(s: &Seen) -> bool {
    match s.state {
        State::Starting { .. } | State::Ready | State::Stopping => true,
        State::Made | State::Exited { .. } => false,
    }
}

mod exclusive;
#[cfg(test)]
mod tests;
