//! Releases and how they fare. The database itself allows one Live and one Starting per app (unique indexes).
use super::{ConfigChange, Rest, Result, Store, StoreError, from_json, narrow, parsed, to_json};
use crate::domain::release::Config;
use crate::domain::{
    AppId, BuildId, BuildState, Command, Failure, ImageId, Jobs, Makeup, Moment, Oid, Origin, ProcessType, Release,
    ReleaseNo, Rollout, Secret, VarName,
};
use sqlx::SqliteConnection;
use std::collections::BTreeMap;

/// A release about to be made. Its config is the app's config vars at that moment.
#[derive(Clone)]
pub struct NewRelease {
    pub app: AppId,
    pub origin: Origin,
    pub image: ImageId,
    pub commit: Oid,
    pub source: Option<String>,
    pub processes: BTreeMap<ProcessType, Command>,
    pub port: u16,
    pub jobs: Jobs,
    pub makeup: Makeup,
    pub description: String,
    pub created_by: String,
    /// Applied to the app's config vars in the same step; nothing is changed when no release is made.
    pub change: ConfigChange,
}

#[derive(Debug, thiserror::Error)]
pub enum NewReleaseError {
    /// What makes a release runs one at a time per app: wait until this one has settled.
    #[error("{0} of this app is still starting")]
    Busy(ReleaseNo),
    #[error(transparent)]
    Store(#[from] StoreError),
}

struct ReleaseRow {
    app_id: i64,
    no: i64,
    origin: String,
    image: String,
    commit_oid: String,
    source: Option<String>,
    processes: String,
    port: i64,
    sealed_config: Vec<u8>,
    description: String,
    created_by: String,
    created_at: i64,
    rollout: String,
    jobs: String,
    makeup: String,
    command_done_at: Option<i64>,
}

impl Store {
    /// Makes the next release, Starting. A push's release ends its build in the same step.
    pub async fn create_release(
        &self,
        new: &NewRelease,
        now: Moment,
    ) -> std::result::Result<ReleaseNo, NewReleaseError> {
        self.create_release_with(new, Rest::Stays, now).await
    }

    /// The same; `rest` says what becomes of config vars that its change does not name.
    pub async fn create_release_with(
        &self,
        new: &NewRelease,
        rest: Rest,
        now: Moment,
    ) -> std::result::Result<ReleaseNo, NewReleaseError> {
        let mut transaction = self.begin_for(new.app).await?;
        if let Some(no) = starting_no(new.app, &mut transaction).await? {
            return Err(NewReleaseError::Busy(no));
        }
        if !new.change.is_empty() {
            self.change_config_in(new.app, &new.change, rest, &mut transaction).await?;
        }
        let config = self.config_in(new.app, &mut transaction).await?;
        let no = self.insert_release(new, &config, now, &mut transaction).await?;
        if let Origin::Push { build } = new.origin {
            end_released_build(build, &new.image, no, now, &mut transaction).await?;
        }
        transaction.commit().await.map_err(StoreError::from)?;
        self.announce();
        Ok(no)
    }

    /// Makes a release that is `target` again: its image, processes and config, which also become the app's config vars.
    /// A release that is Starting is overtaken.
    pub async fn create_rollback(&self, target: &Release, by: &str, now: Moment) -> Result<ReleaseNo> {
        let description = format!("Rollback to {}", target.no);
        let mut transaction = self.begin_for(target.app).await?;
        if let Some(no) = starting_no(target.app, &mut transaction).await? {
            let failure = Failure::Overtaken { by: format!("a rollback to {}", target.no) };
            set_failed(target.app, no, failure, now, &mut transaction).await?;
        }
        let new = NewRelease {
            app: target.app,
            origin: Origin::Rollback { to: target.no },
            image: target.image.clone(),
            commit: target.commit.clone(),
            source: target.source.clone(),
            processes: target.processes.clone(),
            port: target.port,
            jobs: target.jobs.clone(),
            makeup: target.makeup.clone(),
            description,
            created_by: by.to_owned(),
            change: ConfigChange::new(),
        };
        let no = self.insert_release(&new, &target.config, now, &mut transaction).await?;
        let change: ConfigChange =
            target.config.iter().map(|(name, value)| (name.clone(), Some(value.clone()))).collect();
        self.change_config_in(target.app, &change, Rest::IsUnset, &mut transaction).await?;
        transaction.commit().await?;
        self.announce();
        Ok(no)
    }

    async fn insert_release(
        &self,
        new: &NewRelease,
        config: &Config,
        now: Moment,
        connection: &mut SqliteConnection,
    ) -> Result<ReleaseNo> {
        let no: i64 = sqlx::query_scalar!(
            r#"SELECT COALESCE(MAX(no), 0) + 1 AS "no!: i64" FROM releases WHERE app_id = ?"#,
            new.app.0
        )
        .fetch_one(&mut *connection)
        .await?;
        let plain: BTreeMap<&str, &str> =
            config.iter().map(|(name, value)| (name.as_str(), value.reveal().as_str())).collect();
        let sealed = self.seal.seal(&place(new.app, no), to_json(&plain)?.as_bytes())?;
        let (origin, processes, jobs) = (to_json(&new.origin)?, to_json(&new.processes)?, to_json(&new.jobs)?);
        let (rollout, makeup) = (to_json(&Rollout::Starting { since: now })?, to_json(&new.makeup)?);
        let (image, commit, port, at) = (new.image.as_str(), new.commit.as_str(), i64::from(new.port), now.unix_ms());
        sqlx::query!(
            "INSERT INTO releases (app_id, no, origin, image, commit_oid, processes, port, sealed_config, description,
                                   created_by, created_at, rollout, jobs, source, makeup, word)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'starting')",
            new.app.0,
            no,
            origin,
            image,
            commit,
            processes,
            port,
            sealed,
            new.description,
            new.created_by,
            at,
            rollout,
            jobs,
            new.source,
            makeup
        )
        .execute(&mut *connection)
        .await?;
        // Who pushes, retries or goes back wants to see the app run; a config change leaves a stopped app stopped.
        if !matches!(new.origin, Origin::Config { .. }) {
            sqlx::query!("UPDATE apps SET stopped = 0 WHERE id = ?", new.app.0).execute(&mut *connection).await?;
        }
        Ok(ReleaseNo(narrow(no, "releases.no")?))
    }

    /// Makes a Starting release Live and the one that was Live Replaced, in one step: the commit point of every deploy.
    pub async fn promote_release(&self, app: AppId, no: ReleaseNo, now: Moment) -> Result<()> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let (number, at) = (i64::from(no.0), now.unix_ms());
        let rollout = rollout_of(app, no, &mut transaction).await?.promote(now).map_err(anyhow::Error::from)?;
        let live = sqlx::query_scalar!("SELECT no FROM releases WHERE app_id = ? AND word = 'live'", app.0)
            .fetch_optional(&mut *transaction)
            .await?;
        if let Some(live) = live {
            let old = ReleaseNo(narrow(live, "releases.no")?);
            let replaced = rollout_of(app, old, &mut transaction).await?.replace(now).map_err(anyhow::Error::from)?;
            set_rollout(app, old, &replaced, &mut transaction).await?;
        }
        set_rollout(app, no, &rollout, &mut transaction).await?;
        sqlx::query!("UPDATE releases SET live_at = ? WHERE app_id = ? AND no = ?", at, app.0, number)
            .execute(&mut *transaction)
            .await?;
        sqlx::query!(
            "UPDATE apps SET deploy_branch = (SELECT b.branch FROM builds b JOIN releases r
                 ON r.app_id = b.app_id AND b.id = json_extract(r.origin, '$.build')
                 WHERE r.app_id = ?1 AND r.no = ?2)
             WHERE id = ?1 AND deploy_branch IS NULL",
            app.0,
            number
        )
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        self.announce();
        Ok(())
    }

    /// Fails a Starting release. `false`: it had settled before, and stays as it was.
    pub async fn fail_release(&self, app: AppId, no: ReleaseNo, failure: Failure, now: Moment) -> Result<bool> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let failed = set_failed(app, no, failure, now, &mut transaction).await?;
        transaction.commit().await?;
        self.announce();
        Ok(failed)
    }

    /// Keeps that a release's command has succeeded: it is not run again for this release.
    pub async fn command_done(&self, app: AppId, no: ReleaseNo, now: Moment) -> Result<()> {
        let (number, at) = (i64::from(no.0), now.unix_ms());
        sqlx::query!("UPDATE releases SET command_done_at = ? WHERE app_id = ? AND no = ?", at, app.0, number)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    pub async fn release(&self, app: AppId, no: ReleaseNo) -> Result<Release> {
        let number = i64::from(no.0);
        let row = sqlx::query_as!(
            ReleaseRow,
            "SELECT app_id, no, origin, image, commit_oid, source, processes, port, sealed_config, description, created_by, created_at, rollout,
                    jobs, makeup, command_done_at
             FROM releases WHERE app_id = ? AND no = ?",
            app.0,
            number
        )
        .fetch_optional(&self.pool)
        .await?;
        let row = row.ok_or_else(|| StoreError::Missing { what: "release", name: no.to_string() })?;
        self.to_release(row)
    }

    /// When a release went live, if it ever did.
    pub async fn live_at(&self, app: AppId, no: ReleaseNo) -> Result<Option<Moment>> {
        let number = i64::from(no.0);
        let at = sqlx::query_scalar!("SELECT live_at FROM releases WHERE app_id = ? AND no = ?", app.0, number)
            .fetch_optional(&self.pool)
            .await?;
        Ok(at.flatten().map(Moment::from_unix_ms))
    }

    pub async fn live_release(&self, app: AppId) -> Result<Option<Release>> {
        self.release_by_word(app, "live").await
    }

    pub async fn starting_release(&self, app: AppId) -> Result<Option<Release>> {
        self.release_by_word(app, "starting").await
    }

    async fn release_by_word(&self, app: AppId, word: &str) -> Result<Option<Release>> {
        let row = sqlx::query_as!(
            ReleaseRow,
            "SELECT app_id, no, origin, image, commit_oid, source, processes, port, sealed_config, description, created_by, created_at, rollout,
                    jobs, makeup, command_done_at
             FROM releases WHERE app_id = ? AND word = ?",
            app.0,
            word
        )
        .fetch_optional(&self.pool)
        .await?;
        row.map(|row| self.to_release(row)).transpose()
    }

    /// The newest `limit` releases of an app, newest first.
    pub async fn releases(&self, app: AppId, limit: u32) -> Result<Vec<Release>> {
        let limit = i64::from(limit);
        let rows = sqlx::query_as!(
            ReleaseRow,
            "SELECT app_id, no, origin, image, commit_oid, source, processes, port, sealed_config, description, created_by, created_at, rollout,
                    jobs, makeup, command_done_at
             FROM releases WHERE app_id = ? ORDER BY no DESC LIMIT ?",
            app.0,
            limit
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(|row| self.to_release(row)).collect()
    }

    /// The release that was live before the current one.
    pub async fn previous_live_release(&self, app: AppId) -> Result<Option<Release>> {
        let no = sqlx::query_scalar!(
            "SELECT no FROM releases WHERE app_id = ? AND word = 'replaced' ORDER BY live_at DESC, no DESC LIMIT 1",
            app.0
        )
        .fetch_optional(&self.pool)
        .await?;
        match no {
            Some(no) => Ok(Some(self.release(app, ReleaseNo(narrow(no, "releases.no")?)).await?)),
            None => Ok(None),
        }
    }

    /// The push whose promotion came last, with its branch: what the deploy branch has to point at.
    pub async fn last_promoted_push(&self, app: AppId) -> Result<Option<(String, Oid)>> {
        let row = sqlx::query!(
            r#"SELECT b.branch, b.new_oid FROM releases r JOIN builds b
                 ON b.app_id = r.app_id AND b.id = json_extract(r.origin, '$.build')
               WHERE r.app_id = ? AND r.live_at IS NOT NULL ORDER BY r.no DESC LIMIT 1"#,
            app.0
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|row| Ok::<_, anyhow::Error>((row.branch, parsed(&row.new_oid, "builds.new_oid")?))).transpose()?)
    }

    fn to_release(&self, row: ReleaseRow) -> Result<Release> {
        let plain: BTreeMap<VarName, String> = from_json(
            &self.seal.open(&place(AppId(row.app_id), row.no), &row.sealed_config)?,
            "releases.sealed_config",
        )?;
        Ok(Release {
            app: AppId(row.app_id),
            no: ReleaseNo(narrow(row.no, "releases.no")?),
            origin: from_json(&row.origin, "releases.origin")?,
            image: ImageId::new(row.image),
            commit: parsed(&row.commit_oid, "releases.commit_oid")?,
            source: row.source,
            processes: from_json(&row.processes, "releases.processes")?,
            port: narrow(row.port, "releases.port")?,
            config: plain.into_iter().map(|(name, value)| (name, Secret::new(value))).collect(),
            description: row.description,
            created_by: row.created_by,
            created_at: Moment::from_unix_ms(row.created_at),
            rollout: from_json(&row.rollout, "releases.rollout")?,
            jobs: from_json(&row.jobs, "releases.jobs")?,
            makeup: from_json(&row.makeup, "releases.makeup")?,
            command_done_at: row.command_done_at.map(Moment::from_unix_ms),
        })
    }
}

fn place(app: AppId, no: i64) -> String {
    format!("release/{}/{no}", app.0)
}

/// The build must be running: one that was ended meanwhile makes no release.
async fn end_released_build(
    build: BuildId,
    image: &ImageId,
    release: ReleaseNo,
    now: Moment,
    connection: &mut SqliteConnection,
) -> Result<()> {
    let (released, at) = (to_json(&BuildState::Released { image: image.clone(), release })?, now.unix_ms());
    let ended = sqlx::query!(
        "UPDATE builds SET state = ?, word = 'released', ended_at = ? WHERE id = ? AND word = 'running'",
        released,
        at,
        build.0
    )
    .execute(connection)
    .await?
    .rows_affected();
    if ended != 1 {
        return Err(StoreError::Missing { what: "running build", name: build.to_string() });
    }
    Ok(())
}

async fn starting_no(app: AppId, connection: &mut SqliteConnection) -> Result<Option<ReleaseNo>> {
    let no = sqlx::query_scalar!("SELECT no FROM releases WHERE app_id = ? AND word = 'starting'", app.0)
        .fetch_optional(connection)
        .await?;
    Ok(no.map(|no| narrow(no, "releases.no")).transpose()?.map(ReleaseNo))
}

async fn rollout_of(app: AppId, no: ReleaseNo, connection: &mut SqliteConnection) -> Result<Rollout> {
    let number = i64::from(no.0);
    let json = sqlx::query_scalar!("SELECT rollout FROM releases WHERE app_id = ? AND no = ?", app.0, number)
        .fetch_optional(connection)
        .await?
        .ok_or_else(|| StoreError::Missing { what: "release", name: no.to_string() })?;
    Ok(from_json(&json, "releases.rollout")?)
}

async fn set_rollout(app: AppId, no: ReleaseNo, rollout: &Rollout, connection: &mut SqliteConnection) -> Result<()> {
    let (json, word, number) = (to_json(rollout)?, rollout.word(), i64::from(no.0));
    sqlx::query!("UPDATE releases SET rollout = ?, word = ? WHERE app_id = ? AND no = ?", json, word, app.0, number)
        .execute(connection)
        .await?;
    Ok(())
}

async fn set_failed(
    app: AppId,
    no: ReleaseNo,
    failure: Failure,
    now: Moment,
    connection: &mut SqliteConnection,
) -> Result<bool> {
    match rollout_of(app, no, connection).await?.fail(now, failure) {
        Ok(failed) => {
            set_rollout(app, no, &failed, connection).await?;
            Ok(true)
        }
        Err(_settled) => Ok(false),
    }
}
