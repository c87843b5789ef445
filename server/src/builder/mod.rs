//! Tree → image, one at a time. A durable serial queue; every line goes to the build's transcript as it comes.

mod repos;

pub use repos::{Repos, Standing};

use crate::domain::{App, AppId, BuildId, Oid, Pusher, RefMove};
use tokio::sync::oneshot;

/// How a push ended, for git's answer to the pusher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Promoted, and the branch moved. `moved_from` differs from the pusher's old id when another push was in between.
    Accepted { moved_from: Oid },
    /// Nothing changed; the reason stands in git's `! [remote rejected]` line.
    Refused { reason: String },
}

/// A push that was taken in: follow its transcript, then ask for the verdict.
pub struct Ticket {
    pub build: BuildId,
    /// Closed without a word when the server stops.
    pub verdict: oneshot::Receiver<Verdict>,
}

#[derive(Clone)]
pub struct Builder {}

impl Builder {
    /// Takes a push in, durably; a queued build of the same app is superseded by it.
    pub async fn enqueue(&self, app: &App, moves: RefMove, pusher: &Pusher) -> anyhow::Result<Ticket> {
        let _ = (app, moves, pusher);
        anyhow::bail!("not yet")
    }

    /// Ends a build that is queued, running, or starting its release. `false`: it was over already.
    pub async fn cancel(&self, app: AppId, build: BuildId, by: &str) -> anyhow::Result<bool> {
        let _ = (app, build, by);
        anyhow::bail!("not yet")
    }
}
