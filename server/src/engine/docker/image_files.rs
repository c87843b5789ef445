//! Files out of an image, through the engine's archive call on a container that is made for it and never started.
use super::DockerEngine;
use super::link::{READ_TIME_MAX, Task, WRITE_TIME_MAX};
use crate::domain::{ContainerId, ImageId};
use crate::engine::{Engine as _, EngineError, Result, label};
use anyhow::Context as _;
use bollard::Docker;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{CreateContainerOptions, DownloadFromContainerOptions, ListContainersOptions};
use bytes::Bytes;
use futures_util::stream::TryStreamExt as _;
use std::collections::HashMap;
use std::io::Read as _;

/// Marks the containers of this file, which nothing else is to take for an instance.
const READER: &str = "paas.reader";
/// A file longer than this is none that we ask for.
const ARCHIVE_BYTES_MAX: usize = 1 << 20;

impl DockerEngine {
    /// Images are read one after the other: what an earlier reading has left behind is nobody's any more.
    pub(super) async fn read_image_files(&self, image: &ImageId, paths: &[&str]) -> Result<Vec<Option<Bytes>>> {
        let reader = self.make_reader(image).await?;
        let mut files = Vec::with_capacity(paths.len());
        let mut failed = None;
        for path in paths {
            match self.read_file(&reader, path).await {
                Ok(file) => files.push(file),
                Err(error) => failed = Some(error),
            }
        }
        self.remove(&reader).await?;
        failed.map_or(Ok(files), Err)
    }

    async fn make_reader(&self, image: &ImageId) -> Result<ContainerId> {
        let mut filters = self.ours(None);
        filters.entry("label".to_owned()).or_default().push(READER.to_owned());
        let options = ListContainersOptions { all: true, filters: Some(filters), ..ListContainersOptions::default() };
        let list = |docker: Docker| async move { docker.list_containers(Some(options)).await };
        for left in self.link.ask(Task::new("list", "containers", ""), READ_TIME_MAX, list).await? {
            self.remove(&ContainerId::new(left.id.unwrap_or_default())).await?;
        }
        let body = ContainerCreateBody {
            image: Some(image.to_string()),
            // Never run, but an image without a command wants one.
            entrypoint: Some(Vec::new()),
            cmd: Some(vec!["none".to_owned()]),
            labels: Some(HashMap::from([
                (label::INSTALLATION.to_owned(), self.installation.to_string()),
                (READER.to_owned(), image.to_string()),
            ])),
            network_disabled: Some(true),
            ..ContainerCreateBody::default()
        };
        let options = None::<CreateContainerOptions>;
        let create = |docker: Docker| async move { docker.create_container(options, body).await };
        let task = Task::new("make a container of", "image", image.as_str());
        Ok(ContainerId::new(self.link.ask(task, WRITE_TIME_MAX, create).await?.id))
    }

    async fn read_file(&self, reader: &ContainerId, path: &str) -> Result<Option<Bytes>> {
        let options = DownloadFromContainerOptions { path: path.to_owned() };
        let id = reader.clone();
        let read = |docker: Docker| async move {
            let chunks = docker.download_from_container(id.as_str(), Some(options));
            tokio::pin!(chunks);
            let mut archive = Vec::new();
            while let Some(chunk) = chunks.try_next().await? {
                archive.extend_from_slice(&chunk);
                if archive.len() > ARCHIVE_BYTES_MAX {
                    break;
                }
            }
            Ok(archive)
        };
        match self.link.ask(Task::new("read", "file", path), READ_TIME_MAX, read).await {
            Ok(archive) => Ok(unpacked(&archive, path)?),
            Err(EngineError::Missing(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The one file of an archive; `None` when it is a folder or a link.
fn unpacked(archive: &[u8], path: &str) -> anyhow::Result<Option<Bytes>> {
    if archive.len() > ARCHIVE_BYTES_MAX {
        anyhow::bail!("{path} of the image is longer than {ARCHIVE_BYTES_MAX} bytes");
    }
    let mut archive = tar::Archive::new(archive);
    let Some(entry) = archive.entries()?.next() else { return Ok(None) };
    let mut entry = entry.with_context(|| format!("read {path} of the image"))?;
    if !entry.header().entry_type().is_file() {
        return Ok(None);
    }
    let mut contents = Vec::new();
    entry.read_to_end(&mut contents).with_context(|| format!("read {path} of the image"))?;
    Ok(Some(contents.into()))
}
