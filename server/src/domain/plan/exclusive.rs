//! The plan of an app whose releases may not run side by side, because they share a volume: strategy `hold`.
//!
//! What is to come is made ahead, unstarted. Then the old instances leave the route, so that the proxy holds new requests,
//! end what they carry, and stop; only when nothing of them runs any more the new ones start. A candidate that fails is
//! stopped first in the same way, and the old release starts again.
use super::{Action, Candidate, Planner, Slot, Spec, Verdict, has_begun};
use crate::domain::ContainerId;
use crate::domain::instance::{Seen, State, Traffic};
use std::collections::BTreeSet;

impl<'a> Planner<'a> {
    pub(super) fn run_exclusive(&mut self) {
        let (serving, candidate) = match self.judge_candidate() {
            Verdict::None | Verdict::Failed => (self.wanted.live.as_ref(), None),
            Verdict::Waits(candidate) => (self.wanted.live.as_ref(), Some(candidate)),
            Verdict::Promoted(candidate) => (Some(&candidate.spec), None),
        };
        let coming = candidate.map(|candidate| &candidate.spec);
        match candidate {
            Some(candidate) if self.is_handing_over(candidate) => self.hand_over(candidate),
            Some(candidate) => {
                self.make_missing(&candidate.spec);
                self.keep_up(serving, coming);
            }
            None => self.keep_up(serving, None),
        }
        let kept: Vec<&Spec> = serving.into_iter().chain(coming).collect();
        self.reap(&self.made_to_keep(&kept));
    }

    /// Of what is made and not started: one for each slot that is not up yet.
    fn made_to_keep(&self, specs: &[&Spec]) -> Vec<&'a ContainerId> {
        let slots = specs.iter().flat_map(|spec| self.slots(spec).into_iter().map(move |slot| (*spec, slot)));
        let is_up = |spec: &Spec, slot: &Slot| {
            self.seen.iter().any(|s| s.release == spec.no && s.slot == *slot && is_up(s) && s.epoch >= self.epoch(slot))
        };
        slots
            .filter(|(spec, slot)| !is_up(spec, slot))
            .filter_map(|(spec, slot)| self.find_made(spec, &slot))
            .map(|s| &s.id)
            .collect()
    }

    /// Whether the old release ends now: all of the candidate is made or runs, or nobody stands in its way.
    fn is_handing_over(&self, candidate: &Candidate) -> bool {
        let spec = &candidate.spec;
        let has_begun = self.seen.iter().any(|s| s.release == spec.no && is_up(s));
        let is_prepared = self.slots(spec).iter().all(|slot| self.find_made_or_up(spec, slot).is_some());
        has_begun || is_prepared || !self.is_blocked_by_others(spec)
    }

    /// The old instances leave, and then the candidate's start.
    fn hand_over(&mut self, candidate: &Candidate) {
        let spec = &candidate.spec;
        for slot in self.slots(spec) {
            let is_up = self.find_made_or_up(spec, &slot).is_some_and(is_up);
            if !is_up && !self.is_blocked(spec, &slot) {
                let epoch = self.epoch(&slot);
                self.actions.push(Action::Start { release: spec.no, slot, epoch });
            } else if self.find_made_or_up(spec, &slot).is_none() && self.is_blocked_by_others(spec) {
                let epoch = self.epoch(&slot);
                self.actions.push(Action::Make { release: spec.no, slot, epoch });
            }
        }
        self.publish(Vec::new());
        self.stop_all_but(|planner, s| planner.belongs_to(s, spec), &[]);
    }

    /// Keeps the serving release as it is wanted; `coming` is being made ahead meanwhile.
    fn keep_up(&mut self, serving: Option<&Spec>, coming: Option<&Spec>) {
        let Some(spec) = serving else {
            self.publish(Vec::new());
            self.stop_all_but(|planner, s| coming.is_some_and(|coming| planner.belongs_to(s, coming)), &[]);
            return;
        };
        for slot in self.slots(spec) {
            self.keep_slot_up(spec, slot);
        }
        let web: Vec<Slot> = self.slots(spec).into_iter().filter(|slot| slot.process.is_web()).collect();
        let mut to: Vec<ContainerId> = web
            .iter()
            .filter(|slot| !self.is_giving_way(spec, slot))
            .filter_map(|slot| self.find_ready(spec.no, slot))
            .map(|s| s.id.clone())
            .collect();
        to.sort();
        self.publish(to.clone());
        let is_kept = |planner: &Self, s: &Seen| {
            // Of two in one slot the one that is picked for the route stays.
            let is_picked = planner.find_ready(spec.no, &s.slot).is_none_or(|ready| ready.id == s.id);
            planner.belongs_to(s, spec) && is_picked && !planner.is_giving_way(spec, &s.slot)
        };
        self.stop_all_but(is_kept, &to);
    }

    fn keep_slot_up(&mut self, spec: &Spec, slot: Slot) {
        let epoch = self.epoch(&slot);
        let same_slot = |s: &&Seen| s.release == spec.no && s.slot == slot;
        if self.seen.iter().filter(same_slot).any(|s| s.epoch >= epoch && is_up(s)) {
            return;
        }
        let crashes = self.crashes.get(&(spec.no, slot.clone())).copied().unwrap_or_default();
        if crashes.next_start() > self.now {
            return;
        }
        if !self.is_blocked(spec, &slot) {
            self.actions.push(Action::Start { release: spec.no, slot, epoch });
        } else if self.seen.iter().filter(same_slot).any(is_up) && self.find_made(spec, &slot).is_none() {
            // A restart: what comes is made while what goes still serves.
            self.actions.push(Action::Make { release: spec.no, slot, epoch });
        }
    }

    /// Whether the slot's instance ends, because another one of the same release was made to follow it.
    fn is_giving_way(&self, spec: &Spec, slot: &Slot) -> bool {
        let is_old = |s: &&Seen| s.release == spec.no && s.slot == *slot && is_up(s) && s.epoch < self.epoch(slot);
        self.find_made(spec, slot).is_some() && self.seen.iter().any(|s| is_old(&s))
    }

    fn make_missing(&mut self, spec: &Spec) {
        for slot in self.slots(spec) {
            if self.find_made_or_up(spec, &slot).is_none() {
                let epoch = self.epoch(&slot);
                self.actions.push(Action::Make { release: spec.no, slot, epoch });
            }
        }
    }

    /// Publishes these, unless exactly these are routed already.
    fn publish(&mut self, to: Vec<ContainerId>) {
        let routed: BTreeSet<&ContainerId> =
            self.seen.iter().filter(|s| s.traffic == Traffic::Routed).map(|s| &s.id).collect();
        if !to.iter().eq(routed) {
            self.actions.push(Action::Route { to });
        }
    }

    fn stop_all_but(&mut self, is_kept: impl Fn(&Self, &Seen) -> bool, routed: &[ContainerId]) {
        // One that was routed until this very plan drains first; a later plan stops it.
        let goes = |s: &&Seen| is_up(s) && s.traffic == Traffic::Quiet && !is_kept(self, s) && !routed.contains(&s.id);
        let stops: Vec<Action> = self.seen.iter().filter(goes).map(|s| Action::Stop { id: s.id.clone() }).collect();
        self.actions.extend(stops);
    }

    /// Whether an instance would run beside one that it may not run beside: of another release, or in the same slot.
    fn is_blocked(&self, spec: &Spec, slot: &Slot) -> bool {
        let same_slot = |s: &Seen| s.release == spec.no && s.slot == *slot && has_begun(s);
        self.is_blocked_by_others(spec) || self.seen.iter().any(same_slot)
    }

    fn is_blocked_by_others(&self, spec: &Spec) -> bool {
        self.seen.iter().any(|s| s.release != spec.no && has_begun(s))
    }

    fn find_made(&self, spec: &Spec, slot: &Slot) -> Option<&'a Seen> {
        self.seen.iter().find(|s| s.is_made_for(spec.no, slot, self.epoch(slot)))
    }

    fn find_made_or_up(&self, spec: &Spec, slot: &Slot) -> Option<&'a Seen> {
        let up = self.seen.iter().find(|s| s.release == spec.no && s.slot == *slot && is_up(s));
        up.or_else(|| self.find_made(spec, slot))
    }
}

/// It runs, and nobody asked it to end.
fn is_up(s: &Seen) -> bool {
    matches!(s.state, State::Starting { .. } | State::Ready)
}
