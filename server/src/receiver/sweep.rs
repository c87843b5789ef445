//! Before the first connection: removes what pushes of an earlier process left behind.
use super::Neighbours;
use crate::domain::AppKey;
use anyhow::Context;
use std::collections::HashSet;
use std::path::Path;

/// Folders in which git keeps a push's objects until they are accepted; a killed git leaves its own.
const QUARANTINE_PREFIX: &str = "tmp_objdir-";

pub(super) async fn sweep(neighbours: &Neighbours) -> anyhow::Result<()> {
    let Neighbours { store, repos, logs, .. } = neighbours;
    for app in store.provisional_apps().await.context("look for refused first pushes")? {
        if let Some(app) = store.drop_if_provisional(app).await? {
            if let Err(error) = repos.remove(&app.key).and_then(|()| logs.forget(&app.key)) {
                tracing::warn!("could not remove the files of {}: {error:#}", app.name);
            }
            tracing::info!("forgot {}, whose first push an earlier process did not finish", app.name);
        }
    }
    // The folders first: an app that is made meanwhile is then among the apps, and its folder not among these.
    let found = keys_in(neighbours)?;
    let known: HashSet<AppKey> = store.apps().await?.into_iter().map(|app| app.key).collect();
    for key in found {
        let path = repos.path(&key);
        if known.contains(&key) {
            drop_quarantines(&path);
        } else if holds_a_branch(&path) {
            // The database may be the one that is wrong, and this the only copy.
            tracing::warn!("the repository {} belongs to no app; remove it if it is not needed", path.display());
        } else if let Err(error) = repos.remove(&key) {
            tracing::warn!("could not remove the repository of a vanished app: {error:#}");
        }
    }
    Ok(())
}

/// The keys that repositories are kept for.
fn keys_in(neighbours: &Neighbours) -> anyhow::Result<Vec<AppKey>> {
    let any = neighbours.repos.path(&AppKey::new("any"));
    let Some(dir) = any.parent() else { return Ok(Vec::new()) };
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("list the repositories in {}", dir.display())),
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.filter_map(|name| Some(AppKey::new(name.strip_suffix(".git")?))).collect())
}

fn holds_a_branch(repo: &Path) -> bool {
    let branches = git2::Repository::open_bare(repo)
        .and_then(|repo| Ok(repo.branches(Some(git2::BranchType::Local))?.next().is_some()));
    // What is no repository at all holds nothing that could be lost.
    branches.unwrap_or(false)
}

fn drop_quarantines(repo: &Path) {
    let Ok(entries) = std::fs::read_dir(repo.join("objects")) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(QUARANTINE_PREFIX)
            && let Err(error) = std::fs::remove_dir_all(entry.path())
        {
            tracing::warn!("could not remove {}: {error}", entry.path().display());
        }
    }
    let _ = std::fs::remove_file(repo.join("shallow.lock"));
}
