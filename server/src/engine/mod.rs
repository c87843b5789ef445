//! The seam to containers: what the house asks of an engine, in its own words. `docker` answers with a real one (builds
//! by `buildkit`, over the same socket), `fake` with HTTP servers inside this process for room tests.
//!
//! Everything made here carries `paas.installation=<id>`, and every list filters by it: what is not ours is never touched.

mod buildkit;
mod disk;
pub mod docker;
pub mod fake;
mod guests;
mod lines;
mod one_off;
mod sockets;
mod volume_copy;

pub use crate::domain::terminal::WindowSize;
pub use disk::{AppImage, CacheUse, DiskEngine, DiskUse, ImageUse};
pub use docker::DockerEngine;
pub use fake::FakeEngine;
pub use guests::{ARCHITECTURE, GuestImages, GuestName, RegistryLogin};
pub use one_off::{
    Attachment, ExecCommand, ExecId, ExecSpec, Keep, OneOffEngine, OneOffSeen, OneOffSpec, Stdio, Written,
};
pub use volume_copy::VolumeCopies;

use crate::domain::failure::{Exit, Listening};
use crate::domain::instance::Slot;
use crate::domain::{AppId, AppKey, ContainerId, ImageId, Moment, MountPath, Protocol, ReleaseNo, VolumeKey};
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Labels on everything we make.
pub mod label {
    pub const INSTALLATION: &str = "paas.installation";
    pub const APP: &str = "paas.app";
    pub const APP_KEY: &str = "paas.app-key";
    pub const RELEASE: &str = "paas.release";
    pub const PROCESS: &str = "paas.process";
    /// The slot's number within its process type.
    pub const INDEX: &str = "paas.index";
    pub const EPOCH: &str = "paas.epoch";
    /// What it is spoken to in; without it HTTP/1.1.
    pub const PROTOCOL: &str = "paas.protocol";
    /// Name of a one-off instance (`run.7`), which has it instead of the three above: plans do not see it.
    pub const JOB: &str = "paas.job";
    /// On a one-off instance that goes on when the server that started it ends.
    pub const KEEP: &str = "paas.keep";
    pub const BUILD: &str = "paas.build";
    pub const COMMIT: &str = "paas.commit";
    pub const STACK: &str = "paas.stack";
}

/// A failure of the engine. Only what a caller branches on has a case of its own.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("the container engine does not answer")]
    Unreachable(#[source] anyhow::Error),
    #[error("the engine has no such {0}")]
    Missing(&'static str),
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

pub type Result<T> = std::result::Result<T, EngineError>;

/// A container to make. The engine adds the hardening of security rule R15 and our labels.
#[derive(Clone)]
pub struct InstanceSpec {
    pub app: AppId,
    pub app_key: AppKey,
    pub release: ReleaseNo,
    pub slot: Slot,
    pub epoch: u64,
    /// What its web instances are spoken to in.
    pub protocol: Protocol,
    pub image: ImageId,
    /// The program inside the image that commands are handed to; `None`: they are started as they are.
    pub starter: Option<String>,
    /// `None`: the image's own entrypoint and command.
    pub shell_command: Option<String>,
    /// Secret values among them: never printed.
    pub env: BTreeMap<String, String>,
    pub network: NetworkId,
    pub memory_bytes: u64,
    /// Processor time in thousandths of a core; `None`: as much as there is.
    pub cpu_millis: Option<u32>,
    pub mounts: Vec<Mount>,
}

/// A volume inside an instance. The volume has to be there: an engine would make a missing one, empty and not ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    pub volume: VolumeKey,
    pub path: MountPath,
    pub root: MountRoot,
}

/// What happens to the owner of a volume's root folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountRoot {
    /// It is given to the user that the image names, who else could not write to it.
    GivenToUser,
    Kept,
}

/// Stands for the address of an instance that ended before it could be asked for. Nothing can connect to it (unlike
/// 0.0.0.0, which leads to the host itself).
pub const NO_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::BROADCAST);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkId(pub String);

/// One container of ours as the engine shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    pub id: ContainerId,
    pub app: AppId,
    pub release: ReleaseNo,
    pub slot: Slot,
    pub epoch: u64,
    pub protocol: Protocol,
    /// When the engine made it.
    pub created_at: Moment,
    pub state: ObservedState,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObservedState {
    /// Made and never started.
    Created,
    Running {
        address: IpAddr,
        started_at: Moment,
    },
    Exited {
        at: Moment,
        exit: Exit,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineEvent {
    pub container: ContainerId,
    pub app: AppId,
    pub kind: EventKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    Started,
    /// It ended. (`oom` events are not passed on: they also come for a killed child while the instance lives.)
    Died,
    Removed,
}

/// A line that an instance wrote, without its line end; invalid UTF-8 replaced, at most 16 KiB, longer ones are split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    pub at: Moment,
    pub text: String,
}

pub struct BuildSpec {
    /// The image gets this reference (`paas/<app key>:b12`, `paas-stack/node20-run:ab12…`).
    pub reference: String,
    /// Path of the Dockerfile inside the context.
    pub dockerfile: String,
    /// The stage that becomes the image; `None`: the last one.
    pub target: Option<String>,
    pub args: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    pub cache: StepCache,
    /// The context as tar, in chunks; its first header is ustar or GNU.
    pub context: mpsc::Receiver<std::io::Result<Bytes>>,
}

/// Whether steps that ran before with the same inputs are taken from the engine's cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepCache {
    Used,
    /// Every step runs anew.
    Ignored,
}

/// What a build says while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildEvent {
    /// A step begins, as the Dockerfile writes it (`RUN npm ci`). `cached`: it was not run.
    Step { name: String, cached: bool },
    /// A line of the running step's output.
    Line(String),
}

#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A step of the Dockerfile failed, or the Dockerfile itself is wrong: the person's matter.
    #[error("build step `{step}` failed: {reason}")]
    Step { step: String, reason: String },
    #[error("the build was cancelled")]
    Cancelled,
    #[error(transparent)]
    Engine(#[from] EngineError),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageInfo {
    pub id: ImageId,
    /// TCP ports of EXPOSE.
    pub exposed_ports: Vec<u16>,
    pub has_command: bool,
    /// Whether building on it runs steps of its own (ONBUILD).
    pub has_triggers: bool,
    /// `amd64`, as Docker names it.
    pub architecture: String,
    pub labels: BTreeMap<String, String>,
    pub references: Vec<String>,
    pub size_bytes: u64,
}

/// Everything of ours in the engine, for doctor and collection.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    pub containers: Vec<(ContainerId, Option<AppId>)>,
    pub networks: Vec<(NetworkId, Option<AppId>)>,
    pub images: Vec<(ImageInfo, Option<AppId>)>,
    pub volumes: Vec<VolumeKey>,
}

/// All containers of ours, by what they are for.
#[derive(Clone, Debug, Default)]
pub struct Census {
    pub instances: Vec<Observed>,
    pub one_offs: Vec<OneOffSeen>,
    /// Those among them, and others, that are frozen.
    pub paused: Vec<(ContainerId, Option<AppId>)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineFacts {
    /// `Docker 20.10.24`, say.
    pub version: String,
    pub storage_driver: String,
    /// What the machine has; 0 where the engine does not say.
    pub cores: u32,
    pub memory_bytes: u64,
}

#[async_trait]
pub trait Engine: OneOffEngine + VolumeCopies + DiskEngine + GuestImages {
    async fn facts(&self) -> Result<EngineFacts>;

    /// All instances of ours; with `app`, of that app alone.
    async fn instances(&self, app: Option<AppId>) -> Result<Vec<Observed>>;

    /// Instances, one-offs and what is frozen, at one moment where the engine can tell that by one list.
    async fn census(&self) -> Result<Census> {
        let (instances, one_offs) = (self.instances(None).await?, self.one_offs(None).await?);
        Ok(Census { instances, one_offs, paused: self.paused().await? })
    }

    /// Makes and starts an instance; leaves nothing behind when it fails. Returns its address; one that has ended
    /// already has [`NO_ADDRESS`], and the next list tells how it ended.
    async fn start(&self, spec: &InstanceSpec) -> Result<(ContainerId, IpAddr)> {
        let id = self.make(spec).await?;
        match self.start_made(&id).await {
            Ok(address) => Ok((id, address)),
            Err(error) => {
                // The first error is the one to tell; what stays behind is seen by the next list.
                drop(self.remove(&id).await);
                Err(error)
            }
        }
    }

    /// The first half of [`Engine::start`]: everything but running it. Leaves nothing behind when it fails.
    async fn make(&self, spec: &InstanceSpec) -> Result<ContainerId>;

    /// The second half. An instance that cannot be started stays as it was made.
    async fn start_made(&self, id: &ContainerId) -> Result<IpAddr>;

    /// Sends the image's stop signal (SIGTERM), SIGKILL after `grace`, waits for the end and removes the container.
    /// An instance that is gone already is no error.
    async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<()>;

    /// Removes a container by force. One that is gone already is no error.
    async fn remove(&self, id: &ContainerId) -> Result<()>;

    /// Looks at the listening sockets inside an instance.
    async fn listening(&self, id: &ContainerId, port: u16) -> Listening;

    /// The app's network, made if need be with `subnet` (`10.x.y.0/24`); its gateway is the first address.
    async fn ensure_network(&self, app: AppId, key: &AppKey, subnet: &str) -> Result<NetworkId>;
    async fn remove_network(&self, app: AppId) -> Result<()>;
    /// Subnets in use on the engine, ours or not, as (address, prefix length).
    async fn subnets_in_use(&self) -> Result<Vec<(Ipv4Addr, u8)>>;

    /// Makes an empty volume; one that is there stays as it is.
    async fn ensure_volume(&self, volume: &VolumeKey) -> Result<()>;
    /// Removes a volume with all that it holds; `Refused` while an instance has it. One that is gone is no error.
    async fn remove_volume(&self, volume: &VolumeKey) -> Result<()>;
    /// Volumes of ours.
    async fn volumes(&self) -> Result<Vec<VolumeKey>>;

    /// Sends events of our containers until the engine goes away (then returns) or the receiver does.
    async fn events(&self, to: mpsc::Sender<EngineEvent>) -> Result<()>;

    /// Sends an instance's output from `since` on (inclusive), following until it ends.
    async fn follow_logs(&self, id: &ContainerId, since: Option<Moment>, to: mpsc::Sender<LogLine>) -> Result<()>;
    /// Sends the newest `count` lines and what comes after them, following until the instance ends.
    async fn follow_newest(&self, id: &ContainerId, count: usize, to: mpsc::Sender<LogLine>) -> Result<()>;
    /// The last `count` lines of an instance's output, running or ended.
    async fn last_lines(&self, id: &ContainerId, count: usize) -> Result<Vec<LogLine>>;

    /// Builds an image. Dropping the future or cancelling `stop` ends the build inside the engine.
    async fn build(
        &self,
        spec: BuildSpec,
        events: mpsc::Sender<BuildEvent>,
        stop: CancellationToken,
    ) -> std::result::Result<ImageId, BuildError>;
    /// Makes an image from a root filesystem tar.
    async fn import(&self, reference: &str, root_tar: mpsc::Receiver<std::io::Result<Bytes>>) -> Result<ImageId>;
    /// Pulls an image by reference; `Refused` with the registry's words where it cannot be had.
    async fn pull(&self, reference: &str) -> Result<ImageId>;
    async fn image(&self, reference: &str) -> Result<Option<ImageInfo>>;
    /// Files out of an image by their absolute paths, in that order; `None` for one that is not there.
    async fn read_files(&self, image: &ImageId, paths: &[&str]) -> Result<Vec<Option<Bytes>>>;
    async fn tag(&self, image: &ImageId, reference: &str) -> Result<()>;
    /// Removes one reference (and the image with its last one). Missing or still in use is no error.
    async fn remove_image(&self, reference: &str) -> Result<()>;

    async fn inventory(&self) -> Result<Inventory>;
}
