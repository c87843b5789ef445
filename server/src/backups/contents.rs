//! Puts a backup together: a copy of the database at one moment, then the repositories, the keys and the volumes.
use super::archive::{FORMAT, Manifest, Writer};
use super::part::{CHUNK_BYTES, Part};
use super::{Tools, cipher::Opener};
use crate::builder::Repos;
use crate::domain::volume::{Owner, Stage};
use crate::domain::{App, AppId, AppKey, AppName, Oid, VolumeKey};
use crate::logs::timestamp;
use anyhow::{Context, anyhow};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Parts that may wait to be written: each is at most a chunk.
const QUEUE_PARTS: usize = 1;
/// Chunks of the engine's that may wait to be put into a part.
const QUEUE_CHUNKS: usize = 8;

/// An app that stood still while its volumes were copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoodStill {
    pub app: AppName,
    pub took: Duration,
}

/// A backup that was written.
pub(super) struct Made<W> {
    pub(super) out: W,
    pub(super) stood_still: Vec<StoodStill>,
    /// What reads it back.
    pub(super) opener: Opener,
}

enum Item {
    Bytes(Part, Vec<u8>),
    File(Part, PathBuf),
}

/// About what a backup takes on the disk while it is made and read back: the database and the repositories lie there
/// once more for a moment.
pub(super) async fn estimate_bytes(tools: &Tools) -> anyhow::Result<u64> {
    let (database, repos) = (tools.data_dir.join("paas.db"), tools.data_dir.join("repos"));
    let measure = move || Ok::<u64, std::io::Error>(3 * (std::fs::metadata(database)?.len() + folder_bytes(&repos)?));
    tokio::task::spawn_blocking(measure).await?.context("measure what is to be backed up")
}

fn folder_bytes(folder: &Path) -> std::io::Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // What vanishes meanwhile takes no space.
        match entry.metadata() {
            Ok(facts) if facts.is_dir() => sum += folder_bytes(&entry.path()).unwrap_or(0),
            Ok(facts) => sum += facts.len(),
            Err(_) => {}
        }
    }
    Ok(sum)
}

/// Writes everything to `out`.
pub(super) async fn write<W: Write + Send + 'static>(tools: &Tools, out: W) -> anyhow::Result<Made<W>> {
    let (sealed, opener) = tools.cipher.seal(out)?;
    let secs = u64::try_from(tools.clock.now().unix_ms() / 1000).unwrap_or(0);
    let mut writer = Writer::new(sealed, secs);
    let (items, mut from) = mpsc::channel::<Item>(QUEUE_PARTS);
    let writing = tokio::task::spawn_blocking(move || {
        while let Some(item) = from.blocking_recv() {
            match item {
                Item::Bytes(part, bytes) => writer.add(&part, &bytes),
                Item::File(part, path) => File::open(path).and_then(|file| writer.add_file(&part, file)),
            }?;
        }
        Ok::<_, std::io::Error>(writer)
    });
    let sent = send(tools, &items).await;
    drop(items);
    // The writer's own failure is the cause of a failure to send.
    let writer = writing.await?.context("write the backup")?;
    let stood_still = sent?;
    let finishing = tokio::task::spawn_blocking(move || {
        let mut out = writer.finish()?;
        out.flush()?;
        Ok::<_, std::io::Error>(out)
    });
    let out = finishing.await?.context("write the end of the backup")?;
    Ok(Made { out, stood_still, opener })
}

async fn send(tools: &Tools, items: &mpsc::Sender<Item>) -> anyhow::Result<Vec<StoodStill>> {
    let apps = tools.store.apps().await?;
    let manifest = Manifest {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        installation: tools.store.installation(tools.clock.now()).await?.to_string(),
        made_at: timestamp(tools.clock.now()),
        has_seal_key: tools.cipher.encrypts(),
        apps: apps.len(),
    };
    put(items, Item::Bytes(Part::Manifest, serde_json::to_vec_pretty(&manifest)?)).await?;
    send_database(tools, items).await?;
    send_keys(tools, items).await?;
    for app in &apps {
        send_repository(tools, app, items).await.with_context(|| format!("back up the repository of {}", app.name))?;
    }
    send_volumes(tools, &apps, items).await
}

/// The volumes of an app are copied while it is held still; those of no app as they are.
async fn send_volumes(tools: &Tools, apps: &[App], items: &mpsc::Sender<Item>) -> anyhow::Result<Vec<StoodStill>> {
    let mut by_app: BTreeMap<Option<AppId>, Vec<VolumeKey>> = BTreeMap::new();
    // One that was never used is not in the engine, and holds nothing.
    for volume in tools.store.all_volumes().await?.into_iter().filter(|volume| volume.stage == Stage::Used) {
        let app = match volume.owner {
            Owner::App(app) => Some(app),
            Owner::Nobody { .. } => None,
        };
        by_app.entry(app).or_default().push(volume.key);
    }
    let mut stood_still = Vec::new();
    for (app, volumes) in by_app {
        let begun = Instant::now();
        let frozen = match app {
            Some(app) => Some(tools.scheduler.freeze(app).await.context("hold the app still")?),
            None => None,
        };
        for volume in volumes {
            send_volume(tools, &volume, items).await.with_context(|| format!("back up the volume {volume}"))?;
        }
        if let Some(frozen) = frozen {
            frozen.thaw().await;
            let name = apps.iter().find(|one| Some(one.id) == app).map(|one| one.name.clone());
            stood_still.extend(name.map(|app| StoodStill { app, took: begun.elapsed() }));
        }
    }
    Ok(stood_still)
}

async fn send_database(tools: &Tools, items: &mpsc::Sender<Item>) -> anyhow::Result<()> {
    let folder = Passing::below(&tools.data_dir.join("run"))?;
    let copy = folder.0.join("paas.db");
    tools.store.copy_to(&copy).await.context("copy the database")?;
    put(items, Item::File(Part::Database, copy)).await?;
    // The queue holds one part: once the next one is taken, the copy was read, and the folder may go.
    let host_key = tools.data_dir.join("keys/ssh_host_ed25519");
    put(items, Item::File(Part::HostKey, host_key)).await?;
    items.reserve().await.map_err(|_| stopped())?;
    Ok(())
}

async fn send_keys(tools: &Tools, items: &mpsc::Sender<Item>) -> anyhow::Result<()> {
    if tools.cipher.encrypts() {
        put(items, Item::File(Part::SealKey, tools.data_dir.join("keys/seal.key"))).await?;
    }
    Ok(())
}

async fn send_repository(tools: &Tools, app: &App, items: &mpsc::Sender<Item>) -> anyhow::Result<()> {
    // What is live may be on no branch any more, after a rollback and a forced push.
    let live = tools.store.live_release(app.id).await?.map(|release| release.commit);
    let live: Vec<Oid> = live.into_iter().filter(|commit| !commit.is_zero()).collect();
    let _in_use = tools.repos.in_use(&app.key).await;
    let (repos, key, items) = (tools.repos.clone(), app.key.clone(), items.clone());
    tokio::task::spawn_blocking(move || {
        if !repos.path(&key).exists() {
            return Ok(());
        }
        pack_into(&repos, &key, &live, &items)
    })
    .await?
}

fn pack_into(repos: &Repos, app: &AppKey, live: &[Oid], items: &mpsc::Sender<Item>) -> anyhow::Result<()> {
    let refs = repos.refs(app, live)?;
    let part = Part::Refs { app: app.clone() };
    items.blocking_send(Item::Bytes(part, serde_json::to_vec(&refs)?)).map_err(|_| stopped())?;
    let (mut chunk, mut bytes) = (0, Vec::with_capacity(CHUNK_BYTES));
    let mut flush = |bytes: &mut Vec<u8>| {
        let part = Part::Pack { app: app.clone(), chunk };
        chunk += 1;
        items.blocking_send(Item::Bytes(part, std::mem::take(bytes))).is_ok()
    };
    repos.pack(app, &refs, &mut |some| {
        bytes.extend_from_slice(some);
        bytes.len() < CHUNK_BYTES || flush(&mut bytes)
    })?;
    if bytes.is_empty() || flush(&mut bytes) { Ok(()) } else { Err(stopped()) }
}

async fn send_volume(tools: &Tools, volume: &VolumeKey, items: &mpsc::Sender<Item>) -> anyhow::Result<()> {
    let (to, mut chunks) = mpsc::channel::<Bytes>(QUEUE_CHUNKS);
    let reading = tools.engine.read_volume(volume, to);
    // Owns the chunks: when nothing can be written any more, the reading ends too.
    let sending = async move {
        let (mut number, mut bytes) = (0, Vec::with_capacity(CHUNK_BYTES));
        let part = |number| Part::Volume { volume: volume.to_string(), chunk: number };
        while let Some(chunk) = chunks.recv().await {
            bytes.extend_from_slice(&chunk);
            if bytes.len() >= CHUNK_BYTES {
                put(items, Item::Bytes(part(number), std::mem::take(&mut bytes))).await?;
                number += 1;
            }
        }
        put(items, Item::Bytes(part(number), bytes)).await
    };
    let (read, sent) = tokio::join!(reading, sending);
    sent?;
    Ok(read?)
}

async fn put(items: &mpsc::Sender<Item>, item: Item) -> anyhow::Result<()> {
    items.send(item).await.map_err(|_| stopped())
}

fn stopped() -> anyhow::Error {
    anyhow!("the backup could not be written on")
}

/// A folder for us alone that is removed with its guard.
pub(super) struct Passing(pub(super) PathBuf);

/// How their names begin.
const PASSING: &str = "backup-";

impl Passing {
    pub(super) fn below(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(format!("{PASSING}{}", crate::store::random_hex(8)?));
        let made = DirBuilder::new().mode(0o700).recursive(true).create(&path);
        made.with_context(|| format!("make the folder {}", path.display()))?;
        Ok(Self(path))
    }

    /// Removes those that a server which died left behind.
    pub(super) fn clear(folder: &Path) -> anyhow::Result<()> {
        for entry in std::fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PASSING)) {
                std::fs::remove_dir_all(&path).with_context(|| format!("remove {}", path.display()))?;
            }
        }
        Ok(())
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!("cannot remove {}: {error}", self.0.display());
        }
    }
}
