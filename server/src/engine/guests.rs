//! Images that were made elsewhere: brought into the engine under a name of ours for the moment that it takes to make an
//! app's image of them. No name that is there already is moved, whatever the registry or the archive calls its image.
use super::Result;
use crate::domain::{ImageRef, Secret};
use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;

/// What this program was made for, as Docker names it.
pub const ARCHITECTURE: &str = match std::env::consts::ARCH.as_bytes() {
    b"x86_64" => "amd64",
    b"aarch64" => "arm64",
    _ => std::env::consts::ARCH,
};

/// The name of an image that is a guest: `paas-guest/INSTALLATION:1f3a…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestName(pub(super) String);

impl GuestName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How a registry is logged in to.
#[derive(Clone)]
pub enum RegistryLogin {
    Password {
        user: String,
        password: Secret<String>,
    },
    /// What some registries hand out instead of taking the password each time.
    IdentityToken(Secret<String>),
}

#[async_trait]
pub trait GuestImages: Send + Sync {
    /// A name that nothing has.
    fn guest_name(&self) -> Result<GuestName>;
    /// The digest of the image that a registry means by a name now.
    async fn resolve(&self, image: &ImageRef, login: Option<&RegistryLogin>) -> Result<String>;
    /// Pulls the image of this digest. Dropping the future ends the pull.
    async fn fetch(
        &self,
        image: &ImageRef,
        digest: &str,
        login: Option<&RegistryLogin>,
        guest: &GuestName,
    ) -> Result<()>;
    /// Takes an image from an archive in `docker save`'s form, which must give it the guest's name and no other.
    async fn load(&self, archive: mpsc::Receiver<std::io::Result<Bytes>>) -> Result<()>;
    /// Takes the name away, and the image with it where it was the last one. One that is gone is no error.
    async fn see_off(&self, guest: &GuestName) -> Result<()>;
    /// Guests of this installation that are still there.
    async fn guests(&self) -> Result<Vec<GuestName>>;
}
