//! Cron: the tables of what is live, up to when each entry was looked after, and the runs.
use super::{Result, Store, StoreError, from_json, narrow, parsed, to_json};
use crate::domain::cron::CronExpr;
use crate::domain::{AppId, CronEntry, CronRun, Jobs, Moment, ReleaseNo, RunNo, RunState, Trigger};
use sqlx::SqliteConnection;
use std::time::Duration;

/// Runs that an app's history keeps, and as many skipped ones.
const KEPT: i64 = 50;
/// A mark further ahead than this comes from a clock that was wrong, and is not waited for.
const AHEAD_MAX: Duration = Duration::from_hours(24);

/// The cron table of an app's live release.
#[derive(Clone, Debug)]
pub struct CronTable {
    pub app: AppId,
    pub release: ReleaseNo,
    /// Since when it is live.
    pub since: Moment,
    pub stopped: bool,
    pub cron: Vec<CronEntry>,
}

/// What became of the attempt to take a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    Taken(RunNo),
    /// It is recorded as skipped: `because` still runs.
    Skipped {
        because: RunNo,
    },
    /// Somebody took it before.
    Gone,
}

struct RunRow {
    no: i64,
    release_no: i64,
    command: String,
    triggered: String,
    started_at: i64,
    state: String,
}

impl RunRow {
    fn into_run(self) -> Result<CronRun> {
        Ok(CronRun {
            no: RunNo(narrow(self.no, "cron_runs.no")?),
            release: ReleaseNo(narrow(self.release_no, "cron_runs.release_no")?),
            command: self.command,
            trigger: from_json(&self.triggered, "cron_runs.triggered")?,
            started_at: Moment::from_unix_ms(self.started_at),
            state: from_json(&self.state, "cron_runs.state")?,
        })
    }
}

impl Store {
    /// The tables of all live releases that have one.
    pub async fn cron_tables(&self) -> Result<Vec<CronTable>> {
        let rows = sqlx::query!(
            "SELECT r.app_id, r.no, r.live_at, r.jobs, a.stopped FROM releases r JOIN apps a ON a.id = r.app_id
             WHERE r.word = 'live' AND a.destroying = 0 AND json_array_length(r.jobs, '$.cron') > 0 ORDER BY r.app_id"
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                let jobs: Jobs = from_json(&row.jobs, "releases.jobs")?;
                Ok(CronTable {
                    app: AppId(row.app_id),
                    release: ReleaseNo(narrow(row.no, "releases.no")?),
                    since: Moment::from_unix_ms(row.live_at.unwrap_or_default()),
                    stopped: row.stopped != 0,
                    cron: jobs.cron,
                })
            })
            .collect()
    }

    /// Up to when each entry of a live table was looked after; an entry that is new, since its release is live. Marks of
    /// entries that are no more are dropped.
    pub async fn cron_marks(&self, table: &CronTable, now: Moment) -> Result<Vec<(CronEntry, Moment)>> {
        let known = self.read_marks(table.app).await?;
        let is_complete = known.len() == table.cron.len()
            && table.cron.iter().all(|entry| known.iter().any(|(known, _)| known == entry))
            && known.iter().all(|(_, through)| *through <= now.plus(AHEAD_MAX));
        if is_complete {
            return Ok(known);
        }
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let (at, ahead) = (now.unix_ms(), now.plus(AHEAD_MAX).unix_ms());
        sqlx::query!("UPDATE cron_marks SET through = ? WHERE app_id = ? AND through > ?", at, table.app.0, ahead)
            .execute(&mut *transaction)
            .await?;
        for (entry, _) in known.iter().filter(|(entry, _)| !table.cron.contains(entry)) {
            let schedule = entry.schedule.to_string();
            sqlx::query!(
                "DELETE FROM cron_marks WHERE app_id = ? AND command = ? AND schedule = ?",
                table.app.0,
                entry.command,
                schedule
            )
            .execute(&mut *transaction)
            .await?;
        }
        for entry in &table.cron {
            let (schedule, since) = (entry.schedule.to_string(), table.since.min(now).unix_ms());
            sqlx::query!(
                "INSERT INTO cron_marks (app_id, command, schedule, through) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                table.app.0,
                entry.command,
                schedule,
                since
            )
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        self.read_marks(table.app).await
    }

    async fn read_marks(&self, app: AppId) -> Result<Vec<(CronEntry, Moment)>> {
        let rows =
            sqlx::query!("SELECT command, schedule, through FROM cron_marks WHERE app_id = ? ORDER BY rowid", app.0)
                .fetch_all(&self.pool)
                .await?;
        rows.into_iter()
            .map(|row| {
                let schedule: CronExpr = parsed(&row.schedule, "cron_marks.schedule")?;
                Ok((CronEntry { command: row.command, schedule }, Moment::from_unix_ms(row.through)))
            })
            .collect()
    }

    /// What was due up to now is not wanted: the app is stopped.
    pub async fn pass_over_cron(&self, app: AppId, now: Moment) -> Result<()> {
        let through = now.unix_ms();
        sqlx::query!("UPDATE cron_marks SET through = ?2 WHERE app_id = ?1 AND through < ?2", app.0, through)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Takes the minute `due` of an entry, for good, and begins its run: nobody runs it for that minute again.
    pub async fn claim_cron_run(
        &self,
        app: AppId,
        release: ReleaseNo,
        entry: &CronEntry,
        due: Moment,
        now: Moment,
    ) -> Result<Claim> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let (schedule, through) = (entry.schedule.to_string(), due.unix_ms());
        let moved = sqlx::query!(
            "UPDATE cron_marks SET through = ?4 WHERE app_id = ?1 AND command = ?2 AND schedule = ?3 AND through < ?4",
            app.0,
            entry.command,
            schedule,
            through
        )
        .execute(&mut *transaction)
        .await?
        .rows_affected();
        // Of two entries with one command that fall on the same minute one is enough.
        let taken = sqlx::query_scalar!(
            "SELECT no FROM cron_runs WHERE app_id = ? AND command = ? AND due_at = ?",
            app.0,
            entry.command,
            through
        )
        .fetch_optional(&mut *transaction)
        .await?;
        let claim = if moved == 0 || taken.is_some() {
            Claim::Gone
        } else {
            let trigger = Trigger::Schedule { due };
            match running_no(app, &entry.command, &mut transaction).await? {
                Some(because) => {
                    let state = RunState::Skipped { because };
                    insert_run(app, release, &entry.command, &trigger, &state, now, &mut transaction).await?;
                    Claim::Skipped { because }
                }
                None => {
                    let running = RunState::Running;
                    let no =
                        insert_run(app, release, &entry.command, &trigger, &running, now, &mut transaction).await?;
                    Claim::Taken(no)
                }
            }
        };
        transaction.commit().await?;
        self.announce();
        Ok(claim)
    }

    /// Begins a run that a person asks for. `Err`: this one of the same command still runs.
    pub async fn begin_cron_run(
        &self,
        app: AppId,
        release: ReleaseNo,
        command: &str,
        who: &str,
        now: Moment,
    ) -> Result<std::result::Result<RunNo, RunNo>> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        if let Some(running) = running_no(app, command, &mut transaction).await? {
            return Ok(Err(running));
        }
        let trigger = Trigger::Person { who: who.to_owned() };
        let no = insert_run(app, release, command, &trigger, &RunState::Running, now, &mut transaction).await?;
        transaction.commit().await?;
        self.announce();
        Ok(Ok(no))
    }

    /// Ends a run. `false`: it had ended before, and stays as it was.
    pub async fn end_cron_run(&self, app: AppId, no: RunNo, state: &RunState) -> Result<bool> {
        let (json, word, number) = (to_json(state)?, state.word(), i64::from(no.0));
        let ended = sqlx::query!(
            "UPDATE cron_runs SET state = ?, word = ? WHERE app_id = ? AND no = ? AND word = 'running'",
            json,
            word,
            app.0,
            number
        )
        .execute(&self.pool)
        .await?
        .rows_affected();
        self.announce();
        Ok(ended == 1)
    }

    /// Runs that have not ended, of all apps.
    pub async fn running_cron_runs(&self) -> Result<Vec<(AppId, CronRun)>> {
        let rows = sqlx::query!(
            "SELECT app_id, no, release_no, command, triggered, started_at, state FROM cron_runs WHERE word = 'running'"
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                let run = RunRow {
                    no: row.no,
                    release_no: row.release_no,
                    command: row.command,
                    triggered: row.triggered,
                    started_at: row.started_at,
                    state: row.state,
                };
                Ok((AppId(row.app_id), run.into_run()?))
            })
            .collect()
    }

    /// The newest `limit` runs of an app, newest first.
    pub async fn cron_runs(&self, app: AppId, limit: u32) -> Result<Vec<CronRun>> {
        let limit = i64::from(limit);
        let rows = sqlx::query_as!(
            RunRow,
            "SELECT no, release_no, command, triggered, started_at, state FROM cron_runs
             WHERE app_id = ? ORDER BY no DESC LIMIT ?",
            app.0,
            limit
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(RunRow::into_run).collect()
    }

    pub async fn cron_run(&self, app: AppId, no: RunNo) -> Result<CronRun> {
        let number = i64::from(no.0);
        let row = sqlx::query_as!(
            RunRow,
            "SELECT no, release_no, command, triggered, started_at, state FROM cron_runs WHERE app_id = ? AND no = ?",
            app.0,
            number
        )
        .fetch_optional(&self.pool)
        .await?;
        row.ok_or_else(|| StoreError::Missing { what: "run", name: no.to_string() })?.into_run()
    }
}

async fn running_no(app: AppId, command: &str, connection: &mut SqliteConnection) -> Result<Option<RunNo>> {
    let no = sqlx::query_scalar!(
        "SELECT no FROM cron_runs WHERE app_id = ? AND command = ? AND word = 'running'",
        app.0,
        command
    )
    .fetch_optional(connection)
    .await?;
    Ok(no.map(|no| narrow(no, "cron_runs.no")).transpose()?.map(RunNo))
}

/// Adds a run and forgets the oldest ones; what runs is never forgotten, nor is the newest number.
async fn insert_run(
    app: AppId,
    release: ReleaseNo,
    command: &str,
    trigger: &Trigger,
    state: &RunState,
    now: Moment,
    connection: &mut SqliteConnection,
) -> Result<RunNo> {
    let no: i64 =
        sqlx::query_scalar!(r#"SELECT COALESCE(MAX(no), 0) + 1 AS "no!: i64" FROM cron_runs WHERE app_id = ?"#, app.0)
            .fetch_one(&mut *connection)
            .await?;
    let (json, word, triggered) = (to_json(state)?, state.word(), to_json(trigger)?);
    let (release, at, due) = (i64::from(release.0), now.unix_ms(), trigger.due().map(Moment::unix_ms));
    sqlx::query!(
        "INSERT INTO cron_runs (app_id, no, release_no, command, triggered, due_at, started_at, state, word)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        app.0,
        no,
        release,
        command,
        triggered,
        due,
        at,
        json,
        word
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "DELETE FROM cron_runs WHERE app_id = ?1 AND word <> 'running' AND no NOT IN (
             SELECT no FROM (SELECT no FROM cron_runs WHERE app_id = ?1 AND word = 'skipped' ORDER BY no DESC LIMIT ?2)
             UNION ALL
             SELECT no FROM (SELECT no FROM cron_runs WHERE app_id = ?1 AND word <> 'skipped' ORDER BY no DESC LIMIT ?2))",
        app.0,
        KEPT
    )
    .execute(connection)
    .await?;
    Ok(RunNo(narrow(no, "cron_runs.no")?))
}

#[cfg(test)]
mod tests;
