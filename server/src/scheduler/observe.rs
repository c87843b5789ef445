//! From what the engine shows, the probes found and the proxy counts: the instances of one app as the planner sees them.
use super::House;
use super::collect::{self, Begin};
use super::memory::{AppMemory, Known};
use super::probe::{ProbeState, Progress, Question, probe_until_ready};
use crate::domain::health::Health;
use crate::domain::instance::{Probe, Seen, Slot, State, Traffic};
use crate::domain::limits::{Limits, Memory};
use crate::domain::plan::SETTLE_TIME;
use crate::domain::release::Release;
use crate::domain::{App, AppId, ContainerId, Moment, ProcessType, Protocol, ReleaseNo};
use crate::engine::{EngineError, Observed, ObservedState};
use crate::logs::Mask;
use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::sync::CancellationToken;

/// An instance as `ps` shows it.
#[derive(Clone, Debug)]
pub struct Instance {
    pub id: ContainerId,
    pub slot: Slot,
    pub release: ReleaseNo,
    pub state: State,
    pub traffic: Traffic,
    pub since: Moment,
}

impl super::Scheduler {
    /// The app's instances as they are now.
    pub async fn instances(&self, app: AppId) -> Result<Vec<Instance>, EngineError> {
        let house = &self.0;
        let observed = house.tools.engine.instances(Some(app)).await?;
        let memory = house.memory(app);
        let memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
        let now = house.tools.clock.now();
        let mut instances: Vec<Instance> = observed
            .iter()
            .map(|o| Instance {
                id: o.id.clone(),
                slot: o.slot.clone(),
                release: o.release,
                state: state_of(o, &memory, now),
                traffic: house.tools.proxy.traffic(&o.id),
                since: match o.state {
                    ObservedState::Created => o.created_at,
                    ObservedState::Running { started_at, .. } => started_at,
                    ObservedState::Exited { at, .. } => at,
                },
            })
            .collect();
        instances.sort_by(|a, b| (&a.slot, a.release).cmp(&(&b.slot, b.release)));
        Ok(instances)
    }
}

/// Where an app's instances are probed and what their logs may not show.
pub(super) struct WatchContext<'a> {
    pub(super) app: &'a App,
    pub(super) releases: [Option<&'a Release>; 2],
    pub(super) health: &'a Health,
    pub(super) limits: &'a BTreeMap<ProcessType, Limits>,
}

impl WatchContext<'_> {
    fn release(&self, no: ReleaseNo) -> Option<&Release> {
        self.releases.iter().flatten().find(|r| r.no == no).copied()
    }

    pub(super) fn memory_of(&self, process: &ProcessType) -> Memory {
        self.limits.get(process).copied().unwrap_or_default().memory()
    }
}

impl House {
    /// Takes note of what the engine shows: new instances are watched, ended ones counted, gone ones forgotten.
    pub(super) fn note(
        self: &Arc<Self>,
        context: &WatchContext<'_>,
        observed: &[Observed],
        memory: &Mutex<AppMemory>,
        now: Moment,
    ) -> Vec<Seen> {
        let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
        let current: Vec<ReleaseNo> = context.releases.iter().flatten().map(|r| r.no).collect();
        let there: HashSet<&ContainerId> = observed.iter().map(|o| &o.id).collect();
        memory.forget_gone(&there, &current);
        memory.last_seen = digest(observed);
        for o in observed {
            match o.state {
                // Somebody may have restarted it by hand: the same container at another address is watched anew.
                ObservedState::Running { address, started_at }
                    if memory.instances.get(&o.id).is_none_or(|known| known.address != address) =>
                {
                    // Routed before the restart: it was ready then, and the proxy serves from it now.
                    let is_adopted = !memory.adopted && self.tools.proxy.traffic(&o.id) == Traffic::Routed;
                    // What ran before this server did has settled already; what is new settles by our clock.
                    let seen_since = if memory.adopted { now } else { started_at.min(now) };
                    let begin = if memory.adopted { Begin::AtFirstLine } else { Begin::WhereTheLogEnds };
                    let known = self.watch(context, o, (address, seen_since), is_adopted, begin);
                    memory.instances.insert(o.id.clone(), known);
                }
                ObservedState::Exited { exit, .. }
                    if !memory.stopping.contains(&o.id) && !memory.counted.contains(&o.id) =>
                {
                    memory.counted.insert(o.id.clone());
                    let exit = memory.ended_by_us.get(&o.id).copied().unwrap_or(exit);
                    let ran_since = memory.instances.get(&o.id).map(|known| known.seen_since);
                    let crashes = memory.count_crash(o.release, &o.slot, now, ran_since);
                    self.tell_crash(context, o, exit, crashes, now);
                }
                ObservedState::Running { .. } | ObservedState::Exited { .. } | ObservedState::Created => {}
            }
        }
        memory.adopted = true;
        observed
            .iter()
            .map(|o| Seen {
                id: o.id.clone(),
                slot: o.slot.clone(),
                release: o.release,
                epoch: o.epoch,
                state: state_of(o, &memory, now),
                traffic: self.tools.proxy.traffic(&o.id),
            })
            .collect()
    }

    /// Begins to probe an instance and to collect what it says.
    fn watch(
        self: &Arc<Self>,
        context: &WatchContext<'_>,
        o: &Observed,
        (address, seen_since): (IpAddr, Moment),
        is_adopted: bool,
        begin: Begin,
    ) -> Known {
        let watch = self.tools.stop.child_token();
        let release = context.release(o.release);
        let progress = if is_adopted {
            Progress::Ready { at: seen_since, status: None }
        } else {
            Progress::Probing(Probe::NoAnswer)
        };
        let probe = Arc::new(ProbeState::new(progress));
        if let Some(release) = release.filter(|_| o.slot.process.is_web() && !is_adopted) {
            let door = (SocketAddr::new(address, release.port), o.protocol);
            self.spawn_probe(context, door, &probe, &watch);
        }
        let mask = release.map(|r| Mask::of(&r.config)).unwrap_or_default();
        // It ends with the instance, or with `watch`.
        drop(collect::spawn(self, context.app, o, mask, begin, watch.clone()));
        Known { release: o.release, address, protocol: o.protocol, seen_since, probe, watch }
    }

    fn spawn_probe(
        self: &Arc<Self>,
        context: &WatchContext<'_>,
        (address, protocol): (SocketAddr, Protocol),
        state: &Arc<ProbeState>,
        watch: &CancellationToken,
    ) {
        let Some(host) = self.host_of(&context.app.name) else { return };
        let (house, state, watch, app) = (Arc::clone(self), Arc::clone(state), watch.clone(), context.app.id);
        let question = Question { host, health: context.health.clone(), protocol };
        self.tools.tracker.spawn(async move {
            if probe_until_ready(address, &question, &state, &*house.tools.clock, &watch).await {
                house.wake(app);
            }
        });
    }
}

fn state_of(o: &Observed, memory: &AppMemory, now: Moment) -> State {
    if memory.stopping.contains(&o.id) {
        return State::Stopping;
    }
    match o.state {
        ObservedState::Created => State::Made,
        ObservedState::Exited { at, exit } => {
            State::Exited { at, exit: memory.ended_by_us.get(&o.id).copied().unwrap_or(exit) }
        }
        ObservedState::Running { .. } => {
            let Some(known) = memory.instances.get(&o.id) else {
                return State::Starting { since: now, probe: Probe::NoAnswer };
            };
            match known.probe.get() {
                Progress::Ready { .. } => State::Ready,
                _ if !o.slot.process.is_web() && now.since(known.seen_since) >= SETTLE_TIME => State::Ready,
                Progress::Probing(probe) => State::Starting { since: known.seen_since, probe },
            }
        }
    }
}

/// What a sweep compares: which instances there are and which of them run.
pub(super) fn digest(observed: &[Observed]) -> Vec<(ContainerId, bool)> {
    let mut digest: Vec<_> =
        observed.iter().map(|o| (o.id.clone(), matches!(o.state, ObservedState::Running { .. }))).collect();
    digest.sort();
    digest
}
