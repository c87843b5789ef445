//! Which config vars builds were given, by name.
use super::{Result, Store, from_json, to_json};
use crate::domain::{AppId, BuildId, ImageId, Reads};

impl Store {
    pub async fn note_reads(&self, build: BuildId, reads: &Reads) -> Result<()> {
        let json = to_json(reads)?;
        sqlx::query!("UPDATE builds SET reads = ? WHERE id = ?", json, build.0).execute(&self.pool).await?;
        Ok(())
    }

    /// What a build was given; `None` when that was not noted.
    pub async fn reads(&self, app: AppId, build: BuildId) -> Result<Option<Reads>> {
        let json = sqlx::query_scalar!("SELECT reads FROM builds WHERE app_id = ? AND id = ?", app.0, build.0)
            .fetch_optional(&self.pool)
            .await?;
        Ok(json.flatten().map(|json| from_json(&json, "builds.reads")).transpose()?)
    }

    /// The same of the build that an image comes from.
    pub async fn reads_of_image(&self, app: AppId, image: &ImageId) -> Result<Option<Reads>> {
        let image = image.as_str();
        let json = sqlx::query_scalar!(
            "SELECT reads FROM builds WHERE app_id = ? AND json_extract(state, '$.image') = ? ORDER BY id DESC LIMIT 1",
            app.0,
            image
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(json.flatten().map(|json| from_json(&json, "builds.reads")).transpose()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{BuildState, Moment, Oid, Pusher, RefMove, ReleaseNo};
    use crate::store::testing::store;

    #[tokio::test]
    async fn what_a_build_was_given_is_found_by_the_build_and_by_its_image() {
        let (store, _dir) = store().await;
        let app = store.create_app(&"blog".parse().unwrap(), Moment::default()).await.unwrap().id;
        let moves = RefMove { branch: "main".to_owned(), old: Oid::zero(), new: Oid::zero() };
        let (build, _) = store.enqueue_build(app, &moves, &Pusher::Host { uid: 0 }, Moment::default()).await.unwrap();
        let image = ImageId::new("sha256:1");
        assert_eq!(store.reads(app, build).await.unwrap(), None);
        let reads = Reads { names: vec!["NPM_TOKEN".to_owned()], everything: false };
        store.note_reads(build, &reads).await.unwrap();
        assert_eq!(store.reads(app, build).await.unwrap(), Some(reads.clone()));
        assert_eq!(store.reads_of_image(app, &image).await.unwrap(), None, "it has made none yet");
        let released = BuildState::Released { image: image.clone(), release: ReleaseNo(1) };
        store.end_build(build, &released, Moment::default()).await.unwrap();
        assert_eq!(store.reads_of_image(app, &image).await.unwrap(), Some(reads.clone()));
        assert!(reads.includes(&"NPM_TOKEN".parse().unwrap()) && !reads.includes(&"OTHER".parse().unwrap()));
    }
}
