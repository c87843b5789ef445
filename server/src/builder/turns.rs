//! Who uses a repository: any number of pushes, clones and builds at a time, or one collection of its garbage and nobody
//! beside it. Users come first: one that comes during a collection ends it, and waits until it has.
use super::Repos;
use crate::domain::AppKey;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Repositories that are used now.
#[derive(Debug, Default)]
pub(super) struct Turns {
    taken: Mutex<HashMap<AppKey, Turn>>,
    freed: Notify,
}

#[derive(Debug)]
enum Turn {
    Used { users: usize },
    Alone { wanted: CancellationToken },
}

/// As long as it is held, nothing is collected.
#[derive(Debug)]
pub struct InUse {
    turns: Arc<Turns>,
    app: AppKey,
}

/// As long as it is held, nobody uses the repository.
#[derive(Debug)]
pub struct Alone {
    turns: Arc<Turns>,
    app: AppKey,
    /// Cancelled when somebody wants to use it: time to end.
    pub wanted: CancellationToken,
}

impl Repos {
    /// Keeps a repository from being collected. A collection under way is asked to end, and waited for.
    pub async fn in_use(&self, app: &AppKey) -> InUse {
        loop {
            // Made before the look: whatever is freed after it is heard of.
            let freed = self.turns.freed.notified();
            if let Some(in_use) = self.use_now(app) {
                return in_use;
            }
            freed.await;
        }
    }

    /// `None`: a collection is under way, and now hears that somebody waits.
    fn use_now(&self, app: &AppKey) -> Option<InUse> {
        let mut taken = self.turns.lock();
        let turn = taken.entry(app.clone()).or_insert(Turn::Used { users: 0 });
        match turn {
            Turn::Used { users } => {
                *users += 1;
                Some(InUse { turns: Arc::clone(&self.turns), app: app.clone() })
            }
            Turn::Alone { wanted } => {
                wanted.cancel();
                None
            }
        }
    }

    /// Takes a repository that nobody uses; `None`: somebody does.
    pub fn alone(&self, app: &AppKey) -> Option<Alone> {
        let mut taken = self.turns.lock();
        if taken.contains_key(app) {
            return None;
        }
        let wanted = CancellationToken::new();
        taken.insert(app.clone(), Turn::Alone { wanted: wanted.clone() });
        Some(Alone { turns: Arc::clone(&self.turns), app: app.clone(), wanted })
    }
}

impl Turns {
    fn lock(&self) -> MutexGuard<'_, HashMap<AppKey, Turn>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let mut taken = self.turns.lock();
        if let Some(Turn::Used { users }) = taken.get_mut(&self.app) {
            *users -= 1;
            if *users == 0 {
                taken.remove(&self.app);
            }
        }
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        self.turns.lock().remove(&self.app);
        self.turns.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;
    use std::time::Duration;

    #[tokio::test]
    async fn users_share_a_repository_and_nobody_collects_beside_them() {
        let (repos, app) = (Repos::new(PathBuf::from("/nowhere")), AppKey::new("a"));
        let (first, second) = (repos.in_use(&app).await, repos.in_use(&app).await);
        drop(first);
        assert!(repos.alone(&app).is_none(), "one is left");
        assert!(repos.alone(&AppKey::new("b")).is_some(), "another's repository is free");
        drop(second);
        let alone = repos.alone(&app).unwrap();
        assert!(repos.alone(&app).is_none(), "one collection at a time");
        drop(alone);
        assert!(repos.alone(&app).is_some());
    }

    #[tokio::test]
    async fn who_comes_during_a_collection_ends_it_and_waits_for_that() {
        let (repos, app) = (Repos::new(PathBuf::from("/nowhere")), AppKey::new("a"));
        let alone = repos.alone(&app).unwrap();
        let mut user = std::pin::pin!(repos.in_use(&app));
        let hurry = Duration::from_millis(50);
        assert!(tokio::time::timeout(hurry, &mut user).await.is_err(), "it does not begin beside the collection");
        assert!(alone.wanted.is_cancelled(), "the collection does not hear of it");
        drop(alone);
        let _user = tokio::time::timeout(Duration::from_secs(5), user).await.unwrap();
        assert!(repos.alone(&app).is_none());
    }
}
