//! Connections that have logged in, so that removing a key ends them (security rule R4).
use super::Room;
use crate::domain::KeyId;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

#[derive(Default)]
pub(super) struct Sessions {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    next: u64,
    live: HashMap<u64, (KeyId, CancellationToken)>,
}

/// Keeps a session listed; it is taken off the list when this is dropped.
pub(super) struct Listed {
    room: Arc<Room>,
    number: u64,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.room.sessions.lock().live.remove(&self.number);
    }
}

impl Sessions {
    /// Lists a session; `removed` is cancelled when its key is gone.
    pub(super) fn list(room: &Arc<Room>, key: KeyId, removed: CancellationToken) -> Listed {
        let mut inner = room.sessions.lock();
        let number = inner.next;
        inner.next += 1;
        inner.live.insert(number, (key, removed));
        drop(inner);
        Listed { room: Arc::clone(room), number }
    }

    pub(super) fn end_those_of(&self, key: KeyId) {
        self.end_where(|of| of == key);
    }

    fn end_where(&self, is_over: impl Fn(KeyId) -> bool) {
        for (key, removed) in self.lock().live.values() {
            if is_over(*key) {
                removed.cancel();
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.lock().live.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends sessions whose key is gone, wherever it was removed: the store tells of every change.
pub(super) async fn end_those_of_removed_keys(room: Arc<Room>) {
    let mut changes = room.neighbours.store.changes();
    loop {
        tokio::select! {
            () = room.stop.cancelled() => return,
            heard = changes.changed() => if heard.is_err() { return },
        }
        if room.sessions.is_empty() {
            continue;
        }
        match room.neighbours.store.keys().await {
            Ok(keys) => {
                let left: HashSet<KeyId> = keys.into_iter().map(|key| key.id).collect();
                room.sessions.end_where(|key| !left.contains(&key));
            }
            Err(error) => tracing::warn!("could not look for sessions of removed keys: {error:#}"),
        }
    }
}
