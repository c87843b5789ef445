//! What the fake engine holds: instances, networks, images, and who listens to events.
use super::one_off::{Exec, OneOff};
use super::{
    EngineError, EngineEvent, EventKind, Exit, ImageInfo, InstanceSpec, Inventory, LogLine, NetworkId, Observed,
};
use super::{ImageId, Moment, ObservedState};
use crate::domain::{AppId, ContainerId, VolumeKey};
use crate::engine::{CacheUse, ExecId};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const EVENTS_KEPT: usize = 256;
/// As Docker names what this program was made for.
const ARCHITECTURE: &str = crate::engine::ARCHITECTURE;

/// The next instance's number, over all fake engines of the process: so no two instances share an address.
static NEXT: AtomicU32 = AtomicU32::new(1);

pub(super) struct World {
    pub(super) instances: BTreeMap<ContainerId, Instance>,
    pub(super) execs: BTreeMap<ExecId, Exec>,
    pub(super) networks: BTreeMap<AppId, (String, String)>,
    pub(super) references: BTreeMap<String, ImageId>,
    /// Images that are an app's, there or not.
    pub(super) image_apps: BTreeMap<ImageId, AppId>,
    pub(super) written: BTreeMap<ContainerId, u64>,
    pub(super) builds: VecDeque<Result<ImageId, (String, String)>>,
    pub(super) events: broadcast::Sender<EngineEvent>,
    pub(super) starts: usize,
    pub(super) stops: usize,
    pub(super) clashes: usize,
    pub(super) volumes: BTreeSet<VolumeKey>,
    pub(super) volume_bytes: BTreeMap<VolumeKey, u64>,
    pub(super) build_cache_bytes: u64,
    pub(super) caches: Vec<CacheUse>,
    /// How often the build cache was pruned.
    pub(super) prunes: u32,
    pub(super) contents: BTreeMap<VolumeKey, Bytes>,
    pub(super) paused: BTreeMap<ContainerId, AppId>,
    /// What registries have, by reference: digest and image.
    pub(super) registry: BTreeMap<String, (String, ImageId)>,
    pub(super) labels: BTreeMap<ImageId, BTreeMap<String, String>>,
}

pub(super) struct Instance {
    pub(super) spec: InstanceSpec,
    address: IpAddr,
    /// It runs once and has no place in the formation.
    pub(super) one_off: Option<OneOff>,
    pub(super) created_at: Moment,
    state: ObservedState,
    pub(super) lines: Vec<LogLine>,
    /// SIGTERM: no new connections, those open finish what they carry.
    pub(super) close: CancellationToken,
    /// SIGKILL: everything is cut.
    pub(super) cut: CancellationToken,
    pub(super) connections: TaskTracker,
}

impl Instance {
    fn new(spec: InstanceSpec, one_off: Option<OneOff>, address: IpAddr, now: Moment) -> Self {
        Self {
            spec,
            one_off,
            created_at: now,
            address,
            state: ObservedState::Running { address, started_at: now },
            lines: Vec::new(),
            close: CancellationToken::new(),
            cut: CancellationToken::new(),
            connections: TaskTracker::new(),
        }
    }

    pub(super) fn state(&self) -> &ObservedState {
        &self.state
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.state, ObservedState::Exited { .. })
    }
}

impl Default for World {
    fn default() -> Self {
        Self {
            instances: BTreeMap::new(),
            execs: BTreeMap::new(),
            networks: BTreeMap::new(),
            references: BTreeMap::new(),
            image_apps: BTreeMap::new(),
            written: BTreeMap::new(),
            builds: VecDeque::new(),
            events: broadcast::Sender::new(EVENTS_KEPT),
            starts: 0,
            stops: 0,
            clashes: 0,
            volumes: BTreeSet::new(),
            volume_bytes: BTreeMap::new(),
            build_cache_bytes: 0,
            caches: Vec::new(),
            prunes: 0,
            contents: BTreeMap::new(),
            paused: BTreeMap::new(),
            registry: BTreeMap::new(),
            labels: BTreeMap::new(),
        }
    }
}

impl World {
    pub(super) fn add(&mut self, spec: InstanceSpec, now: Moment) -> Result<ContainerId, EngineError> {
        if spec.mounts.iter().any(|mount| !self.volumes.contains(&mount.volume)) {
            return Err(EngineError::Missing("volume"));
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let id = ContainerId::new(format!("{number:064x}"));
        let mut instance = Instance::new(spec, None, address_of(number), now);
        instance.state = ObservedState::Created;
        self.instances.insert(id.clone(), instance);
        Ok(id)
    }

    /// A made instance begins to run.
    pub(super) fn run(&mut self, id: &ContainerId, now: Moment) -> Result<(InstanceSpec, IpAddr), EngineError> {
        let one = self.instances.get_mut(id).ok_or(EngineError::Missing("container"))?;
        one.state = ObservedState::Running { address: one.address, started_at: now };
        let (spec, address) = (one.spec.clone(), one.address);
        let shares = |other: &Instance| {
            other.spec.release != spec.release
                && matches!(other.state, ObservedState::Running { .. })
                && other.spec.mounts.iter().any(|a| spec.mounts.iter().any(|b| a.volume == b.volume))
        };
        self.clashes += usize::from(self.instances.values().any(shares));
        self.starts += 1;
        self.tell(id, spec.app, EventKind::Started);
        Ok((spec, address))
    }

    pub(super) fn add_one_off(&mut self, spec: InstanceSpec, one_off: OneOff, now: Moment) -> ContainerId {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let id = ContainerId::new(format!("{number:064x}"));
        self.instances.insert(id.clone(), Instance::new(spec, Some(one_off), address_of(number), now));
        id
    }

    pub(super) fn one_off(&self, id: &ContainerId) -> Result<&OneOff, EngineError> {
        self.instances.get(id).and_then(|one| one.one_off.as_ref()).ok_or(EngineError::Missing("container"))
    }

    pub(super) fn observe(&self, app: Option<AppId>) -> Vec<Observed> {
        let ordinary = self.instances.iter().filter(|(_, one)| one.one_off.is_none());
        let wanted = ordinary.filter(|(_, one)| app.is_none_or(|app| one.spec.app == app));
        let observed = wanted.map(|(id, one)| Observed {
            id: id.clone(),
            app: one.spec.app,
            release: one.spec.release,
            slot: one.spec.slot.clone(),
            epoch: one.spec.epoch,
            protocol: one.spec.protocol,
            created_at: one.created_at,
            state: one.state.clone(),
        });
        observed.collect()
    }

    /// `None`: there is no such instance.
    pub(super) fn ask_to_stop(&mut self, id: &ContainerId) -> Option<(CancellationToken, TaskTracker)> {
        let instance = self.instances.get(id)?;
        self.stops += 1;
        Some((instance.close.clone(), instance.connections.clone()))
    }

    pub(super) fn remove(&mut self, id: &ContainerId) {
        if let Some(instance) = self.instances.remove(id) {
            self.tell(id, instance.spec.app, EventKind::Removed);
        }
    }

    pub(super) fn write(&mut self, id: &ContainerId, at: Moment, text: String) {
        if let Some(instance) = self.instances.get_mut(id) {
            instance.lines.push(LogLine { at, text });
        }
    }

    pub(super) fn tag(&mut self, image: &ImageId, reference: &str) {
        self.references.insert(reference.to_owned(), image.clone());
    }

    pub(super) fn image(&self, reference: &str) -> Option<ImageInfo> {
        let by_id = || self.references.values().find(|id| id.as_str() == reference);
        let id = self.references.get(reference).or_else(by_id)?;
        let references = self.references.iter().filter(|(_, one)| *one == id).map(|(name, _)| name.clone());
        Some(ImageInfo {
            id: id.clone(),
            exposed_ports: Vec::new(),
            has_command: true,
            has_triggers: false,
            architecture: ARCHITECTURE.to_owned(),
            labels: self.labels.get(id).cloned().unwrap_or_default(),
            references: references.collect(),
            size_bytes: 1,
        })
    }

    pub(super) fn inventory(&self) -> Inventory {
        Inventory {
            containers: self.instances.iter().map(|(id, one)| (id.clone(), Some(one.spec.app))).collect(),
            networks: self.networks.iter().map(|(app, (id, _))| (NetworkId(id.clone()), Some(*app))).collect(),
            images: self.references.keys().filter_map(|name| self.image(name)).map(|image| (image, None)).collect(),
            volumes: self.volumes.iter().cloned().collect(),
        }
    }

    fn tell(&self, id: &ContainerId, app: AppId, kind: EventKind) {
        // Nobody need listen.
        drop(self.events.send(EngineEvent { container: id.clone(), app, kind }));
    }
}

/// Ends an instance, once: later ends do not count.
pub(super) fn end(world: &Mutex<World>, id: &ContainerId, exit: Exit, at: Moment) {
    let mut world = world.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(instance) = world.instances.get_mut(id).filter(|instance| !instance.has_ended()) else { return };
    instance.state = ObservedState::Exited { at, exit };
    instance.close.cancel();
    instance.cut.cancel();
    let app = instance.spec.app;
    world.tell(id, app, EventKind::Died);
}

/// 127.x.y.z, begun at a place of this process's own, as test processes run side by side.
fn address_of(number: u32) -> IpAddr {
    let place = std::process::id().wrapping_mul(7919).wrapping_add(number);
    // 127.1.0.0 to 127.254.255.255.
    let host = place % (254 << 16) + (1 << 16);
    IpAddr::V4(Ipv4Addr::from_bits((127 << 24) | host))
}
