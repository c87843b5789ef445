//! What of the engine's disk is ours.
use super::link::{READ_TIME_MAX, Task, WRITE_TIME_MAX};
use super::{DockerEngine, app_of};
use crate::domain::{AppId, ContainerId, ImageId, VolumeKey};
use crate::engine::{AppImage, CacheUse, DiskEngine, DiskUse, EngineError, ImageUse, Result, label};
use anyhow::{Context as _, anyhow};
use async_trait::async_trait;
use bollard::Docker;
use bollard::query_parameters::{InspectContainerOptions, KillContainerOptions, ListImagesOptions};
use hyper::Method;
use serde::Deserialize;
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

/// The engine walks through everything that it has.
const WALK_TIME_MAX: Duration = Duration::from_secs(30);
const PRUNE_TIME_MAX: Duration = Duration::from_mins(5);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    images: Option<Vec<Image>>,
    containers: Option<Vec<Container>>,
    volumes: Option<Vec<Volume>>,
    build_cache: Option<Vec<Record>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Image {
    id: String,
    labels: Option<HashMap<String, String>>,
    size: i64,
    shared_size: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Container {
    labels: Option<HashMap<String, String>>,
    size_rw: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Volume {
    name: String,
    labels: Option<HashMap<String, String>>,
    usage_data: Option<UsageData>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UsageData {
    size: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Record {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Type")]
    kind: String,
    description: String,
    size: i64,
    in_use: bool,
}

/// How BuildKit calls a folder that `--mount=type=cache` has filled.
const CACHE_MOUNT: &str = "exec.cachemount";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Pruned {
    space_reclaimed: Option<i64>,
}

#[async_trait]
impl DiskEngine for DockerEngine {
    async fn root_dir(&self) -> Result<PathBuf> {
        let ask = |docker: Docker| async move { docker.info().await };
        let info = self.link.ask(Task::new("ask", "engine", "for its folder"), READ_TIME_MAX, ask).await?;
        let root = info.docker_root_dir.context("the engine does not say where its folder is")?;
        Ok(root.into())
    }

    async fn disk_use(&self) -> Result<DiskUse> {
        let answer = self.raw("measure the disk", Method::GET, "/system/df", WALK_TIME_MAX).await?;
        let answer: Answer = serde_json::from_value(answer).context("read what the engine says about its disk")?;
        let app = |labels: Option<&HashMap<String, String>>| labels.and_then(app_of);
        let is_ours = |labels: Option<&HashMap<String, String>>| labels.is_some_and(|labels| self.is_ours(labels));
        let images = answer.images.unwrap_or_default().into_iter().filter(|image| is_ours(image.labels.as_ref()));
        let instances = answer.containers.unwrap_or_default().into_iter().filter(|one| is_ours(one.labels.as_ref()));
        let volumes = answer.volumes.unwrap_or_default().into_iter().filter(|one| is_ours(one.labels.as_ref()));
        let cache = answer.build_cache.unwrap_or_default();
        Ok(DiskUse {
            images: images
                .map(|image| ImageUse {
                    app: app(image.labels.as_ref()),
                    own_bytes: bytes(image.size - image.shared_size.max(0)),
                    id: ImageId::new(image.id),
                })
                .collect(),
            instances: instances.map(|one| (app(one.labels.as_ref()), bytes(one.size_rw.unwrap_or(0)))).collect(),
            volumes: volumes
                .map(|one| (VolumeKey::new(one.name), bytes(one.usage_data.map_or(0, |usage| usage.size))))
                .collect(),
            build_cache_bytes: cache.iter().map(|record| bytes(record.size)).sum(),
            caches: cache.iter().filter_map(marked).collect(),
            build_cache_idle_bytes: cache.iter().filter(|one| !one.in_use).map(|record| bytes(record.size)).sum(),
        })
    }

    async fn written_bytes(&self, id: &ContainerId) -> Result<u64> {
        let options = InspectContainerOptions { size: true };
        let ask = |docker: Docker| async move { docker.inspect_container(id.as_str(), Some(options)).await };
        let inspected = self.link.ask(Task::new("measure", "container", id.short()), WALK_TIME_MAX, ask).await?;
        Ok(bytes(inspected.size_rw.unwrap_or(0)))
    }

    async fn end_by_force(&self, id: &ContainerId) -> Result<()> {
        let options = KillContainerOptions { signal: "KILL".to_owned() };
        let kill = |docker: Docker| async move { docker.kill_container(id.as_str(), Some(options)).await };
        match self.link.ask(Task::new("kill", "container", id.short()), WRITE_TIME_MAX, kill).await {
            // Refused: it does not run.
            Ok(()) | Err(EngineError::Missing(_) | EngineError::Refused(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn app_images(&self) -> Result<Vec<AppImage>> {
        let mut filters = self.ours(None);
        filters.entry("label".to_owned()).or_default().push(label::APP.to_owned());
        let options = ListImagesOptions { filters: Some(filters), ..ListImagesOptions::default() };
        let list = |docker: Docker| async move { docker.list_images(Some(options)).await };
        let images = self.link.ask(Task::new("list", "images", ""), READ_TIME_MAX, list).await?;
        let ours = images.into_iter().filter(|image| self.is_ours(&image.labels));
        Ok(ours
            .filter_map(|image| {
                let app: AppId = app_of(&image.labels)?;
                let references = image.repo_tags.into_iter().filter(|tag| tag != "<none>:<none>").collect();
                Some(AppImage { id: ImageId::new(image.id), app, references })
            })
            .collect())
    }

    async fn remove_cache(&self, cache: &CacheUse) -> Result<u64> {
        // Ids are plain words; what is none would be a pattern.
        if !cache.id.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(anyhow!("`{}` is no cache's id", cache.id).into());
        }
        let path = format!("/build/prune?all=1&filters=%7B%22id%22%3A%7B%22{}%22%3Atrue%7D%7D", cache.id);
        self.prune(&path).await
    }

    async fn prune_build_cache(&self, keep_bytes: u64) -> Result<u64> {
        let path = format!("/build/prune?all=1&keep-storage={keep_bytes}");
        self.prune(&path).await
    }
}

impl DockerEngine {
    async fn prune(&self, path: &str) -> Result<u64> {
        let answer = self.raw("prune the build cache", Method::POST, path, PRUNE_TIME_MAX).await?;
        let pruned: Pruned = serde_json::from_value(answer).map_err(|error| anyhow!(error))?;
        Ok(bytes(pruned.space_reclaimed.unwrap_or(0)))
    }
}

/// A cache is described by the step that made it, whose last words say whose it is.
fn marked(record: &Record) -> Option<CacheUse> {
    if record.kind != CACHE_MOUNT {
        return None;
    }
    let (_, mark) = record.description.rsplit_once(buildpacks::CACHE_COMMENT)?;
    Some(CacheUse { id: record.id.clone(), mark: mark.parse().ok()?, bytes: bytes(record.size) })
}

/// The engine says -1 where it does not know.
fn bytes(size: i64) -> u64 {
    u64::try_from(size).unwrap_or(0)
}
