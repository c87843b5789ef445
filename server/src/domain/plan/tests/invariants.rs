//! What has to hold for every plan, whatever the world looks like. Said in the product's words and worked out anew here,
//! not with the planner's own helpers.
use super::exclusive::judge_exclusive_world;
use super::world::World;
use super::*;

/// The waits of the design, in seconds.
const WAITS: [u64; 6] = [0, 1, 5, 30, 120, 600];

/// The world that a plan was made for, and the plan.
pub(super) struct Judge<'a> {
    pub(super) world: &'a World,
    pub(super) seen: Vec<Seen>,
    pub(super) actions: &'a [Action],
    /// Who serves once the plan was carried out.
    pub(super) serving: Option<Spec>,
    /// Who is routed once the plan was carried out.
    pub(super) routed: Vec<ContainerId>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(world: &'a World, actions: &'a [Action]) -> Self {
        let promoted = actions.iter().any(|a| matches!(a, Action::Promote { .. }));
        let candidate = world.wanted.starting.as_ref().map(|c| c.spec.clone());
        let serving = if promoted { candidate } else { world.wanted.live.clone() };
        Self { world, seen: world.seen(), actions, serving, routed: routed_by(world, actions) }
    }

    pub(super) fn judge(&self) {
        if self.world.wanted.exclusive {
            return self.judge_exclusive();
        }
        self.the_order_is_the_order_of_execution();
        self.somebody_keeps_serving();
        self.only_the_ready_are_routed();
        self.the_candidate_is_judged_by_what_is_wanted();
        self.a_candidate_changes_nothing_that_serves();
        for action in self.actions {
            match action {
                Action::Start { release, slot, epoch } => self.a_start_is_due(*release, slot, *epoch),
                Action::Stop { id } => self.nobody_is_cut_short(id),
                Action::Reap { id } => {
                    let s = self.find(id);
                    let has_ended = matches!(s.state, State::Exited { .. }) && s.traffic != Traffic::Routed;
                    assert!(has_ended || s.state == State::Made, "reaps {s:?}");
                }
                Action::Make { .. } => panic!("makes ahead what nothing keeps from starting"),
                Action::Fail { .. } | Action::Promote { .. } | Action::Route { .. } => {}
            }
        }
        self.it_is_the_same_again();
    }

    pub(super) fn the_order_is_the_order_of_execution(&self) {
        let rank = |action: &Action| match action {
            Action::Fail { .. } => 0,
            Action::Promote { .. } => 1,
            Action::Make { .. } | Action::Start { .. } => 2,
            Action::Route { .. } => 3,
            Action::Stop { .. } => 4,
            Action::Reap { .. } => 5,
        };
        assert!(self.actions.is_sorted_by_key(rank), "fail, promote, start, route, stop, reap");
        let count = |of: i32| self.actions.iter().filter(|a| rank(a) == of).count();
        assert!(count(0) + count(1) <= 1 && count(3) <= 1, "one verdict, one route");
    }

    fn somebody_keeps_serving(&self) {
        let wants_web = self.slots(self.serving.as_ref()).iter().any(|slot| slot.process.is_web());
        let somebody_serves = self.seen.iter().any(|s| s.traffic == Traffic::Routed && s.state == State::Ready);
        if wants_web && (somebody_serves || !self.ready_web_of_serving().is_empty()) {
            assert!(!self.routed.is_empty(), "nobody serves any more, and somebody could");
        }
    }

    pub(super) fn only_the_ready_are_routed(&self) {
        let of_serving = self.ready_web_of_serving();
        for id in &self.routed {
            let s = self.find(id);
            assert_eq!((s.state, s.slot.process.is_web()), (State::Ready, true), "routes {s:?}");
            // Who served before may go on only while nobody of the live release can.
            let may_go_on = of_serving.is_empty() && s.traffic == Traffic::Routed && !self.world.wanted.exclusive;
            assert!(of_serving.contains(id) || may_go_on, "routes {s:?}, which is not of the live release");
        }
        let slots: BTreeSet<(ReleaseNo, Slot)> =
            self.routed.iter().map(|id| (self.find(id).release, self.find(id).slot.clone())).collect();
        assert_eq!(slots.len(), self.routed.len(), "one instance for each slot");
    }

    pub(super) fn the_candidate_is_judged_by_what_is_wanted(&self) {
        let Some(candidate) = &self.world.wanted.starting else { return };
        let slots = self.slots(Some(&candidate.spec));
        let of = |slot: &Slot| {
            let own = |s: &&Seen| s.release == candidate.spec.no && s.slot == *slot;
            self.seen.iter().filter(own).map(|s| s.state).collect::<Vec<_>>()
        };
        let is_ready = slots.iter().all(|slot| of(slot).contains(&State::Ready));
        let has_crashed = slots.iter().any(|slot| of(slot).iter().any(|s| matches!(s, State::Exited { .. })));
        // Other types wait for web and for their old ones, so they have longer.
        let web_is_missing = slots.iter().any(|slot| slot.process.is_web() && !of(slot).contains(&State::Ready));
        let holds = self.world.wanted.exclusive && self.world.wanted.live.is_some();
        let (since, limit) = match self.world.wanted.held_since {
            Some(since) if holds => (since.max(candidate.since), 30),
            _ if web_is_missing && !holds => (candidate.since, 60),
            _ => (candidate.since, 100),
        };
        let is_overdue = self.world.now.since(since) >= Duration::from_secs(limit);
        let (is_failed, is_promoted) = (
            self.actions.iter().any(|a| matches!(a, Action::Fail { .. })),
            self.actions.iter().any(|a| matches!(a, Action::Promote { .. })),
        );
        assert_eq!(is_failed, has_crashed || (is_overdue && !is_ready), "fails what failed");
        assert_eq!(is_promoted, is_ready && !has_crashed, "promotes what is ready");
        match self.actions.first() {
            Some(Action::Fail { release, .. } | Action::Promote { release }) => {
                assert_eq!(*release, candidate.spec.no);
            }
            _no_verdict => assert!(!is_failed && !is_promoted),
        }
    }

    /// A plan that fails a candidate is else the plan of a world without it; one that promotes it, of a world in which it
    /// is live; one that waits for it routes, and stops of web, what it would without.
    fn a_candidate_changes_nothing_that_serves(&self) {
        let mut without = self.world.clone();
        let Some(candidate) = without.wanted.starting.take() else { return };
        match self.actions.first() {
            Some(Action::Fail { .. }) => assert_eq!(self.actions[1..], without.plan()),
            Some(Action::Promote { .. }) => {
                without.wanted.live = Some(candidate.spec);
                assert_eq!(self.actions[1..], without.plan());
            }
            _it_waits => {
                let plan_without = without.plan();
                assert_eq!(self.routed, routed_by(&without, &plan_without));
                for action in self.actions {
                    let Action::Stop { id } = action else { continue };
                    let s = self.find(id);
                    let yields = !s.slot.process.is_web() && candidate.spec.processes.contains(&s.slot.process);
                    assert!(yields || plan_without.contains(action), "stops {s:?} for a candidate");
                    assert!(!yields || plan_without.contains(action) || self.web_is_ready(&candidate.spec), "{s:?}");
                }
            }
        }
    }

    fn a_start_is_due(&self, release: ReleaseNo, slot: &Slot, epoch: u64) {
        let candidate = self.world.wanted.starting.as_ref().map(|c| &c.spec);
        let spec = [self.serving.as_ref(), candidate].into_iter().flatten().find(|spec| spec.no == release);
        assert!(self.slots(spec).contains(slot), "starts {slot} of {release}, which nobody wants");
        assert_eq!(epoch, self.world.wanted.epochs.get(slot).copied().unwrap_or(0));
        for s in &self.seen {
            let is_up = matches!(s.state, State::Starting { .. } | State::Ready);
            let is_same = (s.release, &s.slot, s.epoch) == (release, slot, epoch);
            assert!(!(is_same && is_up), "starts {slot} of {release} beside {s:?}");
            let overlaps = s.slot == *slot || (s.slot.process == slot.process && s.release != release);
            let is_there = !matches!(s.state, State::Exited { .. } | State::Made);
            assert!(slot.process.is_web() || !overlaps || !is_there, "{slot} of {release} would overlap with {s:?}");
        }
        self.a_crash_is_waited_for(release, slot);
    }

    pub(super) fn a_crash_is_waited_for(&self, release: ReleaseNo, slot: &Slot) {
        if self.serving.as_ref().is_some_and(|spec| spec.no == release)
            && let Some(Crashes { count: count @ 1.., last }) = self.world.crashes.get(&(release, slot.clone()))
        {
            let wait = WAITS.get(*count as usize - 1).unwrap_or(&600);
            assert!(self.world.now.since(*last).as_secs() >= *wait, "starts {slot} after {count} crashes too early");
        }
    }

    pub(super) fn nobody_is_cut_short(&self, id: &ContainerId) {
        let s = self.find(id);
        assert!(matches!(s.state, State::Starting { .. } | State::Ready), "stops {s:?}");
        assert_eq!(s.traffic, Traffic::Quiet, "stops {s:?}");
        assert!(!self.routed.contains(id), "stops {s:?}, which it routes");
    }

    pub(super) fn it_is_the_same_again(&self) {
        assert_eq!(self.world.plan(), self.actions);
        let mut after = self.world.clone();
        after.intend(self.actions);
        while !after.agenda.is_empty() {
            after.act();
        }
        for action in after.plan() {
            assert!(!self.actions.contains(&action), "does {action:?} twice");
        }
    }

    pub(super) fn has_verdict(&self) -> bool {
        matches!(self.actions.first(), Some(Action::Fail { .. } | Action::Promote { .. }))
    }

    pub(super) fn slots(&self, spec: Option<&Spec>) -> BTreeSet<Slot> {
        let Some(spec) = spec.filter(|_| !self.world.wanted.stopped) else { return BTreeSet::new() };
        let mut slots = BTreeSet::new();
        for process in &spec.processes {
            let count = self.world.wanted.formation.get(process).copied().unwrap_or(0);
            slots.extend((1..=u32::from(count)).map(|index| Slot { process: process.clone(), index }));
        }
        slots
    }

    pub(super) fn ready_web_of_serving(&self) -> BTreeSet<ContainerId> {
        let (Some(spec), slots) = (&self.serving, self.slots(self.serving.as_ref())) else { return BTreeSet::new() };
        let ready = |s: &&Seen| {
            s.release == spec.no && s.slot.process.is_web() && slots.contains(&s.slot) && s.state == State::Ready
        };
        self.seen.iter().filter(ready).map(|s| s.id.clone()).collect()
    }

    fn web_is_ready(&self, spec: &Spec) -> bool {
        let is_ready =
            |slot: &Slot| self.seen.iter().any(|s| s.release == spec.no && s.slot == *slot && s.state == State::Ready);
        self.slots(Some(spec)).iter().filter(|slot| slot.process.is_web()).all(is_ready)
    }

    pub(super) fn find(&self, id: &ContainerId) -> &Seen {
        self.seen.iter().find(|s| s.id == *id).expect("a plan names only what is there")
    }
}

/// Who is routed once `actions` were carried out.
fn routed_by(world: &World, actions: &[Action]) -> Vec<ContainerId> {
    let route = actions.iter().find_map(|a| if let Action::Route { to } = a { Some(to.clone()) } else { None });
    route.unwrap_or_else(|| world.routed_and_there())
}

/// What holds for a world at any moment, between any two steps.
pub(super) fn judge_world(world: &World) {
    if world.is_always_exclusive {
        judge_exclusive_world(world);
    }
    for id in &world.stopping {
        assert_eq!(world.traffic(id), Traffic::Quiet, "{id} is stopping with requests under way");
    }
    let runs = |i: &&world::Instance| matches!(i.life, world::Life::Runs { .. }) && !i.slot.process.is_web();
    for a in world.instances.values().filter(runs) {
        for b in world.instances.values().filter(runs) {
            let overlap = a.slot.process == b.slot.process && a.release != b.release;
            assert!(!overlap, "{} runs in {} and {}", a.slot.process, a.release, b.release);
        }
    }
}

/// What holds once nothing happens any more: exactly what is wanted runs, and the web of it is routed.
pub(super) fn judge_rest(world: &World) {
    assert!(world.wanted.starting.is_none(), "the candidate never settles");
    let judge = Judge::new(world, &[]);
    let mut wanted: Vec<(Slot, u64)> = judge
        .slots(world.wanted.live.as_ref())
        .into_iter()
        .map(|slot| (slot.clone(), world.wanted.epochs.get(&slot).copied().unwrap_or(0)))
        .collect();
    let mut there: Vec<(Slot, u64)> = world.instances.values().map(|i| (i.slot.clone(), i.epoch)).collect();
    wanted.sort();
    there.sort();
    assert_eq!(there, wanted);
    assert!(judge.seen.iter().all(|s| s.state == State::Ready));
    assert!(judge.seen.iter().all(|s| world.wanted.live.as_ref().is_some_and(|live| live.no == s.release)));
    assert_eq!(judge.ready_web_of_serving(), world.routed);
}
