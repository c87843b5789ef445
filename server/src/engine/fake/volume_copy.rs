//! Copies of the fake engine's volumes: a volume is the tar that was written to it.
use super::FakeEngine;
use crate::domain::{AppId, ContainerId, VolumeKey};
use crate::engine::volume_copy::VolumeCopies;
use crate::engine::{EngineError, Result};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;

#[async_trait]
impl VolumeCopies for FakeEngine {
    async fn read_volume(&self, volume: &VolumeKey, to: mpsc::Sender<Bytes>) -> Result<()> {
        let content = {
            let world = self.reach()?;
            if !world.volumes.contains(volume) {
                return Err(EngineError::Missing("volume"));
            }
            world.contents.get(volume).cloned().unwrap_or_default()
        };
        // A receiver that is gone wants no more.
        let _ = to.send(content).await;
        Ok(())
    }

    async fn write_volume(&self, volume: &VolumeKey, mut tar: mpsc::Receiver<std::io::Result<Bytes>>) -> Result<()> {
        let mut all = BytesMut::new();
        while let Some(chunk) = tar.recv().await {
            all.extend_from_slice(&chunk.map_err(anyhow::Error::from)?);
        }
        self.reach()?.contents.insert(volume.clone(), all.freeze());
        Ok(())
    }

    async fn pause(&self, id: &ContainerId) -> Result<()> {
        let mut world = self.reach()?;
        if let Some(app) = world.instances.get(id).map(|instance| instance.spec.app) {
            world.paused.insert(id.clone(), app);
        }
        Ok(())
    }

    async fn unpause(&self, id: &ContainerId) -> Result<()> {
        self.reach()?.paused.remove(id);
        Ok(())
    }

    async fn paused(&self) -> Result<Vec<(ContainerId, Option<AppId>)>> {
        Ok(self.reach()?.paused.iter().map(|(id, app)| (id.clone(), Some(*app))).collect())
    }
}
