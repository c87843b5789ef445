//! What the engine's disk is used for, as far as it is ours, and how to make room on it.
use super::Result;
use crate::domain::build_cache::CacheMark;
use crate::domain::{AppId, ContainerId, ImageId, VolumeKey};
use async_trait::async_trait;
use std::path::PathBuf;

/// An image that was built for an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppImage {
    pub id: ImageId,
    pub app: AppId,
    pub references: Vec<String>,
}

/// What is ours on the engine's disk. Layers that images share are counted with none of them.
#[derive(Clone, Debug, Default)]
pub struct DiskUse {
    pub images: Vec<ImageUse>,
    /// What instances wrote to their own disks.
    pub instances: Vec<(Option<AppId>, u64)>,
    /// Whose they are the store knows: a volume outlives its app.
    pub volumes: Vec<(VolumeKey, u64)>,
    /// BuildKit's cache does not say whose it is: this is all of it.
    pub build_cache_bytes: u64,
    /// What of it no build uses now.
    pub build_cache_idle_bytes: u64,
    /// What of it carries a mark of an app's, whichever server's app that is.
    pub caches: Vec<CacheUse>,
}

/// One cache that outlives builds, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheUse {
    /// The engine's id of it.
    pub id: String,
    pub mark: CacheMark,
    pub bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageUse {
    pub id: ImageId,
    /// `None`: one of our stack images.
    pub app: Option<AppId>,
    pub own_bytes: u64,
}

#[async_trait]
pub trait DiskEngine: Send + Sync {
    /// The folder in which the engine keeps everything.
    async fn root_dir(&self) -> Result<PathBuf>;
    /// Slow: the engine walks through folders.
    async fn disk_use(&self) -> Result<DiskUse>;
    /// What an instance has written to its own disk. The engine walks through just that.
    async fn written_bytes(&self, id: &ContainerId) -> Result<u64>;
    /// Ends an instance at once; what is left of it stays to be looked at. One that has ended is no error.
    async fn end_by_force(&self, id: &ContainerId) -> Result<()>;
    async fn app_images(&self) -> Result<Vec<AppImage>>;
    /// Removes one cache and what stands on it alone; one that a build uses stays. Returns the bytes that this freed.
    async fn remove_cache(&self, cache: &CacheUse) -> Result<u64>;
    /// Removes what was not used for longest, until at most this much is left. Returns the bytes that this freed.
    async fn prune_build_cache(&self, keep_bytes: u64) -> Result<u64>;
}
