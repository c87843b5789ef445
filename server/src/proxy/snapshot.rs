//! The route table as the hot path wants it: prepared once when it is published, then only read.
use super::sync::{AtomicUsize, Ordering::Relaxed};
use super::target::Target;
use crate::domain::AppId;
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
    /// A host of the dashboard.
    Admin,
}

pub(super) struct App {
    pub(super) id: AppId,
    pub(super) serving: Serving,
    pub(super) held: Arc<Held>,
}

pub(super) enum Serving {
    /// Never empty.
    Ready(Vec<Arc<Target>>),
    Starting,
    Crashed,
    Off,
}

/// Requests of an app that wait for it, over all threads and snapshots.
#[derive(Default)]
pub(super) struct Held(AtomicUsize);

impl Held {
    /// One more, if there is room.
    pub(super) fn enter(self: &Arc<Self>, max: usize) -> Option<HeldPlace> {
        let entered = self.0.fetch_update(Relaxed, Relaxed, |held| (held < max).then_some(held + 1));
        entered.ok().map(|_| HeldPlace(self.clone()))
    }
}

pub(super) struct HeldPlace(Arc<Held>);

impl Drop for HeldPlace {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Relaxed);
    }
}
