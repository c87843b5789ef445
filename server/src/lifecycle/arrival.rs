//! How this process comes to be in charge: by itself, or after one that runs and hands over.
use crate::clock::Clock;
use crate::config::{Config, Start, names_of_sockets};
use crate::crash_point;
use crate::data_dir;
use crate::generation::{Inheritance, Predecessor, Serving};
use crate::listeners::Listeners;
use crate::store::{Store, StoreError, Trouble, schema};
use anyhow::Context;
use std::collections::BTreeMap;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

/// The version that this program calls itself.
const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(super) enum Arrival {
    Alone,
    After(Box<Inherited>),
}

/// What came from the one before.
pub(super) struct Inherited {
    predecessor: Predecessor,
    program: PathBuf,
    lock: Option<File>,
    listeners: BTreeMap<String, TcpListener>,
}

impl Arrival {
    pub(super) fn of(config: &Config) -> anyhow::Result<Self> {
        match config.start {
            Start::Usual | Start::Check | Start::Detach => Ok(Self::Alone),
            Start::TakeOver => {
                let (predecessor, Inheritance { lock, listeners, program }) = Predecessor::meet()?;
                crash_point!("successor-met");
                Ok(Self::After(Box::new(Inherited { predecessor, program, lock: Some(lock), listeners })))
            }
        }
    }

    /// The lock of the data folder: taken, or given.
    pub(super) fn lock(&mut self, data_dir: &Path) -> anyhow::Result<File> {
        match self {
            Self::Alone => data_dir::hold(data_dir),
            Self::After(given) => given.lock.take().context("the lock was taken already"),
        }
    }

    /// What could go wrong with the database is found out before it is touched.
    pub(super) async fn rehearse(&self, database: &Path) -> anyhow::Result<()> {
        match self {
            Self::Alone => Ok(()),
            Self::After(_) => schema::rehearse(database).await,
        }
    }

    /// After a running one: says that all is prepared and waits until that one has stopped to write.
    pub(super) async fn wait_for_turn(&mut self, store: &Store) -> anyhow::Result<()> {
        let Self::After(given) = self else { return Ok(()) };
        if let Some(complaint) = store.integrity_complaint().await? {
            anyhow::bail!("the database is damaged: {complaint}");
        }
        crash_point!("successor-prepared");
        given.predecessor.wait_for_turn(VERSION).await
    }

    /// Takes the lease: from now on nobody before us writes.
    pub(super) async fn take_charge(
        &self,
        store: Store,
        lock: &File,
        clock: &dyn Clock,
    ) -> anyhow::Result<(Store, u64)> {
        let taken = store.clone().take_the_lease(std::process::id(), VERSION, clock.now()).await;
        let taken = match (self, taken) {
            (Self::Alone, Err(error)) => resume(store, error).await,
            (Self::Alone | Self::After(_), taken) => taken,
        };
        let taken = taken.context("take the lease")?;
        if let Self::After(_) = self {
            data_dir::sign(lock)?;
            crash_point!("lease-taken");
        }
        Ok(taken)
    }

    pub(super) fn listeners(&mut self) -> anyhow::Result<Listeners> {
        match self {
            Self::Alone => Listeners::handed_over(&names_of_sockets()),
            Self::After(given) => Ok(Listeners::given(std::mem::take(&mut given.listeners))),
        }
    }

    /// The path that the server is started by. Behind a hand-over our own may have another name by now.
    pub(super) fn program(&self) -> anyhow::Result<PathBuf> {
        match self {
            Self::Alone => std::env::current_exe().context("find our own program, which is git's hook"),
            Self::After(given) => Ok(given.program.clone()),
        }
    }

    pub(super) fn is_alone(&self) -> bool {
        matches!(self, Self::Alone)
    }

    pub(super) async fn tell_serving(&mut self, generation: u64) {
        if let Self::After(given) = self {
            crash_point!("before-serving");
            let process = std::process::id();
            given.predecessor.tell_serving(Serving { generation, version: VERSION.to_owned(), process }).await;
        }
    }

    pub(super) async fn tell_failure(&mut self, error: &anyhow::Error) {
        if let Self::After(given) = self {
            given.predecessor.tell_failure(format!("{error:#}")).await;
        }
    }
}

/// A disk without room keeps nobody from starting who is alone: what serves is to serve.
async fn resume(store: Store, error: StoreError) -> Result<(Store, u64), StoreError> {
    let StoreError::Troubled { trouble: Trouble::Full, .. } = &error else { return Err(error) };
    tracing::warn!("cannot write down who is in charge: {error}");
    store.resume_the_lease().await.map_err(|_| error)
}

/// `paas server --check`: whether this program could take over from the server that runs on the data folder.
pub async fn check(config: &Config) -> anyhow::Result<String> {
    data_dir::check_whole(&config.data_dir)?;
    let missing = schema::check(&config.data_dir.join("paas.db")).await?;
    Ok(format!("version {VERSION} can take over; it adds {missing} migrations to the database\n"))
}
