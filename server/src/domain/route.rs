//! The route table: the only thing the proxy is told, and what is kept to serve at once after a restart.
use super::instance::Slot;
use super::{AppId, AppName, ContainerId, Hostname, Maintenance, Protocol, ReleaseNo, RouterPolicy, TlsPolicy};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// All routes of the server, by host name. A snapshot: published whole, never edited in place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTable {
    pub hosts: BTreeMap<Hostname, AppId>,
    pub apps: BTreeMap<AppId, AppRoute>,
    /// Hosts of names that an app had before.
    #[serde(default)]
    pub redirects: BTreeMap<Hostname, Redirect>,
}

impl RouteTable {
    /// The same hosts, with everybody who answered still to come.
    #[must_use]
    pub fn without_instances(mut self) -> Self {
        for route in self.apps.values_mut() {
            match route.backends {
                Backends::Ready(_) | Backends::Held | Backends::Crashed => route.backends = Backends::Starting,
                Backends::Starting | Backends::Off => {}
            }
        }
        self
    }
}

/// Where visitors of an old host are sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redirect {
    pub app: AppId,
    pub to: Hostname,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppRoute {
    pub name: AppName,
    pub backends: Backends,
    /// Stands before the backends, which it changes nothing about.
    #[serde(default)]
    pub maintenance: Maintenance,
    #[serde(default)]
    pub tls: TlsPolicy,
    /// What its owner set about the router. Shared: the table is copied often, and this may hold pages.
    #[serde(default, with = "shared_policy")]
    pub policy: Arc<RouterPolicy>,
}

impl AppRoute {
    /// Whether its requests wait, but for a start.
    pub fn is_holding(&self) -> bool {
        match (self.maintenance, &self.backends) {
            (Maintenance::Off, Backends::Held) => true,
            (Maintenance::Pause, backends) => *backends != Backends::Off,
            (Maintenance::On, _)
            | (Maintenance::Off, Backends::Ready(_) | Backends::Starting | Backends::Crashed | Backends::Off) => false,
        }
    }
}

/// Who answers for an app now, or why nobody does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backends {
    /// At least one.
    Ready(Vec<Backend>),
    /// Somebody will be there soon: requests are held (bounded), then 503 H20.
    Starting,
    /// As Starting, for an app whose old instances have to be gone before: what those still carry is cut after 5 s.
    Held,
    /// Its instances crash and the next start is some way off: 503 H10 at once.
    Crashed,
    /// Stopped by its owner, scaled to no web, or nothing was ever deployed: 503 H14 at once.
    Off,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Backend {
    pub container: ContainerId,
    pub slot: Slot,
    pub release: ReleaseNo,
    pub address: SocketAddr,
    /// What it is spoken to in.
    #[serde(default)]
    pub protocol: Protocol,
}

mod shared_policy {
    use super::{Arc, RouterPolicy};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(policy: &Arc<RouterPolicy>, to: S) -> Result<S::Ok, S::Error> {
        policy.as_ref().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<RouterPolicy>, D::Error> {
        RouterPolicy::deserialize(from).map(Arc::new)
    }
}
