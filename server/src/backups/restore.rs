//! Puts a backup in place of a data folder that no server uses. Everything is checked before anything is replaced, and
//! what is replaced is moved aside, not removed. A restore that is killed is finished by the next one.
use super::cipher::Opener;
use super::fill::Volumes;
use super::unpack::{check_database, unpack};
use crate::data_dir::{RESTORE, RESTORE_BEGUN, check_whole, hold};
use crate::domain::VolumeKey;
use crate::domain::volume::Stage;
use crate::store::{SealKey, Store};
use anyhow::{Context, bail};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What a restore puts in place, and what of the old state has to go with it.
const REPLACED: [&str; 6] = ["paas.db", "paas.db-wal", "paas.db-shm", "repos", "keys", "logs"];

pub(super) struct Order {
    pub(super) backup: PathBuf,
    pub(super) data_dir: PathBuf,
    pub(super) opener: Opener,
    /// For a backup that was not encrypted and therefore lacks the sealing key.
    pub(super) seal_key: Option<PathBuf>,
    /// Apps that are there may be replaced.
    pub(super) replace: bool,
    /// Where volumes are made; `None`: the usual engine.
    pub(super) docker_host: Option<String>,
}

/// What was restored.
pub(super) struct Restored {
    pub(super) made_at: String,
    pub(super) apps: usize,
    /// Where the state of before went.
    pub(super) moved_aside: Option<PathBuf>,
}

/// How a restore ended.
pub(super) enum Outcome {
    Restored(Restored),
    /// One that had been interrupted is finished; the given backup was not looked at.
    Finished,
}

pub(super) async fn restore(order: Order) -> anyhow::Result<Outcome> {
    let data_dir = order.data_dir.clone();
    let _lock = hold(&data_dir)?;
    let workshop = data_dir.join(RESTORE);
    if check_whole(&data_dir).is_err() {
        put_in_place(&data_dir)?;
        return Ok(Outcome::Finished);
    }
    if !order.replace {
        check_empty(&data_dir).await?;
    }
    clear(&workshop, order.docker_host.as_deref()).await?;
    let docker_host = order.docker_host.clone();
    let (made_at, apps) = match prepare(order, &workshop).await {
        Ok(prepared) => prepared,
        Err(error) => {
            clear(&workshop, docker_host.as_deref()).await.with_context(|| format!("clear up after: {error:#}"))?;
            return Err(error);
        }
    };
    hand_over(&workshop, &data_dir)?;
    begin(&data_dir)?;
    let moved_aside = put_in_place(&data_dir)?;
    Ok(Outcome::Restored(Restored { made_at, apps, moved_aside }))
}

/// Removes what a restore that did not get far has left.
async fn clear(workshop: &Path, docker_host: Option<&str>) -> anyhow::Result<()> {
    if let Some(volumes) = Volumes::left_behind(docker_host, workshop)? {
        volumes.undo().await?;
    }
    remove_folder(workshop)
}

/// A server without apps has nothing to lose.
async fn check_empty(data_dir: &Path) -> anyhow::Result<()> {
    let (database, key) = (data_dir.join("paas.db"), data_dir.join("keys/seal.key"));
    if !database.exists() {
        return Ok(());
    }
    let count = async {
        let store = Store::open(&database, SealKey::load(&key)?).await?;
        let count = store.apps().await?.len();
        store.close().await;
        anyhow::Ok(count)
    };
    let what = match count.await {
        Ok(0) => return Ok(()),
        Ok(count) => format!("{count} apps"),
        Err(error) => format!("a database that cannot be read ({error:#})"),
    };
    bail!("{} holds {what}; add `--replace` to move that aside and restore", data_dir.display())
}

/// Takes the backup apart and checks all of it.
async fn prepare(order: Order, workshop: &Path) -> anyhow::Result<(String, usize)> {
    let Order { backup, opener, seal_key, docker_host, .. } = order;
    let new = workshop.join("new");
    let (from, into) = (backup.clone(), new.clone());
    let (unpacked, opener) =
        tokio::task::spawn_blocking(move || unpack(&from, &opener, &into).map(|unpacked| (unpacked, opener))).await??;
    let key = new.join("keys/seal.key");
    match (unpacked.manifest.has_seal_key, seal_key) {
        (true, _) => {}
        (false, Some(file)) => copy_key(&file, &key)?,
        (false, None) => bail!(
            "the backup is not encrypted and therefore lacks the sealing key of config vars; \
             give the old machine's DATA_DIR/keys/seal.key as `--seal-key FILE`"
        ),
    }
    let store = check_database(&new, Some(&key)).await?;
    let apps = store.apps().await?.len();
    store.forget_routes().await?;
    let used = store.all_volumes().await?.into_iter().filter(|volume| volume.stage == Stage::Used);
    let volumes: Vec<VolumeKey> = used.map(|volume| volume.key).collect();
    store.close().await;
    let installation = &unpacked.manifest.installation;
    Volumes::new(docker_host.as_deref(), installation, workshop)?.fill(&backup, opener, volumes).await?;
    Ok((unpacked.manifest.made_at, apps))
}

fn copy_key(from: &Path, to: &Path) -> anyhow::Result<()> {
    let bytes = std::fs::read(from).with_context(|| format!("read the sealing key {}", from.display()))?;
    let made = OpenOptions::new().write(true).create_new(true).mode(0o400).open(to);
    let mut file = made.with_context(|| format!("make {}", to.display()))?;
    file.write_all(&bytes).and_then(|()| file.sync_all()).with_context(|| format!("write {}", to.display()))
}

/// Run by root, it leaves what belongs to the data folder's owner to that owner.
fn hand_over(folder: &Path, data_dir: &Path) -> anyhow::Result<()> {
    let owner = std::fs::metadata(data_dir)?;
    if owner.uid() == rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        std::os::unix::fs::lchown(&folder, Some(owner.uid()), Some(owner.gid()))
            .with_context(|| format!("give {} to the owner of {}", folder.display(), data_dir.display()))?;
        if folder.is_dir() {
            folders.extend(
                std::fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?,
            );
        }
    }
    Ok(())
}

/// From here on there is only forward.
fn begin(data_dir: &Path) -> anyhow::Result<()> {
    let marker = data_dir.join(RESTORE_BEGUN);
    let write = || {
        File::create(&marker)?.sync_all()?;
        File::open(data_dir.join(RESTORE))?.sync_all()
    };
    write().with_context(|| format!("write {}", marker.display()))
}

/// Moves the old state aside and the new one in. Each step is one rename, and may be done already.
fn put_in_place(data_dir: &Path) -> anyhow::Result<Option<PathBuf>> {
    let (new, aside) = (data_dir.join(RESTORE).join("new"), data_dir.join(RESTORE).join("old"));
    std::fs::create_dir_all(&aside).context("make a place for the old state")?;
    for name in REPLACED {
        let (place, old, fresh) = (data_dir.join(name), aside.join(name), new.join(name));
        let is_done = old.exists() || (new_came_with(name) && !fresh.exists());
        if place.exists() && !is_done {
            std::fs::rename(&place, &old).with_context(|| format!("move the old {name} aside"))?;
        }
        if fresh.exists() {
            std::fs::rename(&fresh, &place).with_context(|| format!("put {name} in place"))?;
        }
    }
    File::open(data_dir)?.sync_all()?;
    let moved_aside = keep_aside(data_dir, &aside)?;
    // Last: while the marker is there, the next restore comes back here.
    remove_folder(&data_dir.join(RESTORE))?;
    Ok(moved_aside)
}

fn new_came_with(name: &str) -> bool {
    matches!(name, "paas.db" | "repos" | "keys")
}

/// Gives the old state a name of its own, if there is any.
fn keep_aside(data_dir: &Path, aside: &Path) -> anyhow::Result<Option<PathBuf>> {
    if std::fs::read_dir(aside)?.next().is_none() {
        return Ok(None);
    }
    let free = (1..=u16::MAX).map(|n| data_dir.join(format!("replaced-{n}"))).find(|path| !path.exists());
    let free = free.context("find a name for the old state")?;
    std::fs::rename(aside, &free).context("keep the old state")?;
    Ok(Some(free))
}

fn remove_folder(folder: &Path) -> anyhow::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A restore that has prepared everything, over an old state.
    fn begun() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        for (place, text) in [("", "old"), ("restore/new/", "new")] {
            write(&format!("{place}paas.db"), text);
            write(&format!("{place}repos/a.git/HEAD"), text);
            write(&format!("{place}keys/seal.key"), text);
        }
        write("paas.db-wal", "old");
        write("logs/a/1", "old");
        begin(dir.path()).unwrap();
        dir
    }

    fn is_new(dir: &Path) {
        let read = |path: &str| std::fs::read_to_string(dir.join(path)).unwrap();
        for path in ["paas.db", "repos/a.git/HEAD", "keys/seal.key"] {
            assert_eq!((read(path).as_str(), read(&format!("replaced-1/{path}")).as_str()), ("new", "old"), "{path}");
        }
        assert!(!dir.join("paas.db-wal").exists() && !dir.join("logs").exists() && !dir.join("restore").exists());
        check_whole(dir).unwrap();
    }

    #[test]
    fn the_old_state_moves_aside() {
        let dir = begun();
        assert!(check_whole(dir.path()).is_err());
        put_in_place(dir.path()).unwrap();
        is_new(dir.path());
    }

    #[test]
    fn a_restore_killed_between_any_two_renames_is_finished_by_the_next() {
        // The renames in their order; a kill leaves the first n of them done.
        let renames = [
            ("paas.db", "restore/old/paas.db"),
            ("restore/new/paas.db", "paas.db"),
            ("paas.db-wal", "restore/old/paas.db-wal"),
            ("repos", "restore/old/repos"),
            ("restore/new/repos", "repos"),
            ("keys", "restore/old/keys"),
            ("restore/new/keys", "keys"),
            ("logs", "restore/old/logs"),
        ];
        for done in 0..=renames.len() {
            let dir = begun();
            std::fs::create_dir_all(dir.path().join("restore/old")).unwrap();
            for (from, to) in &renames[..done] {
                std::fs::rename(dir.path().join(from), dir.path().join(to)).unwrap();
            }
            put_in_place(dir.path()).unwrap();
            is_new(dir.path());
        }
    }
}
