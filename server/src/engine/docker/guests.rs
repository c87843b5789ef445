//! Images from registries and archives, by names that nobody else has.
use super::link::{IMAGE_TIME_MAX, READ_TIME_MAX, Task, WRITE_TIME_MAX};
use super::{DockerEngine, random_hex};
use crate::domain::ImageRef;
use crate::engine::{EngineError, GuestImages, GuestName, RegistryLogin, Result};
use anyhow::anyhow;
use async_trait::async_trait;
use bollard::Docker;
use bollard::auth::DockerCredentials;
use bollard::models::BuildInfo;
use bollard::query_parameters::{CreateImageOptions, ImportImageOptions, ListImagesOptions, RemoveImageOptions};
use bytes::Bytes;
use futures_util::stream::{self, TryStreamExt as _};
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::mpsc;

const FOLDER: &str = "paas-guest";
/// A registry far away answers slowly; one that does not answer at all is told.
const RESOLVE_TIME_MAX: Duration = Duration::from_mins(1);

#[async_trait]
impl GuestImages for DockerEngine {
    fn guest_name(&self) -> Result<GuestName> {
        Ok(GuestName(format!("{FOLDER}/{}:{}{}", self.installation, random_hex()?, random_hex()?)))
    }

    async fn resolve(&self, image: &ImageRef, login: Option<&RegistryLogin>) -> Result<String> {
        let shown = image.to_string();
        let login = login.map(credentials);
        let ask = |docker: Docker| async move { docker.inspect_registry_image(&image.to_string(), login).await };
        let found = self.link.ask(Task::new("find", "image", &shown), RESOLVE_TIME_MAX, ask).await;
        let digest = found.map_err(|error| in_registrys_words(&shown, error))?.descriptor.digest;
        digest.ok_or_else(|| anyhow!("the registry tells no digest of {shown}").into())
    }

    async fn fetch(
        &self,
        image: &ImageRef,
        digest: &str,
        login: Option<&RegistryLogin>,
        guest: &GuestName,
    ) -> Result<()> {
        let pinned = image.pinned(digest);
        let was_there = self.inspect_image(&pinned).await?.is_some();
        let options = CreateImageOptions {
            from_image: Some(image.name().to_owned()),
            tag: Some(digest.to_owned()),
            ..CreateImageOptions::default()
        };
        let login = login.map(credentials);
        let pull = |docker: Docker| async move {
            docker.create_image(Some(options), None, login).try_for_each(|_| async { Ok(()) }).await
        };
        let pulled = self.link.ask(Task::new("pull", "image", &pinned), IMAGE_TIME_MAX, pull).await;
        pulled.map_err(|error| in_registrys_words(&pinned, error))?;
        let found = self.inspect_image(&pinned).await?.ok_or(EngineError::Missing("image"))?;
        self.tag_image(&found.id, guest.as_str()).await?;
        if !was_there {
            self.untag(&pinned).await?;
        }
        Ok(())
    }

    async fn load(&self, mut archive: mpsc::Receiver<std::io::Result<Bytes>>) -> Result<()> {
        let options = ImportImageOptions { quiet: true, ..ImportImageOptions::default() };
        let body = bollard::body_try_stream(stream::poll_fn(move |cx| archive.poll_recv(cx)));
        let load = |docker: Docker| async move {
            let said = docker.import_image(options, body, None);
            said.try_for_each(|_: BuildInfo| async { Ok(()) }).await
        };
        self.link.ask(Task::new("load", "image", "from an archive"), IMAGE_TIME_MAX, load).await
    }

    async fn see_off(&self, guest: &GuestName) -> Result<()> {
        self.untag(guest.as_str()).await
    }

    async fn guests(&self) -> Result<Vec<GuestName>> {
        let ours = format!("{FOLDER}/{}", self.installation);
        let filters = HashMap::from([("reference".to_owned(), vec![ours.clone()])]);
        let options = ListImagesOptions { filters: Some(filters), ..ListImagesOptions::default() };
        let list = |docker: Docker| async move { docker.list_images(Some(options)).await };
        let images = self.link.ask(Task::new("list", "images", ""), READ_TIME_MAX, list).await?;
        let names = images.into_iter().flat_map(|image| image.repo_tags);
        Ok(names.filter(|name| name.starts_with(&format!("{ours}:"))).map(GuestName).collect())
    }
}

impl DockerEngine {
    /// Takes a name away that we gave, or had the engine give. Layers that other images stand on stay.
    async fn untag(&self, reference: &str) -> Result<()> {
        let remove = |docker: Docker| async move {
            docker.remove_image(reference, Some(RemoveImageOptions::default()), None).await
        };
        match self.link.ask(Task::new("untag", "image", reference), WRITE_TIME_MAX, remove).await {
            Ok(_) | Err(EngineError::Missing(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn credentials(login: &RegistryLogin) -> DockerCredentials {
    match login {
        RegistryLogin::Password { user, password } => DockerCredentials {
            username: Some(user.clone()),
            password: Some(password.reveal().clone()),
            ..DockerCredentials::default()
        },
        RegistryLogin::IdentityToken(token) => {
            DockerCredentials { identitytoken: Some(token.reveal().clone()), ..DockerCredentials::default() }
        }
    }
}

/// What a registry says no to comes as an error of the engine, whose words are all there is.
fn in_registrys_words(image: &str, error: EngineError) -> EngineError {
    match error {
        EngineError::Missing(_) => EngineError::Refused(format!("the registry has no {image}, or wants a login")),
        EngineError::Other(error) => EngineError::Refused(format!("{image}: {}", error.root_cause())),
        error @ (EngineError::Unreachable(_) | EngineError::Refused(_)) => error,
    }
}
