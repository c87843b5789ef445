//! Volumes, and what goes with them: whether an app's releases may overlap, and its maintenance.
use super::{Result, Store, StoreError, is_unique_violation, parsed};
use crate::domain::volume::{Owner, Stage, VOLUMES_MAX};
use crate::domain::{AppId, AppKey, Maintenance, Moment, MountPath, Volume, VolumeKey, VolumeName};

struct VolumeRow {
    id: i64,
    app_id: Option<i64>,
    name: String,
    key: String,
    path: Option<String>,
    used: i64,
    was_of: Option<String>,
    created_at: i64,
}

impl VolumeRow {
    fn into_volume(self) -> Result<Volume> {
        Ok(Volume {
            id: self.id,
            key: VolumeKey::new(self.key),
            name: parsed(&self.name, "volumes.name")?,
            owner: match self.app_id {
                Some(app) => Owner::App(AppId(app)),
                None => Owner::Nobody { was: self.was_of.unwrap_or_default() },
            },
            path: self.path.map(|path| parsed(&path, "volumes.path")).transpose()?,
            stage: if self.used == 0 { Stage::Fresh } else { Stage::Used },
            created_at: Moment::from_unix_ms(self.created_at),
        })
    }
}

impl Store {
    /// All volumes: those of apps and those that were left.
    pub async fn all_volumes(&self) -> Result<Vec<Volume>> {
        let rows = sqlx::query_as!(
            VolumeRow,
            r#"SELECT id AS "id!", app_id, name, key, path, used, was_of, created_at FROM volumes ORDER BY id"#
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(VolumeRow::into_volume).collect()
    }

    /// The app's volumes, by name.
    pub async fn volumes(&self, app: AppId) -> Result<Vec<Volume>> {
        let rows = sqlx::query_as!(
            VolumeRow,
            r#"SELECT id AS "id!", app_id, name, key, path, used, was_of, created_at
               FROM volumes WHERE app_id = ? ORDER BY name"#,
            app.0
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(VolumeRow::into_volume).collect()
    }

    pub async fn volume(&self, app: AppId, name: &VolumeName) -> Result<Volume> {
        let volumes = self.volumes(app).await?;
        let found = volumes.into_iter().find(|volume| volume.name == *name);
        found.ok_or_else(|| StoreError::Missing { what: "volume", name: name.to_string() })
    }

    /// A volume that a destroyed app left, by its number.
    pub async fn left_volume(&self, id: i64) -> Result<Volume> {
        let is_it = |volume: &Volume| volume.id == id && matches!(volume.owner, Owner::Nobody { .. });
        let found = self.all_volumes().await?.into_iter().find(is_it);
        found.ok_or_else(|| StoreError::Missing { what: "volume without an app", name: id.to_string() })
    }

    /// Writes down a new volume; `Taken` when the app has one of that name, `Full` when it has too many.
    pub async fn add_volume(&self, app: AppId, key: &AppKey, name: &VolumeName, now: Moment) -> Result<Volume> {
        let (text, at) = (name.as_str(), now.unix_ms());
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let count = sqlx::query_scalar!(r#"SELECT COUNT(*) AS "count!" FROM volumes WHERE app_id = ?"#, app.0)
            .fetch_one(&mut *transaction)
            .await?;
        if usize::try_from(count).is_ok_and(|count| count >= VOLUMES_MAX) {
            return Err(StoreError::Full { what: "volumes", max: VOLUMES_MAX });
        }
        // Its key holds the number that only the row gives it.
        let placeholder = super::random_hex(16)?;
        let inserted = sqlx::query!(
            "INSERT INTO volumes (app_id, name, key, created_at) VALUES (?, ?, ?, ?)",
            app.0,
            text,
            placeholder,
            at
        )
        .execute(&mut *transaction)
        .await;
        let id = match inserted {
            Ok(done) => done.last_insert_rowid(),
            Err(error) if is_unique_violation(&error) => {
                return Err(StoreError::Taken { what: "volume name", name: text.to_owned() });
            }
            Err(error) => return Err(error.into()),
        };
        let volume_key = format!("paas-{key}-{id}");
        sqlx::query!("UPDATE volumes SET key = ? WHERE id = ?", volume_key, id).execute(&mut *transaction).await?;
        // Whoever makes a volume means the app to stay, even when its first push never gets as far as a build.
        sqlx::query!("UPDATE apps SET provisional = 0 WHERE id = ?", app.0).execute(&mut *transaction).await?;
        transaction.commit().await?;
        self.announce();
        self.volume(app, name).await
    }

    /// Says where the app's instances see a volume; `None`: nowhere any more. `Taken` when another one is there.
    pub async fn mount_volume(&self, id: i64, path: Option<&MountPath>) -> Result<()> {
        let text = path.map(MountPath::as_str);
        let changed = sqlx::query!("UPDATE volumes SET path = ? WHERE id = ?", text, id).execute(&self.pool).await;
        match changed {
            Ok(done) => one_changed(done.rows_affected(), id)?,
            Err(error) if is_unique_violation(&error) => {
                return Err(StoreError::Taken { what: "mount path", name: text.unwrap_or_default().to_owned() });
            }
            Err(error) => return Err(error.into()),
        }
        self.announce();
        Ok(())
    }

    /// An instance has had it.
    pub async fn set_volume_used(&self, id: i64) -> Result<()> {
        let done = sqlx::query!("UPDATE volumes SET used = 1 WHERE id = ?", id).execute(&self.pool).await?;
        one_changed(done.rows_affected(), id)
    }

    /// Gives a volume that was left to an app.
    pub async fn adopt_volume(&self, id: i64, app: AppId, name: &VolumeName) -> Result<()> {
        let text = name.as_str();
        let adopted = sqlx::query!(
            "UPDATE volumes SET app_id = ?, name = ?, was_of = NULL, path = NULL WHERE id = ? AND app_id IS NULL",
            app.0,
            text,
            id
        )
        .execute(&self.pool)
        .await;
        match adopted {
            Ok(done) => one_changed(done.rows_affected(), id)?,
            Err(error) if is_unique_violation(&error) => {
                return Err(StoreError::Taken { what: "volume name", name: text.to_owned() });
            }
            Err(error) => return Err(error.into()),
        }
        self.announce();
        Ok(())
    }

    /// Forgets a volume that the engine no longer has.
    pub async fn forget_volume(&self, id: i64) -> Result<()> {
        let done = sqlx::query!("DELETE FROM volumes WHERE id = ?", id).execute(&self.pool).await?;
        one_changed(done.rows_affected(), id)?;
        self.announce();
        Ok(())
    }

    /// Whether instances of two releases may have the app's volumes at the same time.
    pub async fn overlaps(&self, app: AppId) -> Result<bool> {
        let row =
            sqlx::query_scalar!("SELECT overlaps FROM apps WHERE id = ?", app.0).fetch_optional(&self.pool).await?;
        Ok(row.is_some_and(|overlaps| overlaps != 0))
    }

    pub async fn set_overlaps(&self, app: AppId, overlaps: bool) -> Result<()> {
        sqlx::query!("UPDATE apps SET overlaps = ? WHERE id = ?", overlaps, app.0).execute(&self.pool).await?;
        self.announce();
        Ok(())
    }

    pub async fn maintenance(&self, app: AppId) -> Result<Maintenance> {
        let word =
            sqlx::query_scalar!("SELECT maintenance FROM apps WHERE id = ?", app.0).fetch_optional(&self.pool).await?;
        match word {
            Some(word) => Ok(parsed(&word, "apps.maintenance")?),
            None => Ok(Maintenance::Off),
        }
    }

    pub async fn set_maintenance(&self, app: AppId, maintenance: Maintenance) -> Result<()> {
        let word = maintenance.word();
        sqlx::query!("UPDATE apps SET maintenance = ? WHERE id = ?", word, app.0).execute(&self.pool).await?;
        self.announce();
        Ok(())
    }
}

fn one_changed(rows: u64, id: i64) -> Result<()> {
    if rows == 1 { Ok(()) } else { Err(StoreError::Missing { what: "volume", name: id.to_string() }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::store;

    fn name(text: &str) -> VolumeName {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn a_destroyed_app_leaves_its_volumes_and_another_takes_them() {
        let (store, _dir) = store().await;
        let app = store.create_app(&"blog".parse().unwrap(), Moment::default()).await.unwrap();
        let volume = store.add_volume(app.id, &app.key, &name("data"), Moment::default()).await.unwrap();
        assert_eq!(volume.key.as_str(), format!("paas-{}-{}", app.key, volume.id));
        store.mount_volume(volume.id, Some(&"/data".parse().unwrap())).await.unwrap();
        store.set_volume_used(volume.id).await.unwrap();
        sqlx::query("DELETE FROM apps").execute(&store.pool).await.unwrap();
        let left = store.left_volume(volume.id).await.unwrap();
        assert_eq!((left.owner, left.path, left.stage), (Owner::Nobody { was: "blog".to_owned() }, None, Stage::Used));
        let other = store.create_app(&"shop".parse().unwrap(), Moment::default()).await.unwrap();
        store.adopt_volume(volume.id, other.id, &name("old")).await.unwrap();
        assert_eq!(store.volume(other.id, &name("old")).await.unwrap().key, volume.key);
        assert!(store.left_volume(volume.id).await.is_err());
        assert!(store.adopt_volume(volume.id, other.id, &name("again")).await.is_err());
    }

    #[tokio::test]
    async fn names_and_paths_are_an_apps_own_and_there_is_a_limit() {
        let (store, _dir) = store().await;
        let app = store.create_app(&"blog".parse().unwrap(), Moment::default()).await.unwrap();
        let add = async |text: &str| store.add_volume(app.id, &app.key, &name(text), Moment::default()).await;
        let (a, b) = (add("a").await.unwrap(), add("b").await.unwrap());
        assert!(matches!(add("a").await, Err(StoreError::Taken { what: "volume name", .. })));
        let path: MountPath = "/data".parse().unwrap();
        store.mount_volume(a.id, Some(&path)).await.unwrap();
        assert!(matches!(store.mount_volume(b.id, Some(&path)).await, Err(StoreError::Taken { .. })));
        for n in 2..VOLUMES_MAX {
            add(&format!("v{n}")).await.unwrap();
        }
        assert!(matches!(add("one-more").await, Err(StoreError::Full { .. })));
        store.forget_volume(b.id).await.unwrap();
        // A number is never given out twice.
        assert_ne!(add("b").await.unwrap().key, b.key);
    }

    #[tokio::test]
    async fn maintenance_and_overlap_are_kept() {
        let (store, _dir) = store().await;
        let app = store.create_app(&"blog".parse().unwrap(), Moment::default()).await.unwrap();
        assert_eq!(store.maintenance(app.id).await.unwrap(), Maintenance::Off);
        for state in [Maintenance::On, Maintenance::Pause, Maintenance::Off] {
            store.set_maintenance(app.id, state).await.unwrap();
            assert_eq!(store.maintenance(app.id).await.unwrap(), state);
        }
        assert!(!store.overlaps(app.id).await.unwrap());
        store.set_overlaps(app.id, true).await.unwrap();
        assert!(store.overlaps(app.id).await.unwrap());
    }
}
