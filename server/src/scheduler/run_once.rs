//! One one-off instance from its start to its end: what it says goes into the app's log, it has a time limit, and
//! nothing is left of it.
use super::collect::{self, Begin};
use super::one_off::{OneOff, OneOffError, Order, Run};
use super::{House, Scheduler};
use crate::domain::failure::Exit;
use crate::domain::instance::Slot;
use crate::domain::job::RELEASE_COMMAND_LIMIT;
use crate::domain::release::{Config, Release};
use crate::domain::{App, Moment, ProcessType, Protocol};
use crate::engine::{EngineError, Keep, Observed, ObservedState, Stdio};
use crate::logs::{Mask, TranscriptOf};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long the last lines of one that has ended may take to arrive.
const LAST_LINES: Duration = Duration::from_secs(5);
/// Before what cannot be started for now is tried again, and how often.
const RETRY: Duration = Duration::from_secs(1);
const TRIES: u32 = 60;
/// The longest sleep before the clock is asked again.
const GLANCE: Duration = Duration::from_secs(1);

/// How it came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RunEnd {
    Exited(Exit),
    TimedOut,
    Cancelled,
    /// It was removed behind our back, say.
    Lost {
        reason: String,
    },
    /// The server stops: what is to go on without it goes on.
    Left,
}

/// What to heed while it runs.
pub(super) struct Watch<'a> {
    pub(super) app: &'a App,
    pub(super) release: &'a Release,
    pub(super) created_at: Moment,
    pub(super) begin: Begin,
    pub(super) transcript: Option<TranscriptOf>,
    pub(super) deadline: Moment,
    pub(super) cancel: CancellationToken,
}

impl<'a> Watch<'a> {
    /// Of a command of a release, whose output goes into the release's transcript.
    pub(super) fn of_command(app: &'a App, release: &'a Release, begun: Moment, cancel: &CancellationToken) -> Self {
        Self {
            app,
            release,
            created_at: begun,
            begin: Begin::AtFirstLine,
            transcript: Some(TranscriptOf::rollout(release)),
            deadline: begun.plus(RELEASE_COMMAND_LIMIT),
            cancel: cancel.clone(),
        }
    }
}

impl House {
    /// Starts a line of a release as a one-off of this name. An engine that is away for a moment, and what an earlier server
    /// has left, are waited for.
    pub(super) async fn start_line(
        self: &Arc<Self>,
        app: &App,
        release: &Release,
        line: &str,
        name: &Slot,
    ) -> anyhow::Result<OneOff> {
        for _ in 1..TRIES {
            let order = Order {
                name: name.clone(),
                run: Run::Line(line.to_owned()),
                env: Config::new(),
                stdio: Stdio::Logged,
                keep: Keep::WithServer,
            };
            match self.remove_left(app, &name.process).await {
                Err(EngineError::Unreachable(_)) => {}
                Err(error) => return Err(error.into()),
                Ok(()) => match Scheduler(Arc::clone(self)).one_off(app, release, order).await {
                    Ok((one_off, _)) => return Ok(one_off),
                    Err(OneOffError::Taken(_)) => {}
                    Err(OneOffError::Other(error)) if is_away(&error) => {}
                    Err(OneOffError::Other(error)) => return Err(error),
                    Err(error @ OneOffError::TooMany(_)) => return Err(error.into()),
                },
            }
            tokio::time::sleep(RETRY).await;
        }
        anyhow::bail!("the engine did not answer for {TRIES} s")
    }

    /// Two of a kind never run at once for an app, not even when a server died during one.
    async fn remove_left(&self, app: &App, kind: &ProcessType) -> Result<(), EngineError> {
        for seen in self.tools.engine.one_offs(Some(app.id)).await? {
            if seen.name.process == *kind && !self.one_offs.has(app.id, &seen.name) {
                self.tools.engine.remove(&seen.id).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn see_to_end(self: &Arc<Self>, one_off: OneOff, watch: Watch<'_>) -> RunEnd {
        let collect = self.tools.stop.child_token();
        let seen = Observed {
            id: one_off.id.clone(),
            app: watch.app.id,
            release: watch.release.no,
            slot: one_off.name().clone(),
            epoch: 0,
            protocol: Protocol::Http1,
            created_at: watch.created_at,
            state: ObservedState::Created,
        };
        let mask = Mask::of(&watch.release.config);
        let to = (collect.clone(), watch.transcript);
        let collecting = collect::spawn_for(self, watch.app, &seen, mask, watch.begin, to);
        let end = tokio::select! {
            biased;
            // What is to go on without this server goes on.
            () = self.tools.stop.cancelled() => return RunEnd::Left,
            ended = one_off.wait() => match ended {
                Ok(exit) => RunEnd::Exited(exit),
                Err(error) => RunEnd::Lost { reason: error.to_string() },
            },
            () = watch.cancel.cancelled() => RunEnd::Cancelled,
            () = self.until(watch.deadline) => RunEnd::TimedOut,
        };
        // Its log at the engine goes with it: of one that has ended the last lines come first.
        if let RunEnd::Exited(_) = end {
            drop(tokio::time::timeout(LAST_LINES, collecting).await);
            self.put_end(one_off).await;
        } else {
            self.put_end(one_off).await;
            drop(tokio::time::timeout(LAST_LINES, collecting).await);
        }
        collect.cancel();
        end
    }

    async fn put_end(&self, one_off: OneOff) {
        let name = one_off.name().clone();
        // What cannot be removed now is tried again in the background, for as long as that takes.
        if let Err(error) = one_off.end().await {
            tracing::warn!("cannot remove {name} yet: {error}");
        }
    }

    /// Sleeps until the clock says so.
    async fn until(&self, at: Moment) {
        loop {
            let left = at.since(self.tools.clock.now());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(GLANCE)).await;
        }
    }
}

fn is_away(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(EngineError::Unreachable(_)))
}
