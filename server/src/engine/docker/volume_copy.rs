//! Copies of volumes through the engine's archive calls, on a container that is made and never started: its image is empty.
use super::link::{IMAGE_TIME_MAX, READ_TIME_MAX, Task, WRITE_TIME_MAX};
use super::{DockerEngine, app_of};
use crate::domain::{AppId, ContainerId, VolumeKey};
use crate::engine::volume_copy::VolumeCopies;
use crate::engine::{Engine as _, EngineError, Result, label};
use anyhow::Context as _;
use async_trait::async_trait;
use bollard::Docker;
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    CreateContainerOptions, DownloadFromContainerOptions, ListContainersOptions, UploadToContainerOptions,
};
use bytes::Bytes;
use futures_util::stream::{self, TryStreamExt as _};
use std::collections::HashMap;
use tokio::sync::mpsc;

/// Marks the containers of this file, which nothing else is to take for an instance.
const HELPER: &str = "paas.helper";
/// An image without any file.
const EMPTY_IMAGE: &str = "paas-stack/empty:1";
/// Where the volume is inside the helper.
const PLACE: &str = "/volume";
/// A tar without entries ends with two blocks of zeros.
const EMPTY_TAR: [u8; 1024] = [0; 1024];

#[async_trait]
impl VolumeCopies for DockerEngine {
    async fn read_volume(&self, volume: &VolumeKey, to: mpsc::Sender<Bytes>) -> Result<()> {
        let helper = self.make_helper(volume).await?;
        let options = DownloadFromContainerOptions { path: format!("{PLACE}/.") };
        let id = helper.clone();
        let read = |docker: Docker| async move {
            let chunks = docker.download_from_container(id.as_str(), Some(options));
            tokio::pin!(chunks);
            while let Some(chunk) = chunks.try_next().await? {
                if to.send(chunk).await.is_err() {
                    break;
                }
            }
            Ok(())
        };
        let done = self.link.ask(Task::new("read", "volume", volume.as_str()), IMAGE_TIME_MAX, read).await;
        self.remove(&helper).await?;
        done
    }

    async fn write_volume(&self, volume: &VolumeKey, mut tar: mpsc::Receiver<std::io::Result<Bytes>>) -> Result<()> {
        let helper = self.make_helper(volume).await?;
        let options = UploadToContainerOptions { path: PLACE.to_owned(), ..UploadToContainerOptions::default() };
        let body = bollard::body_try_stream(stream::poll_fn(move |cx| tar.poll_recv(cx)));
        let id = helper.clone();
        let write = |docker: Docker| async move { docker.upload_to_container(id.as_str(), Some(options), body).await };
        let done = self.link.ask(Task::new("write", "volume", volume.as_str()), IMAGE_TIME_MAX, write).await;
        self.remove(&helper).await?;
        done
    }

    async fn pause(&self, id: &ContainerId) -> Result<()> {
        let pause = |docker: Docker| async move { docker.pause_container(id.as_str()).await };
        match self.link.ask(Task::new("pause", "container", id.short()), WRITE_TIME_MAX, pause).await {
            // What it refuses has ended meanwhile, or is paused already: both are still.
            Ok(()) | Err(EngineError::Missing(_) | EngineError::Refused(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn unpause(&self, id: &ContainerId) -> Result<()> {
        let unpause = |docker: Docker| async move { docker.unpause_container(id.as_str()).await };
        match self.link.ask(Task::new("unpause", "container", id.short()), WRITE_TIME_MAX, unpause).await {
            Ok(()) | Err(EngineError::Missing(_) | EngineError::Refused(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn paused(&self) -> Result<Vec<(ContainerId, Option<AppId>)>> {
        let mut filters = self.ours(None);
        filters.insert("status".to_owned(), vec!["paused".to_owned()]);
        let listed = self.list_helpers(filters).await?;
        let id_of = |summary: bollard::models::ContainerSummary| {
            let labels = summary.labels.unwrap_or_default();
            Some((ContainerId::new(summary.id?), app_of(&labels)))
        };
        Ok(listed.into_iter().filter_map(id_of).collect())
    }
}

impl DockerEngine {
    /// Copies are made one after the other: what an earlier one has left behind is nobody's any more.
    async fn make_helper(&self, volume: &VolumeKey) -> Result<ContainerId> {
        let mut filters = self.ours(None);
        filters.entry("label".to_owned()).or_default().push(HELPER.to_owned());
        for left in self.list_helpers(filters).await? {
            self.remove(&ContainerId::new(left.id.unwrap_or_default())).await?;
        }
        if self.image(EMPTY_IMAGE).await?.is_none() {
            let (send, tar) = mpsc::channel(1);
            send.try_send(Ok(Bytes::from_static(&EMPTY_TAR))).context("make an empty image")?;
            drop(send);
            self.import(EMPTY_IMAGE, tar).await?;
        }
        let body = ContainerCreateBody {
            image: Some(EMPTY_IMAGE.to_owned()),
            // Never run, but an image without a command wants one.
            cmd: Some(vec!["none".to_owned()]),
            labels: Some(HashMap::from([
                (label::INSTALLATION.to_owned(), self.installation.to_string()),
                (HELPER.to_owned(), volume.to_string()),
            ])),
            network_disabled: Some(true),
            host_config: Some(HostConfig { binds: Some(vec![format!("{volume}:{PLACE}")]), ..HostConfig::default() }),
            ..ContainerCreateBody::default()
        };
        let options = None::<CreateContainerOptions>;
        let create = |docker: Docker| async move { docker.create_container(options, body).await };
        let task = Task::new("make a container for", "volume", volume.as_str());
        Ok(ContainerId::new(self.link.ask(task, WRITE_TIME_MAX, create).await?.id))
    }

    async fn list_helpers(
        &self,
        filters: HashMap<String, Vec<String>>,
    ) -> Result<Vec<bollard::models::ContainerSummary>> {
        let options = ListContainersOptions { all: true, filters: Some(filters), ..ListContainersOptions::default() };
        let list = |docker: Docker| async move { docker.list_containers(Some(options)).await };
        self.link.ask(Task::new("list", "containers", ""), READ_TIME_MAX, list).await
    }
}
