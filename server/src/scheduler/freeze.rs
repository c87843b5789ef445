//! Holds an app still while its volumes are copied. What a server that died has left frozen goes on with the next sweep.
use super::{House, Scheduler};
use crate::domain::{AppId, ContainerId};
use crate::engine::EngineError;
use std::sync::{Arc, PoisonError};

/// An app whose instances are frozen. Dropped, they go on.
pub struct Frozen {
    house: Arc<House>,
    app: AppId,
    ids: Vec<ContainerId>,
}

impl Scheduler {
    /// Freezes everything that runs of an app: its instances and its one-offs. Visitors' requests wait meanwhile. An
    /// instance that starts while the others are frozen is not.
    pub async fn freeze(&self, app: AppId) -> Result<Frozen, EngineError> {
        let house = Arc::clone(&self.0);
        let engine = &self.0.tools.engine;
        house.frozen.lock().unwrap_or_else(PoisonError::into_inner).insert(app);
        let mut frozen = Frozen { house, app, ids: Vec::new() };
        let instances = engine.instances(Some(app)).await?.into_iter().map(|seen| seen.id);
        let one_offs = engine.one_offs(Some(app)).await?.into_iter().map(|seen| seen.id);
        for id in instances.chain(one_offs) {
            // Noted first: one that may be frozen is let go on.
            frozen.ids.push(id.clone());
            engine.pause(&id).await?;
        }
        Ok(frozen)
    }
}

impl Frozen {
    /// Lets the app go on, and returns when it does.
    pub async fn thaw(mut self) {
        let ids = std::mem::take(&mut self.ids);
        self.house.let_go_on(self.app, &ids).await;
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let (house, app, ids) = (Arc::clone(&self.house), self.app, std::mem::take(&mut self.ids));
        self.house.tools.tracker.spawn(async move { house.let_go_on(app, &ids).await });
    }
}

impl House {
    async fn let_go_on(&self, app: AppId, ids: &[ContainerId]) {
        for id in ids {
            if let Err(error) = self.tools.engine.unpause(id).await {
                tracing::warn!("cannot let {} go on, the next sweep tries again: {error}", id.short());
            }
        }
        self.frozen.lock().unwrap_or_else(PoisonError::into_inner).remove(&app);
    }

    /// Lets everything go on that is frozen and that nobody holds still.
    pub(super) async fn thaw(&self, paused: Vec<(ContainerId, Option<AppId>)>) {
        for (id, app) in paused {
            let is_held =
                app.is_some_and(|app| self.frozen.lock().unwrap_or_else(PoisonError::into_inner).contains(&app));
            if is_held {
                continue;
            }
            tracing::info!("letting {} go on, which an earlier server has left frozen", id.short());
            if let Err(error) = self.tools.engine.unpause(&id).await {
                tracing::warn!("cannot let {} go on: {error}", id.short());
            }
        }
    }
}
