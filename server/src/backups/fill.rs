//! Fills volumes out of a backup, by a second reading of it. Volumes that a restore has made and not finished are removed
//! again, by the same restore or by the next one: half a volume must never be taken for a whole one.
use super::archive::{Sink, read_through};
use super::cipher::Opener;
use super::part::Part;
use crate::domain::{InstallationId, VolumeKey};
use crate::engine::{DockerEngine, Engine, EngineError};
use anyhow::{Context, bail};
use bytes::Bytes;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

const READ_BYTES: usize = 256 << 10;
const QUEUE_CHUNKS: usize = 8;
/// In the restore's folder: the volumes that it has made so far, one a line.
const MADE: &str = "volumes-made";
/// In the same folder: whose volumes they are.
const INSTALLATION: &str = "volumes-of";

/// Where volumes go.
pub(super) struct Volumes {
    engine: Arc<dyn Engine>,
    workshop: PathBuf,
}

impl Volumes {
    pub(super) fn new(docker_host: Option<&str>, installation: &str, workshop: &Path) -> anyhow::Result<Self> {
        std::fs::write(workshop.join(INSTALLATION), installation).context("note whose volumes are made")?;
        let engine = DockerEngine::connect(docker_host, InstallationId::new(installation))?;
        Ok(Self { engine: Arc::new(engine), workshop: workshop.to_owned() })
    }

    /// Those that an interrupted restore was about to fill; `None` when it had not come so far.
    pub(super) fn left_behind(docker_host: Option<&str>, workshop: &Path) -> anyhow::Result<Option<Self>> {
        match std::fs::read_to_string(workshop.join(INSTALLATION)) {
            Ok(installation) => Self::new(docker_host, &installation, workshop).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).context("read whose volumes were made"),
        }
    }

    /// Fills all volumes of the backup. One that the engine has already is in the way: it may hold newer data.
    pub(super) async fn fill(&self, backup: &Path, opener: Opener, wanted: Vec<VolumeKey>) -> anyhow::Result<()> {
        if wanted.is_empty() {
            return Ok(());
        }
        let there = self.engine.volumes().await.context("ask the engine for its volumes")?;
        let in_the_way: Vec<&str> =
            wanted.iter().filter(|volume| there.contains(volume)).map(VolumeKey::as_str).collect();
        if !in_the_way.is_empty() {
            bail!("{}", in_the_way_words(&in_the_way));
        }
        for volume in &wanted {
            self.note(volume)?;
            self.engine.ensure_volume(volume).await.with_context(|| format!("make the volume {volume}"))?;
        }
        let file = File::open(backup).with_context(|| format!("open {}", backup.display()))?;
        let mut filler = Filler { engine: Arc::clone(&self.engine), handle: Handle::current(), wanted, pouring: None };
        tokio::task::spawn_blocking(move || {
            read_through(BufReader::new(file), &opener, &mut filler)?;
            filler.finish()
        })
        .await?
    }

    /// Removes what was made.
    pub(super) async fn undo(&self) -> anyhow::Result<()> {
        let made = std::fs::read_to_string(self.workshop.join(MADE)).unwrap_or_default();
        for volume in made.lines().map(VolumeKey::new) {
            self.engine
                .remove_volume(&volume)
                .await
                .with_context(|| format!("remove the half-filled volume {volume}"))?;
        }
        Ok(())
    }

    fn note(&self, volume: &VolumeKey) -> anyhow::Result<()> {
        let write = || {
            let mut file = OpenOptions::new().append(true).create(true).open(self.workshop.join(MADE))?;
            writeln!(file, "{volume}")?;
            file.sync_all()
        };
        write().context("note which volumes are made")
    }
}

/// All of them at once, with the commands that end it.
fn in_the_way_words(volumes: &[&str]) -> String {
    let (count, names) = (volumes.len(), volumes.join(" "));
    let first = volumes.first().copied().unwrap_or_default();
    format!(
        "the engine has {count} of the backup's volumes already, and they may hold newer data: {names}; keep what you need \
         (`docker run --rm -v {first}:/from:ro -v /root/kept:/to debian:trixie-slim cp -a /from/. /to/`), then remove them \
         with `docker volume rm {names}`, and restore again"
    )
}

struct Filler {
    engine: Arc<dyn Engine>,
    handle: Handle,
    wanted: Vec<VolumeKey>,
    pouring: Option<Pouring>,
}

/// The volume whose content is arriving.
struct Pouring {
    volume: VolumeKey,
    to: mpsc::Sender<std::io::Result<Bytes>>,
    writing: JoinHandle<Result<(), EngineError>>,
}

impl Sink for Filler {
    fn take(&mut self, part: &Part, content: &mut dyn Read) -> anyhow::Result<()> {
        let Part::Volume { volume, chunk } = part else { return Ok(()) };
        let volume = VolumeKey::new(volume.as_str());
        if *chunk == 0 {
            self.finish()?;
            if !self.wanted.contains(&volume) {
                bail!("the database in it knows no such volume");
            }
            self.begin(volume);
        } else if self.pouring.as_ref().is_none_or(|pouring| pouring.volume != volume) {
            bail!("it comes after another volume");
        }
        let Some(pouring) = &self.pouring else { return Ok(()) };
        loop {
            let mut bytes = vec![0; READ_BYTES];
            let read = content.read(&mut bytes)?;
            if read == 0 {
                return Ok(());
            }
            bytes.truncate(read);
            if pouring.to.blocking_send(Ok(bytes.into())).is_err() {
                // The engine refused: its own words follow.
                return self.finish();
            }
        }
    }
}

impl Filler {
    fn begin(&mut self, volume: VolumeKey) {
        let (to, tar) = mpsc::channel(QUEUE_CHUNKS);
        let (engine, key) = (Arc::clone(&self.engine), volume.clone());
        let writing = self.handle.spawn(async move { engine.write_volume(&key, tar).await });
        self.pouring = Some(Pouring { volume, to, writing });
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        let Some(Pouring { volume, to, writing }) = self.pouring.take() else { return Ok(()) };
        drop(to);
        self.handle.block_on(writing)?.with_context(|| format!("fill the volume {volume}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_in_the_way_are_named_together_with_the_way_out() {
        let words = in_the_way_words(&["paas-ab-1", "paas-ab-2"]);
        assert!(words.starts_with("the engine has 2 of the backup's volumes already"), "{words}");
        assert!(words.contains("`docker volume rm paas-ab-1 paas-ab-2`"), "{words}");
        assert!(words.contains("-v paas-ab-1:/from:ro"), "{words}");
    }
}
