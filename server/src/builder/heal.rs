//! What an earlier process left half done: builds and pushes end as interrupted, branches follow the last promotion.
use super::Tools;
use crate::domain::{App, Build, BuildState, Failure};
use crate::logs::TranscriptOf;

/// Runs before anything else of this room. A pusher of an interrupted build saw a non-zero exit: nothing is resumed silently.
pub(super) async fn heal(tools: &Tools) -> anyhow::Result<()> {
    let mut unfinished: Vec<Build> = tools.store.queued_builds().await?;
    unfinished.extend(tools.store.running_builds().await?);
    for build in unfinished {
        let failed = BuildState::Failed { failure: Failure::Interrupted };
        tools.store.end_build(build.id, &failed, tools.clock.now()).await?;
        let app = tools.store.app_by_id(build.app).await?;
        tools
            .logs
            .transcript(&app.key, TranscriptOf::Build(build.id))?
            .append(" !     interrupted: the server stopped meanwhile")?;
        tracing::info!(app.name = %app.name, "build {} of {} was interrupted by the restart", build.id, app.name);
    }
    for app in tools.store.apps().await? {
        heal_app(tools, &app).await?;
    }
    Ok(())
}

async fn heal_app(tools: &Tools, app: &App) -> anyhow::Result<()> {
    if let Some(starting) = tools.store.starting_release(app.id).await?
        && starting.build().is_some()
    {
        tools.store.fail_release(app.id, starting.no, Failure::Interrupted, tools.clock.now()).await?;
    }
    if !tools.repos.path(&app.key).exists() {
        return Ok(());
    }
    if let Some((branch, commit)) = tools.store.last_promoted_push(app.id).await?
        && tools.repos.branch(&app.key, &branch)? != commit
    {
        tools.repos.move_branch(&app.key, &branch, &commit, "healed from the last promoted push")?;
        tracing::info!(app.name = %app.name, "{branch} of {} moved to {}, which was promoted", app.name, commit.short());
    }
    for build in tools.repos.pins(&app.key)? {
        tools.repos.unpin(&app.key, build)?;
    }
    Ok(())
}
