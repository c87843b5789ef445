//! The pages: one file per page with its routes, its handler and its template's struct. Handlers hold no rules: they ask
//! `store`, and act by the verbs of `desk`, as commands do.
//!
//! A request comes from the proxy's thread as a [`Visit`] and is answered here, on the main runtime. In reading order:
//! `house` takes visits in · `door` lets pass who may · `routes` lists all of them with their permissions · the pages.

mod ansi;
mod app;
mod apps;
mod assets;
mod attempts;
mod commits;
mod deploy;
mod deploys;
mod door;
mod fields;
mod frame;
mod house;
mod log_filter;
mod login;
mod logs;
mod phases;
mod problem;
mod rollback;
mod routes;
mod session;
mod stream;
#[cfg(test)]
mod tests;
mod words;

use crate::builder::Repos;
use crate::certs::Certs;
use crate::desk::Desk;
use crate::domain::{App, AppName, Site};
use crate::visit::Visit;
use attempts::Attempts;
use problem::Problem;
use std::sync::Arc;
use stream::Seats;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What the pages work with.
pub struct Tools {
    pub desk: Desk,
    pub certs: Certs,
    pub repos: Repos,
    pub site: Site,
    pub tracker: TaskTracker,
    pub stop: CancellationToken,
}

/// What all pages share. Cheap to clone.
#[derive(Clone)]
struct Room(Arc<Inner>);

struct Inner {
    tools: Tools,
    attempts: Attempts,
    seats: Seats,
}

/// Answers visits until the stop.
pub fn start(tools: Tools, visits: mpsc::Receiver<Visit>) {
    let room = Room::new(tools);
    let tracker = room.0.tools.tracker.clone();
    tracker.spawn(house::serve(room, visits));
}

impl Room {
    fn new(tools: Tools) -> Self {
        Self(Arc::new(Inner { tools, attempts: Attempts::default(), seats: Seats::default() }))
    }

    fn tools(&self) -> &Tools {
        &self.0.tools
    }

    fn desk(&self) -> &Desk {
        &self.0.tools.desk
    }

    /// The app of this name. None, one that may not be seen and what is no name read the same.
    async fn app(&self, name: &str) -> Result<App, Problem> {
        let name: AppName = name.parse().map_err(|_| Problem::NotFound)?;
        Ok(self.desk().store.app(&name).await?)
    }
}
