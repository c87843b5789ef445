//! The end of an app: marked first, so that nothing new begins and a restart carries on; its row goes last.
use super::{Result, Store, StoreError};
use crate::domain::{App, AppId};
use sqlx::{Sqlite, SqliteConnection, Transaction};

impl Store {
    /// From here on the app takes no push, makes no release and cannot be kept. Once more is no error.
    pub async fn begin_destroying(&self, app: AppId) -> Result<()> {
        sqlx::query!("UPDATE apps SET destroying = 1, provisional = 0 WHERE id = ?", app.0).execute(&self.pool).await?;
        self.announce();
        Ok(())
    }

    /// Begins to write something for an app, which must not be about to go.
    pub(super) async fn begin_for(&self, app: AppId) -> Result<Transaction<'static, Sqlite>> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        refuse_destroying(app, &mut transaction).await?;
        Ok(transaction)
    }

    pub async fn apps_being_destroyed(&self) -> Result<Vec<App>> {
        Ok(self.apps().await?.into_iter().filter(|app| app.destroying).collect())
    }

    /// Forgets an app that nothing is left of, with everything that was said of it but the audit log. Its name and its
    /// hosts are free then.
    pub async fn delete_destroyed_app(&self, app: AppId) -> Result<()> {
        sqlx::query!("DELETE FROM apps WHERE id = ? AND destroying = 1", app.0).execute(&self.pool).await?;
        self.announce();
        Ok(())
    }
}

/// What is about to be written for an app must not outlive it.
pub(super) async fn refuse_destroying(app: AppId, connection: &mut SqliteConnection) -> Result<()> {
    let name = sqlx::query_scalar!("SELECT name FROM apps WHERE id = ? AND destroying = 1", app.0)
        .fetch_optional(connection)
        .await?;
    name.map_or(Ok(()), |app| Err(StoreError::Destroying { app }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Moment, Oid, Pusher, RefMove};
    use crate::store::testing::store;

    #[tokio::test]
    async fn an_app_that_is_being_destroyed_takes_nothing_and_its_name_is_free_at_the_end() {
        let (store, _dir) = store().await;
        let name = "blog".parse().unwrap();
        let app = store.create_app(&name, Moment::default()).await.unwrap();
        store.delete_destroyed_app(app.id).await.unwrap();
        assert!(store.find_app(&name).await.unwrap().is_some(), "only what was marked goes");
        store.begin_destroying(app.id).await.unwrap();
        let moves = RefMove { branch: "main".to_owned(), old: Oid::zero(), new: Oid::zero() };
        let pushed = store.enqueue_build(app.id, &moves, &Pusher::Host { uid: 0 }, Moment::default()).await;
        assert!(matches!(pushed, Err(StoreError::Destroying { .. })), "{pushed:?}");
        let renamed = store.rename_app(app.id, &"other".parse().unwrap()).await;
        assert!(matches!(renamed, Err(StoreError::Destroying { .. })), "{renamed:?}");
        let taken = store.create_app(&name, Moment::default()).await;
        assert!(matches!(taken, Err(StoreError::Destroying { .. })), "{taken:?}");
        assert_eq!(store.apps_being_destroyed().await.unwrap().len(), 1);
        store.delete_destroyed_app(app.id).await.unwrap();
        let again = store.create_app(&name, Moment::default()).await.unwrap();
        assert_ne!(again.id, app.id);
    }
}
