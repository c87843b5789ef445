//! The folder of all state: made for us alone, and held by one process at a time.
use anyhow::{Context, bail};
use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;

/// Folders of all state.
const FOLDERS: [&str; 5] = ["repos", "logs", "keys", "run", "backups"];
/// The database as it was before the last upgrade, in the folder of backups.
pub const BEFORE_UPGRADE: &str = "before-upgrade.db";
/// In it a restore prepares what it will put in place.
pub const RESTORE: &str = "restore";
/// Written when a restore begins to put things in place: from then on it has to be finished.
pub const RESTORE_BEGUN: &str = "restore/begun";

/// Makes the folders, for us alone, and takes the lock that keeps a second process away as long as it is held.
pub fn hold(data_dir: &Path) -> anyhow::Result<File> {
    for folder in std::iter::once("").chain(FOLDERS) {
        let path = data_dir.join(folder);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.with_context(|| format!("make the folder {}", path.display()))?;
    }
    let path = data_dir.join("run/lock");
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    let lock = opened.with_context(|| format!("open {}", path.display()))?;
    if rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
        bail!("another server runs on {}; stop it first, or give this one its own --data-dir", data_dir.display());
    }
    sign(&lock)?;
    Ok(lock)
}

/// Writes into the lock which process holds it, for people and their tools.
pub fn sign(lock: &File) -> anyhow::Result<()> {
    let process = format!("{}\n", std::process::id());
    lock.set_len(0).and_then(|()| lock.write_all_at(process.as_bytes(), 0)).context("sign the lock of the data folder")
}

/// Refuses a folder that a restore has half replaced.
pub fn check_whole(data_dir: &Path) -> anyhow::Result<()> {
    if data_dir.join(RESTORE_BEGUN).exists() {
        bail!(
            "a restore into {} was interrupted; run `paas backups:restore FILE` again, which finishes it",
            data_dir.display()
        );
    }
    Ok(())
}
