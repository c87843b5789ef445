//! The folder of its repository that an app is, as a person set it.
use super::{Result, Store};
use crate::domain::AppId;
use anyhow::anyhow;
use buildpacks::BuildRoot;

impl Store {
    pub async fn build_root(&self, app: AppId) -> Result<Option<BuildRoot>> {
        let text = sqlx::query_scalar!("SELECT build_root FROM apps WHERE id = ?", app.0).fetch_one(&self.pool).await?;
        let parse = |text: String| text.parse().map_err(|error| anyhow!("apps.build_root: {error}"));
        Ok(text.map(parse).transpose()?)
    }

    /// `None`: what the repository says of itself, or all of it.
    pub async fn set_build_root(&self, app: AppId, root: Option<&BuildRoot>) -> Result<()> {
        let text = root.map(BuildRoot::as_str);
        let mut transaction = self.begin_for(app).await?;
        sqlx::query!("UPDATE apps SET build_root = ?, provisional = 0 WHERE id = ?", text, app.0)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        self.announce();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Moment;
    use crate::store::testing::store;

    #[tokio::test]
    async fn a_root_is_read_back_as_it_was_set_and_taken_away() {
        let (store, _dir) = store().await;
        let app = store.create_app(&"blog".parse().unwrap(), Moment::default()).await.unwrap().id;
        assert_eq!(store.build_root(app).await.unwrap(), None);
        let root: BuildRoot = "apps/web".parse().unwrap();
        store.set_build_root(app, Some(&root)).await.unwrap();
        assert_eq!(store.build_root(app).await.unwrap(), Some(root));
        store.set_build_root(app, None).await.unwrap();
        assert_eq!(store.build_root(app).await.unwrap(), None);
    }
}
