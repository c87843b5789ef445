//! Ending a build before its promotion; after it nothing is undone.
use super::{Builder, Verdict};
use crate::domain::card::{card, one_line};
use crate::domain::{AppId, BuildId, BuildState, Failure};

impl Builder {
    /// Ends a build that is queued, running, or starting its release. `false`: it was over already.
    pub async fn cancel(&self, app: AppId, build: BuildId, by: &str) -> anyhow::Result<bool> {
        let workshop = &self.0;
        let tools = &workshop.tools;
        let failure = Failure::Cancelled { by: by.to_owned() };
        let app = &tools.store.app_by_id(app).await?;
        let state = tools.store.build(app.id, build).await?.state;
        match state {
            BuildState::Queued => {
                let failed = BuildState::Failed { failure: failure.clone() };
                if !tools.store.end_build(build, &failed, tools.clock.now()).await? {
                    return Ok(false);
                }
                let live = tools.store.live_release(app.id).await?.map(|release| release.no);
                workshop.tell(app, build, card(&failure, live));
                tools.repos.unpin(&app.key, build)?;
                workshop.answer(app, build, Verdict::Refused { reason: one_line(&failure, live) }).await;
                Ok(true)
            }
            BuildState::Running => {
                let Some(cancel) = workshop.queue.cancel_of(build) else { return Ok(false) };
                cancel.cancel(by);
                Ok(true)
            }
            BuildState::Released { release, .. } => Ok(tools.scheduler.overtake(app.id, release, failure).await?),
            BuildState::Failed { .. } => Ok(false),
        }
    }
}
