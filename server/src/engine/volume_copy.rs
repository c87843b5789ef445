//! The part of the seam for copies of volumes, and for the stillness that a copy needs.
use super::Result;
use crate::domain::{AppId, ContainerId, VolumeKey};
use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;

#[async_trait]
pub trait VolumeCopies: Send + Sync {
    /// Sends a volume's content as a tar whose paths begin with `./`, owners and modes included. A receiver that is gone
    /// ends it.
    async fn read_volume(&self, volume: &VolumeKey, to: mpsc::Sender<Bytes>) -> Result<()>;

    /// Unpacks such a tar into a volume that is there.
    async fn write_volume(&self, volume: &VolumeKey, tar: mpsc::Receiver<std::io::Result<Bytes>>) -> Result<()>;

    /// Freezes an instance: it keeps its memory and its connections, and gets no processor time. One that does not run is
    /// no error.
    async fn pause(&self, id: &ContainerId) -> Result<()>;
    /// Lets a frozen one go on. One that is not frozen is no error.
    async fn unpause(&self, id: &ContainerId) -> Result<()>;
    /// Everything of ours that is frozen.
    async fn paused(&self) -> Result<Vec<(ContainerId, Option<AppId>)>>;
}
