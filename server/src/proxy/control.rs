//! What the threads of the proxy share, and the control plane's side of it: publish, close, report, forget.
//!
//! The registry has a lock; requests never take it.
use super::held::{HoldReport, Holds};
use super::limits::{CONNECTIONS_MAX, ELDER_LAG, INSTANCES_MAX, Spans};
use super::rules::{Pace, Standing, hold_limits};
use super::snapshot::{App, Destination, Serving, Snapshot};
use super::target::{Birth, Target};
use super::tls::Tls;
use super::{DrainReport, ProxyProtocol, ProxySettings, RouterLog, Waker};
use crate::clock::Clock;
use crate::domain::instance::Traffic;
use crate::domain::route::{AppRoute, Backend, Backends, RouteTable};
use crate::domain::{AppId, Cidr, ContainerId, Hostname};
use crate::generation::Elders;
use crate::visit::Visit;
use arc_swap::ArcSwap;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::{mpsc, watch};

pub(super) struct Shared {
    pub(super) snapshot: ArcSwap<Snapshot>,
    pub(super) signal: watch::Sender<Signal>,
    pub(super) spans: Spans,
    pub(super) epoch: Instant,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) log: Arc<dyn RouterLog>,
    waker: Arc<dyn Waker>,
    /// Of each thread.
    pub(super) connections_max: usize,
    admin_hosts: Vec<Hostname>,
    trusted_proxies: Vec<Cidr>,
    pub(super) proxy_protocol: ProxyProtocol,
    pub(super) dashboard: Option<mpsc::Sender<Visit>>,
    /// Without it nobody comes by HTTPS.
    pub(super) tls: Option<Tls>,
    pub(super) https_port: Option<u16>,
    pub(super) elders: Elders,
    registry: Mutex<Registry>,
}

/// What every thread is told; it looks at the snapshot or at itself then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Signal {
    /// Counts published snapshots and forgotten instances.
    pub(super) version: u64,
    pub(super) stop: Stop,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stop {
    #[default]
    Running,
    /// Accepts nothing; answers close their connections.
    Lingering,
    /// Idle connections are closed too.
    Closing,
    /// WebSockets are told to come again.
    Parting,
    /// Everything is cut.
    Cut,
}

#[derive(Default)]
struct Registry {
    targets: HashMap<ContainerId, Arc<Target>>,
    holds: HashMap<AppId, Holds>,
    standings: HashMap<AppId, Standing>,
    /// Targets that a new one took the place of; closed once the new table is out.
    replaced: Vec<Arc<Target>>,
    serials: u64,
}

impl Shared {
    pub(super) fn new(
        settings: ProxySettings,
        spans: Spans,
        clock: Arc<dyn Clock>,
        log: Arc<dyn RouterLog>,
        waker: Arc<dyn Waker>,
    ) -> Self {
        let shared = Self {
            snapshot: ArcSwap::default(),
            signal: watch::Sender::new(Signal::default()),
            spans,
            epoch: Instant::now(),
            clock,
            log,
            waker,
            connections_max: match settings.connections_max {
                0 => CONNECTIONS_MAX,
                count => count,
            },
            admin_hosts: settings.admin_hosts,
            trusted_proxies: settings.trusted_proxies,
            proxy_protocol: settings.proxy_protocol,
            dashboard: settings.dashboard,
            tls: None,
            https_port: None,
            elders: settings.elders,
            registry: Mutex::default(),
        };
        shared.set_routes(&RouteTable::default());
        shared
    }

    /// The order is the claim protocol's: open what comes back, publish, close what left.
    pub(super) fn set_routes(&self, table: &RouteTable) {
        let mut registry = self.registry();
        let snapshot = self.prepare(&mut registry, table);
        self.snapshot.store(Arc::new(snapshot));
        let routed: HashSet<&ContainerId> = backends(table).map(|(_, backend)| &backend.container).collect();
        let left = registry.targets.values().filter(|target| !routed.contains(&target.id) && !target.is_closed());
        let mut left: Vec<Arc<Target>> = left.cloned().collect();
        left.append(&mut registry.replaced);
        registry.holds.retain(|app, _| table.apps.contains_key(app));
        registry.standings.retain(|app, _| table.apps.contains_key(app));
        let goes_on = |app: &AppId| table.apps.get(app).is_some_and(|route| !route.is_holding());
        registry.holds.iter_mut().filter(|(app, _)| goes_on(app)).for_each(|(_, holds)| holds.end());
        if registry.targets.len() > INSTANCES_MAX {
            registry.targets.retain(|_, target| target.traffic() != Traffic::Quiet);
        }
        for target in &left {
            target.close(self.tick());
        }
        let is_waited_for = |app| table.apps.get(app).is_some_and(|route| route.backends == Backends::Held);
        for target in registry.targets.values().chain(&left).filter(|t| t.is_closed() && is_waited_for(&t.app)) {
            target.hurry(self.tick());
        }
        drop(registry);
        self.signal.send_modify(|signal| signal.version += 1);
    }

    fn prepare(&self, registry: &mut Registry, table: &RouteTable) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for (id, route) in &table.apps {
            registry.standings.entry(*id).or_default().follow(&route.policy);
            let serving = self.serving(registry, *id, route);
            let holds = registry.holds.entry(*id).or_default();
            if route.is_holding() {
                holds.begin();
            }
            let standing = registry.standings.entry(*id).or_default();
            let hsts = route.tls.hsts_seconds.and_then(|seconds| format!("max-age={seconds}").parse().ok());
            let app = App {
                id: *id,
                serving,
                maintenance: route.maintenance,
                held: holds.held.clone(),
                hold: hold_limits(&route.policy),
                pace: Pace::new(&route.policy, &self.spans),
                rules: standing.rules.clone(),
                redirects_to_https: route.tls.redirect,
                hsts,
                crowd: standing.crowd.clone(),
            };
            snapshot.apps.insert(*id, Arc::new(app));
        }
        for (host, id) in &table.hosts {
            let Some(app) = snapshot.apps.get(id).cloned() else { continue };
            let host: Arc<str> = host.as_str().into();
            snapshot.hosts.insert(host.clone(), Destination::App { app, host });
        }
        for (host, redirect) in &table.redirects {
            let Some(app) = snapshot.apps.get(&redirect.app).cloned() else { continue };
            let (host, to): (Arc<str>, Arc<str>) = (host.as_str().into(), redirect.to.as_str().into());
            snapshot.hosts.insert(host.clone(), Destination::Redirect { app, host, to });
        }
        for host in &self.admin_hosts {
            let host: Arc<str> = host.as_str().into();
            snapshot.hosts.insert(host.clone(), Destination::Admin { host });
        }
        snapshot
    }

    fn serving(&self, registry: &mut Registry, app: AppId, route: &AppRoute) -> Serving {
        match &route.backends {
            Backends::Ready(backends) if backends.is_empty() => Serving::Starting,
            Backends::Ready(backends) => {
                Serving::Ready(backends.iter().map(|backend| self.open(registry, app, backend)).collect())
            }
            Backends::Starting | Backends::Held => Serving::Starting,
            Backends::Crashed => Serving::Crashed,
            Backends::Off => Serving::Off,
        }
    }

    /// The target of a backend, open. One that comes back keeps its count; at another address it is another one.
    fn open(&self, registry: &mut Registry, app: AppId, backend: &Backend) -> Arc<Target> {
        if let Some(known) = registry.targets.get(&backend.container) {
            if known.address == backend.address && known.app == app && !known.is_condemned() {
                known.reopen();
                return known.clone();
            }
            let replaced = known.clone();
            registry.replaced.push(replaced);
        }
        registry.serials += 1;
        let birth = Birth { serial: registry.serials, epoch: self.epoch, waker: self.waker.clone() };
        let crowd = registry.standings.entry(app).or_default().crowd.clone();
        let target = Arc::new(Target::new(backend, app, crowd, birth));
        registry.targets.insert(backend.container.clone(), target.clone());
        target
    }

    /// What is quiet here is so only when no earlier server sends there either. It hears of a table a little later than
    /// we publish it, so what has just left one waits.
    pub(super) fn traffic(&self, id: &ContainerId) -> Traffic {
        let target = self.registry().targets.get(id).cloned();
        let ours = target.as_ref().map_or(Traffic::Quiet, |target| target.traffic());
        if ours != Traffic::Quiet || !self.elders.are_there() {
            return ours;
        }
        let closed = target.and_then(|target| target.closed_tick());
        let lag = self.spans.ticks(ELDER_LAG);
        let has_just_left = closed.is_some_and(|closed| self.tick().saturating_sub(closed) < lag);
        if has_just_left || self.elders.use_instance(id) { Traffic::Draining } else { Traffic::Quiet }
    }

    /// Instances that anything is or may be sent to by this proxy.
    pub(super) fn in_use(&self) -> BTreeSet<ContainerId> {
        let registry = self.registry();
        let used = registry.targets.values().filter(|target| target.traffic() != Traffic::Quiet);
        used.map(|target| target.id.clone()).collect()
    }

    pub(super) fn drained(&self, id: &ContainerId) -> Option<DrainReport> {
        self.registry().targets.get(id).and_then(|target| target.report())
    }

    pub(super) fn waiting(&self, app: AppId) -> usize {
        self.registry().holds.get(&app).map_or(0, |holds| holds.held.waiting())
    }

    pub(super) fn last_hold(&self, app: AppId) -> Option<HoldReport> {
        self.registry().holds.get(&app).and_then(Holds::last)
    }

    pub(super) fn forget(&self, id: &ContainerId) {
        let forgotten = self.registry().targets.remove(id);
        if let Some(target) = forgotten {
            target.condemn();
            if !target.is_closed() {
                target.close(self.tick());
            }
            self.signal.send_modify(|signal| signal.version += 1);
        }
    }

    /// Whether what it says about its visitors counts.
    pub(super) fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|range| range.contains(address))
    }

    /// Ticks since the start: the coarse time of all threads.
    pub(super) fn tick(&self) -> u32 {
        let ticks = self.epoch.elapsed().as_nanos() / self.spans.tick.as_nanos().max(1);
        u32::try_from(ticks).unwrap_or(u32::MAX)
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn backends(table: &RouteTable) -> impl Iterator<Item = (&AppId, &Backend)> {
    table.apps.iter().flat_map(|(id, route)| match &route.backends {
        Backends::Ready(backends) => backends.iter().map(|backend| (id, backend)).collect::<Vec<_>>(),
        Backends::Starting | Backends::Held | Backends::Crashed | Backends::Off => Vec::new(),
    })
}
