//! The pushes under way. Each has a token that its hooks present, for one app and one session only.
use super::Room;
use super::frames::RefCommands;
use crate::builder::InUse;
use crate::domain::{App, AppName, Pusher, RefMove};
use crate::store::{StoreError, random_hex};
use anyhow::Context;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

/// Random bytes in a token.
const TOKEN_BYTES: usize = 16;

#[derive(Default)]
pub(super) struct Pushes {
    under_way: Mutex<HashMap<String, Arc<Push>>>,
    /// Held while a session begins or ends, so that an app which its last session forgets is not the one that a new
    /// session has just found.
    turn: tokio::sync::Mutex<()>,
}

/// One `git push`, from its exec request to its end.
pub(super) struct Push {
    token: String,
    pub(super) app: App,
    pub(super) pusher: Pusher,
    /// Cancelled when the pusher has left.
    pub(super) left: CancellationToken,
    checked: Mutex<Option<Checked>>,
    shallow_roots: Mutex<Vec<String>>,
    accepted: AtomicBool,
    /// Nothing that it has brought is collected before it is over.
    _in_use: InUse,
}

/// What pre-receive found out, for proc-receive to act on.
pub(super) struct Checked {
    pub(super) commands: RefCommands,
    pub(super) outcome: Outcome,
}

pub(super) enum Outcome {
    Deploy(RefMove),
    /// A reason for each ref that was told, in order.
    Refused(Vec<String>),
}

impl Push {
    pub(super) fn token(&self) -> &str {
        &self.token
    }

    pub(super) fn note(&self, checked: Checked) {
        *lock(&self.checked) = Some(checked);
    }

    /// What was found out; only once, because a push deploys once.
    pub(super) fn take_checked(&self) -> Option<Checked> {
        lock(&self.checked).take()
    }

    pub(super) fn was_accepted(&self) {
        self.accepted.store(true, Ordering::Release);
    }

    /// Remembers what the push has added to the repository's shallow roots.
    pub(super) fn made_shallow(&self, roots: Vec<String>) {
        lock(&self.shallow_roots).extend(roots);
    }
}

impl Pushes {
    /// Begins a push: finds or makes the app and its repository.
    pub(super) async fn begin(
        room: &Arc<Room>,
        name: &AppName,
        pusher: Pusher,
        left: CancellationToken,
    ) -> anyhow::Result<(Arc<Push>, PathBuf)> {
        let neighbours = &room.neighbours;
        let turn = room.pushes.turn.lock().await;
        let app = neighbours.store.app_for_push(name, neighbours.clock.now()).await?;
        let token = random_hex(TOKEN_BYTES)?;
        let repo = match open_repo(room, &app).await {
            Ok(repo) => repo,
            Err(error) => {
                neighbours.store.drop_if_provisional(app.id).await?;
                return Err(error);
            }
        };
        let in_use = neighbours.repos.in_use(&app.key).await;
        let push = Arc::new(Push {
            token,
            app,
            pusher,
            left,
            checked: Mutex::default(),
            shallow_roots: Mutex::default(),
            accepted: AtomicBool::new(false),
            _in_use: in_use,
        });
        lock(&room.pushes.under_way).insert(push.token.clone(), Arc::clone(&push));
        drop(turn);
        Ok((push, repo))
    }

    /// The push that a hook belongs to.
    pub(super) fn find(&self, token: &str) -> Option<Arc<Push>> {
        lock(&self.under_way).get(token).map(Arc::clone)
    }

    /// Ends a push; a first one that was refused before its build leaves nothing behind.
    pub(super) async fn end(room: &Arc<Room>, push: &Push) {
        room.tally.count_push(push.app.id);
        let turn = room.pushes.turn.lock().await;
        let is_last = {
            let mut under_way = lock(&room.pushes.under_way);
            under_way.remove(&push.token);
            !under_way.values().any(|other| other.app.id == push.app.id)
        };
        if is_last && let Err(error) = tidy(room, push).await {
            tracing::error!("could not tidy up after a push to {}: {error:#}", push.app.name);
        }
        drop(turn);
    }
}

/// The repository of an app that stays. One that is being destroyed gets none: looked at again once it is made, because
/// the app may have gone meanwhile.
pub(super) async fn open_repo(room: &Room, app: &App) -> anyhow::Result<PathBuf> {
    let neighbours = &room.neighbours;
    let destroying = || StoreError::Destroying { app: app.name.to_string() };
    if app.destroying {
        return Err(destroying().into());
    }
    let repo = neighbours.repos.ensure(&app.key)?;
    match neighbours.store.app_by_id(app.id).await {
        Ok(now) if !now.destroying => Ok(repo),
        Ok(_) | Err(StoreError::Missing { .. }) => {
            neighbours.repos.remove(&app.key)?;
            Err(destroying().into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Forgets what only this push stood behind. Nobody else pushes to the app now.
async fn tidy(room: &Room, push: &Push) -> anyhow::Result<()> {
    let neighbours = &room.neighbours;
    if let Some(app) = neighbours.store.drop_if_provisional(push.app.id).await.context("forget the app")? {
        neighbours.repos.remove(&app.key)?;
        return neighbours.logs.forget(&app.key);
    }
    let roots = std::mem::take(&mut *lock(&push.shallow_roots));
    if !push.accepted.load(Ordering::Acquire) && !roots.is_empty() {
        super::shallow::forget(&neighbours.repos.path(&push.app.key), &roots)?;
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
