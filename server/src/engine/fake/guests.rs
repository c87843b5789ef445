//! Registries and archives of the fake engine: a test says what a registry has.
use super::{FakeEngine, ImageId, Result};
use crate::domain::ImageRef;
use crate::engine::{EngineError, GuestImages, GuestName, RegistryLogin};
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::BTreeMap;
use tokio::sync::mpsc;

const FOLDER: &str = "paas-guest/fake:";

impl FakeEngine {
    /// From now on a registry means this image, with these labels, by `reference`.
    pub fn publish(&self, reference: &str, digest: &str, image: &ImageId, labels: &[(&str, &str)]) {
        let mut world = self.world();
        world.registry.insert(reference.to_owned(), (digest.to_owned(), image.clone()));
        let labels: BTreeMap<String, String> =
            labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        world.labels.insert(image.clone(), labels);
    }
}

#[async_trait]
impl GuestImages for FakeEngine {
    fn guest_name(&self) -> Result<GuestName> {
        let world = self.reach()?;
        let number = world.references.keys().filter(|name| name.starts_with(FOLDER)).count();
        Ok(GuestName(format!("{FOLDER}{number}")))
    }

    async fn resolve(&self, image: &ImageRef, _login: Option<&RegistryLogin>) -> Result<String> {
        let world = self.reach()?;
        let found = world.registry.get(&image.to_string());
        found
            .map(|(digest, _)| digest.clone())
            .ok_or_else(|| EngineError::Refused(format!("the registry has no {image}")))
    }

    async fn fetch(
        &self,
        image: &ImageRef,
        digest: &str,
        _login: Option<&RegistryLogin>,
        guest: &GuestName,
    ) -> Result<()> {
        let mut world = self.reach()?;
        let found = world.registry.values().find(|(known, _)| known == digest).map(|(_, id)| id.clone());
        let id = found.ok_or_else(|| EngineError::Refused(format!("the registry has no {}", image.pinned(digest))))?;
        world.tag(&id, guest.as_str());
        Ok(())
    }

    async fn load(&self, archive: mpsc::Receiver<std::io::Result<Bytes>>) -> Result<()> {
        self.drain(archive).await
    }

    async fn see_off(&self, guest: &GuestName) -> Result<()> {
        self.reach()?.references.remove(guest.as_str());
        Ok(())
    }

    async fn guests(&self) -> Result<Vec<GuestName>> {
        let world = self.reach()?;
        let names = world.references.keys().filter(|name| name.starts_with(FOLDER));
        Ok(names.map(|name| GuestName(name.clone())).collect())
    }
}
