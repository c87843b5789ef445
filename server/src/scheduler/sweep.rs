//! The slow look at everything: finds what changed without an event, with one question to the engine for all apps.
use super::{House, SWEEP_EVERY, observe};
use crate::domain::AppId;
use crate::engine::Observed;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

impl House {
    pub(super) async fn sweep(self: Arc<Self>) {
        self.wake_all().await;
        loop {
            match self.tools.engine.census().await {
                Ok(census) => {
                    self.sweep_one_offs(&census.one_offs).await;
                    self.thaw(census.paused).await;
                    self.compare(census.instances).await;
                }
                Err(error) => tracing::warn!("cannot ask the engine what runs: {error}"),
            }
            tokio::select! {
                () = self.tools.stop.cancelled() => return,
                () = tokio::time::sleep(SWEEP_EVERY) => {}
            }
        }
    }

    /// Wakes every app whose instances are not the ones of its last look.
    async fn compare(&self, observed: Vec<Observed>) {
        let mut by_app: HashMap<AppId, Vec<Observed>> = HashMap::new();
        for o in observed {
            by_app.entry(o.app).or_default().push(o);
        }
        let apps = match self.tools.store.apps().await {
            Ok(apps) => apps,
            Err(error) => return tracing::error!("cannot list the apps: {error}"),
        };
        for app in &apps {
            let now = observe::digest(&by_app.remove(&app.id).unwrap_or_default());
            let memory = self.memory(app.id);
            let before = memory.lock().unwrap_or_else(PoisonError::into_inner).last_seen.clone();
            if now != before {
                self.wake(app.id);
            }
        }
        // What is left belongs to apps that are gone.
        for (app, leftovers) in by_app {
            for o in leftovers {
                tracing::warn!("removing {} of an app that is gone ({})", o.id.short(), app.0);
                if let Err(error) = self.tools.engine.remove(&o.id).await {
                    tracing::warn!("cannot remove {}: {error}", o.id.short());
                }
            }
        }
    }
}
