//! Builds again what was pushed last, from scratch: for a base image that moved, or a download that went wrong.
use super::{Builder, Inputs, Ticket};
use crate::domain::{App, BuildId, Oid, Pusher, RefMove};

/// What became of the wish.
pub enum Rebuild {
    Taken {
        ticket: Ticket,
        branch: String,
        commit: Oid,
    },
    /// No push of the app ever went live.
    NothingPushed,
    /// A push is queued or being built, which will release something newer.
    UnderWay(BuildId),
}

impl Builder {
    /// Like a push of the commit that the deploy branch points at, but nothing that was built before is taken over.
    pub async fn rebuild(&self, app: &App, by: &Pusher) -> anyhow::Result<Rebuild> {
        let tools = &self.0.tools;
        let (queued, running) = (tools.store.queued_builds().await?, tools.store.running_builds().await?);
        if let Some(build) = queued.iter().chain(&running).find(|build| build.app == app.id) {
            return Ok(Rebuild::UnderWay(build.id));
        }
        // Its image is made and its release starts: the branch is about to move.
        if let Some(newest) = tools.store.builds(app.id, 1).await?.pop().filter(|_| self.is_busy(app.id)) {
            return Ok(Rebuild::UnderWay(newest.id));
        }
        let Some(branch) = app.deploy_branch.clone() else { return Ok(Rebuild::NothingPushed) };
        let commit = tools.repos.branch(&app.key, &branch)?;
        if commit.is_zero() {
            return Ok(Rebuild::NothingPushed);
        }
        let moves = RefMove { branch: branch.clone(), old: commit.clone(), new: commit.clone() };
        let ticket = self.take_in(app, moves, by, Inputs::AreNew).await?;
        Ok(Rebuild::Taken { ticket, branch, commit })
    }
}
