//! How often the build caches of apps were purged.
use super::{Result, Store, narrow};
use crate::domain::build_cache::CacheGeneration;
use crate::domain::{AppId, AppKey};

impl Store {
    pub async fn cache_generation(&self, app: AppId) -> Result<CacheGeneration> {
        let generation =
            sqlx::query_scalar!("SELECT cache_generation FROM apps WHERE id = ?", app.0).fetch_one(&self.pool).await?;
        Ok(CacheGeneration(narrow(generation, "apps.cache_generation")?))
    }

    /// The generation that every app is in.
    pub async fn cache_generations(&self) -> Result<Vec<(AppId, AppKey, CacheGeneration)>> {
        let rows = sqlx::query!(r#"SELECT id AS "id!", key, cache_generation FROM apps"#).fetch_all(&self.pool).await?;
        rows.into_iter()
            .map(|row| {
                let generation = CacheGeneration(narrow(row.cache_generation, "apps.cache_generation")?);
                Ok((AppId(row.id), AppKey::new(row.key), generation))
            })
            .collect()
    }

    /// From here on the app's builds have caches of another name, and take no image of before for the same.
    pub async fn begin_cache_generation(&self, app: AppId) -> Result<CacheGeneration> {
        let mut transaction = self.begin_for(app).await?;
        let generation = sqlx::query_scalar!(
            r#"UPDATE apps SET cache_generation = cache_generation + 1 WHERE id = ?
               RETURNING cache_generation AS "generation!: i64""#,
            app.0
        )
        .fetch_one(&mut *transaction)
        .await?;
        sqlx::query!("DELETE FROM images WHERE app_id = ?", app.0).execute(&mut *transaction).await?;
        transaction.commit().await?;
        self.announce();
        Ok(CacheGeneration(narrow(generation, "apps.cache_generation")?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ImageId, Moment};
    use crate::store::testing::store;

    #[tokio::test]
    async fn a_purge_counts_for_one_app_and_forgets_what_was_made_of_the_same_inputs() {
        let (store, _dir) = store().await;
        let blog = store.create_app(&"blog".parse().unwrap(), Moment::default()).await.unwrap();
        let shop = store.create_app(&"shop".parse().unwrap(), Moment::default()).await.unwrap();
        for app in [&blog, &shop] {
            store.remember_image(app.id, "print", &ImageId::new("ok"), Moment::default()).await.unwrap();
        }
        assert_eq!(store.cache_generation(blog.id).await.unwrap(), CacheGeneration(0));
        assert_eq!(store.begin_cache_generation(blog.id).await.unwrap(), CacheGeneration(1));
        assert_eq!(store.begin_cache_generation(blog.id).await.unwrap(), CacheGeneration(2));
        assert_eq!(store.cache_generation(blog.id).await.unwrap(), CacheGeneration(2));
        assert_eq!(store.cache_generation(shop.id).await.unwrap(), CacheGeneration(0));
        assert_eq!(store.known_image(blog.id, "print").await.unwrap(), None);
        assert!(store.known_image(shop.id, "print").await.unwrap().is_some());
        let all = store.cache_generations().await.unwrap();
        assert_eq!(
            all.iter().map(|(app, _, generation)| (*app, generation.0)).collect::<Vec<_>>(),
            [(blog.id, 2), (shop.id, 0)]
        );
        store.begin_destroying(blog.id).await.unwrap();
        assert!(store.begin_cache_generation(blog.id).await.is_err());
    }
}
