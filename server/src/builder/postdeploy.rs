//! The command behind an app's first deploy. It is noted before its release goes live, and until it has ended: what a server
//! that stops or dies leaves unfinished is begun once more by the next one, so it has to bear that.
use super::Workshop;
use crate::domain::{App, BuildId, Failure, ReleaseNo, Rollout};
use crate::store::Postdeploy;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often it is begun, at most.
const TRIES: u32 = 2;
/// Between two questions to an engine that does not answer.
const RETRY: Duration = Duration::from_secs(1);

impl Workshop {
    /// Notes what belongs behind a release, if that is the app's first one.
    pub(super) async fn expect_postdeploy(
        &self,
        app: &App,
        build: BuildId,
        no: ReleaseNo,
        line: &str,
    ) -> Result<(), Failure> {
        if !self.is_first_deploy(app).await? {
            return Ok(());
        }
        let noted = self.tools.store.expect_postdeploy(app.id, no, build, line).await;
        noted.map_err(|error| Failure::Platform { reason: error.to_string() })
    }

    /// Runs what is noted of a release that has gone live; of a later one nothing is. A failure is told, and refuses nothing.
    pub(super) async fn run_postdeploy(&self, app: &App, no: ReleaseNo, cancel: &CancellationToken) {
        match self.tools.store.postdeploys().await {
            Ok(noted) => {
                if let Some(noted) = noted.iter().find(|noted| noted.app == app.id && noted.release == no) {
                    self.run_noted(app, noted, cancel).await;
                }
            }
            Err(error) => tracing::error!("cannot tell what is to run behind {no} of {}: {error}", app.name),
        }
    }

    /// Takes up what an earlier server has left.
    pub(super) async fn resume_postdeploys(self: Arc<Self>) {
        let tools = &self.tools;
        let noted = match tools.store.postdeploys().await {
            Ok(noted) => noted,
            Err(error) => return tracing::error!("cannot look for commands behind first deploys: {error}"),
        };
        if noted.is_empty() {
            return;
        }
        while tools.engine.facts().await.is_err() {
            tokio::select! {
                () = tools.stop.cancelled() => return,
                () = tokio::time::sleep(RETRY) => {}
            }
        }
        for noted in noted {
            let workshop = Arc::clone(&self);
            tools.tracker.spawn(async move {
                if let Err(error) = workshop.resume_postdeploy(&noted).await {
                    tracing::error!("cannot run what belongs behind {} of app {}: {error}", noted.release, noted.app.0);
                }
            });
        }
    }

    async fn resume_postdeploy(&self, noted: &Postdeploy) -> crate::store::Result<()> {
        let store = &self.tools.store;
        let app = store.app_by_id(noted.app).await?;
        if app.destroying {
            return Ok(());
        }
        match store.release(app.id, noted.release).await?.rollout {
            Rollout::Live { .. } | Rollout::Replaced { .. } => {}
            // A push that was under way: whoever pushes next begins anew. Nothing else makes an app's first release.
            Rollout::Failed { .. } | Rollout::Starting { .. } => return store.end_postdeploy(app.id).await,
        }
        if noted.begun >= TRIES {
            let line = format!(" !     postdeploy was interrupted {} times", noted.begun);
            self.tell(&app, noted.build, [line, by_hand(&app, &noted.line)]);
            return store.end_postdeploy(app.id).await;
        }
        tracing::info!(app.name = %app.name, "running what belongs behind the first deploy of {}, which the restart has interrupted", app.name);
        self.tell(&app, noted.build, [" !     postdeploy was interrupted: the server stopped meanwhile".to_owned()]);
        self.run_noted(&app, noted, &CancellationToken::new()).await;
        Ok(())
    }

    async fn run_noted(&self, app: &App, noted: &Postdeploy, cancel: &CancellationToken) {
        let (store, no, line) = (&self.tools.store, noted.release, noted.line.as_str());
        self.tell(app, noted.build, [format!("-----> Behind the first deploy: {line}")]);
        let ran = async {
            anyhow::ensure!(store.begin_postdeploy(app.id).await?, "nobody expects it any more");
            let release = store.release(app.id, no).await?;
            self.tools.scheduler.run_postdeploy(app, &release, line, cancel).await
        };
        let ran = ran.await;
        // What was not over is the next server's.
        if ran.is_err() && self.tools.stop.is_cancelled() {
            return;
        }
        if let Err(error) = ran {
            let warning = format!(" !     postdeploy failed: {error:#}; {no} serves all the same");
            self.tell(app, noted.build, [warning, by_hand(app, line)]);
        }
        if let Err(error) = store.end_postdeploy(app.id).await {
            tracing::error!("cannot keep that the command behind {no} of {} has ended: {error}", app.name);
        }
    }
}

fn by_hand(app: &App, line: &str) -> String {
    format!(" !     it is not run again by itself: `paas run -a {} {}`", app.name, buildpacks::command::quote(line))
}
