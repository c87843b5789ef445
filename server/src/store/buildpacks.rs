//! The classic buildpacks that were set for an app.
use super::{Result, Store};
use crate::domain::AppId;

impl Store {
    /// In their order, as they were typed; none where nothing was set.
    pub async fn buildpacks(&self, app: AppId) -> Result<Vec<String>> {
        let rows = sqlx::query_scalar!("SELECT source FROM buildpacks WHERE app_id = ? ORDER BY position", app.0);
        Ok(rows.fetch_all(&self.pool).await?)
    }

    /// Replaces the list. Whoever sets one means the app to stay.
    pub async fn set_buildpacks(&self, app: AppId, sources: &[String]) -> Result<()> {
        let mut transaction = self.begin_for(app).await?;
        sqlx::query!("DELETE FROM buildpacks WHERE app_id = ?", app.0).execute(&mut *transaction).await?;
        for (position, source) in (1_i64..).zip(sources) {
            sqlx::query!("INSERT INTO buildpacks (app_id, position, source) VALUES (?, ?, ?)", app.0, position, source)
                .execute(&mut *transaction)
                .await?;
        }
        sqlx::query!("UPDATE apps SET provisional = 0 WHERE id = ?", app.0).execute(&mut *transaction).await?;
        transaction.commit().await?;
        self.announce();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::Moment;
    use crate::store::testing::store;

    #[tokio::test]
    async fn a_list_is_replaced_whole_and_goes_with_its_app() {
        let (store, _dir) = store().await;
        let app = store.create_app(&"blog".parse().unwrap(), Moment::default()).await.unwrap().id;
        assert!(store.buildpacks(app).await.unwrap().is_empty());
        let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        store.set_buildpacks(app, &list(&["https://b", "https://a"])).await.unwrap();
        assert_eq!(store.buildpacks(app).await.unwrap(), ["https://b", "https://a"]);
        store.set_buildpacks(app, &list(&["./c"])).await.unwrap();
        assert_eq!(store.buildpacks(app).await.unwrap(), ["./c"]);
        store.begin_destroying(app).await.unwrap();
        assert!(store.set_buildpacks(app, &[]).await.is_err());
        store.delete_destroyed_app(app).await.unwrap();
        assert!(store.buildpacks(app).await.unwrap().is_empty());
    }
}
