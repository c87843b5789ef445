//! Images: looking at them, naming, removing, and making them from a root filesystem or a registry.
use super::link::{IMAGE_TIME_MAX, READ_TIME_MAX, Task, WRITE_TIME_MAX};
use super::{DockerEngine, app_of};
use crate::domain::{AppId, ImageId};
use crate::engine::{EngineError, ImageInfo, Result, label};
use anyhow::anyhow;
use bollard::Docker;
use bollard::models::{CreateImageInfo, ImageInspect};
use bollard::query_parameters::{CreateImageOptions, ListImagesOptions, RemoveImageOptions, TagImageOptions};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio::sync::mpsc;

const INSPECTIONS_AT_ONCE: usize = 8;

impl DockerEngine {
    pub(super) async fn inspect_image(&self, reference: &str) -> Result<Option<ImageInfo>> {
        if !is_reference(reference) {
            return Ok(None);
        }
        let inspect = |docker: Docker| async move { docker.inspect_image(reference).await };
        match self.link.ask(Task::new("inspect", "image", reference), READ_TIME_MAX, inspect).await {
            Ok(inspected) => Ok(Some(info_of(inspected))),
            Err(EngineError::Missing(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn tag_image(&self, image: &ImageId, reference: &str) -> Result<()> {
        let (repo, tag) = name_and_tag(reference);
        let options = TagImageOptions { repo: Some(repo), tag: Some(tag) };
        let give = |docker: Docker| async move { docker.tag_image(image.as_str(), Some(options)).await };
        self.link.ask(Task::new("tag", "image", reference), WRITE_TIME_MAX, give).await
    }

    /// Only images that carry our label: one that was pulled, or is another installation's, stays.
    pub(super) async fn remove_image_reference(&self, reference: &str) -> Result<()> {
        let Some(image) = self.inspect_image(reference).await? else { return Ok(()) };
        if image.labels.get(label::INSTALLATION).is_none_or(|id| id != self.installation.as_str()) {
            return Err(EngineError::Refused(format!("remove image {reference}: it is not this installation's")));
        }
        let remove = |docker: Docker| async move {
            docker.remove_image(reference, Some(RemoveImageOptions::default()), None).await
        };
        match self.link.ask(Task::new("remove", "image", reference), WRITE_TIME_MAX, remove).await {
            Ok(_) | Err(EngineError::Missing(_)) => Ok(()),
            // 409: a container still uses it, or another image was built on it.
            Err(EngineError::Refused(words)) if words.contains("conflict") => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn import_image(
        &self,
        reference: &str,
        mut root_tar: mpsc::Receiver<std::io::Result<Bytes>>,
    ) -> Result<ImageId> {
        let (repo, tag) = name_and_tag(reference);
        let options = CreateImageOptions {
            from_src: Some("-".to_owned()),
            repo: Some(repo),
            tag: Some(tag),
            changes: vec![format!("LABEL {}={}", label::INSTALLATION, self.installation)],
            ..CreateImageOptions::default()
        };
        let body = bollard::body_try_stream(stream::poll_fn(move |cx| root_tar.poll_recv(cx)));
        let make = |docker: Docker| async move {
            docker.create_image(Some(options), Some(body), None).try_fold(None, last_status).await
        };
        let id = self.link.ask(Task::new("import", "image", reference), IMAGE_TIME_MAX, make).await?;
        // The last thing that the engine says is the new image's id.
        match id.filter(|id| id.starts_with("sha256:")) {
            Some(id) => Ok(ImageId::new(id)),
            None => Err(anyhow!("the engine ended the import of {reference} and named no image").into()),
        }
    }

    pub(super) async fn pull_image(&self, reference: &str) -> Result<ImageId> {
        if !is_reference(reference) {
            return Err(EngineError::Refused(format!("pull image: `{reference}` is no image's name")));
        }
        let (name, tag) = name_and_tag(reference);
        let options = CreateImageOptions { from_image: Some(name), tag: Some(tag), ..CreateImageOptions::default() };
        let pull = |docker: Docker| async move {
            docker.create_image(Some(options), None, None).try_fold(None, last_status).await
        };
        let task = Task::new("pull", "image", reference);
        match self.link.ask(task, IMAGE_TIME_MAX, pull).await {
            Ok(_) => {}
            Err(EngineError::Missing(_)) => {
                return Err(EngineError::Refused(format!("{task}: the registry has no such image or wants a login")));
            }
            // A registry that cannot be reached is a 500 of the engine, whose words are all there is.
            Err(EngineError::Other(error)) => {
                return Err(EngineError::Refused(format!("{task}: {}", error.root_cause())));
            }
            Err(error @ (EngineError::Unreachable(_) | EngineError::Refused(_))) => return Err(error),
        }
        self.inspect_image(reference).await?.map(|image| image.id).ok_or(EngineError::Missing("image"))
    }

    pub(super) async fn all_images(&self) -> Result<Vec<(ImageInfo, Option<AppId>)>> {
        let options = ListImagesOptions { filters: Some(self.ours(None)), ..ListImagesOptions::default() };
        let list = |docker: Docker| async move { docker.list_images(Some(options)).await };
        let images = self.link.ask(Task::new("list", "images", ""), READ_TIME_MAX, list).await?;
        let ours = images.into_iter().filter(|image| self.is_ours(&image.labels));
        let inspected = stream::iter(ours).map(|image| async move {
            let info = self.inspect_image(&image.id).await?;
            Ok::<_, EngineError>(info.map(|info| (info, app_of(&image.labels))))
        });
        let infos: Vec<_> = inspected.buffered(INSPECTIONS_AT_ONCE).try_collect().await?;
        // Those removed meanwhile are left out.
        Ok(infos.into_iter().flatten().collect())
    }
}

async fn last_status(
    _before: Option<String>,
    progress: CreateImageInfo,
) -> std::result::Result<Option<String>, bollard::errors::Error> {
    Ok(progress.status)
}

/// Whether it may stand in a path of the API: names may come from a user's Dockerfile, and `..` would lead elsewhere.
fn is_reference(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    !text.is_empty() && text.chars().all(is_plain) && !text.contains("..") && !text.starts_with('/')
}

/// `registry:5000/name:tag` → name and tag; a digest stands in the tag's place, and without either it is `latest`.
fn name_and_tag(reference: &str) -> (String, String) {
    if let Some((name, digest)) = reference.split_once('@') {
        return (name.to_owned(), digest.to_owned());
    }
    match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name.to_owned(), tag.to_owned()),
        _ => (reference.to_owned(), "latest".to_owned()),
    }
}

fn info_of(inspected: ImageInspect) -> ImageInfo {
    let config = inspected.config.unwrap_or_default();
    let is_given = |words: Option<&Vec<String>>| words.is_some_and(|words| !words.is_empty());
    let mut exposed_ports: Vec<u16> = config.exposed_ports.iter().flatten().filter_map(|port| tcp_port(port)).collect();
    exposed_ports.sort_unstable();
    ImageInfo {
        id: ImageId::new(inspected.id.unwrap_or_default()),
        exposed_ports,
        has_command: is_given(config.cmd.as_ref()) || is_given(config.entrypoint.as_ref()),
        has_triggers: is_given(config.on_build.as_ref()),
        architecture: inspected.architecture.unwrap_or_default(),
        labels: config.labels.unwrap_or_default().into_iter().collect(),
        references: inspected.repo_tags.unwrap_or_default(),
        size_bytes: u64::try_from(inspected.size.unwrap_or_default()).unwrap_or_default(),
    }
}

/// `8080/tcp` → 8080.
fn tcp_port(exposed: &str) -> Option<u16> {
    exposed.strip_suffix("/tcp").unwrap_or(exposed).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_cut_into_name_and_tag() {
        let cut = |reference| {
            let (name, tag) = name_and_tag(reference);
            format!("{name} {tag}")
        };
        assert_eq!(cut("debian:trixie-slim"), "debian trixie-slim");
        assert_eq!(cut("debian"), "debian latest");
        assert_eq!(cut("localhost:5000/a/b"), "localhost:5000/a/b latest");
        assert_eq!(cut("localhost:5000/a/b:c"), "localhost:5000/a/b c");
        assert_eq!(cut("a/b@sha256:12"), "a/b sha256:12");
    }

    #[test]
    fn what_would_lead_elsewhere_is_no_reference() {
        for wrong in ["", "../containers/json", "a/../b", "/a", "a b", "a?b", "a#b", "a%2e", "ä"] {
            assert!(!is_reference(wrong), "{wrong}");
        }
        for right in ["debian:trixie-slim", "sha256:ab", "localhost:5000/a_b/c@sha256:12"] {
            assert!(is_reference(right), "{right}");
        }
    }

    #[test]
    fn only_tcp_ports_count() {
        assert_eq!([tcp_port("80/tcp"), tcp_port("53/udp"), tcp_port("90000/tcp")], [Some(80), None, None]);
    }
}
