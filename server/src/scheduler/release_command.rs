//! The release command: once for each release that is to run it, before its first instance, in an instance of its own.
//!
//! It is run once as long as this server lives, and not again after it has succeeded. A server that dies meanwhile takes
//! its instance along (the next one removes it): a push ends as interrupted, the release of a config change or a retry
//! goes on, and its command is run again. So it may be begun more than once, and has to bear that.
use super::House;
use super::memory::Commanded;
use super::one_off::OneOff;
use super::reconcile::Sheet;
use super::run_once::{RunEnd, Watch};
use crate::crash_point;
use crate::domain::failure::{Exit, Failure};
use crate::domain::job::{RELEASE_COMMAND_LIMIT, release_slot};
use crate::domain::plan::CommandRun;
use crate::domain::release::Release;
use crate::domain::{App, ReleaseNo};
use std::sync::{Arc, PoisonError};
use tokio_util::sync::CancellationToken;

impl House {
    /// Begins it in the background; its end wakes the app.
    pub(super) fn run_command(self: &Arc<Self>, sheet: &Sheet, no: ReleaseNo) {
        let Some(release) = sheet.release(no).cloned() else { return };
        let end = CancellationToken::new();
        let memory = self.memory(sheet.app.id);
        {
            let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
            if memory.commands.contains_key(&no) {
                return;
            }
            memory.commands.insert(no, Commanded { run: CommandRun::Running, end: end.clone() });
        }
        let (house, app) = (Arc::clone(self), sheet.app.clone());
        self.tools.tracker.spawn(async move {
            let Some(run) = house.command_to_end(&app, &release, &end).await else { return };
            if let CommandRun::Succeeded { at } = run
                && let Err(error) = house.tools.store.command_done(app.id, no, at).await
            {
                tracing::warn!("cannot keep that the release command of {no} has succeeded: {error}");
            }
            if let Some(command) = memory.lock().unwrap_or_else(PoisonError::into_inner).commands.get_mut(&no) {
                command.run = run;
            }
            house.wake(app.id);
        });
    }

    pub(super) fn end_command(&self, sheet: &Sheet, no: ReleaseNo) {
        let memory = self.memory(sheet.app.id);
        let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(command) = memory.commands.get_mut(&no).filter(|command| command.run == CommandRun::Running) {
            command.run = CommandRun::Ending;
            command.end.cancel();
        }
    }

    /// `None` when the server stops.
    async fn command_to_end(
        self: &Arc<Self>,
        app: &App,
        release: &Release,
        end: &CancellationToken,
    ) -> Option<CommandRun> {
        let line = release.command().unwrap_or_default();
        self.transcribe(app, release, [format!("-----> Release command: {line}")]);
        self.say(app, &format!("{}: running the release command", release.no));
        let begun = self.tools.clock.now();
        let one_off = tokio::select! {
            started = self.start_command(app, release, line) => match started {
                Ok(one_off) => one_off,
                Err(failure) => return Some(CommandRun::Failed { failure }),
            },
            () = end.cancelled() => return Some(CommandRun::Failed { failure: Failure::Interrupted }),
            () = self.tools.stop.cancelled() => return None,
        };
        crash_point!("release-command");
        let watch = Watch::of_command(app, release, begun, end);
        let ended = self.see_to_end(one_off, watch).await;
        let at = self.tools.clock.now();
        let failure = match ended {
            RunEnd::Exited(Exit::Status(0)) => {
                let took = format!("       release command succeeded after {:.1}s", at.since(begun).as_secs_f64());
                self.transcribe(app, release, [took]);
                return Some(CommandRun::Succeeded { at });
            }
            RunEnd::Exited(exit) => Failure::ReleaseCommand { exit },
            RunEnd::TimedOut => Failure::ReleaseCommandTimedOut { limit_secs: RELEASE_COMMAND_LIMIT.as_secs() },
            RunEnd::Cancelled => Failure::Interrupted,
            RunEnd::Lost { reason } => Failure::Platform { reason: format!("the release command was lost: {reason}") },
            RunEnd::Left => return None,
        };
        Some(CommandRun::Failed { failure })
    }

    async fn start_command(self: &Arc<Self>, app: &App, release: &Release, line: &str) -> Result<OneOff, Failure> {
        let failed =
            |error: anyhow::Error| Failure::Platform { reason: format!("cannot start the release command: {error:#}") };
        let name = release_slot(release.no).map_err(|error| failed(error.into()))?;
        self.start_line(app, release, line, &name).await.map_err(failed)
    }
}
