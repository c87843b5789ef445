//! Apps, their formation and their restarts.
use super::destroying::refuse_destroying;
use super::names::refuse_former_name;
use super::{Result, Store, StoreError, is_unique_violation, narrow, parsed, random_hex};
use crate::domain::instance::Slot;
use crate::domain::release::Formation;
use crate::domain::{App, AppId, AppKey, AppName, Moment, ProcessType};
use std::collections::BTreeMap;

struct AppRow {
    id: i64,
    key: String,
    name: String,
    deploy_branch: Option<String>,
    stopped: i64,
    destroying: i64,
    created_at: i64,
}

impl AppRow {
    fn into_app(self) -> Result<App> {
        Ok(App {
            id: AppId(self.id),
            key: AppKey::new(self.key),
            name: parsed(&self.name, "apps.name")?,
            deploy_branch: self.deploy_branch,
            stopped: self.stopped != 0,
            destroying: self.destroying != 0,
            created_at: Moment::from_unix_ms(self.created_at),
        })
    }
}

impl Store {
    pub async fn create_app(&self, name: &AppName, now: Moment) -> Result<App> {
        self.insert_app(name, false, now).await
    }

    /// The app that a push goes to; made provisionally when there is none: see [`Store::drop_if_provisional`].
    pub async fn app_for_push(&self, name: &AppName, now: Moment) -> Result<App> {
        if let Some(app) = self.find_app(name).await? {
            return Ok(app);
        }
        match self.insert_app(name, true, now).await {
            // Made, or become a former name, meanwhile.
            Err(StoreError::Taken { .. } | StoreError::FormerName { .. }) => self.app(name).await,
            made => made,
        }
    }

    async fn insert_app(&self, name: &AppName, provisional: bool, now: Moment) -> Result<App> {
        let (key, text, at) = (random_hex(16)?, name.as_str(), now.unix_ms());
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        refuse_former_name(name, None, &mut transaction).await?;
        if let Some(id) =
            sqlx::query_scalar!("SELECT id FROM apps WHERE name = ?", text).fetch_optional(&mut *transaction).await?
        {
            refuse_destroying(AppId(id), &mut transaction).await?;
        }
        let inserted = sqlx::query!(
            "INSERT INTO apps (key, name, provisional, created_at) VALUES (?, ?, ?, ?)",
            key,
            text,
            provisional,
            at
        )
        .execute(&mut *transaction)
        .await;
        let id = match inserted {
            Ok(done) => done.last_insert_rowid(),
            Err(error) if is_unique_violation(&error) => {
                return Err(StoreError::Taken { what: "app name", name: text.to_owned() });
            }
            Err(error) => return Err(error.into()),
        };
        sqlx::query!("INSERT INTO formation (app_id, process, quantity) VALUES (?, 'web', 1)", id)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        self.announce();
        self.app_by_id(AppId(id)).await
    }

    /// Forgets an app that only a refused push stands behind. Returns it if it did, so that its files can follow.
    pub async fn drop_if_provisional(&self, app: AppId) -> Result<Option<App>> {
        let row = sqlx::query_as!(
            AppRow,
            r#"DELETE FROM apps WHERE id = ? AND provisional = 1
               RETURNING id AS "id!", key AS "key!", name AS "name!", deploy_branch, stopped AS "stopped!",
                         destroying AS "destroying!", created_at AS "created_at!""#,
            app.0
        )
        .fetch_optional(&self.pool)
        .await?;
        self.announce();
        row.map(AppRow::into_app).transpose()
    }

    /// Apps that only a push of an earlier process stood behind.
    pub async fn provisional_apps(&self) -> Result<Vec<AppId>> {
        let ids =
            sqlx::query_scalar!(r#"SELECT id AS "id!" FROM apps WHERE provisional = 1"#).fetch_all(&self.pool).await?;
        Ok(ids.into_iter().map(AppId).collect())
    }

    /// All apps but provisional ones, by name.
    pub async fn apps(&self) -> Result<Vec<App>> {
        let rows = sqlx::query_as!(
            AppRow,
            r#"SELECT id AS "id!", key, name, deploy_branch, stopped, destroying, created_at FROM apps WHERE provisional = 0 ORDER BY name"#
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(AppRow::into_app).collect()
    }

    /// The app of this name, or else the one that had it before.
    pub async fn find_app(&self, name: &AppName) -> Result<Option<App>> {
        let text = name.as_str();
        let row = sqlx::query_as!(
            AppRow,
            r#"SELECT id AS "id!", key, name, deploy_branch, stopped, destroying, created_at FROM apps
               WHERE name = ?1 OR id = (SELECT app_id FROM former_names WHERE name = ?1)"#,
            text
        )
        .fetch_optional(&self.pool)
        .await?;
        row.map(AppRow::into_app).transpose()
    }

    pub async fn app(&self, name: &AppName) -> Result<App> {
        self.find_app(name).await?.ok_or_else(|| StoreError::Missing { what: "app", name: name.to_string() })
    }

    pub async fn app_by_id(&self, app: AppId) -> Result<App> {
        let row = sqlx::query_as!(
            AppRow,
            r#"SELECT id AS "id!", key, name, deploy_branch, stopped, destroying, created_at FROM apps WHERE id = ?"#,
            app.0
        )
        .fetch_optional(&self.pool)
        .await?;
        row.ok_or_else(|| StoreError::Missing { what: "app", name: app.0.to_string() })?.into_app()
    }

    pub async fn set_stopped(&self, app: AppId, stopped: bool) -> Result<()> {
        sqlx::query!("UPDATE apps SET stopped = ? WHERE id = ?", stopped, app.0).execute(&self.pool).await?;
        self.announce();
        Ok(())
    }

    /// The app's own subnet, if one was chosen already.
    pub async fn subnet(&self, app: AppId) -> Result<Option<String>> {
        Ok(sqlx::query_scalar!("SELECT subnet FROM apps WHERE id = ?", app.0)
            .fetch_optional(&self.pool)
            .await?
            .flatten())
    }

    /// Keeps `subnet` for the app; `Taken` when another app has it.
    pub async fn claim_subnet(&self, app: AppId, subnet: &str) -> Result<()> {
        let taken = || StoreError::Taken { what: "subnet", name: subnet.to_owned() };
        let claimed = sqlx::query!("UPDATE apps SET subnet = ? WHERE id = ?", subnet, app.0).execute(&self.pool).await;
        match claimed {
            Ok(done) if done.rows_affected() == 1 => Ok(()),
            Ok(_) => Err(taken()),
            Err(error) if is_unique_violation(&error) => Err(taken()),
            Err(error) => Err(error.into()),
        }
    }

    pub async fn formation(&self, app: AppId) -> Result<Formation> {
        let rows = sqlx::query!("SELECT process, quantity FROM formation WHERE app_id = ?", app.0)
            .fetch_all(&self.pool)
            .await?;
        rows.into_iter()
            .map(|row| Ok((parsed(&row.process, "formation.process")?, narrow(row.quantity, "formation.quantity")?)))
            .collect()
    }

    /// Sets how many instances of each named type are wanted; other types stay as they are.
    pub async fn scale(&self, app: AppId, wanted: &Formation) -> Result<()> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        for (process, quantity) in wanted {
            let (process, quantity) = (process.as_str(), i64::from(*quantity));
            sqlx::query!(
                "INSERT INTO formation (app_id, process, quantity) VALUES (?1, ?2, ?3)
                 ON CONFLICT (app_id, process) DO UPDATE SET quantity = ?3",
                app.0,
                process,
                quantity
            )
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        self.announce();
        Ok(())
    }

    /// Asks for new instances of a type, or of one slot of it.
    pub async fn restart(&self, app: AppId, process: &ProcessType, index: Option<u32>) -> Result<()> {
        let (process, index) = (process.as_str(), i64::from(index.unwrap_or(0)));
        sqlx::query!(
            "INSERT INTO restarts (app_id, process, idx, epoch)
             VALUES (?1, ?2, ?3, (SELECT COALESCE(MAX(epoch), 0) + 1 FROM restarts WHERE app_id = ?1))
             ON CONFLICT (app_id, process, idx) DO UPDATE SET epoch = excluded.epoch",
            app.0,
            process,
            index
        )
        .execute(&self.pool)
        .await?;
        self.announce();
        Ok(())
    }

    /// The restart epoch of every slot of `formation`.
    pub async fn epochs(&self, app: AppId, formation: &Formation) -> Result<BTreeMap<Slot, u64>> {
        let rows = sqlx::query_as!(RestartRow, "SELECT process, idx, epoch FROM restarts WHERE app_id = ?", app.0)
            .fetch_all(&self.pool)
            .await?;
        let mut epochs = BTreeMap::new();
        for (process, quantity) in formation {
            for index in 1..=u32::from(*quantity) {
                let of_slot = |row: &&RestartRow| {
                    row.process == process.as_str() && (row.idx == 0 || row.idx == i64::from(index))
                };
                let epoch = rows.iter().filter(of_slot).map(|row| row.epoch).max().unwrap_or(0);
                epochs.insert(Slot { process: process.clone(), index }, narrow(epoch, "restarts.epoch")?);
            }
        }
        Ok(epochs)
    }
}

struct RestartRow {
    process: String,
    idx: i64,
    epoch: i64,
}
