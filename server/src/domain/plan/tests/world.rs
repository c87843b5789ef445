//! A world for the planner: a store, an engine and a proxy of the simplest kind, one scheduler that carries out plans
//! step by step and may die between two steps, and everything that can happen to them meanwhile.
use super::*;
use std::collections::VecDeque;

/// What happens next. Numbers pick one of what is there, whatever their size.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// The scheduler looks and plans, unless it is still busy with the last plan.
    Look,
    /// It carries out the next step of its plan.
    Act,
    /// The next step, if it is a start, is refused by the engine.
    StartFails,
    /// `kill -9` of paas, and its next start.
    PaasDies,
    Passes {
        seconds: u64,
    },
    Push {
        processes: BTreeSet<ProcessType>,
    },
    /// Like a push, but it leaves a stopped app stopped.
    ConfigChange,
    Rollback {
        processes: BTreeSet<ProcessType>,
    },
    Scale {
        process: ProcessType,
        count: u16,
    },
    Restart {
        process: ProcessType,
        index: Option<u32>,
    },
    StopApp,
    StartApp,
    /// The app gets its first volume, or gives up its last one.
    VolumeComesOrGoes,
    ProbePasses(usize),
    ProbeMeets(usize, u16),
    Crashes(usize),
    /// Somebody's `docker rm -f`.
    Vanishes(usize),
    /// An instance that was told to stop ends.
    StopEnds(usize),
    RequestBegins(usize),
    RequestEnds(usize),
}

/// One thing the scheduler does.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Act(Action),
    /// A pass whose plan routes nobody anew publishes those of the routed that are still there.
    PublishStanding(Vec<ContainerId>),
}

#[derive(Clone, Debug)]
pub(super) struct Instance {
    pub(super) slot: Slot,
    pub(super) release: ReleaseNo,
    pub(super) epoch: u64,
    pub(super) since: Moment,
    pub(super) life: Life,
    is_counted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Made,
    Runs { probe: Probe, is_ready: bool },
    Exited { at: Moment, exit: Exit },
}

#[derive(Clone)]
pub(super) struct World {
    pub(super) now: Moment,
    pub(super) wanted: Wanted,
    pub(super) instances: BTreeMap<ContainerId, Instance>,
    pub(super) routed: BTreeSet<ContainerId>,
    pub(super) in_flight: BTreeMap<ContainerId, u32>,
    pub(super) stopping: BTreeSet<ContainerId>,
    pub(super) crashes: CrashLedger,
    pub(super) agenda: VecDeque<Step>,
    /// The app has a volume from its beginning to its end.
    pub(super) is_always_exclusive: bool,
    newest: u32,
    made: u32,
}

impl World {
    pub(super) fn new(exclusive: bool) -> Self {
        let formation = Formation::from([(process("web"), 1), (process("worker"), 1)]);
        Self {
            now: Moment::from_unix_ms(1_000_000),
            wanted: Wanted { formation, exclusive, ..Wanted::default() },
            instances: BTreeMap::new(),
            routed: BTreeSet::new(),
            in_flight: BTreeMap::new(),
            stopping: BTreeSet::new(),
            crashes: CrashLedger::new(),
            agenda: VecDeque::new(),
            is_always_exclusive: exclusive,
            newest: 0,
            made: 0,
        }
    }

    // What the scheduler sees and does.

    pub(super) fn seen(&self) -> Vec<Seen> {
        let seen = |(id, i): (&ContainerId, &Instance)| Seen {
            id: id.clone(),
            slot: i.slot.clone(),
            release: i.release,
            epoch: i.epoch,
            state: self.state(id, i),
            traffic: self.traffic(id),
        };
        self.instances.iter().map(seen).collect()
    }

    fn state(&self, id: &ContainerId, i: &Instance) -> State {
        match i.life {
            _ if self.stopping.contains(id) => State::Stopping,
            Life::Made => State::Made,
            Life::Exited { at, exit } => State::Exited { at, exit },
            Life::Runs { is_ready: true, .. } => State::Ready,
            Life::Runs { .. } if !i.slot.process.is_web() && self.now.since(i.since) >= SETTLE_TIME => State::Ready,
            Life::Runs { probe, .. } => State::Starting { since: i.since, probe },
        }
    }

    pub(super) fn traffic(&self, id: &ContainerId) -> Traffic {
        match self.in_flight.get(id) {
            _ if self.routed.contains(id) => Traffic::Routed,
            Some(1..) => Traffic::Draining,
            Some(0) | None => Traffic::Quiet,
        }
    }

    /// Counts the crashes since the last look, as the scheduler does before it plans.
    pub(super) fn note_crashes(&mut self) {
        let now = self.now;
        for (id, i) in &mut self.instances {
            if matches!(i.life, Life::Exited { .. }) && !i.is_counted && !self.stopping.contains(id) {
                i.is_counted = true;
                let crashes = self.crashes.entry((i.release, i.slot.clone())).or_default();
                let was_steady = now.since(i.since) >= STEADY_TIME;
                *crashes = Crashes { count: if was_steady { 1 } else { crashes.count + 1 }, last: now };
            }
        }
    }

    pub(super) fn plan(&self) -> Vec<Action> {
        plan(&self.wanted, &self.seen(), &self.crashes, self.now)
    }

    /// Puts a plan on the agenda.
    pub(super) fn intend(&mut self, actions: &[Action]) {
        self.agenda = actions.iter().cloned().map(Step::Act).collect();
        if !actions.iter().any(|a| matches!(a, Action::Route { .. })) {
            self.agenda.push_back(Step::PublishStanding(self.routed_and_there()));
        }
    }

    pub(super) fn routed_and_there(&self) -> Vec<ContainerId> {
        self.routed.iter().filter(|id| self.instances.contains_key(id)).cloned().collect()
    }

    /// Carries out the next step. A step that the store refuses ends the pass.
    pub(super) fn act(&mut self) {
        match self.agenda.pop_front() {
            None => {}
            Some(Step::Act(Action::Fail { release, .. })) => self.settle(release),
            Some(Step::Act(Action::Promote { release })) => match self.wanted.starting.take() {
                Some(candidate) if candidate.spec.no == release => self.wanted.live = Some(candidate.spec),
                other => {
                    self.wanted.starting = other;
                    self.agenda.clear();
                }
            },
            Some(Step::Act(Action::Make { release, slot, epoch })) => self.make(release, slot, epoch),
            Some(Step::Act(Action::Start { release, slot, epoch })) => self.start(release, &slot, epoch),
            Some(Step::PublishStanding(to) | Step::Act(Action::Route { to })) => self.publish(to),
            // Idempotent, also for what is gone by now.
            Some(Step::Act(Action::Stop { id })) => {
                self.stopping.extend(self.instances.contains_key(&id).then_some(id));
            }
            Some(Step::Act(Action::Reap { id })) => self.remove(&id),
        }
    }

    fn publish(&mut self, to: Vec<ContainerId>) {
        self.routed = to.into_iter().collect();
        let holds = self.routed.is_empty() && self.wanted.exclusive && !self.wanted.stopped;
        self.wanted.held_since = holds.then(|| self.wanted.held_since.unwrap_or(self.now));
    }

    fn make(&mut self, release: ReleaseNo, slot: Slot, epoch: u64) {
        self.made += 1;
        let instance = Instance { slot, release, epoch, since: self.now, life: Life::Made, is_counted: false };
        self.instances.insert(ContainerId::new(format!("{:04}", self.made)), instance);
    }

    /// Starts what was made for it, or else makes it first.
    fn start(&mut self, release: ReleaseNo, slot: &Slot, epoch: u64) {
        let is_it = |i: &Instance| i.life == Life::Made && (i.release, &i.slot, i.epoch) == (release, slot, epoch);
        if !self.instances.values().any(is_it) {
            self.make(release, slot.clone(), epoch);
        }
        let now = self.now;
        if let Some(i) = self.instances.values_mut().find(|i| is_it(i)) {
            (i.life, i.since) = (Life::Runs { probe: Probe::NoAnswer, is_ready: false }, now);
        }
    }

    fn start_fails(&mut self) {
        let Some(Step::Act(Action::Start { release, slot, .. } | Action::Make { release, slot, .. })) =
            self.agenda.front().cloned()
        else {
            return;
        };
        self.agenda.pop_front();
        // What was made and does not start is removed.
        self.instances.retain(|_, i| i.life != Life::Made || (i.release, &i.slot) != (release, &slot));
        if self.wanted.starting.as_ref().is_some_and(|c| c.spec.no == release) {
            self.settle(release);
        } else {
            let crashes = self.crashes.entry((release, slot)).or_default();
            *crashes = Crashes { count: crashes.count + 1, last: self.now };
        }
    }

    fn settle(&mut self, release: ReleaseNo) {
        self.wanted.starting.take_if(|c| c.spec.no == release);
    }

    fn remove(&mut self, id: &ContainerId) {
        self.instances.remove(id);
        self.stopping.remove(id);
        self.in_flight.remove(id);
    }

    // What happens.

    pub(super) fn happen(&mut self, event: Event) {
        match event {
            // The driver plans, because it judges the plan.
            Event::Look => {}
            Event::Act => self.act(),
            Event::StartFails => self.start_fails(),
            Event::PaasDies => self.paas_dies(),
            Event::Passes { seconds } => self.now = self.now.plus(Duration::from_secs(seconds)),
            Event::Push { processes } => {
                if self.wanted.starting.is_none() {
                    self.wanted.stopped = false;
                    self.make_candidate(processes);
                }
            }
            Event::ConfigChange => {
                if let (None, Some(live)) = (&self.wanted.starting, &self.wanted.live) {
                    self.make_candidate(live.processes.clone());
                }
            }
            Event::Rollback { processes } => {
                if self.wanted.live.is_some() {
                    self.wanted.stopped = false;
                    self.make_candidate(processes);
                }
            }
            Event::Scale { process, count } => {
                self.wanted.formation.insert(process, count);
            }
            Event::Restart { process, index } => self.restart(&process, index),
            Event::StopApp => {
                self.wanted.starting = None;
                self.wanted.stopped = true;
            }
            Event::StartApp => self.wanted.stopped = false,
            Event::VolumeComesOrGoes => {
                self.is_always_exclusive = false;
                self.wanted.exclusive = !self.wanted.exclusive;
            }
            Event::ProbePasses(_)
            | Event::ProbeMeets(..)
            | Event::Crashes(_)
            | Event::Vanishes(_)
            | Event::StopEnds(_)
            | Event::RequestBegins(_)
            | Event::RequestEnds(_) => self.befall(&event),
        }
    }

    /// What happens to one instance.
    fn befall(&mut self, event: &Event) {
        let now = self.now;
        match event {
            Event::ProbePasses(n) => self.change_web(*n, |probe| (probe, true)),
            Event::ProbeMeets(n, status) => self.change_web(*n, |_| (Probe::Status(*status), false)),
            Event::Crashes(n) => {
                if let Some(id) = pick(self.instances.keys(), *n)
                    && let Some(i) = self.instances.get_mut(&id)
                    && matches!(i.life, Life::Runs { .. })
                {
                    i.life = Life::Exited { at: now, exit: Exit::Status(1) };
                }
            }
            Event::Vanishes(n) => {
                if let Some(id) = pick(self.instances.keys(), *n) {
                    self.remove(&id);
                }
            }
            Event::StopEnds(n) => {
                if let Some(id) = pick(self.stopping.iter(), *n) {
                    self.remove(&id);
                }
            }
            Event::RequestBegins(n) => {
                if let Some(id) = pick(self.routed.iter(), *n).filter(|id| self.instances.contains_key(id)) {
                    *self.in_flight.entry(id).or_default() += 1;
                }
            }
            Event::RequestEnds(n) => {
                if let Some(id) = pick(self.in_flight.keys(), *n) {
                    self.in_flight.entry(id).and_modify(|count| *count = count.saturating_sub(1));
                }
            }
            _not_of_an_instance => {}
        }
    }

    /// Changes the probe of one of the web instances that are not ready.
    fn change_web(&mut self, n: usize, change: impl Fn(Probe) -> (Probe, bool)) {
        let is_probed = |i: &Instance| i.slot.process.is_web() && matches!(i.life, Life::Runs { is_ready: false, .. });
        let probed: Vec<&ContainerId> = self.instances.iter().filter(|(_, i)| is_probed(i)).map(|(id, _)| id).collect();
        if let Some(id) = pick(probed.into_iter(), n)
            && let Some(i) = self.instances.get_mut(&id)
            && let Life::Runs { probe, .. } = i.life
        {
            let (probe, is_ready) = change(probe);
            i.life = Life::Runs { probe, is_ready };
        }
    }

    fn make_candidate(&mut self, processes: BTreeSet<ProcessType>) {
        self.newest += 1;
        for process in &processes {
            self.wanted.formation.entry(process.clone()).or_insert(1);
        }
        let spec = Spec { no: ReleaseNo(self.newest), processes, port: 5000 };
        self.wanted.starting = Some(Candidate { spec, since: self.now });
    }

    fn restart(&mut self, process: &ProcessType, index: Option<u32>) {
        let count = self.wanted.formation.get(process).copied().unwrap_or(0);
        for n in (1..=u32::from(count)).filter(|n| index.is_none_or(|index| index == *n)) {
            *self.wanted.epochs.entry(Slot { process: process.clone(), index: n }).or_default() += 1;
        }
    }

    /// Its memory is gone and the requests it carried are cut. What is routed is believed to be ready; other web
    /// instances are probed anew.
    fn paas_dies(&mut self) {
        self.agenda.clear();
        self.crashes.clear();
        self.stopping.clear();
        self.in_flight.clear();
        self.wanted.held_since = None;
        for (id, i) in &mut self.instances {
            i.is_counted = false;
            if let Life::Runs { is_ready, .. } = &mut i.life {
                *is_ready = i.slot.process.is_web() && self.routed.contains(id);
            }
        }
    }
}

/// The n-th, counted round and round; `None` where there is none.
fn pick<'a>(ids: impl Iterator<Item = &'a ContainerId>, n: usize) -> Option<ContainerId> {
    let ids: Vec<&ContainerId> = ids.collect();
    n.checked_rem(ids.len()).map(|n| ids[n].clone())
}
