//! The folder of finished backups: names by time, the newest kept, half-made ones never taken for finished ones.
use crate::domain::Moment;
use crate::store::BackupRow;
use anyhow::{Context, bail};
use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Finished backups that are kept.
const KEPT: usize = 7;
/// What is left free when a backup is made, beside the backup itself.
const RESERVE_BYTES: u64 = 256 << 20;
/// Ending of an encrypted one, as age's own tools name it.
const ENCRYPTED: &str = ".age";
const HALF_MADE: &str = ".partial";
const MIB: u64 = 1 << 20;

/// `paas-20261124T031000Z.tar.gz`, with `.age` behind when it is encrypted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BackupName(String);

impl BackupName {
    pub(super) fn at(now: Moment, is_encrypted: bool) -> Self {
        let at = jiff::Timestamp::from_millisecond(now.unix_ms()).unwrap_or_default();
        Self(format!("paas-{}.tar.gz{}", at.strftime("%Y%m%dT%H%M%SZ"), if is_encrypted { ENCRYPTED } else { "" }))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn is_encrypted(&self) -> bool {
        self.0.strip_suffix(ENCRYPTED).is_some()
    }
}

impl fmt::Display for BackupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for BackupName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || format!("`{text}` is no backup's name; they look like paas-20261124T031000Z.tar.gz.age");
        let stem = text.strip_suffix(ENCRYPTED).unwrap_or(text);
        let stem = stem.strip_prefix("paas-").and_then(|rest| rest.strip_suffix(".tar.gz")).ok_or_else(refuse)?;
        let is_time = stem.len() == 16 && stem.ends_with('Z') && stem.as_bytes().get(8) == Some(&b'T');
        let is_plain = stem.bytes().all(|b| b.is_ascii_digit() || b == b'T' || b == b'Z');
        if is_time && is_plain { Ok(Self(text.to_owned())) } else { Err(refuse()) }
    }
}

/// A backup as a list shows it.
#[derive(Clone, Debug)]
pub struct Entry {
    pub name: BackupName,
    /// `None`: a file that the database does not know, from before a restore.
    pub made_at: Option<Moment>,
    pub made_by: String,
    pub nightly: bool,
    pub cipher: String,
    pub size_bytes: Option<u64>,
    pub sha256: Option<String>,
    pub verified_at: Option<Moment>,
    pub failure: Option<String>,
}

pub(super) struct Shelf {
    dir: PathBuf,
}

impl Shelf {
    /// Makes the folder, and clears away what a server that died left half made.
    pub(super) fn open(dir: PathBuf) -> anyhow::Result<Self> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        made.with_context(|| format!("make the folder {}", dir.display()))?;
        let shelf = Self { dir };
        for file in shelf.files()?.iter().filter(|file| file.ends_with(HALF_MADE)) {
            std::fs::remove_file(shelf.dir.join(file))
                .with_context(|| format!("remove the half-made backup {file}"))?;
        }
        Ok(shelf)
    }

    pub(super) fn path(&self, name: &BackupName) -> PathBuf {
        self.dir.join(name.as_str())
    }

    pub(super) fn half_made(&self, name: &BackupName) -> PathBuf {
        self.dir.join(format!("{name}{HALF_MADE}"))
    }

    /// A new file for us alone.
    pub(super) fn begin(&self, name: &BackupName) -> anyhow::Result<File> {
        if self.path(name).exists() {
            bail!("{name} was made in this very second");
        }
        let path = self.half_made(name);
        let made = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        made.with_context(|| format!("make {}", path.display()))
    }

    /// What was read back becomes a backup.
    pub(super) fn keep(&self, name: &BackupName) -> anyhow::Result<()> {
        std::fs::rename(self.half_made(name), self.path(name)).with_context(|| format!("keep {name}"))?;
        File::open(&self.dir)?.sync_all().with_context(|| format!("write {} to disk", self.dir.display()))
    }

    pub(super) fn discard(&self, name: &BackupName) {
        let path = self.half_made(name);
        if path.exists()
            && let Err(error) = std::fs::remove_file(&path)
        {
            tracing::warn!("cannot remove the half-made backup {}: {error}", path.display());
        }
    }

    /// Removes the oldest ones beyond those that are kept, never `newest`.
    pub(super) fn prune(&self, newest: &BackupName) -> anyhow::Result<()> {
        let mut names = self.names()?;
        names.retain(|name| name != newest);
        names.sort();
        let surplus = (names.len() + 1).saturating_sub(KEPT);
        for name in &names[..surplus] {
            std::fs::remove_file(self.path(name)).with_context(|| format!("remove the old backup {name}"))?;
        }
        Ok(())
    }

    /// A backup that would fill the disk is not begun.
    pub(super) fn check_space(&self, needed_bytes: u64) -> anyhow::Result<()> {
        let space =
            rustix::fs::statvfs(&self.dir).with_context(|| format!("look at the disk of {}", self.dir.display()))?;
        let free = space.f_bavail.saturating_mul(space.f_frsize);
        let needed = needed_bytes + RESERVE_BYTES;
        if free < needed {
            bail!(
                "a backup needs about {} MiB free on the disk of {}, and {} MiB are; `paas server:status` shows what fills it",
                needed.div_ceil(MIB),
                self.dir.display(),
                free / MIB
            );
        }
        Ok(())
    }

    /// Newest first: the files that are there, and attempts that failed.
    pub(super) fn entries(&self, rows: &[BackupRow]) -> anyhow::Result<Vec<Entry>> {
        let mut names = self.names()?;
        names.extend(rows.iter().filter(|row| row.failure.is_some()).filter_map(|row| row.name.parse().ok()));
        names.sort();
        names.dedup();
        let entry = |name: BackupName| match rows.iter().find(|row| row.name == name.as_str()) {
            Some(row) => Entry {
                name,
                made_at: Some(row.made_at),
                made_by: row.made_by.clone(),
                nightly: row.nightly,
                cipher: row.cipher.clone(),
                size_bytes: row.size_bytes,
                sha256: row.sha256.clone(),
                verified_at: row.verified_at,
                failure: row.failure.clone(),
            },
            None => self.unknown(name),
        };
        Ok(names.into_iter().rev().map(entry).collect())
    }

    fn unknown(&self, name: BackupName) -> Entry {
        let size_bytes = std::fs::metadata(self.path(&name)).ok().map(|file| file.len());
        let cipher = if name.is_encrypted() { "?" } else { "nothing" }.to_owned();
        Entry {
            name,
            made_at: None,
            made_by: "?".to_owned(),
            nightly: false,
            cipher,
            size_bytes,
            sha256: None,
            verified_at: None,
            failure: None,
        }
    }

    fn names(&self) -> anyhow::Result<Vec<BackupName>> {
        Ok(self.files()?.iter().filter_map(|file| file.parse().ok()).collect())
    }

    fn files(&self) -> anyhow::Result<Vec<String>> {
        let read = |dir: &Path| -> std::io::Result<Vec<String>> {
            std::fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
        };
        read(&self.dir).with_context(|| format!("read the folder {}", self.dir.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(day: u32) -> BackupName {
        format!("paas-202611{day:02}T031000Z.tar.gz.age").parse().unwrap()
    }

    #[test]
    fn a_name_is_a_time_and_nothing_else() {
        let name = BackupName::at(Moment::from_unix_ms(1_795_489_800_000), true);
        assert_eq!(name.as_str(), "paas-20261124T031000Z.tar.gz.age");
        assert_eq!(name.as_str().parse::<BackupName>().unwrap(), name);
        for bad in ["", "../paas-20261124T031000Z.tar.gz", "paas-.tar.gz", "paas-20261124T031000Z.tar", "-x", "a/b"] {
            assert!(bad.parse::<BackupName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_newest_seven_stay_and_half_made_ones_go() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(dir.path().join("backups")).unwrap();
        for day in 1..=9 {
            shelf.begin(&name(day)).unwrap();
            shelf.keep(&name(day)).unwrap();
            shelf.prune(&name(day)).unwrap();
        }
        shelf.begin(&name(10)).unwrap();
        let left: Vec<String> = (3..=9).map(|day| name(day).to_string()).collect();
        let names = |shelf: &Shelf| -> Vec<String> {
            let mut names: Vec<String> = shelf.names().unwrap().iter().map(ToString::to_string).collect();
            names.sort();
            names
        };
        assert_eq!(names(&shelf), left);
        let shelf = Shelf::open(dir.path().join("backups")).unwrap();
        assert_eq!((shelf.files().unwrap().len(), names(&shelf)), (7, left));
    }

    #[test]
    fn a_backup_that_would_fill_the_disk_is_refused_with_numbers() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(dir.path().join("backups")).unwrap();
        shelf.check_space(0).unwrap();
        let error = shelf.check_space(1 << 60).unwrap_err().to_string();
        assert!(error.contains("needs about 1099511628032 MiB"), "{error}");
    }
}
