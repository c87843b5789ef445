//! What a full disk kept from being written at the end of a push is written once there is room: nothing needs a restart.
use super::Workshop;
use crate::domain::{App, BuildId, BuildState};
use std::time::Duration;

const RETRY: Duration = Duration::from_secs(2);

impl Workshop {
    /// Ends a build whose end could not be recorded; the next start does it otherwise.
    pub(super) fn end_later(&self, build: BuildId, state: BuildState) {
        let tools = &self.tools;
        let (store, clock, stop) = (tools.store.clone(), tools.clock.clone(), tools.stop.clone());
        tools.tracker.spawn(async move {
            while let Err(error) = store.end_build(build, &state, clock.now()).await {
                tracing::debug!("still cannot record the end of build {build}: {error}");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(RETRY) => {}
                }
            }
            tracing::info!("recorded the end of build {build}, for which there was no room before");
        });
    }

    /// Points a branch at what was promoted last, which need not be what it should have moved to then.
    pub(super) fn move_branch_later(&self, app: &App) {
        let tools = &self.tools;
        let (store, repos, stop, app) = (tools.store.clone(), tools.repos.clone(), tools.stop.clone(), app.clone());
        tools.tracker.spawn(async move {
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(RETRY) => {}
                }
                let moved = async {
                    if let Some((branch, commit)) = store.last_promoted_push(app.id).await?
                        && repos.branch(&app.key, &branch)? != commit
                    {
                        repos.move_branch(&app.key, &branch, &commit, "moved when there was room again")?;
                    }
                    anyhow::Ok(())
                };
                match moved.await {
                    Ok(()) => return tracing::info!(app.name = %app.name, "the branch of {} follows again", app.name),
                    Err(error) => tracing::debug!("still cannot move the branch of {}: {error:#}", app.name),
                }
            }
        });
    }
}
