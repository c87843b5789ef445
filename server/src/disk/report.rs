//! What takes the room: by category, and by app.
use super::walk::bytes_below;
use super::{Disk, free_bytes};
use crate::domain::volume::Owner;
use crate::domain::{App, AppId, Size, VolumeKey};
use crate::engine::DiskUse;
use crate::store::StoreError;
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;

/// Releases of an app whose images are kept.
pub(crate) const RELEASES_WITH_IMAGES: u32 = 5;

#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    pub places: Vec<Place>,
    /// Less than this free on a place, and nothing is built.
    pub reserve_bytes: u64,
    pub categories: Vec<Category>,
    pub apps: Vec<AppUse>,
    /// Why the engine's part is missing.
    pub complaint: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Place {
    pub holds: &'static str,
    pub path: String,
    pub free_bytes: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct Category {
    pub name: &'static str,
    pub bytes: u64,
    /// What of it goes by itself when room is needed.
    pub reclaimable_bytes: u64,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct AppUse {
    pub app: String,
    pub repository_bytes: u64,
    pub logs_bytes: u64,
    pub images_bytes: u64,
    /// What the engine keeps for its builds from one to the next.
    pub caches_bytes: u64,
    pub volumes_bytes: u64,
    pub written_bytes: u64,
}

impl AppUse {
    pub fn total_bytes(&self) -> u64 {
        self.repository_bytes
            + self.logs_bytes
            + self.images_bytes
            + self.caches_bytes
            + self.volumes_bytes
            + self.written_bytes
    }
}

impl Report {
    /// The largest things, in words.
    pub(super) fn largest(&self, count: usize) -> Vec<String> {
        let kinds = |one: &AppUse| {
            [
                (one.repository_bytes, "repository"),
                (one.logs_bytes, "logs"),
                (one.images_bytes, "images"),
                (one.caches_bytes, "build caches"),
                (one.volumes_bytes, "volumes"),
                (one.written_bytes, "instances' disks"),
            ]
        };
        let of_apps =
            self.apps.iter().flat_map(|one| kinds(one).map(|(bytes, kind)| (bytes, format!("{kind} of {}", one.app))));
        let shared = |category: &&Category| matches!(category.name, "build cache" | "backups" | "database");
        let of_all = self.categories.iter().filter(shared).map(|one| (one.bytes, format!("the {}", one.name)));
        let mut things: Vec<(u64, String)> = of_apps.chain(of_all).filter(|(bytes, _)| *bytes > 0).collect();
        things.sort_by(|a, b| b.cmp(a));
        things.into_iter().take(count).map(|(bytes, what)| format!("{what} {}", Size(bytes))).collect()
    }
}

/// Asks everybody. What cannot be measured counts as nothing, with a complaint.
pub(super) async fn measure(disk: &Disk) -> Report {
    let mut report = Report { reserve_bytes: disk.reserve().0, ..Report::default() };
    let engine_dir = disk.engine_dir().await;
    for (holds, path) in [("data", Some(&disk.0.data_dir)), ("engine", engine_dir.as_ref())] {
        if let Some((path, free_bytes)) = path.and_then(|path| Some((path, free_bytes(path)?))) {
            report.places.push(Place { holds, path: path.display().to_string(), free_bytes });
        }
    }
    let apps = match disk.0.store.apps().await {
        Ok(apps) => apps,
        Err(error) => {
            report.complaint = Some(error.to_string());
            return report;
        }
    };
    let of_engine = match disk.0.engine.disk_use().await {
        Ok(of_engine) => of_engine,
        Err(error) => {
            report.complaint = Some(format!("{:#}", anyhow::Error::from(error)));
            DiskUse::default()
        }
    };
    let kept = kept_images(disk, &apps).await.unwrap_or_default();
    let volumes = volumes_by_app(disk, &of_engine).await.unwrap_or_default();
    let data_dir = disk.0.data_dir.clone();
    let walking = tokio::task::spawn_blocking(move || {
        let folders = Folders::measure(&data_dir, &apps);
        (apps, folders)
    });
    if let Ok((apps, folders)) = walking.await {
        report.categories = categories(&folders, &of_engine, &kept, disk.build_cache_max());
        report.apps = by_app(&apps, &folders, &of_engine, &volumes);
    }
    report
}

async fn kept_images(disk: &Disk, apps: &[App]) -> Result<HashSet<crate::domain::ImageId>, StoreError> {
    let mut kept = HashSet::new();
    for app in apps {
        kept.extend(disk.0.store.images_to_keep(app.id, RELEASES_WITH_IMAGES).await?);
    }
    Ok(kept)
}

/// Sizes under `data_dir`.
#[derive(Default)]
struct Folders {
    database: u64,
    backups: u64,
    repositories: BTreeMap<AppId, u64>,
    logs: BTreeMap<AppId, u64>,
    transcripts: BTreeMap<AppId, u64>,
}

impl Folders {
    fn measure(data_dir: &Path, apps: &[App]) -> Self {
        let size = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
        let is_log = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("app.log"));
        let mut folders = Self {
            database: ["paas.db", "paas.db-wal", "paas.db-shm"].iter().map(|file| size(&data_dir.join(file))).sum(),
            backups: bytes_below(&data_dir.join("backups"), |_| true),
            ..Self::default()
        };
        for app in apps {
            let (repo, logs) =
                (data_dir.join("repos").join(format!("{}.git", app.key)), data_dir.join("logs").join(app.key.as_str()));
            folders.repositories.insert(app.id, bytes_below(&repo, |_| true));
            folders.logs.insert(app.id, bytes_below(&logs, is_log));
            folders.transcripts.insert(app.id, bytes_below(&logs, |path| !is_log(path)));
        }
        folders
    }
}

fn categories(
    folders: &Folders,
    engine: &DiskUse,
    kept: &HashSet<crate::domain::ImageId>,
    cache_max: Size,
) -> Vec<Category> {
    let fixed = |name, bytes| Category { name, bytes, reclaimable_bytes: 0 };
    let of_apps = || engine.images.iter().filter(|image| image.app.is_some());
    let sum = |sizes: &BTreeMap<AppId, u64>| sizes.values().sum();
    vec![
        fixed("database", folders.database),
        fixed("repositories", sum(&folders.repositories)),
        fixed("logs", sum(&folders.logs)),
        fixed("transcripts", sum(&folders.transcripts)),
        fixed("backups", folders.backups),
        Category {
            name: "images",
            bytes: of_apps().map(|image| image.own_bytes).sum(),
            reclaimable_bytes: of_apps().filter(|image| !kept.contains(&image.id)).map(|image| image.own_bytes).sum(),
        },
        fixed("stack images", engine.images.iter().filter(|image| image.app.is_none()).map(|i| i.own_bytes).sum()),
        Category {
            name: "build cache",
            bytes: engine.build_cache_bytes,
            reclaimable_bytes: engine.build_cache_bytes.saturating_sub(cache_max.0).min(engine.build_cache_idle_bytes),
        },
        fixed("volumes", engine.volumes.iter().map(|(_, bytes)| bytes).sum()),
        fixed("instances' disks", engine.instances.iter().map(|(_, bytes)| bytes).sum()),
    ]
}

/// The engine's volumes with their owners.
async fn volumes_by_app(disk: &Disk, engine: &DiskUse) -> Result<Vec<(Option<AppId>, u64)>, StoreError> {
    let known = disk.0.store.all_volumes().await?;
    let owner = |key: &VolumeKey| match known.iter().find(|volume| volume.key == *key).map(|volume| &volume.owner) {
        Some(Owner::App(app)) => Some(*app),
        Some(Owner::Nobody { .. }) | None => None,
    };
    Ok(engine.volumes.iter().map(|(key, bytes)| (owner(key), *bytes)).collect())
}

fn by_app(apps: &[App], folders: &Folders, engine: &DiskUse, volumes: &[(Option<AppId>, u64)]) -> Vec<AppUse> {
    let of = |app: AppId, sizes: &[(Option<AppId>, u64)]| {
        sizes.iter().filter(|(owner, _)| *owner == Some(app)).map(|(_, bytes)| bytes).sum()
    };
    let images: Vec<(Option<AppId>, u64)> = engine.images.iter().map(|image| (image.app, image.own_bytes)).collect();
    let folder = |app: AppId, sizes: &BTreeMap<AppId, u64>| sizes.get(&app).copied().unwrap_or(0);
    let caches =
        |app: &App| engine.caches.iter().filter(|cache| cache.mark.is_of(&app.key)).map(|cache| cache.bytes).sum();
    let mut used: Vec<AppUse> = apps
        .iter()
        .map(|app| AppUse {
            app: app.name.to_string(),
            repository_bytes: folder(app.id, &folders.repositories),
            logs_bytes: folder(app.id, &folders.logs) + folder(app.id, &folders.transcripts),
            images_bytes: of(app.id, &images),
            caches_bytes: caches(app),
            volumes_bytes: of(app.id, volumes),
            written_bytes: of(app.id, &engine.instances),
        })
        .collect();
    used.sort_by_key(|one| std::cmp::Reverse(one.total_bytes()));
    used
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_things_are_named_with_their_sizes() {
        let report = Report {
            categories: vec![Category { name: "build cache", bytes: 2 << 30, reclaimable_bytes: 0 }],
            apps: vec![
                AppUse { app: "blog".to_owned(), images_bytes: 3 << 30, logs_bytes: 1, ..AppUse::default() },
                AppUse { app: "shop".to_owned(), volumes_bytes: 1 << 30, ..AppUse::default() },
            ],
            ..Report::default()
        };
        assert_eq!(report.largest(3), ["images of blog 3.0 GiB", "the build cache 2.0 GiB", "volumes of shop 1.0 GiB"]);
    }
}
