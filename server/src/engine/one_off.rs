//! The part of the seam for what runs once: one-off instances of a release's image (`paas run`, release phases, cron).
//!
//! A one-off instance is made like any other (same hardening, network, limits and labels) but for its name: `paas.job`
//! stands in place of its slot in the formation, so [`super::Engine::instances`] never lists it. `stop`, `remove`,
//! `follow_logs` and `last_lines` of [`super::Engine`] serve it too.
use super::{InstanceSpec, ObservedState, Result};
use crate::domain::failure::Exit;
use crate::domain::instance::Slot;
use crate::domain::{AppId, ContainerId, Moment, ReleaseNo};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;
use std::pin::Pin;
use tokio::io::AsyncWrite;

/// A one-off instance to make.
#[derive(Clone)]
pub struct OneOffSpec {
    /// As for an ordinary instance. Its `slot` is the one-off's name; `shell_command` runs as a Procfile line does.
    pub instance: InstanceSpec,
    /// Runs exactly these words, without a shell, in place of `instance.shell_command`.
    pub words: Option<Vec<String>>,
    pub stdio: Stdio,
    pub keep: Keep,
}

/// Where its standard streams go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stdio {
    /// No input; output into its log at the engine, to be followed like any instance's.
    Logged,
    /// To be attached: input, and output and errors apart. Nothing is logged.
    Streams,
    /// To be attached: a terminal, on which output and errors are one. Nothing is logged. Stopped, it gets SIGHUP.
    Terminal,
}

/// What becomes of it when the server that started it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// It is of no use to anybody then, and the next server removes it.
    WithServer,
    /// It goes on, and whoever owns its kind of name takes it up again.
    Always,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowSize {
    pub columns: u16,
    pub rows: u16,
}

/// A chunk of what it wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    Output(Bytes),
    Error(Bytes),
}

/// The engine's side of its standard streams. What nobody reads holds the writer up; nothing is lost.
pub struct Attachment {
    /// Dropped, it is the end of its input.
    pub input: Box<dyn AsyncWrite + Send + Unpin>,
    /// Ends when it has closed its output, as a rule by ending.
    pub output: Pin<Box<dyn Stream<Item = std::io::Result<Written>> + Send>>,
}

/// One one-off instance as the engine shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneOffSeen {
    pub id: ContainerId,
    pub app: AppId,
    pub release: ReleaseNo,
    pub name: Slot,
    pub keep: Keep,
    pub created_at: Moment,
    pub state: ObservedState,
}

#[async_trait]
pub trait OneOffEngine: Send + Sync {
    /// Makes one without starting it, so that it can be attached to before it says its first word.
    async fn create_one_off(&self, spec: &OneOffSpec) -> Result<ContainerId>;

    /// Connects to the standard streams of one that was made for it.
    async fn attach(&self, id: &ContainerId, stdio: Stdio) -> Result<Attachment>;

    async fn start_one_off(&self, id: &ContainerId) -> Result<()>;

    /// Sets the size of its terminal while it runs.
    async fn resize(&self, id: &ContainerId, size: WindowSize) -> Result<()>;

    /// Waits for the end of one that was started, however long an engine that is away takes to come back. `Missing`
    /// when it was removed.
    async fn wait(&self, id: &ContainerId) -> Result<Exit>;

    /// All one-offs of ours; with `app`, of that app alone.
    async fn one_offs(&self, app: Option<AppId>) -> Result<Vec<OneOffSeen>>;
}
