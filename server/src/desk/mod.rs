//! What people may ask for, wherever they ask: the verbs that commands and pages share, so that both do the same and
//! say the same.

mod config;
mod ps;
mod rollback;
mod state;

pub use ps::{InstanceWords, words_of};
pub use rollback::Made;
pub use state::AppState;

use crate::builder::Builder;
use crate::clock::Clock;
use crate::domain::{App, Build, BuildId};
use crate::engine::Engine;
use crate::logs::Logs;
use crate::scheduler::Scheduler;
use crate::store::{Store, StoreError};
use std::sync::Arc;

/// Cheap to clone.
#[derive(Clone)]
pub struct Desk {
    pub store: Store,
    pub builder: Builder,
    pub scheduler: Scheduler,
    pub engine: Arc<dyn Engine>,
    pub logs: Logs,
    pub clock: Arc<dyn Clock>,
}

/// Why something asked for is not done.
#[derive(Debug)]
pub enum Refusal {
    /// The asker's matter: what is wrong, then the next step.
    Said {
        what: String,
        next: Option<String>,
    },
    Store(StoreError),
    World(anyhow::Error),
}

impl Refusal {
    pub fn new(what: impl Into<String>) -> Self {
        Self::Said { what: what.into(), next: None }
    }

    #[must_use]
    pub fn next(self, step: impl Into<String>) -> Self {
        match self {
            Self::Said { what, .. } => Self::Said { what, next: Some(step.into()) },
            Self::Store(_) | Self::World(_) => self,
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<anyhow::Error> for Refusal {
    fn from(error: anyhow::Error) -> Self {
        Self::World(error)
    }
}

impl From<crate::engine::EngineError> for Refusal {
    fn from(error: crate::engine::EngineError) -> Self {
        Self::World(error.into())
    }
}

impl Desk {
    /// Ends a build that is queued, running, or starting its release.
    pub async fn cancel(&self, app: &App, build: &Build, by: &str) -> Result<BuildId, Refusal> {
        if self.builder.cancel(app.id, build.id, by).await? {
            return Ok(build.id);
        }
        let state = self.store.build(app.id, build.id).await?.state.word();
        Err(Refusal::new(format!("build {} is over already ({state})", build.id))
            .next(format!("`paas rollback -a {}` goes back to the release before", app.name)))
    }
}
