//! Which images an app still needs, and which commits.
use super::{Result, Store, from_json, parsed};
use crate::domain::{AppId, ImageId, Makeup, Oid};
use std::collections::{BTreeMap, HashSet};

struct Kept {
    image: String,
    commit_oid: String,
    makeup: String,
}

impl Store {
    /// Images of the app's `newest` releases, of the live and the starting one, and of the one that a rollback goes to.
    pub async fn images_to_keep(&self, app: AppId, newest: u32) -> Result<HashSet<ImageId>> {
        let mut images = HashSet::new();
        for kept in self.kept_releases(app, newest).await? {
            let makeup: Makeup = from_json(&kept.makeup, "releases.makeup")?;
            images.insert(ImageId::new(kept.image));
            images.extend(makeup.images.into_values());
        }
        Ok(images)
    }

    /// Commits of the same releases.
    pub async fn commits_to_keep(&self, app: AppId, newest: u32) -> Result<Vec<Oid>> {
        let kept = self.kept_releases(app, newest).await?;
        let commits = kept.iter().map(|kept| parsed(&kept.commit_oid, "releases.commit_oid"));
        let commits: Vec<Oid> = commits.collect::<anyhow::Result<_>>()?;
        // No push stands behind an image that was built elsewhere.
        Ok(commits.into_iter().filter(|commit| !commit.is_zero()).collect())
    }

    async fn kept_releases(&self, app: AppId, newest: u32) -> Result<Vec<Kept>> {
        let newest = i64::from(newest);
        let kept = sqlx::query_as!(
            Kept,
            r#"SELECT image AS "image!", commit_oid AS "commit_oid!", makeup AS "makeup!" FROM releases WHERE app_id = ?1 AND (
                 word IN ('live', 'starting')
                 OR no IN (SELECT no FROM releases WHERE app_id = ?1 ORDER BY no DESC LIMIT ?2)
                 OR no = (SELECT no FROM releases WHERE app_id = ?1 AND word = 'replaced'
                          ORDER BY live_at DESC, no DESC LIMIT 1))"#,
            app.0,
            newest
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(kept)
    }

    /// Whether a build of the app waits or runs: its image may be there before its release is.
    pub async fn is_building(&self, app: AppId) -> Result<bool> {
        let found = sqlx::query_scalar!(
            "SELECT id FROM builds WHERE app_id = ? AND word IN ('queued', 'running') LIMIT 1",
            app.0
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(found.is_some())
    }

    /// Which versions of languages an image was made with.
    pub async fn remember_versions(
        &self,
        app: AppId,
        image: &ImageId,
        versions: &BTreeMap<String, String>,
    ) -> Result<()> {
        let image = image.as_str();
        for (language, version) in versions {
            sqlx::query!(
                "INSERT INTO image_versions (app_id, image, language, version) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (app_id, image, language) DO UPDATE SET version = ?4",
                app.0,
                image,
                language,
                version
            )
            .execute(&self.pool)
            .await?;
        }
        Ok(())
    }

    pub async fn versions_of_image(&self, app: AppId, image: &ImageId) -> Result<BTreeMap<String, String>> {
        let image = image.as_str();
        let rows =
            sqlx::query!("SELECT language, version FROM image_versions WHERE app_id = ? AND image = ?", app.0, image)
                .fetch_all(&self.pool)
                .await?;
        Ok(rows.into_iter().map(|row| (row.language, row.version)).collect())
    }

    /// The image is gone: the same inputs are built again.
    pub async fn forget_image(&self, app: AppId, image: &ImageId) -> Result<()> {
        let image = image.as_str();
        sqlx::query!("DELETE FROM images WHERE app_id = ? AND image = ?", app.0, image).execute(&self.pool).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Moment;
    use crate::store::testing::store;

    #[tokio::test]
    async fn an_image_says_what_it_was_made_with_and_the_last_word_counts() {
        let (store, _dir) = store().await;
        let app = store.create_app(&"blog".parse().unwrap(), Moment::default()).await.unwrap().id;
        let (image, other) = (ImageId::new("sha256:a".to_owned()), ImageId::new("sha256:b".to_owned()));
        let versions = |node: &str| BTreeMap::from([("node".to_owned(), node.to_owned())]);
        for node in ["20.1.0", "20.2.0"] {
            store.remember_versions(app, &image, &versions(node)).await.unwrap();
            assert_eq!(store.versions_of_image(app, &image).await.unwrap(), versions(node));
        }
        assert!(store.versions_of_image(app, &other).await.unwrap().is_empty());
    }
}
