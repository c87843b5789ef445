//! What an earlier process left half done: builds and pushes end as interrupted, branches follow the last promotion.
use super::Repos;
use crate::clock::Clock;
use crate::domain::{App, Build, BuildState, Failure};
use crate::logs::{Logs, TranscriptOf};
use crate::store::Store;

/// Runs before anything schedules or builds. A pusher of an interrupted build saw a non-zero exit: nothing is resumed
/// silently. What cannot be mended is reported and left to `server:doctor`: one damaged app must not keep the others down.
pub async fn heal(store: &Store, logs: &Logs, repos: &Repos, clock: &dyn Clock) -> anyhow::Result<()> {
    let mut unfinished: Vec<Build> = store.queued_builds().await?;
    unfinished.extend(store.running_builds().await?);
    for build in unfinished {
        if let Err(error) = end(store, logs, clock, &build).await {
            tracing::error!("cannot end build {}, which was interrupted: {error:#}", build.id);
        }
    }
    // What is being destroyed needs no mending, and may be half gone already.
    for app in store.apps().await?.into_iter().filter(|app| !app.destroying) {
        if let Err(error) = heal_app(store, repos, clock, &app).await {
            tracing::error!(app.name = %app.name, "cannot mend the repository of {}: {error:#}", app.name);
        }
    }
    Ok(())
}

async fn end(store: &Store, logs: &Logs, clock: &dyn Clock, build: &Build) -> anyhow::Result<()> {
    let failed = BuildState::Failed { failure: Failure::Interrupted };
    store.end_build(build.id, &failed, clock.now()).await?;
    let app = store.app_by_id(build.app).await?;
    let transcript = logs.transcript(&app.key, TranscriptOf::Build(build.id))?;
    transcript.append(" !     interrupted: the server stopped meanwhile")?;
    tracing::info!(app.name = %app.name, "build {} of {} was interrupted by the restart", build.id, app.name);
    Ok(())
}

async fn heal_app(store: &Store, repos: &Repos, clock: &dyn Clock, app: &App) -> anyhow::Result<()> {
    if let Some(starting) = store.starting_release(app.id).await?
        && starting.build().is_some()
    {
        store.fail_release(app.id, starting.no, Failure::Interrupted, clock.now()).await?;
    }
    if !repos.path(&app.key).exists() {
        return Ok(());
    }
    repos.drop_stale_locks(&app.key);
    if let Some((branch, commit)) = store.last_promoted_push(app.id).await?
        && repos.branch(&app.key, &branch)? != commit
    {
        repos.move_branch(&app.key, &branch, &commit, "healed from the last promoted push")?;
        tracing::info!(app.name = %app.name, "{branch} of {} moved to {}, which was promoted", app.name, commit.short());
    }
    for build in repos.pins(&app.key)? {
        repos.unpin(&app.key, build)?;
    }
    Ok(())
}
