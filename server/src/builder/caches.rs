//! The build caches of apps: what the engine keeps for an app's steps from one build to the next.
//!
//! Their names hold the app's secret id and a generation, so that a purge needs nothing of the engine: the next build's
//! caches are others, and empty. What the generations before left is removed as soon as nobody uses it.
use super::{Builder, Workshop};
use crate::domain::App;
use crate::engine::CacheUse;

impl Builder {
    /// Lets the app's next build begin with empty caches; gives the bytes that this freed, where the engine could be asked.
    /// What is left is collected later.
    pub async fn purge_cache(&self, app: &App) -> crate::store::Result<Option<u64>> {
        let generation = self.0.tools.store.begin_cache_generation(app.id).await?;
        let old = |cache: &CacheUse| cache.mark.is_of(&app.key) && cache.mark.is_before(generation);
        match self.0.remove_caches(old).await {
            Ok(freed_bytes) => Ok(Some(freed_bytes)),
            Err(error) => {
                tracing::warn!(app.name = %app.name, "cannot remove the purged build caches of {} yet: {error:#}", app.name);
                Ok(None)
            }
        }
    }
}

impl Workshop {
    /// What an app that is destroyed leaves.
    pub(super) async fn remove_caches_of(&self, app: &App) -> anyhow::Result<u64> {
        self.remove_caches(|cache| cache.mark.is_of(&app.key)).await
    }

    async fn remove_caches(&self, is_wanted: impl Fn(&CacheUse) -> bool) -> anyhow::Result<u64> {
        let caches = self.tools.engine.disk_use().await?.caches;
        let mut freed = 0;
        for cache in caches.iter().filter(|cache| is_wanted(cache)) {
            freed += self.tools.engine.remove_cache(cache).await?;
        }
        Ok(freed)
    }
}
