//! Rids repositories of what refused and forced pushes have left: objects that no branch, no pinned build and no kept
//! release leads to. One repository at a time, after so many pushes or a day, and never beside anybody who uses it: who
//! comes meanwhile ends the collection, which loses nothing by that and is tried again later.
use super::{Room, child};
use crate::disk::{RELEASES_WITH_IMAGES, bytes_below};
use crate::domain::{App, AppId, AppKey, Moment, Size};
use anyhow::{Context, bail};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::Child;
use tokio_util::sync::CancellationToken;

/// In the repository: when it was collected last, in ms since 1970.
const STAMP: &str = "paas-collected";
/// What is read of git's complaint.
const COMPLAINT_BYTES: u64 = 4 << 10;

/// When repositories are collected, and what of their garbage stays for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectionLimits {
    /// How often repositories are looked at.
    pub look_every: Duration,
    /// Pushes after which one is due.
    pub pushes: u32,
    /// Time after which one is due, if there is anything to gain.
    pub every: Duration,
    /// Garbage that is younger stays.
    pub age: Duration,
    /// How long one collection may take.
    pub time: Duration,
}

impl Default for CollectionLimits {
    fn default() -> Self {
        Self {
            look_every: Duration::from_mins(10),
            pushes: 50,
            every: Duration::from_hours(24),
            age: Duration::from_hours(2),
            time: Duration::from_mins(10),
        }
    }
}

/// Pushes of each app since its repository was collected.
#[derive(Default)]
pub(super) struct Tally(Mutex<HashMap<AppId, u32>>);

impl Tally {
    pub(super) fn count_push(&self, app: AppId) {
        *self.lock().entry(app).or_default() += 1;
    }

    fn pushes(&self, app: AppId) -> u32 {
        self.lock().get(&app).copied().unwrap_or_default()
    }

    fn forget(&self, app: AppId) {
        self.lock().remove(&app);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<AppId, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a collection ended.
#[derive(Debug, PartialEq, Eq)]
enum Collected {
    Done,
    /// Somebody uses the repository, or came to use it.
    GaveWay,
}

/// Looks at all repositories, again and again.
pub(super) async fn collect_by_and_by(room: Arc<Room>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(room.settings.limits.collection.look_every) => {}
        }
        let apps = match room.neighbours.store.apps().await {
            Ok(apps) => apps,
            Err(error) => {
                tracing::warn!("cannot look for repositories to collect: {error}");
                continue;
            }
        };
        for app in apps.iter().filter(|app| !app.destroying) {
            if stop.is_cancelled() {
                return;
            }
            if let Err(error) = look_at(&room, app, &stop).await {
                tracing::warn!(app.name = %app.name, "cannot collect the repository of {}: {error:#}", app.name);
            }
        }
    }
}

async fn look_at(room: &Room, app: &App, stop: &CancellationToken) -> anyhow::Result<()> {
    let (limits, now) = (&room.settings.limits.collection, room.neighbours.clock.now());
    let repo = room.neighbours.repos.path(&app.key);
    let pushes = room.tally.pushes(app.id);
    let looked = repo.clone();
    let facts = tokio::task::spawn_blocking(move || (collected_at(&looked), is_untidy(&looked))).await?;
    if is_due(limits, pushes, facts, now) {
        let what = format!("{pushes} pushes after the last collection");
        if collect(room, &app.key, (app.id, &what), stop).await? == Collected::Done {
            room.tally.forget(app.id);
        }
    }
    Ok(())
}

/// `facts`: when it was collected last, and whether there is anything to gain.
fn is_due(limits: &CollectionLimits, pushes: u32, facts: (Option<Moment>, bool), now: Moment) -> bool {
    let (collected_at, is_untidy) = facts;
    // A clock that was set back makes no repository wait for the future.
    let is_old = collected_at.is_none_or(|at| at > now || now.since(at) >= limits.every);
    is_untidy && (pushes >= limits.pushes || is_old)
}

fn collected_at(repo: &Path) -> Option<Moment> {
    let stamp = std::fs::read_to_string(repo.join(STAMP)).ok()?;
    stamp.trim().parse().ok().map(Moment::from_unix_ms)
}

/// Objects lie about, or in more than one pack.
fn is_untidy(repo: &Path) -> bool {
    let names = |folder: PathBuf| -> Vec<String> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    };
    let is_loose = |name: &String| name.len() == 2 && name.bytes().all(|b| b.is_ascii_hexdigit());
    let is_pack = |name: &&String| Path::new(name.as_str()).extension().is_some_and(|ending| ending == "pack");
    let packs = names(repo.join("objects/pack")).iter().filter(is_pack).count();
    packs > 1 || names(repo.join("objects")).iter().any(is_loose)
}

/// Collects one repository, unless somebody uses it.
async fn collect(
    room: &Room,
    key: &AppKey,
    (app, why): (AppId, &str),
    stop: &CancellationToken,
) -> anyhow::Result<Collected> {
    let neighbours = &room.neighbours;
    let Some(alone) = neighbours.repos.alone(key) else { return Ok(Collected::GaveWay) };
    let repo = neighbours.repos.path(key);
    if !repo.exists() {
        return Ok(Collected::Done);
    }
    // What a rollback returns to, and what is built again when its image is gone, may be on no branch any more.
    let kept = neighbours.store.commits_to_keep(app, RELEASES_WITH_IMAGES).await?;
    let (repos, key, measured) = (neighbours.repos.clone(), key.clone(), repo.clone());
    let before_bytes = tokio::task::spawn_blocking(move || {
        repos.keep(&key, &kept)?;
        anyhow::Ok(bytes_below(&measured, |_| true))
    })
    .await??;
    let limits = &room.settings.limits.collection;
    let (begun, mut git) = (tokio::time::Instant::now(), child::collect(&room.settings, &repo, limits.age)?);
    match run(&mut git, &alone.wanted, stop, limits.time).await? {
        Collected::GaveWay => return Ok(Collected::GaveWay),
        Collected::Done => {}
    }
    let stamp = neighbours.clock.now().unix_ms().to_string();
    let after_bytes = tokio::task::spawn_blocking(move || {
        std::fs::write(repo.join(STAMP), stamp).context("note when it was collected")?;
        anyhow::Ok(bytes_below(&repo, |_| true))
    })
    .await??;
    tracing::info!(
        "collected the repository of app {} ({why}): {} are {} now, in {:.1} s",
        app.0,
        Size(before_bytes),
        Size(after_bytes),
        begun.elapsed().as_secs_f64()
    );
    Ok(Collected::Done)
}

/// Waits for git, and ends it when somebody comes, the server stops or it takes too long.
async fn run(
    git: &mut Child,
    wanted: &CancellationToken,
    stop: &CancellationToken,
    limit: Duration,
) -> anyhow::Result<Collected> {
    let complaints = git.stderr.take();
    let working = async {
        let mut said = String::new();
        if let Some(complaints) = complaints {
            // What is not UTF-8 is no sentence anyway.
            let _ = complaints.take(COMPLAINT_BYTES).read_to_string(&mut said).await;
        }
        (git.wait().await, said)
    };
    let ended = tokio::select! {
        ended = working => Some(ended),
        () = wanted.cancelled() => None,
        () = stop.cancelled() => None,
        () = tokio::time::sleep(limit) => {
            child::terminate(git).await;
            bail!("git did not end within {} s", limit.as_secs());
        }
    };
    match ended {
        Some((status, _)) if status.as_ref().is_ok_and(std::process::ExitStatus::success) => Ok(Collected::Done),
        Some((status, said)) => bail!("git gc ended with {}: {}", status?, said.trim()),
        None => {
            child::terminate(git).await;
            Ok(Collected::GaveWay)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_due_after_many_pushes_or_a_day_if_there_is_anything_to_gain() {
        let limits = CollectionLimits::default();
        let now = Moment::default().plus(Duration::from_hours(1000));
        let ago = |hours: u64| Moment::default().plus(Duration::from_hours(1000 - hours));
        let due = |pushes, at, is_untidy| is_due(&limits, pushes, (at, is_untidy), now);
        assert!(due(0, None, true), "never yet");
        assert!(!due(0, Some(ago(23)), true));
        assert!(due(0, Some(ago(24)), true));
        assert!(!due(49, Some(ago(1)), true));
        assert!(due(50, Some(ago(1)), true));
        assert!(!due(50, None, false), "nothing to gain");
        assert!(due(0, Some(now.plus(Duration::from_hours(30))), true), "the clock was set back");
    }
}
