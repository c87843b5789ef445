//! Builds: the durable queue, and images by what went into them.
use super::{Result, Store, StoreError, from_json, parsed, to_json};
use crate::domain::{AppId, Build, BuildId, BuildState, Failure, ImageId, Moment, Pusher, RefMove};

struct BuildRow {
    id: i64,
    app_id: i64,
    branch: String,
    old_oid: String,
    new_oid: String,
    pusher: String,
    state: String,
    queued_at: i64,
    started_at: Option<i64>,
    ended_at: Option<i64>,
}

impl BuildRow {
    fn into_build(self) -> Result<Build> {
        Ok(Build {
            id: BuildId(self.id),
            app: AppId(self.app_id),
            moves: RefMove {
                branch: self.branch,
                old: parsed(&self.old_oid, "builds.old_oid")?,
                new: parsed(&self.new_oid, "builds.new_oid")?,
            },
            pusher: from_json(&self.pusher, "builds.pusher")?,
            queued_at: Moment::from_unix_ms(self.queued_at),
            started_at: self.started_at.map(Moment::from_unix_ms),
            ended_at: self.ended_at.map(Moment::from_unix_ms),
            state: from_json(&self.state, "builds.state")?,
        })
    }
}

impl Store {
    /// Puts a push in the queue. Queued builds of the same app give way to it: they are returned, failed as superseded.
    pub async fn enqueue_build(
        &self,
        app: AppId,
        moves: &RefMove,
        pusher: &Pusher,
        now: Moment,
    ) -> Result<(BuildId, Vec<BuildId>)> {
        let superseded = to_json(&BuildState::Failed { failure: Failure::Superseded { by: moves.new.clone() } })?;
        let (queued, pusher, at) = (to_json(&BuildState::Queued)?, to_json(pusher)?, now.unix_ms());
        let (old, new) = (moves.old.as_str(), moves.new.as_str());
        let mut transaction = self.begin_for(app).await?;
        let gave_way = sqlx::query_scalar!(
            r#"UPDATE builds SET state = ?, word = 'superseded', ended_at = ?
               WHERE app_id = ? AND word = 'queued' RETURNING id AS "id!""#,
            superseded,
            at,
            app.0
        )
        .fetch_all(&mut *transaction)
        .await?;
        let id = sqlx::query!(
            "INSERT INTO builds (app_id, branch, old_oid, new_oid, pusher, state, word, queued_at)
             VALUES (?, ?, ?, ?, ?, ?, 'queued', ?)",
            app.0,
            moves.branch,
            old,
            new,
            pusher,
            queued,
            at
        )
        .execute(&mut *transaction)
        .await?
        .last_insert_rowid();
        sqlx::query!("UPDATE apps SET provisional = 0 WHERE id = ?", app.0).execute(&mut *transaction).await?;
        transaction.commit().await?;
        self.announce();
        Ok((BuildId(id), gave_way.into_iter().map(BuildId).collect()))
    }

    /// Queued builds in their order.
    pub async fn queued_builds(&self) -> Result<Vec<Build>> {
        self.builds_by_word("queued").await
    }

    pub async fn running_builds(&self) -> Result<Vec<Build>> {
        self.builds_by_word("running").await
    }

    async fn builds_by_word(&self, word: &str) -> Result<Vec<Build>> {
        let rows = sqlx::query_as!(
            BuildRow,
            r#"SELECT id AS "id!", app_id, branch, old_oid, new_oid, pusher, state, queued_at, started_at, ended_at
               FROM builds WHERE word = ? ORDER BY id"#,
            word
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(BuildRow::into_build).collect()
    }

    /// The newest `limit` builds of an app, newest first.
    pub async fn builds(&self, app: AppId, limit: u32) -> Result<Vec<Build>> {
        let limit = i64::from(limit);
        let rows = sqlx::query_as!(
            BuildRow,
            r#"SELECT id AS "id!", app_id, branch, old_oid, new_oid, pusher, state, queued_at, started_at, ended_at
               FROM builds WHERE app_id = ? ORDER BY id DESC LIMIT ?"#,
            app.0,
            limit
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(BuildRow::into_build).collect()
    }

    /// A build of this app; another app's build is as missing as none.
    pub async fn build(&self, app: AppId, id: BuildId) -> Result<Build> {
        let row = sqlx::query_as!(
            BuildRow,
            r#"SELECT id AS "id!", app_id, branch, old_oid, new_oid, pusher, state, queued_at, started_at, ended_at
               FROM builds WHERE app_id = ? AND id = ?"#,
            app.0,
            id.0
        )
        .fetch_optional(&self.pool)
        .await?;
        row.ok_or_else(|| StoreError::Missing { what: "build", name: id.to_string() })?.into_build()
    }

    /// Takes a build out of the queue. `false`: it is no longer queued (cancelled or superseded meanwhile).
    pub async fn begin_build(&self, id: BuildId, now: Moment) -> Result<bool> {
        let (running, at) = (to_json(&BuildState::Running)?, now.unix_ms());
        let begun = sqlx::query!(
            "UPDATE builds SET state = ?, word = 'running', started_at = ? WHERE id = ? AND word = 'queued'",
            running,
            at,
            id.0
        )
        .execute(&self.pool)
        .await?
        .rows_affected();
        self.announce();
        Ok(begun == 1)
    }

    /// Ends a build that is queued or running. `false`: it had ended before, and stays as it was.
    pub async fn end_build(&self, id: BuildId, state: &BuildState, now: Moment) -> Result<bool> {
        let (json, word, at) = (to_json(state)?, state.word(), now.unix_ms());
        let ended = sqlx::query!(
            "UPDATE builds SET state = ?, word = ?, ended_at = ? WHERE id = ? AND word IN ('queued', 'running')",
            json,
            word,
            at,
            id.0
        )
        .execute(&self.pool)
        .await?
        .rows_affected();
        self.announce();
        Ok(ended == 1)
    }

    /// The image made earlier from the same inputs, which the engine may have lost since.
    pub async fn known_image(&self, app: AppId, fingerprint: &str) -> Result<Option<ImageId>> {
        let image =
            sqlx::query_scalar!("SELECT image FROM images WHERE app_id = ? AND fingerprint = ?", app.0, fingerprint)
                .fetch_optional(&self.pool)
                .await?;
        Ok(image.map(ImageId::new))
    }

    pub async fn remember_image(&self, app: AppId, fingerprint: &str, image: &ImageId, now: Moment) -> Result<()> {
        let (id, at) = (image.as_str(), now.unix_ms());
        sqlx::query!(
            "INSERT INTO images (app_id, fingerprint, image, built_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (app_id, fingerprint) DO UPDATE SET image = ?3, built_at = ?4",
            app.0,
            fingerprint,
            id,
            at
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
