//! Cron: runs what is due of every live release's table, each in a fresh instance, `cron.12`.
//!
//! The rule. A minute of an entry is taken in the store before anything is started, and is never taken twice, whatever
//! restarts, deploys or clocks do. When this server or the engine was away, only the latest missed minute of an entry is
//! made up for, and only if that is less than an hour ago. What still runs is not run beside itself: the new run is
//! recorded as skipped. A stopped app runs nothing, and makes up for nothing when it is started again. A run that was
//! taken and not started (the server died in between) is recorded as interrupted and not tried again: at most once.
use super::House;
use super::one_off::OneOffError;
use crate::domain::cron::minute_of;
use crate::domain::job::LATE_MAX;
use crate::domain::{AppId, CronEntry, Moment, ReleaseNo, RunNo};
use crate::engine::OneOffSeen;
use crate::store::{Claim, CronTable, StoreError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Between two looks at the clock.
const GLANCE: Duration = Duration::from_secs(1);
/// Instances that are started at the same time when many apps' minutes fall together.
const STARTS_AT_ONCE: usize = 4;

/// What the runs of all apps share.
pub(super) struct Bench {
    pub(super) starts: Semaphore,
    /// Whether the runs of an earlier server were taken up.
    adopted: AtomicBool,
}

impl Default for Bench {
    fn default() -> Self {
        Self { starts: Semaphore::new(STARTS_AT_ONCE), adopted: AtomicBool::new(false) }
    }
}

/// Why a person's run did not begin.
#[derive(Debug, thiserror::Error)]
pub enum CronError {
    #[error("{0} of the same entry is still running")]
    Running(RunNo),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl super::Scheduler {
    /// Runs an entry now, because a person asks for it.
    pub async fn run_cron(
        &self,
        app: AppId,
        release: ReleaseNo,
        entry: &CronEntry,
        who: &str,
    ) -> Result<RunNo, CronError> {
        let house = &self.0;
        let begun =
            house.tools.store.begin_cron_run(app, release, &entry.command, who, house.tools.clock.now()).await?;
        let no = begun.map_err(CronError::Running)?;
        house.spawn_run(app, no);
        Ok(no)
    }
}

impl House {
    /// Looks at every table once a minute; what an earlier server left comes first.
    pub(super) async fn keep_time(self: Arc<Self>) {
        let mut looked_at = None;
        loop {
            if !self.has_adopted_runs() {
                self.adopt_runs().await;
            }
            let minute = minute_of(self.tools.clock.now());
            if self.has_adopted_runs() && looked_at != Some(minute) {
                match self.look_at_tables().await {
                    Ok(true) => looked_at = Some(minute),
                    // The engine is away: what is due is due a little later.
                    Ok(false) => {}
                    Err(error) => tracing::warn!("cannot look after cron, trying again: {error}"),
                }
            }
            tokio::select! {
                () = self.tools.stop.cancelled() => return,
                () = tokio::time::sleep(GLANCE) => {}
            }
        }
    }

    pub(super) fn has_adopted_runs(&self) -> bool {
        self.cron.adopted.load(Ordering::SeqCst)
    }

    /// `false` when something is due and the engine does not answer.
    async fn look_at_tables(self: &Arc<Self>) -> Result<bool, StoreError> {
        let store = &self.tools.store;
        let mut is_complete = true;
        for table in store.cron_tables().await? {
            let now = self.tools.clock.now();
            let marks = store.cron_marks(&table, now).await?;
            if table.stopped {
                store.pass_over_cron(table.app, minute_of(now)).await?;
                continue;
            }
            let due = |(entry, through): (CronEntry, Moment)| {
                let due = entry.schedule.latest_due(through, now, LATE_MAX)?;
                Some((entry, due))
            };
            let due: Vec<(CronEntry, Moment)> = marks.into_iter().filter_map(due).collect();
            if due.is_empty() {
                continue;
            }
            // Asked before a minute is taken: what cannot be started now is still due when the engine is back.
            if self.tools.engine.facts().await.is_err() {
                is_complete = false;
                continue;
            }
            for (entry, due) in due {
                self.run_due(&table, &entry, due, now).await?;
            }
        }
        Ok(is_complete)
    }

    async fn run_due(
        self: &Arc<Self>,
        table: &CronTable,
        entry: &CronEntry,
        due: Moment,
        now: Moment,
    ) -> Result<(), StoreError> {
        match self.tools.store.claim_cron_run(table.app, table.release, entry, due, now).await? {
            Claim::Taken(no) => self.spawn_run(table.app, no),
            Claim::Skipped { because } => {
                let app = self.tools.store.app_by_id(table.app).await?;
                self.say(&app, &format!("skipped `{}`: {because} is still running", entry.command));
            }
            Claim::Gone => {}
        }
        Ok(())
    }

    /// Takes up the runs that an earlier server has left, and records those of which nothing is left. Nothing happens
    /// while the engine is away.
    async fn adopt_runs(self: &Arc<Self>) {
        let seen = match self.tools.engine.one_offs(None).await {
            Ok(seen) => seen,
            Err(error) => return tracing::debug!("cannot look for cron's runs: {error}"),
        };
        match self.adopt(&seen).await {
            Ok(()) => self.cron.adopted.store(true, Ordering::SeqCst),
            Err(error) => tracing::warn!("cannot take up cron's runs, trying again: {error}"),
        }
    }

    async fn adopt(self: &Arc<Self>, seen: &[OneOffSeen]) -> Result<(), StoreError> {
        for (app, run) in self.tools.store.running_cron_runs().await? {
            let is_it =
                |one: &&OneOffSeen| one.app == app && one.name.process.as_str() == "cron" && one.name.index == run.no.0;
            let left = seen.iter().find(is_it);
            self.take_up_run(app, run, left).await?;
        }
        Ok(())
    }
}

/// In the words of a history.
pub(super) fn not_started(error: &OneOffError) -> String {
    match error {
        OneOffError::TooMany(_) | OneOffError::Taken(_) => error.to_string(),
        OneOffError::Other(error) => format!("{error:#}"),
    }
}
