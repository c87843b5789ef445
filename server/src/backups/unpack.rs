//! Takes a backup apart into an empty folder, laid out like a data folder, and checks that it would serve.
use super::archive::{Manifest, Sink, read_json, read_through};
use super::cipher::Opener;
use super::part::Part;
use crate::builder::{Refs, Repos};
use crate::domain::AppKey;
use crate::files::remove_if_there;
use crate::store::{SealKey, Store};
use anyhow::{Context, bail};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{BufReader, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What was taken out.
pub(super) struct Unpacked {
    pub(super) manifest: Manifest,
    pub(super) repositories: usize,
}

/// Unpacks `backup` into `dir`, which is made. Everything is checked but what needs the sealing key.
pub(super) fn unpack(backup: &Path, opener: &Opener, dir: &Path) -> anyhow::Result<Unpacked> {
    let file = File::open(backup).with_context(|| format!("open {}", backup.display()))?;
    for folder in ["", "keys", "repos", "packs"] {
        let path = dir.join(folder);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.with_context(|| format!("make the folder {}", path.display()))?;
    }
    let mut unpacker = Unpacker { dir, repos: Repos::new(dir.join("repos")), pending: None, repositories: 0 };
    let manifest = read_through(BufReader::new(file), opener, &mut unpacker)?;
    unpacker.finish_repository()?;
    std::fs::remove_dir_all(dir.join("packs")).context("clear the packs away")?;
    for needed in ["paas.db", "keys/ssh_host_ed25519"] {
        if !dir.join(needed).is_file() {
            bail!("{needed} is not in it");
        }
    }
    Ok(Unpacked { manifest, repositories: unpacker.repositories })
}

struct Unpacker<'a> {
    dir: &'a Path,
    repos: Repos,
    /// The repository whose pack is arriving.
    pending: Option<(AppKey, Refs)>,
    repositories: usize,
}

impl Sink for Unpacker<'_> {
    fn take(&mut self, part: &Part, content: &mut dyn Read) -> anyhow::Result<()> {
        match part {
            Part::Database | Part::HostKey => self.write(&part.to_string(), 0o600, content),
            Part::SealKey => self.write(&part.to_string(), 0o400, content),
            Part::Refs { app } => {
                self.finish_repository()?;
                self.pending = Some((app.clone(), read_json(content).context("read where its branches point")?));
                Ok(())
            }
            Part::Pack { app, .. } => {
                if self.pending.as_ref().is_none_or(|(pending, _)| pending != app) {
                    bail!("it belongs to no repository");
                }
                let file = OpenOptions::new().append(true).create(true).mode(0o600).open(self.pack_of(app));
                std::io::copy(content, &mut file.context("keep the pack")?).context("keep the pack")?;
                Ok(())
            }
            // Read for their checksums only: a restore fills volumes by a second reading.
            Part::Volume { .. } | Part::Manifest | Part::Checksums => Ok(()),
        }
    }
}

impl Unpacker<'_> {
    fn write(&self, path: &str, mode: u32, content: &mut dyn Read) -> anyhow::Result<()> {
        let path = self.dir.join(path);
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path);
        let mut file = file.with_context(|| format!("make {}", path.display()))?;
        std::io::copy(content, &mut file).with_context(|| format!("write {}", path.display()))?;
        file.sync_all().with_context(|| format!("write {} to disk", path.display()))
    }

    fn pack_of(&self, app: &AppKey) -> PathBuf {
        self.dir.join("packs").join(app.as_str())
    }

    fn finish_repository(&mut self) -> anyhow::Result<()> {
        let Some((app, refs)) = self.pending.take() else { return Ok(()) };
        let path = self.pack_of(&app);
        let mut pack: Box<dyn Read> = match File::open(&path) {
            Ok(file) => Box::new(BufReader::new(file)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Box::new(std::io::empty()),
            Err(error) => return Err(error).context("read the pack again"),
        };
        self.repos.unpack(&app, &refs, &mut *pack)?;
        self.repositories += 1;
        remove_if_there(&path)
    }
}

/// Opens an unpacked database: it is sound, and `seal_key` is the key that its values were sealed with. Without a key the
/// values are not looked at.
pub(super) async fn check_database(dir: &Path, seal_key: Option<&Path>) -> anyhow::Result<Store> {
    let seal = match seal_key {
        Some(file) => SealKey::load(file)?,
        None => SealKey::load_or_make(&dir.join("keys/no-seal.key"))?,
    };
    let store = Store::open(&dir.join("paas.db"), seal).await?;
    if let Some(complaint) = store.integrity_complaint().await? {
        bail!("the database in it is damaged: {complaint}");
    }
    for app in store.apps().await?.iter().filter(|_| seal_key.is_some()) {
        let opened = async {
            store.config(app.id).await?;
            store.live_release(app.id).await
        };
        opened.await.with_context(|| format!("read the config of {}", app.name))?;
    }
    Ok(store)
}
