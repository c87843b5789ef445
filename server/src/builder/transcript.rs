//! What a build says: to its transcript, without known secret values, and the end of it.
use super::{Verdict, Workshop};
use crate::domain::card::{card, one_line};
use crate::domain::{App, AppId, BuildId, BuildState, Failure, RefMove};
use crate::logs::{Mask, TranscriptOf};

impl Workshop {
    /// Headlines and complaints stand in the app's log too.
    pub(super) fn tell(&self, app: &App, build: BuildId, lines: impl IntoIterator<Item = String>) {
        let lines: Vec<String> = lines.into_iter().collect();
        for line in lines.iter().filter(|line| line.starts_with("----->") || line.starts_with(" ! ")) {
            self.tools.logs.say(&app.key, &format!("build[{}]", build.0), line.trim_start());
        }
        self.tools.logs.transcribe(&app.key, TranscriptOf::Build(build), lines);
    }

    pub(super) fn tell_masked(&self, app: &App, build: BuildId, mask: &Mask, line: &str) {
        self.tell(app, build, [mask.apply(line).into_owned()]);
    }

    /// Ends a build that made no release: row, card, pin, verdict.
    pub(super) async fn fail(&self, app: &App, build: BuildId, failure: Failure) {
        let tools = &self.tools;
        let live = match tools.store.live_release(app.id).await {
            Ok(live) => live.map(|release| release.no),
            Err(error) => {
                tracing::error!("cannot read the live release of {}: {error}", app.name);
                None
            }
        };
        self.tell(app, build, card(&failure, live));
        let reason = one_line(&failure, live);
        tracing::info!(app.name = %app.name, "build {build} of {} failed: {failure}", app.name);
        let state = BuildState::Failed { failure };
        if let Err(error) = tools.store.end_build(build, &state, tools.clock.now()).await {
            tracing::error!("cannot record that build {build} failed, trying again: {error}");
            self.end_later(build, state);
        }
        self.unpin(app, build);
        self.answer(app, build, Verdict::Refused { reason }).await;
    }

    /// Ends a push whose task panicked.
    pub(super) async fn fail_broken(&self, app: AppId, build: BuildId) {
        tracing::error!("the task of build {build} panicked; this is a bug");
        match self.tools.store.app_by_id(app).await {
            Ok(app) => {
                let reason = "the server broke while it built; this is a bug in it, its log has more".to_owned();
                self.fail(&app, build, Failure::Platform { reason }).await;
            }
            Err(error) => tracing::error!("cannot end build {build}: {error}"),
        }
    }

    /// Ends the transcript, writes the audit log, and tells the pusher.
    pub(super) async fn answer(&self, app: &App, build: BuildId, verdict: Verdict) {
        let Some(waiting) = self.queue.take(build) else { return };
        let result = match &verdict {
            Verdict::Accepted { .. } => "live",
            Verdict::Refused { reason } => reason,
        };
        let (now, what) = (self.tools.clock.now(), format!("push {} (build {build})", waiting.commit.short()));
        if let Err(error) = self.tools.store.record(now, &waiting.pusher, Some(&app.name), &what, result).await {
            tracing::warn!("cannot write the audit log: {error}");
        }
        waiting.transcript.close();
        // A pusher who left does not hear it.
        let _ = waiting.verdict.send(verdict);
    }

    pub(super) fn unpin(&self, app: &App, build: BuildId) {
        if let Err(error) = self.tools.repos.unpin(&app.key, build) {
            tracing::warn!("{error:#}");
        }
    }

    /// Points the branch at what was promoted, now or as soon as its disk takes it.
    pub(super) fn move_branch(&self, app: &App, build: BuildId, moves: &RefMove) {
        let why = format!("push: build {build}");
        if let Err(error) = self.tools.repos.move_branch(&app.key, &moves.branch, &moves.new, &why) {
            tracing::error!("{} is live, but its branch did not move, trying again: {error:#}", app.name);
            self.move_branch_later(app);
        }
        self.unpin(app, build);
    }
}
