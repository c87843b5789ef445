//! Makes room on the engine's disk: images of old releases go, and what the build cache holds beyond its budget.
//!
//! Only images that carry our label and an app's. An image goes in one turn with the look at who needs it; whoever is
//! about to make a release of an old image takes the same turn ([`Scheduler::image_turn`]).
use super::{House, Scheduler};
use crate::disk::{RELEASES_WITH_IMAGES, Shortage};
use crate::domain::{App, Failure, Size};
use crate::engine::AppImage;
use anyhow::Context;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::MutexGuard;
use tokio::time::Instant;

const COLLECT_EVERY: Duration = Duration::from_hours(1);
/// How often the free space is looked at while something fills it.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// After a release has settled: deploys that follow each other are not slowed down.
const COLLECT_AFTER: Duration = Duration::from_secs(5);
/// Transcripts kept of an app's builds, and of releases that no push made.
const TRANSCRIPTS_MAX: usize = 50;

impl Scheduler {
    /// No image is removed while this is held.
    pub async fn image_turn(&self) -> MutexGuard<'_, ()> {
        self.0.image_turn.lock().await
    }

    /// Refuses what needs room when there is too little of it, after having tried to make some.
    pub async fn make_room(&self) -> Result<(), Failure> {
        let disk = &self.0.tools.disk;
        let Some(shortage) = disk.shortage().await else { return Ok(()) };
        self.collect_for(&shortage).await;
        match disk.shortage().await {
            None => Ok(()),
            Some(still) => Err(disk.refusal(&still).await),
        }
    }

    /// Ends, with the refusal, as soon as there is too little room: for what takes long and fills a disk.
    pub async fn until_short(&self) -> Failure {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if let Err(failure) = self.make_room().await {
                return failure;
            }
        }
    }

    /// [`Scheduler::make_room`] for the disk of one folder.
    pub async fn make_room_at(&self, place: &Path) -> Result<(), Failure> {
        let disk = &self.0.tools.disk;
        let Some(shortage) = disk.shortage_at(place) else { return Ok(()) };
        self.collect_for(&shortage).await;
        match disk.shortage_at(place) {
            None => Ok(()),
            Some(still) => Err(disk.refusal(&still).await),
        }
    }

    /// Where the engine's disk is and what is free there, in words; for who has just met its end.
    pub async fn engine_disk(&self) -> Option<String> {
        let (place, free_bytes) = self.0.tools.disk.engine_place().await?;
        Some(format!("the engine's disk ({}, {} free now)", place.display(), Size(free_bytes)))
    }

    async fn collect_for(&self, shortage: &Shortage) {
        tracing::info!("{} is short of room, collecting", shortage.place.display());
        let made = async {
            self.0.collect_images().await?;
            self.0.remove_purged_caches().await?;
            self.0.prune_build_cache().await
        };
        if let Err(error) = made.await {
            tracing::warn!("cannot make room: {error:#}");
        }
    }
}

impl House {
    /// Collects after releases have settled, and every hour.
    pub(super) async fn collect_garbage(self: Arc<Self>) {
        let mut hourly = Instant::now() + COLLECT_EVERY;
        loop {
            let is_hourly = tokio::select! {
                () = self.tools.stop.cancelled() => return,
                () = tokio::time::sleep_until(hourly) => true,
                () = self.settled.notified() => false,
            };
            if is_hourly {
                hourly += COLLECT_EVERY;
                if let Err(error) = self.prune_build_cache().await {
                    tracing::warn!("cannot prune the build cache: {error:#}");
                }
                if let Err(error) = self.remove_purged_caches().await {
                    tracing::warn!("cannot remove build caches that were purged: {error:#}");
                }
            } else {
                tokio::select! {
                    () = self.tools.stop.cancelled() => return,
                    () = tokio::time::sleep(COLLECT_AFTER) => {}
                }
            }
            if let Err(error) = self.collect_images().await {
                tracing::warn!("cannot collect images: {error:#}");
            }
            self.drop_old_transcripts().await;
        }
    }

    /// Removes images that nobody needs any more. Can be repeated and broken off at any time.
    async fn collect_images(&self) -> anyhow::Result<()> {
        for image in self.tools.engine.app_images().await.context("list the images of apps")? {
            let _turn = self.image_turn.lock().await;
            if !self.is_needed(&image).await? {
                self.remove(&image).await?;
            }
        }
        Ok(())
    }

    async fn is_needed(&self, image: &AppImage) -> anyhow::Result<bool> {
        let store = &self.tools.store;
        Ok(store.is_building(image.app).await?
            || store.images_to_keep(image.app, RELEASES_WITH_IMAGES).await?.contains(&image.id))
    }

    /// One that an instance still uses stays: the engine refuses, and the next collection tries again.
    async fn remove(&self, image: &AppImage) -> anyhow::Result<()> {
        let engine = &self.tools.engine;
        for reference in &image.references {
            engine.remove_image(reference).await.with_context(|| format!("remove {reference}"))?;
        }
        if image.references.is_empty() {
            engine.remove_image(image.id.as_str()).await.with_context(|| format!("remove image {}", image.id))?;
        }
        if engine.image(image.id.as_str()).await?.is_none() {
            self.tools.store.forget_image(image.app, &image.id).await?;
            tracing::info!("removed image {} of app {}, which no kept release uses", image.id, image.app.0);
        }
        Ok(())
    }

    /// Never below the budget, whatever the need: the cache does not say whose its records are, and the engine may serve
    /// others too. What goes is built again, never lost.
    async fn prune_build_cache(&self) -> anyhow::Result<()> {
        let (used, keep) = (self.tools.engine.disk_use().await?.build_cache_bytes, self.tools.disk.build_cache_max().0);
        if used <= keep {
            return Ok(());
        }
        let freed = self.tools.engine.prune_build_cache(keep).await?;
        tracing::info!("pruned {freed} bytes of the build cache, which held {used}");
        Ok(())
    }

    /// What a purge could not remove, because a build used it then. Only caches that carry the mark of an app of ours.
    async fn remove_purged_caches(&self) -> anyhow::Result<()> {
        let generations = self.tools.store.cache_generations().await?;
        for cache in self.tools.engine.disk_use().await?.caches {
            let is_purged = generations.iter().any(|(_, key, now)| cache.mark.is_of(key) && cache.mark.is_before(*now));
            if is_purged {
                let freed = self.tools.engine.remove_cache(&cache).await?;
                tracing::info!("removed a purged build cache of {freed} bytes");
            }
        }
        Ok(())
    }

    async fn drop_old_transcripts(&self) {
        let apps: Vec<App> = self.tools.store.apps().await.unwrap_or_default();
        let logs = self.tools.logs.clone();
        let dropping = tokio::task::spawn_blocking(move || {
            for app in apps {
                if let Err(error) = logs.drop_old_transcripts(&app.key, TRANSCRIPTS_MAX) {
                    tracing::warn!("cannot remove old transcripts: {error:#}");
                }
            }
        });
        // It has said itself what it could not do.
        let _ = dropping.await;
    }
}
