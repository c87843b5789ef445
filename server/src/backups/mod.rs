//! Backups of the platform: database, repositories, keys, volumes, in one file that counts only once it was read back.
//!
//! Made by command and every night into `data_dir/backups/`, or to standard output; restored by `offline`, while no server
//! runs. An image is not in a backup: what is live is built again from its commit.

mod archive;
mod cipher;
mod contents;
mod fill;
mod nightly;
pub mod offline;
mod part;
mod restore;
mod shelf;
mod unpack;
mod verify;

pub use cipher::Cipher;
pub use contents::StoodStill;
pub use shelf::{BackupName, Entry};
pub use verify::Report;

use crate::builder::Repos;
use crate::clock::Clock;
use crate::engine::Engine;
use crate::scheduler::Scheduler;
use crate::store::Store;
use anyhow::{Context, bail};
use shelf::Shelf;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What backups are made of and with.
pub struct Tools {
    pub store: Store,
    pub repos: Repos,
    pub engine: Arc<dyn Engine>,
    pub scheduler: Scheduler,
    pub clock: Arc<dyn Clock>,
    pub data_dir: PathBuf,
    pub cipher: Cipher,
    /// Minute of the day (UTC) of the nightly backup; `None`: there is none.
    pub nightly_at: Option<u16>,
    pub tracker: TaskTracker,
    pub stop: CancellationToken,
}

/// The handle.
#[derive(Clone)]
pub struct Backups(Arc<House>);

struct House {
    tools: Tools,
    shelf: Shelf,
    /// One backup at a time.
    making: tokio::sync::Mutex<()>,
}

impl Backups {
    /// Clears away what a server that died left half made, and starts the nightly ones.
    pub fn start(tools: Tools) -> anyhow::Result<Self> {
        let shelf = Shelf::open(tools.data_dir.join("backups"))?;
        contents::Passing::clear(&tools.data_dir.join("run"))?;
        let (tracker, nightly) = (tools.tracker.clone(), tools.nightly_at);
        let backups = Self(Arc::new(House { tools, shelf, making: tokio::sync::Mutex::default() }));
        if let Some(minute) = nightly {
            tracker.spawn(nightly::run(backups.clone(), minute));
        }
        Ok(backups)
    }

    /// Makes a backup, reads it back, keeps it with the newest others and tells its entry, and who stood still for it.
    pub async fn create(&self, by: &str, nightly: bool) -> anyhow::Result<(Entry, Vec<StoodStill>)> {
        let Ok(_making) = self.0.making.try_lock() else { bail!("another backup is being made; wait for it") };
        let now = self.0.tools.clock.now();
        let name = BackupName::at(now, self.0.tools.cipher.encrypts());
        self.0.tools.store.begin_backup(name.as_str(), now, by, nightly, self.0.tools.cipher.name()).await?;
        let made = self.make(&name).await;
        match &made {
            Ok(_) => tracing::info!("made the backup {name}"),
            Err(error) => {
                self.0.shelf.discard(&name);
                self.0.tools.store.fail_backup(name.as_str(), &format!("{error:#}")).await?;
                tracing::error!("cannot make the backup {name}: {error:#}");
            }
        }
        let stood_still = made?;
        self.0.shelf.prune(&name)?;
        Ok((self.entry(&name).await?, stood_still))
    }

    async fn make(&self, name: &BackupName) -> anyhow::Result<Vec<StoodStill>> {
        let House { tools, shelf, .. } = &*self.0;
        shelf.check_space(contents::estimate_bytes(tools).await?)?;
        let out = archive::Hashed::new(shelf.begin(name)?);
        let made = contents::write(tools, out).await?;
        let (file, size_bytes, sha256) = made.out.finish();
        file.sync_all().context("write the backup to disk")?;
        drop(file);
        verify::file(&shelf.half_made(name), made.opener, &tools.data_dir).await.context("read the backup back")?;
        shelf.keep(name)?;
        tools.store.end_backup(name.as_str(), size_bytes, &sha256, tools.clock.now()).await?;
        Ok(made.stood_still)
    }

    /// Makes a backup into `out`, which nobody reads back: the receiver can, with `backups:verify FILE`.
    pub async fn write_to(&self, out: impl Write + Send + 'static) -> anyhow::Result<Vec<StoodStill>> {
        let Ok(_making) = self.0.making.try_lock() else { bail!("another backup is being made; wait for it") };
        Ok(contents::write(&self.0.tools, out).await?.stood_still)
    }

    /// Newest first: what is there, and attempts that failed.
    pub async fn list(&self) -> anyhow::Result<Vec<Entry>> {
        self.0.shelf.entries(&self.0.tools.store.backups().await?)
    }

    pub async fn entry(&self, name: &BackupName) -> anyhow::Result<Entry> {
        let found = self.list().await?.into_iter().find(|entry| entry.name == *name);
        found.with_context(|| format!("there is no backup {name}; `paas backups` lists them"))
    }

    /// Reads a backup to its end. One for a public key cannot be opened here: its bytes are compared with what was read
    /// back when it was made.
    pub async fn verify(&self, name: &BackupName) -> anyhow::Result<Report> {
        let entry = self.entry(name).await?;
        if let Some(failure) = entry.failure {
            bail!("{name} was never made: {failure}");
        }
        let House { tools, shelf, .. } = &*self.0;
        let report = match tools.cipher.opener() {
            Some(opener) => verify::file(&shelf.path(name), opener, &tools.data_dir).await?,
            None => verify::bytes(&shelf.path(name), entry.sha256.as_deref()).await?,
        };
        tools.store.note_verified(name.as_str(), tools.clock.now()).await?;
        Ok(report)
    }

    /// What is wrong with the backups; nothing when none are wanted.
    pub async fn complaint(&self) -> anyhow::Result<Option<String>> {
        let Some(minute) = self.0.tools.nightly_at else { return Ok(None) };
        Ok(nightly::complaint(&self.list().await?, minute, self.0.tools.clock.now()))
    }
}
