//! One word for how an app is.
use super::Desk;
use crate::domain::App;
use crate::domain::release::Release;
use crate::domain::route::{Backends, RouteTable};
use crate::store::Result;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppState {
    Destroying,
    Stopped,
    Deploying,
    /// No release yet.
    Empty,
    Live,
    Starting,
    Crashed,
    /// Live without a web process.
    NoWeb,
}

impl AppState {
    pub fn word(self) -> &'static str {
        match self {
            Self::Destroying => "being destroyed",
            Self::Stopped => "stopped",
            Self::Deploying => "deploying",
            Self::Empty => "empty",
            Self::Live => "live",
            Self::Starting => "starting",
            Self::Crashed => "crashed",
            Self::NoWeb => "no web",
        }
    }
}

impl Desk {
    /// How an app is, with its live release by `routes`.
    pub async fn state(&self, app: &App, live: Option<&Release>, routes: &RouteTable) -> Result<AppState> {
        let backends = routes.apps.get(&app.id).map(|route| &route.backends);
        let is_starting = self.store.starting_release(app.id).await?.is_some();
        Ok(match (live, backends) {
            _ if app.destroying => AppState::Destroying,
            _ if app.stopped => AppState::Stopped,
            _ if is_starting => AppState::Deploying,
            (None, _) => AppState::Empty,
            (Some(_), Some(Backends::Ready(_))) => AppState::Live,
            (Some(_), Some(Backends::Starting | Backends::Held)) => AppState::Starting,
            (Some(_), Some(Backends::Crashed)) => AppState::Crashed,
            (Some(_), Some(Backends::Off) | None) => AppState::NoWeb,
        })
    }
}
