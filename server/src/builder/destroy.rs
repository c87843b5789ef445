//! `apps:destroy`: builds end, instances drain and stop, then network, images, repository and logs go, and the row last.
//!
//! The mark in the database is all that it stands on: every step can be done twice, so a server that dies on the way, or
//! an engine that does not answer, only means that it is carried on later. Volumes hold data and outlive their app: they
//! are destroyed by name, and never here.
use super::{Builder, Workshop};
use crate::crash_point;
use crate::domain::{App, AppId, Failure};
use anyhow::{Context, bail};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Who cancels and overtakes what is under way.
const BY: &str = "apps:destroy";
/// Wait before it is tried again: longer each time, up to the most.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// How long a cancelled build may take to end before that is said.
const BUILD_END_MAX: Duration = Duration::from_mins(1);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Apps that are being taken down, and what keeps one from getting on.
#[derive(Default)]
pub(super) struct Destructions(Mutex<HashMap<AppId, Option<String>>>);

impl Destructions {
    /// `false`: it is in hand already.
    fn begin(&self, app: AppId) -> bool {
        let mut in_hand = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        in_hand.insert(app, None).is_none()
    }

    fn note(&self, app: AppId, trouble: Option<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(app, trouble);
    }

    fn end(&self, app: AppId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&app);
    }
}

impl Builder {
    /// Marks an app and takes it down in the background, however long that takes and however often the server restarts.
    pub async fn destroy(&self, app: &App) -> crate::store::Result<()> {
        self.0.tools.store.begin_destroying(app.id).await?;
        Arc::clone(&self.0).take_down(app.clone());
        Ok(())
    }

    /// What keeps the destruction of an app from getting on, if anything does.
    pub fn destruction_trouble(&self, app: AppId) -> Option<String> {
        self.0.destructions.0.lock().unwrap_or_else(PoisonError::into_inner).get(&app).cloned().flatten()
    }
}

impl Workshop {
    /// Carries on with what an earlier process began.
    pub(super) async fn resume_destructions(self: Arc<Self>) {
        loop {
            match self.tools.store.apps_being_destroyed().await {
                Ok(apps) => return apps.into_iter().for_each(|app| Arc::clone(&self).take_down(app)),
                Err(error) => tracing::error!("cannot look for apps to destroy, trying again: {error}"),
            }
            tokio::select! {
                () = self.tools.stop.cancelled() => return,
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    }

    fn take_down(self: Arc<Self>, app: App) {
        if !self.destructions.begin(app.id) {
            return;
        }
        self.tools.tracker.clone().spawn(async move {
            let stop = self.tools.stop.clone();
            stop.run_until_cancelled(self.take_down_at_last(&app)).await;
        });
    }

    async fn take_down_at_last(self: &Arc<Self>, app: &App) {
        let mut wait = RETRY;
        while let Err(error) = self.try_take_down(app).await {
            let trouble = format!("{error:#}");
            tracing::warn!(app.name = %app.name, "cannot destroy {} yet, trying again: {trouble}", app.name);
            self.destructions.note(app.id, Some(trouble));
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(RETRY_MAX);
        }
        self.destructions.end(app.id);
        tracing::info!(app.name = %app.name, "destroyed {}", app.name);
    }

    async fn try_take_down(self: &Arc<Self>, app: &App) -> anyhow::Result<()> {
        self.end_what_is_under_way(app).await?;
        self.tools.scheduler.clear(app.id).await?;
        self.remove_images(app).await?;
        crash_point!("app-images-removed");
        self.remove_caches_of(app).await?;
        let _in_use = self.tools.repos.in_use(&app.key).await;
        let (repos, logs, key) = (self.tools.repos.clone(), self.tools.logs.clone(), app.key.clone());
        tokio::task::spawn_blocking(move || repos.remove(&key).and_then(|()| logs.forget(&key))).await??;
        crash_point!("app-files-removed");
        self.tools.store.delete_destroyed_app(app.id).await?;
        self.tools.scheduler.forget(app.id);
        Ok(())
    }

    /// No build begins any more, and no release is made: the mark sees to that.
    async fn end_what_is_under_way(self: &Arc<Self>, app: &App) -> anyhow::Result<()> {
        let builder = Builder(Arc::clone(self));
        let store = &self.tools.store;
        let (queued, running) = (store.queued_builds().await?, store.running_builds().await?);
        for build in queued.iter().chain(&running).filter(|build| build.app == app.id) {
            builder.cancel(app.id, build.id, BY).await.with_context(|| format!("cancel build {}", build.id))?;
        }
        if let Some(starting) = store.starting_release(app.id).await? {
            let failure = Failure::Overtaken { by: BY.to_owned() };
            self.tools.scheduler.overtake(app.id, starting.no, failure).await?;
        }
        let ending = async {
            while builder.is_busy(app.id) {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        if tokio::time::timeout(BUILD_END_MAX, ending).await.is_err() {
            bail!("its cancelled build did not end within {} s", BUILD_END_MAX.as_secs());
        }
        Ok(())
    }

    /// Every image that was built for the app, reference by reference.
    async fn remove_images(&self, app: &App) -> anyhow::Result<()> {
        let engine = &self.tools.engine;
        for (image, _) in engine.inventory().await?.images.iter().filter(|(_, of)| *of == Some(app.id)) {
            for reference in image.references.iter().map(String::as_str).chain([image.id.as_str()]) {
                engine.remove_image(reference).await.with_context(|| format!("remove the image {reference}"))?;
            }
        }
        let left = engine.inventory().await?.images.into_iter().find(|(_, of)| *of == Some(app.id));
        match left {
            Some((image, _)) => bail!("the image {} is still in use", image.id),
            None => Ok(()),
        }
    }
}
