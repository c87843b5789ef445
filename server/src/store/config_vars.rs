//! Config vars as they will be in the next release; values are sealed.
use super::{Result, Store, parsed};
use crate::domain::release::Config;
use crate::domain::{AppId, Secret, VarName};
use std::collections::BTreeMap;

/// `None` unsets.
pub type ConfigChange = BTreeMap<VarName, Option<Secret<String>>>;

/// What becomes of config vars that a change does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    Stays,
    /// In the same step: also one that somebody else has set a moment ago.
    IsUnset,
}

impl Store {
    pub async fn config(&self, app: AppId) -> Result<Config> {
        self.config_in(app, &mut *self.pool.acquire().await?).await
    }

    /// Names only: nothing is unsealed.
    pub async fn config_names(&self, app: AppId) -> Result<Vec<VarName>> {
        let names = sqlx::query_scalar!("SELECT name FROM config_vars WHERE app_id = ? ORDER BY name", app.0)
            .fetch_all(&self.pool)
            .await?;
        Ok(names.iter().map(|name| parsed(name, "config_vars.name")).collect::<anyhow::Result<_>>()?)
    }

    pub(super) async fn config_in(&self, app: AppId, connection: &mut sqlx::SqliteConnection) -> Result<Config> {
        let rows = sqlx::query!("SELECT name, sealed_value FROM config_vars WHERE app_id = ?", app.0)
            .fetch_all(connection)
            .await?;
        let mut config = Config::new();
        for row in rows {
            let value = self.seal.open(&place(app, &row.name), &row.sealed_value)?;
            config.insert(parsed(&row.name, "config_vars.name")?, Secret::new(value));
        }
        Ok(config)
    }

    /// Applies a change whole or not at all, without a release: for an app that has none yet.
    pub async fn change_config(&self, app: AppId, change: &ConfigChange) -> Result<()> {
        self.change_all_config(app, change, Rest::Stays).await
    }

    /// The same, with a word about all others.
    pub async fn change_all_config(&self, app: AppId, change: &ConfigChange, rest: Rest) -> Result<()> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        self.change_config_in(app, change, rest, &mut transaction).await?;
        transaction.commit().await?;
        self.announce();
        Ok(())
    }

    pub(super) async fn change_config_in(
        &self,
        app: AppId,
        change: &ConfigChange,
        rest: Rest,
        connection: &mut sqlx::SqliteConnection,
    ) -> Result<()> {
        if rest == Rest::IsUnset {
            sqlx::query!("DELETE FROM config_vars WHERE app_id = ?", app.0).execute(&mut *connection).await?;
        }
        for (name, value) in change {
            let text = name.as_str();
            let Some(value) = value else {
                sqlx::query!("DELETE FROM config_vars WHERE app_id = ? AND name = ?", app.0, text)
                    .execute(&mut *connection)
                    .await?;
                continue;
            };
            let sealed = self.seal.seal(&place(app, text), value.reveal().as_bytes())?;
            sqlx::query!(
                "INSERT INTO config_vars (app_id, name, sealed_value) VALUES (?1, ?2, ?3)
                 ON CONFLICT (app_id, name) DO UPDATE SET sealed_value = ?3",
                app.0,
                text,
                sealed
            )
            .execute(&mut *connection)
            .await?;
        }
        // Whoever sets config means the app to stay, even when its first push never gets as far as a build.
        sqlx::query!("UPDATE apps SET provisional = 0 WHERE id = ?", app.0).execute(&mut *connection).await?;
        Ok(())
    }
}

fn place(app: AppId, name: &str) -> String {
    format!("config/{}/{name}", app.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Moment;
    use crate::store::testing::store;

    fn var(name: &str) -> VarName {
        name.parse().unwrap()
    }

    #[tokio::test]
    async fn replacing_all_unsets_also_what_was_set_meanwhile() {
        let (store, _dir) = store().await;
        let app = store.create_app(&"blog".parse().unwrap(), Moment::default()).await.unwrap();
        let set = |name: &str| -> ConfigChange { [(var(name), Some(Secret::new("x".to_owned())))].into() };
        store.change_config(app.id, &set("OLD")).await.unwrap();
        let edited = set("NEW");
        // Somebody else is quicker.
        store.change_config(app.id, &set("MEANWHILE")).await.unwrap();
        store.change_all_config(app.id, &edited, Rest::IsUnset).await.unwrap();
        assert_eq!(store.config_names(app.id).await.unwrap(), [var("NEW")]);
        store.change_all_config(app.id, &set("MORE"), Rest::Stays).await.unwrap();
        assert_eq!(store.config_names(app.id).await.unwrap(), [var("MORE"), var("NEW")]);
    }

    #[tokio::test]
    async fn a_changed_value_is_read_back_and_the_file_does_not_show_it() {
        let (store, dir) = store().await;
        let app = store.create_app(&"blog".parse().unwrap(), Moment::default()).await.unwrap();
        let set: ConfigChange = [(var("TOKEN"), Some(Secret::new("canary-4711".to_owned())))].into();
        store.change_config(app.id, &set).await.unwrap();
        assert_eq!(store.config(app.id).await.unwrap()[&var("TOKEN")].reveal(), "canary-4711");
        store.close().await;
        for file in std::fs::read_dir(dir.path()).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            assert!(!bytes.windows(11).any(|w| w == b"canary-4711"));
        }
    }
}
