//! The one owner of the route table: derives each app's backends, publishes the whole, keeps a copy for the next start.
use super::House;
use super::hosts::Hosts;
use super::reconcile::Sheet;
use crate::domain::instance::{Seen, State};
use crate::domain::plan::{CrashLedger, Wanted};
use crate::domain::route::{Backend, Backends, RouteTable};
use crate::domain::{AppId, AppName, ContainerId, Hostname, Maintenance, Moment, Protocol, TlsPolicy};
use crate::proxy::HoldReport;
use crate::store;
use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Requests wait for a start that is due within this time; a later one is answered at once.
const WORTH_WAITING: Duration = Duration::from_secs(5);

pub(super) struct Publisher {
    pub(super) table: Mutex<RouteTable>,
    /// The hosts of every app that was looked at since the start.
    pub(super) hosting: tokio::sync::Mutex<HashMap<AppId, Hosts>>,
    /// Orders the writes to the store as the publications were.
    saving: tokio::sync::Mutex<()>,
    /// Orders the publications of certificates as they were read.
    pub(super) certifying: tokio::sync::Mutex<()>,
}

impl Publisher {
    pub(super) fn new(saved: RouteTable) -> Self {
        Self {
            table: Mutex::new(saved),
            hosting: tokio::sync::Mutex::default(),
            saving: tokio::sync::Mutex::default(),
            certifying: tokio::sync::Mutex::default(),
        }
    }
}

impl House {
    /// The host name an app answers at.
    pub(super) fn host_of(&self, app: &AppName) -> Option<Hostname> {
        match self.tools.site.host(app) {
            Ok(host) => Some(host),
            Err(error) => {
                tracing::error!("{app} has no host: {error}");
                None
            }
        }
    }

    /// Publishes who answers for an app, if that changed; the proxy acts on it before this returns.
    pub(super) async fn publish(&self, sheet: &Sheet, backends: Backends) {
        self.note_hold(sheet, &backends);
        self.tools.router_lines.know(sheet.app.id, sheet.app.key.clone());
        self.publish_backends(sheet.app.id, backends).await;
    }

    pub(super) fn published_address(&self, app: AppId, id: &ContainerId) -> Option<SocketAddr> {
        let table = self.publisher.table.lock().unwrap_or_else(PoisonError::into_inner);
        match &table.apps.get(&app)?.backends {
            Backends::Ready(backends) => backends.iter().find(|b| b.container == *id).map(|b| b.address),
            Backends::Starting | Backends::Held | Backends::Crashed | Backends::Off => None,
        }
    }

    /// Whatever fails here is mended by the next look after a restart, so it is only reported.
    pub(super) async fn save_routes_or_report(&self) {
        if let Err(error) = self.save_routes().await {
            tracing::warn!("cannot save the routes for the next start: {error}");
        }
    }

    pub(super) async fn save_routes(&self) -> store::Result<()> {
        let _order = self.publisher.saving.lock().await;
        let table = self.publisher.table.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.tools.store.save_routes(&self.tools.boot_id, &table).await
    }

    /// The hosts in the table, for `server:status` and doctor.
    pub(super) fn route_table(&self) -> RouteTable {
        self.publisher.table.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl super::Scheduler {
    pub fn routes(&self) -> RouteTable {
        self.0.route_table()
    }

    /// Lets an app's visitors in, answers them, or makes them wait: at once, and from now on.
    pub async fn set_maintenance(&self, app: AppId, maintenance: Maintenance) -> crate::store::Result<()> {
        self.0.tools.store.set_maintenance(app, maintenance).await?;
        self.0.rehost(app).await
    }

    /// What an app wants of HTTPS: at once, and from now on.
    pub async fn set_tls_policy(&self, app: AppId, policy: TlsPolicy) -> crate::store::Result<()> {
        self.0.tools.store.set_tls_policy(app, policy).await?;
        self.0.rehost(app).await
    }

    /// How the app's last hold went.
    pub fn last_hold(&self, app: AppId) -> Option<HoldReport> {
        self.0.tools.proxy.last_hold(app)
    }
}

/// Why nobody answers for an app, when `ready` is empty; else who does.
pub(super) fn backends(
    ready: Vec<Backend>,
    wanted: &Wanted,
    seen: &[Seen],
    crashes: &CrashLedger,
    now: Moment,
) -> Backends {
    if !ready.is_empty() {
        return Backends::Ready(ready);
    }
    let wants_web = wanted.formation.iter().any(|(process, count)| process.is_web() && *count > 0);
    let releases: BTreeSet<_> =
        wanted.live.iter().map(|spec| spec.no).chain(wanted.starting.iter().map(|c| c.spec.no)).collect();
    if wanted.stopped || !wants_web || releases.is_empty() {
        return Backends::Off;
    }
    // What is made, ends or drains has an instance to come behind it.
    if wanted.exclusive && seen.iter().any(|s| s.slot.process.is_web() && !matches!(s.state, State::Exited { .. })) {
        return Backends::Held;
    }
    let is_starting = seen.iter().any(|s| s.slot.process.is_web() && matches!(s.state, State::Starting { .. }));
    let start_is_far = crashes
        .iter()
        .filter(|((release, slot), _)| releases.contains(release) && slot.process.is_web())
        .any(|(_, crash)| crash.next_start() > now.plus(WORTH_WAITING));
    match (start_is_far && !is_starting, wanted.exclusive) {
        (true, _) => Backends::Crashed,
        (false, true) => Backends::Held,
        (false, false) => Backends::Starting,
    }
}

/// The backends that `ids` name, with the address and port that the proxy connects to, and what it speaks there.
pub(super) fn ready_backends(
    ids: &[ContainerId],
    seen: &[Seen],
    door: impl Fn(&Seen) -> Option<(SocketAddr, Protocol)>,
) -> Vec<Backend> {
    ids.iter()
        .filter_map(|id| seen.iter().find(|s| s.id == *id))
        .filter_map(|s| {
            let (address, protocol) = door(s)?;
            let (container, slot, release) = (s.id.clone(), s.slot.clone(), s.release);
            Some(Backend { container, slot, release, address, protocol })
        })
        .collect()
}
