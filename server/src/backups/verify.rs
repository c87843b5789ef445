//! Reads a backup back to its end, by rehearsing its restore in a folder that goes away again.
use super::archive::Hashed;
use super::cipher::Opener;
use super::contents::Passing;
use super::unpack::{check_database, unpack};
use anyhow::{Context, bail};
use std::fs::File;
use std::path::{Path, PathBuf};

/// What was found in a backup that is whole.
#[derive(Clone, Debug)]
pub struct Report {
    /// When it was made, RFC 3339; `None` where it cannot be opened here.
    pub made_at: Option<String>,
    pub apps: usize,
    pub repositories: usize,
    pub has_seal_key: bool,
    /// It could not be opened: its bytes are those that were read back when it was made.
    pub by_bytes_only: bool,
}

impl Report {
    /// What was found, as the end of a sentence.
    pub fn sentence(&self) -> String {
        match &self.made_at {
            None => "its bytes are those that were read back when it was made".to_owned(),
            Some(made_at) => format!(
                "made at {made_at}, {} apps, {} repositories, {} the sealing key",
                self.apps,
                self.repositories,
                if self.has_seal_key { "with" } else { "without" }
            ),
        }
    }
}

/// A backup of this server: `data_dir` lends its disk, and its sealing key where the backup has none.
pub(super) async fn file(backup: &Path, opener: Opener, data_dir: &Path) -> anyhow::Result<Report> {
    let folder = Passing::below(&data_dir.join("run"))?;
    rehearse(backup, opener, &folder, Some(&data_dir.join("keys/seal.key"))).await
}

/// A backup of any server, unpacked beside it.
pub(super) async fn elsewhere(backup: &Path, opener: Opener, seal_key: Option<&Path>) -> anyhow::Result<Report> {
    let backup = std::path::absolute(backup).context("find the backup")?;
    let folder = Passing::below(backup.parent().context("find the backup's folder")?)?;
    rehearse(&backup, opener, &folder, seal_key).await
}

async fn rehearse(backup: &Path, opener: Opener, folder: &Passing, key: Option<&Path>) -> anyhow::Result<Report> {
    let dir = folder.0.join("unpacked");
    let (backup, into): (PathBuf, PathBuf) = (backup.to_owned(), dir.clone());
    let unpacked = tokio::task::spawn_blocking(move || unpack(&backup, &opener, &into)).await??;
    let has_seal_key = unpacked.manifest.has_seal_key;
    let own_key = dir.join("keys/seal.key");
    let key = if has_seal_key { Some(own_key.as_path()) } else { key };
    let store = check_database(&dir, key).await?;
    let apps = store.apps().await?.len();
    store.close().await;
    if apps != unpacked.manifest.apps {
        bail!("it says that it holds {} apps, and its database holds {apps}", unpacked.manifest.apps);
    }
    Ok(Report {
        made_at: Some(unpacked.manifest.made_at),
        apps,
        repositories: unpacked.repositories,
        has_seal_key,
        by_bytes_only: false,
    })
}

/// Compares the file with the checksum taken when it was made.
pub(super) async fn bytes(backup: &Path, sha256: Option<&str>) -> anyhow::Result<Report> {
    let Some(wanted) = sha256.map(str::to_owned) else {
        bail!("its checksum is not known here; run `paas backups:verify FILE --identity KEY` where the private key is");
    };
    let path = backup.to_owned();
    let found = tokio::task::spawn_blocking(move || -> std::io::Result<String> {
        let mut hashed = Hashed::new(File::open(path)?);
        std::io::copy(&mut hashed, &mut std::io::sink())?;
        Ok(hashed.finish().2)
    });
    let found = found.await?.with_context(|| format!("read {}", backup.display()))?;
    if found != wanted {
        bail!("it changed since it was made: its SHA-256 is {found} and was {wanted}");
    }
    Ok(Report { made_at: None, apps: 0, repositories: 0, has_seal_key: true, by_bytes_only: true })
}
