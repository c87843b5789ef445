//! One run of a cron entry, from its start, or from where an earlier server left it, to its record.
use super::collect::Begin;
use super::cron::not_started;
use super::one_off::{OneOff, Order, Run};
use super::run_once::{RunEnd, Watch};
use super::{House, Scheduler};
use crate::domain::job::RUN_LIMIT;
use crate::domain::release::Config;
use crate::domain::{App, AppId, CronRun, Release, RunNo, RunState};
use crate::engine::{Keep, ObservedState, OneOffSeen, Stdio};
use crate::store::StoreError;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Before a record that could not be written is tried again.
const RETRY: Duration = Duration::from_secs(2);

impl House {
    /// Runs in the background what the store says is running.
    pub(super) fn spawn_run(self: &Arc<Self>, app: AppId, no: RunNo) {
        let house = Arc::clone(self);
        self.tools.tracker.spawn(async move {
            match house.begin_run(app, no).await {
                Ok((app, run, release)) => {
                    let state = house.run_to_end(&app, &run, &release).await;
                    house.record(&app, &run, state).await;
                }
                Err(error) => {
                    tracing::warn!("cannot begin {no} of app {}: {error}", app.0);
                    house.keep_end(app, no, &RunState::NotStarted { reason: error.to_string() }).await;
                }
            }
        });
    }

    /// A run of an earlier server: its instance goes on, or has ended meanwhile, or is gone.
    pub(super) async fn take_up_run(
        self: &Arc<Self>,
        app: AppId,
        run: CronRun,
        seen: Option<&OneOffSeen>,
    ) -> Result<(), StoreError> {
        let there = seen.filter(|seen| seen.state != ObservedState::Created);
        let Some((seen, one_off)) = there.and_then(|seen| Some((seen, self.take_up(seen)?))) else {
            let at = self.tools.clock.now();
            let reason = "the server stopped, and nothing is left of its instance".to_owned();
            self.tools.store.end_cron_run(app, run.no, &RunState::Interrupted { at, reason }).await?;
            return Ok(());
        };
        let (app, run, release) = self.begin_run(app, run.no).await?;
        let (house, created_at) = (Arc::clone(self), seen.created_at);
        self.tools.tracker.spawn(async move {
            let deadline = run.started_at.plus(RUN_LIMIT);
            let begin = Begin::WhereTheLogEnds;
            let watch = Watch {
                app: &app,
                release: &release,
                created_at,
                begin,
                transcript: None,
                deadline,
                cancel: CancellationToken::new(),
            };
            let state = house.see_run_to_end(one_off, watch).await;
            house.record(&app, &run, state).await;
        });
        Ok(())
    }

    async fn begin_run(&self, app: AppId, no: RunNo) -> Result<(App, CronRun, Release), StoreError> {
        let store = &self.tools.store;
        let run = store.cron_run(app, no).await?;
        let release = store.release(app, run.release).await?;
        Ok((store.app_by_id(app).await?, run, release))
    }

    /// `None` when the server stops: the next one goes on with it.
    async fn run_to_end(self: &Arc<Self>, app: &App, run: &CronRun, release: &Release) -> Option<RunState> {
        let one_off = match self.start_run(app, run, release).await {
            Ok(one_off) => one_off,
            Err(reason) => return Some(RunState::NotStarted { reason }),
        };
        let watch = Watch {
            app,
            release,
            created_at: run.started_at,
            begin: Begin::AtFirstLine,
            transcript: None,
            deadline: run.started_at.plus(RUN_LIMIT),
            cancel: CancellationToken::new(),
        };
        self.see_run_to_end(one_off, watch).await
    }

    async fn start_run(self: &Arc<Self>, app: &App, run: &CronRun, release: &Release) -> Result<OneOff, String> {
        let order = Order {
            name: run.no.slot().map_err(|error| error.to_string())?,
            run: Run::Line(run.command.clone()),
            env: Config::new(),
            stdio: Stdio::Logged,
            keep: Keep::Always,
        };
        let _turn = self.cron.starts.acquire().await.map_err(|error| error.to_string())?;
        self.say(app, &format!("{} begins: {}", run.no, run.command));
        let started = Scheduler(Arc::clone(self)).one_off(app, release, order).await;
        started.map(|(one_off, _)| one_off).map_err(|error| not_started(&error))
    }

    async fn see_run_to_end(self: &Arc<Self>, one_off: OneOff, watch: Watch<'_>) -> Option<RunState> {
        let ended = self.see_to_end(one_off, watch).await;
        let at = self.tools.clock.now();
        match ended {
            RunEnd::Exited(exit) => Some(RunState::Ended { at, exit }),
            RunEnd::TimedOut => Some(RunState::TimedOut { at, limit_secs: RUN_LIMIT.as_secs() }),
            RunEnd::Lost { reason } => Some(RunState::Interrupted { at, reason }),
            // Nobody cancels a run but the server that stops.
            RunEnd::Cancelled | RunEnd::Left => None,
        }
    }

    async fn record(&self, app: &App, run: &CronRun, state: Option<RunState>) {
        let Some(state) = state else { return };
        // Of an app that is being destroyed meanwhile nothing is written any more: its log goes.
        if self.tools.store.app_by_id(app.id).await.is_ok_and(|app| !app.destroying) {
            self.say(app, &format!("{} {state}", run.no));
        }
        self.keep_end(app.id, run.no, &state).await;
    }

    /// As long as a run stands as running, its entry is skipped: the record is tried again until it is written.
    async fn keep_end(&self, app: AppId, no: RunNo, state: &RunState) {
        while let Err(error) = self.tools.store.end_cron_run(app, no, state).await {
            tracing::error!("cannot record how {no} of app {} ended, trying again: {error}", app.0);
            tokio::select! {
                () = self.tools.stop.cancelled() => return,
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    }
}
