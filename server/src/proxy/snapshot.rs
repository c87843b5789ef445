//! The route table as the hot path wants it: prepared once when it is published, then only read.
use super::crowd::Crowd;
use super::fault::Fault;
use super::flight::Stage;
use super::held::{Held, HoldLimits};
use super::rules::{Pace, Rules};
use super::target::Target;
use crate::domain::{AppId, Maintenance};
use http::HeaderValue;
use std::collections::HashMap;
use std::sync::Arc;

#[derive(Default)]
pub(super) struct Snapshot {
    /// By host name in lower case, without port and trailing dot.
    pub(super) hosts: HashMap<Arc<str>, Destination>,
    pub(super) apps: HashMap<AppId, Arc<App>>,
}

#[derive(Clone)]
pub(super) enum Destination {
    App {
        app: Arc<App>,
        host: Arc<str>,
    },
    /// The host of a name that the app had before; `to` is the one it has now.
    Redirect {
        app: Arc<App>,
        host: Arc<str>,
        to: Arc<str>,
    },
    /// A host of the dashboard.
    Admin {
        host: Arc<str>,
    },
}

impl Destination {
    pub(super) fn host(&self) -> &str {
        match self {
            Self::App { host, .. } | Self::Redirect { host, .. } | Self::Admin { host } => host,
        }
    }
}

pub(super) struct App {
    pub(super) id: AppId,
    pub(super) serving: Serving,
    pub(super) maintenance: Maintenance,
    pub(super) held: Arc<Held>,
    pub(super) hold: HoldLimits,
    pub(super) pace: Pace,
    /// `None`: its owner set nothing about the router.
    pub(super) rules: Option<Arc<Rules>>,
    pub(super) crowd: Arc<Crowd>,
    /// Where a certificate lives.
    pub(super) redirects_to_https: bool,
    pub(super) hsts: Option<HeaderValue>,
}

/// Where a request of an app goes now.
pub(super) enum Way<'a> {
    To(&'a [Arc<Target>]),
    /// It waits, in this stage.
    Waits(Stage),
    Nowhere(Fault),
}

impl App {
    /// Requests that an instance gets at a time; `None`: as many as come.
    pub(super) fn room(&self) -> Option<u64> {
        self.rules.as_ref()?.room
    }

    pub(super) fn way_under(&self, maintenance: Maintenance) -> Way<'_> {
        match (maintenance, &self.serving) {
            (Maintenance::Off, Serving::Ready(targets)) => Way::To(targets),
            (Maintenance::On, _) => Way::Nowhere(Fault::Maintenance),
            (Maintenance::Off | Maintenance::Pause, Serving::Off) => Way::Nowhere(Fault::NoWebProcesses),
            (Maintenance::Pause, Serving::Ready(_) | Serving::Starting | Serving::Crashed) => Way::Waits(Stage::Paused),
            (Maintenance::Off, Serving::Starting) => Way::Waits(Stage::Held),
            (Maintenance::Off, Serving::Crashed) => Way::Nowhere(Fault::AppCrashed),
        }
    }
}

pub(super) enum Serving {
    /// Never empty.
    Ready(Vec<Arc<Target>>),
    Starting,
    Crashed,
    Off,
}
