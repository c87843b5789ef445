//! The end of an app, as far as this room is concerned: instances drained and stopped, network removed, routes taken back.
//!
//! It is the usual pass that does it: of an app that is being destroyed nothing is wanted. Passes for one app never run at
//! once, so that none which saw the app alive can start something behind the back of the one that cleared it away.
use super::memory::Clearing;
use super::one_off::GRACE;
use super::{House, Scheduler};
use crate::crash_point;
use crate::domain::{App, AppId};
use anyhow::{Context, bail};
use futures_util::future::try_join_all;
use std::sync::PoisonError;
use std::time::Duration;

/// Between two looks at how far it has come.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

impl Scheduler {
    /// Waits until nothing of an app that is being destroyed is left in the engine and in the routes. An error says why
    /// that takes long; calling again goes on. The drains have their own limits.
    pub async fn clear(&self, app: AppId) -> anyhow::Result<()> {
        let memory = self.0.memory(app);
        memory.lock().unwrap_or_else(PoisonError::into_inner).clearing = Clearing::UnderWay;
        self.wake(app);
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            let clearing = memory.lock().unwrap_or_else(PoisonError::into_inner).clearing.clone();
            match clearing {
                Clearing::UnderWay => {}
                Clearing::Stuck(reason) => bail!(reason),
                Clearing::Done => return Ok(()),
            }
        }
    }

    /// Drops what is remembered of an app whose row is gone.
    pub fn forget(&self, app: AppId) {
        self.0.memories.lock().unwrap_or_else(PoisonError::into_inner).remove(&app);
    }
}

impl House {
    /// Removes what is left once no instance is there any more.
    pub(super) async fn clear_away(&self, app: &App) -> anyhow::Result<()> {
        let inventory = self.tools.engine.inventory().await.context("ask the engine what is left")?;
        // One-off instances: whoever runs them sees them end.
        let left = inventory.containers.iter().filter(|(_, of)| *of == Some(app.id));
        let ending = left.map(|(id, _)| async move {
            let ended = self.tools.engine.stop(id, GRACE).await;
            ended.with_context(|| format!("end the container {}", id.short()))
        });
        try_join_all(ending).await?;
        self.remove_network(app).await?;
        self.retract(app.id).await?;
        crash_point!("app-destroying");
        self.note_clearing(app.id, Clearing::Done);
        Ok(())
    }

    pub(super) fn note_clearing(&self, app: AppId, clearing: Clearing) {
        self.memory(app).lock().unwrap_or_else(PoisonError::into_inner).clearing = clearing;
    }
}
