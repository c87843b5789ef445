//! Builds again what is live and whose image the engine has lost, or never had: after a restore, say. Once, at the start.
use super::{Builder, Inputs, Ticket};
use crate::domain::release::Release;
use crate::domain::{App, ImageId, Pusher, RefMove};
use anyhow::Context;
use std::collections::HashSet;
use std::time::Duration;

/// Between two questions to an engine that does not answer.
const RETRY: Duration = Duration::from_secs(1);

impl Builder {
    pub(super) async fn build_missing(self) {
        let tools = &self.0.tools;
        while tools.engine.facts().await.is_err() {
            tokio::select! {
                () = tools.stop.cancelled() => return,
                () = tokio::time::sleep(RETRY) => {}
            }
        }
        let apps = match tools.store.apps().await {
            Ok(apps) => apps,
            Err(error) => return tracing::error!("cannot look for apps without an image: {error}"),
        };
        let there: HashSet<ImageId> = match tools.engine.app_images().await {
            Ok(images) => images.into_iter().map(|image| image.id).collect(),
            Err(error) => return tracing::error!("cannot look for apps without an image: {error}"),
        };
        for app in apps.iter().filter(|app| !app.destroying && !app.stopped) {
            if let Err(error) = self.build_if_missing(app, &there).await {
                tracing::error!(app.name = %app.name, "cannot build {} again, whose image is gone: {error:#}", app.name);
            }
        }
    }

    async fn build_if_missing(&self, app: &App, there: &HashSet<ImageId>) -> anyhow::Result<()> {
        let tools = &self.0.tools;
        let Some(live) = tools.store.live_release(app.id).await? else { return Ok(()) };
        if !self.lacks_an_image(&live, there).await? {
            return Ok(());
        }
        if let Some(source) = &live.source {
            anyhow::bail!("it was made of {source}; release that again: `paas releases:from-image`");
        }
        tracing::warn!(app.name = %app.name, "an image of {} {} is gone; building its commit again", app.name, live.no);
        let moves = self.moves_to(app, &live)?;
        let by = Pusher::Host { uid: rustix::process::geteuid().as_raw() };
        let Ticket { build, verdict } = self.take_in(app, moves, &by, Inputs::AreNew).await?;
        // A server that stops leaves it to the next one; how it ended is told in its transcript.
        if let Ok(verdict) = verdict.await {
            tracing::info!(app.name = %app.name, "build {build} of {}, for the image that was gone: {verdict:?}", app.name);
        }
        Ok(())
    }

    /// Whether one of a release's images is gone: its own, or that of a process type with an image of its own.
    async fn lacks_an_image(&self, release: &Release, there: &HashSet<ImageId>) -> anyhow::Result<bool> {
        for image in std::iter::once(&release.image).chain(release.makeup.images.values()) {
            // One question for all; who is not among the answers is asked for by name, since builds go on meanwhile.
            if !there.contains(image) && self.0.tools.engine.image(image.as_str()).await?.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The deploy branch goes to what is live: after a rollback it stood elsewhere, and that was not what served.
    fn moves_to(&self, app: &App, live: &Release) -> anyhow::Result<RefMove> {
        let branch = app.deploy_branch.clone().context("find out which branch it deploys")?;
        let old = self.0.tools.repos.branch(&app.key, &branch)?;
        Ok(RefMove { branch, old, new: live.commit.clone() })
    }
}
