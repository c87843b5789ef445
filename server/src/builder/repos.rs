//! The apps' bare git repositories, by git2: made, read, pinned, moved, removed. git itself only receives and sends packs.
use super::turns::Turns;
use crate::domain::{AppKey, BuildId, Oid};
use anyhow::Context;
use git2::{Repository, RepositoryInitOptions};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Keeps commits alive that no branch holds any more, out of clients' sight (`transfer.hideRefs`).
pub(super) const KEPT: &str = "refs/paas/kept/";

#[derive(Clone, Debug)]
pub struct Repos {
    dir: PathBuf,
    pub(super) turns: Arc<Turns>,
}

/// What became of a branch that a push wants to move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The branch may move; it stands at this id now (zero: it does not exist yet).
    MayMove { from: Oid },
    /// It stands somewhere the pusher has not seen.
    Stale,
}

impl Repos {
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, turns: Arc::default() }
    }

    /// The folder of all repositories.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where an app's repository is, whether it exists or not.
    pub fn path(&self, app: &AppKey) -> PathBuf {
        self.dir.join(format!("{app}.git"))
    }

    /// Makes the app's bare repository when it is absent.
    pub fn ensure(&self, app: &AppKey) -> anyhow::Result<PathBuf> {
        let path = self.path(app);
        // git2 writes HEAD first and the folders after; a kill in between is mended by initialising again.
        if Repository::open_bare(&path).is_err() {
            let mut options = RepositoryInitOptions::new();
            options.bare(true).external_template(false).initial_head("main");
            Repository::init_opts(&path, &options)
                .with_context(|| format!("make the repository {}", path.display()))?;
        }
        Ok(path)
    }

    pub fn remove(&self, app: &AppKey) -> anyhow::Result<()> {
        let path = self.path(app);
        match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("remove the repository {}", path.display()))
            }
            _ => Ok(()),
        }
    }

    /// Keeps a pushed commit alive until its build is over, out of clients' sight (`transfer.hideRefs`).
    pub fn pin(&self, app: &AppKey, build: BuildId, commit: &Oid) -> anyhow::Result<()> {
        let repo = self.open(app)?;
        repo.reference(&pin_name(build), git_oid(commit)?, true, "pinned for its build")
            .with_context(|| format!("pin {commit} for build {build}"))?;
        Ok(())
    }

    pub fn unpin(&self, app: &AppKey, build: BuildId) -> anyhow::Result<()> {
        let repo = self.open(app)?;
        let found = repo.find_reference(&pin_name(build));
        match found {
            Ok(mut pin) => pin.delete().with_context(|| format!("unpin build {build}")),
            Err(error) if error.code() == git2::ErrorCode::NotFound => Ok(()),
            Err(error) => Err(error).with_context(|| format!("unpin build {build}")),
        }
    }

    /// Keeps these commits alive, whatever becomes of the branches, and no others. One that is not there is left out.
    pub fn keep(&self, app: &AppKey, commits: &[Oid]) -> anyhow::Result<()> {
        let repo = self.open(app)?;
        for commit in commits {
            let oid = git_oid(commit)?;
            if repo.find_commit(oid).is_ok() {
                repo.reference(&kept_name(commit), oid, true, "a kept release is of it")
                    .with_context(|| format!("keep {commit}"))?;
            }
        }
        let wanted: HashSet<String> = commits.iter().map(kept_name).collect();
        for reference in repo.references_glob(&format!("{KEPT}*"))? {
            let mut reference = reference?;
            if reference.name().is_ok_and(|name| !wanted.contains(name)) {
                reference.delete().context("let go of a commit that no kept release is of")?;
            }
        }
        Ok(())
    }

    /// Build numbers that pins are kept for.
    pub fn pins(&self, app: &AppKey) -> anyhow::Result<Vec<BuildId>> {
        let repo = self.open(app)?;
        let mut pins = Vec::new();
        for reference in repo.references_glob("refs/paas/builds/*")? {
            if let Some(id) = reference?.shorthand().ok().and_then(|name| name.rsplit('/').next()?.parse().ok()) {
                pins.push(BuildId(id));
            }
        }
        Ok(pins)
    }

    /// Where a branch points; zero when it does not exist.
    pub fn branch(&self, app: &AppKey, branch: &str) -> anyhow::Result<Oid> {
        let repo = self.open(app)?;
        let found = repo.find_reference(&branch_name(branch));
        match found {
            Ok(reference) => {
                let target = reference.target().with_context(|| format!("read the branch {branch}"))?;
                our_oid(target)
            }
            Err(error) if error.code() == git2::ErrorCode::NotFound => Ok(Oid::zero()),
            Err(error) => Err(error).with_context(|| format!("read the branch {branch}")),
        }
    }

    /// Whether a push that saw `old` may move `branch` to `new` now: the branch is where the pusher saw it, or another
    /// push put an ancestor of `new` there meanwhile.
    pub fn standing(&self, app: &AppKey, branch: &str, old: &Oid, new: &Oid) -> anyhow::Result<Standing> {
        let now = self.branch(app, branch)?;
        if now == *old {
            return Ok(Standing::MayMove { from: now });
        }
        let repo = self.open(app)?;
        let is_behind = !now.is_zero() && (now == *new || repo.graph_descendant_of(git_oid(new)?, git_oid(&now)?)?);
        Ok(if is_behind { Standing::MayMove { from: now } } else { Standing::Stale })
    }

    /// Points a branch at a commit, whatever it pointed at, and HEAD at the branch, so that a clone checks it out.
    pub fn move_branch(&self, app: &AppKey, branch: &str, to: &Oid, why: &str) -> anyhow::Result<()> {
        let repo = self.open(app)?;
        repo.reference(&branch_name(branch), git_oid(to)?, true, why)
            .with_context(|| format!("move {branch} to {to}"))?;
        repo.set_head(&branch_name(branch)).with_context(|| format!("point HEAD at {branch}"))?;
        Ok(())
    }

    /// Removes the lock files of a process that died while it moved a ref. Only for the start, when no git of ours runs.
    pub(super) fn drop_stale_locks(&self, app: &AppKey) {
        let path = self.path(app);
        let mut folders = vec![path.join("refs")];
        let mut locks = vec![path.join("HEAD.lock"), path.join("packed-refs.lock"), path.join("config.lock")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
                let is_lock = entry.path().extension().is_some_and(|extension| extension == "lock");
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                    Ok(kind) if kind.is_file() && is_lock => locks.push(entry.path()),
                    Ok(_) | Err(_) => {}
                }
            }
        }
        for lock in locks.iter().filter(|lock| lock.exists()) {
            match std::fs::remove_file(lock) {
                Ok(()) => tracing::info!("removed the stale lock {}", lock.display()),
                Err(error) => tracing::warn!("cannot remove the stale lock {}: {error}", lock.display()),
            }
        }
    }

    pub(super) fn open(&self, app: &AppKey) -> anyhow::Result<Repository> {
        let path = self.path(app);
        Repository::open_bare(&path).with_context(|| format!("open the repository {}", path.display()))
    }
}

pub(super) fn git_oid(oid: &Oid) -> anyhow::Result<git2::Oid> {
    git2::Oid::from_str(oid.as_str()).with_context(|| format!("read the object id {oid}"))
}

pub(super) fn our_oid(oid: git2::Oid) -> anyhow::Result<Oid> {
    oid.to_string().parse().map_err(anyhow::Error::msg)
}

fn pin_name(build: BuildId) -> String {
    format!("refs/paas/builds/{}", build.0)
}

pub(super) fn kept_name(commit: &Oid) -> String {
    format!("{KEPT}{commit}")
}

fn branch_name(branch: &str) -> String {
    format!("refs/heads/{branch}")
}
