//! The fake engine's disk: what a test says that instances wrote, and images that it says are an app's.
use super::FakeEngine;
use crate::domain::failure::Exit;
use crate::domain::{AppId, ContainerId, ImageId, VolumeKey};
use crate::engine::{AppImage, CacheUse, DiskEngine, DiskUse, ImageUse, Result};
use async_trait::async_trait;
use std::path::PathBuf;

impl FakeEngine {
    /// From now on this much stands on the instance's own disk.
    pub fn set_written(&self, id: &ContainerId, bytes: u64) {
        self.world().written.insert(id.clone(), bytes);
    }

    /// What builds have left.
    pub fn set_build_cache(&self, bytes: u64) {
        self.world().build_cache_bytes = bytes;
    }

    /// What builds have left, and how often it was pruned.
    pub fn build_cache(&self) -> (u64, u32) {
        let world = self.world();
        (world.build_cache_bytes, world.prunes)
    }

    /// What a volume takes, made or not.
    pub fn set_volume_bytes(&self, volume: &VolumeKey, bytes: u64) {
        self.world().volume_bytes.insert(volume.clone(), bytes);
    }

    /// The instance writes a line, now.
    pub fn say(&self, id: &ContainerId, text: &str) {
        let now = self.clock.now();
        self.world().write(id, now, text.to_owned());
    }

    /// A build left this cache.
    pub fn add_cache(&self, cache: CacheUse) {
        self.world().caches.push(cache);
    }

    /// Ids of the caches that are left.
    pub fn caches(&self) -> Vec<String> {
        self.world().caches.iter().map(|cache| cache.id.clone()).collect()
    }

    /// The image is there, and an app's.
    pub fn add_app_image(&self, app: AppId, image: &ImageId) {
        let mut world = self.world();
        world.tag(image, &format!("paas/{}:{image}", app.0));
        world.image_apps.insert(image.clone(), app);
    }

    /// Images that are there and an app's.
    pub fn images_of(&self, app: AppId) -> Vec<ImageId> {
        let world = self.world();
        let ours = world.image_apps.iter().filter(|(_, owner)| **owner == app).map(|(image, _)| image.clone());
        ours.filter(|image| world.image(image.as_str()).is_some()).collect()
    }
}

#[async_trait]
impl DiskEngine for FakeEngine {
    async fn root_dir(&self) -> Result<PathBuf> {
        drop(self.reach()?);
        Ok(std::env::temp_dir())
    }

    async fn disk_use(&self) -> Result<DiskUse> {
        let world = self.reach()?;
        let images =
            world.image_apps.iter().map(|(id, app)| ImageUse { id: id.clone(), app: Some(*app), own_bytes: 1 });
        Ok(DiskUse {
            images: images.collect(),
            instances: world
                .instances
                .iter()
                .map(|(id, one)| (Some(one.spec.app), world.written.get(id).copied().unwrap_or(0)))
                .collect(),
            volumes: world.volume_bytes.iter().map(|(volume, bytes)| (volume.clone(), *bytes)).collect(),
            build_cache_bytes: world.build_cache_bytes,
            caches: world.caches.clone(),
            build_cache_idle_bytes: world.build_cache_bytes,
        })
    }

    async fn written_bytes(&self, id: &ContainerId) -> Result<u64> {
        Ok(self.reach()?.written.get(id).copied().unwrap_or(0))
    }

    async fn end_by_force(&self, id: &ContainerId) -> Result<()> {
        drop(self.reach()?);
        self.end(id, Exit::Status(137));
        Ok(())
    }

    async fn app_images(&self) -> Result<Vec<AppImage>> {
        let world = self.reach()?;
        let named = |id: &ImageId| world.image(id.as_str()).map(|image| image.references);
        let images = world
            .image_apps
            .iter()
            .filter_map(|(id, app)| Some(AppImage { id: id.clone(), app: *app, references: named(id)? }));
        Ok(images.collect())
    }

    async fn remove_cache(&self, cache: &CacheUse) -> Result<u64> {
        let mut world = self.reach()?;
        let before = world.caches.len();
        world.caches.retain(|one| one.id != cache.id);
        Ok(if world.caches.len() < before { cache.bytes } else { 0 })
    }

    async fn prune_build_cache(&self, keep_bytes: u64) -> Result<u64> {
        let mut world = self.reach()?;
        world.prunes += 1;
        let freed = world.build_cache_bytes.saturating_sub(keep_bytes);
        world.build_cache_bytes -= freed;
        Ok(freed)
    }
}
