//! Who is next, who waits for a verdict, and who may be cancelled.
use super::{Verdict, Workshop};
use crate::domain::{App, AppId, Build, BuildId, Failure, Oid, Pusher};
use crate::logs::Journal;
use futures_util::FutureExt;
use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio_util::sync::CancellationToken;

/// Images made at a time.
const BUILDS_AT_ONCE: usize = 1;
/// Wait before the queue is read again after a failure.
const RETRY: Duration = Duration::from_secs(1);

pub(super) struct Queue {
    inner: Mutex<Inner>,
    woken: Notify,
    /// Held while an image is made.
    pub(super) bench: Arc<Semaphore>,
}

#[derive(Default)]
struct Inner {
    waiting: HashMap<BuildId, Waiting>,
    /// Apps with a push between its turn and its verdict: their next push waits.
    busy: HashSet<AppId>,
    /// Builds that take nothing over from earlier ones.
    fresh: HashSet<BuildId>,
}

/// A push whose pusher waits.
pub(super) struct Waiting {
    pub(super) verdict: oneshot::Sender<Verdict>,
    pub(super) transcript: Arc<Journal>,
    pub(super) pusher: Pusher,
    pub(super) commit: Oid,
    cancel: Cancel,
}

/// Set once, with the reason.
#[derive(Clone, Default)]
pub(super) struct Cancel {
    pub(super) token: CancellationToken,
    by: Arc<Mutex<Option<String>>>,
}

impl Cancel {
    pub(super) fn cancel(&self, by: &str) {
        self.by.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| by.to_owned());
        self.token.cancel();
    }

    pub(super) fn failure(&self) -> Failure {
        let by = self.by.lock().unwrap_or_else(PoisonError::into_inner).clone();
        by.map_or(Failure::Interrupted, |by| Failure::Cancelled { by })
    }
}

impl Queue {
    pub(super) fn new() -> Self {
        Self { inner: Mutex::default(), woken: Notify::new(), bench: Arc::new(Semaphore::new(BUILDS_AT_ONCE)) }
    }

    pub(super) fn wake(&self) {
        self.woken.notify_one();
    }

    /// `stop` ends the build with the server.
    pub(super) fn expect(
        &self,
        build: BuildId,
        transcript: Arc<Journal>,
        (pusher, commit): (Pusher, Oid),
        stop: &CancellationToken,
    ) -> oneshot::Receiver<Verdict> {
        let (verdict, receiver) = oneshot::channel();
        let cancel = Cancel { token: stop.child_token(), by: Arc::default() };
        let waiting = Waiting { verdict, transcript, pusher, commit, cancel };
        self.lock().waiting.insert(build, waiting);
        receiver
    }

    pub(super) fn cancel_of(&self, build: BuildId) -> Option<Cancel> {
        self.lock().waiting.get(&build).map(|waiting| waiting.cancel.clone())
    }

    /// Says of a build that was just taken in that it takes nothing over from earlier ones.
    pub(super) fn make_fresh(&self, build: BuildId) {
        self.lock().fresh.insert(build);
    }

    pub(super) fn is_fresh(&self, build: BuildId) -> bool {
        self.lock().fresh.contains(&build)
    }

    async fn wake_after(&self, wait: Duration) {
        tokio::time::sleep(wait).await;
        self.wake();
    }

    pub(super) fn take(&self, build: BuildId) -> Option<Waiting> {
        let mut inner = self.lock();
        inner.fresh.remove(&build);
        inner.waiting.remove(&build)
    }

    fn leave(&self, app: AppId) {
        self.lock().busy.remove(&app);
        self.wake();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Workshop {
    /// Takes builds in their order; a push to an app that is busy waits without holding up the others.
    pub(super) async fn work(self: Arc<Self>) {
        loop {
            let Ok(bench) = Arc::clone(&self.queue.bench).acquire_owned().await else { return };
            let Some(build) = self.next().await else { return };
            let workshop = Arc::clone(&self);
            let app = build.app;
            self.tools.tracker.spawn(async move {
                let id = build.id;
                // A bug in one push must not keep its app busy for ever, nor its pusher waiting.
                if AssertUnwindSafe(workshop.run(build, bench)).catch_unwind().await.is_err() {
                    workshop.fail_broken(app, id).await;
                }
                workshop.queue.leave(app);
            });
        }
    }

    /// The next build whose app is free; `None` when the server stops.
    async fn next(&self) -> Option<Build> {
        loop {
            let woken = self.queue.woken.notified();
            match self.tools.store.queued_builds().await {
                Ok(queued) => {
                    let mut inner = self.queue.lock();
                    // Only what a pusher waits for: one that is being taken in, or was refused meanwhile, is not built.
                    let may_run =
                        |build: &Build| !inner.busy.contains(&build.app) && inner.waiting.contains_key(&build.id);
                    let next = queued.into_iter().find(may_run);
                    if let Some(build) = next {
                        inner.busy.insert(build.app);
                        return Some(build);
                    }
                }
                Err(error) => {
                    tracing::error!("cannot read the build queue, trying again: {error}");
                    self.queue.wake_after(RETRY).await;
                }
            }
            tokio::select! {
                () = self.tools.stop.cancelled() => return None,
                () = woken => {}
            }
        }
    }

    /// A queued build was superseded in the store already: its pusher hears it.
    pub(super) async fn give_way(&self, app: &App, old: BuildId, newer: &Oid) {
        let failure = Failure::Superseded { by: newer.clone() };
        self.tell(app, old, crate::domain::card::card(&failure, None));
        if let Err(error) = self.tools.repos.unpin(&app.key, old) {
            tracing::warn!("{error:#}");
        }
        self.answer(app, old, Verdict::Refused { reason: failure.to_string() }).await;
    }
}

impl super::Builder {
    /// Whether a pusher waits for this build's verdict.
    pub fn has_in_hand(&self, build: BuildId) -> bool {
        self.0.queue.lock().waiting.contains_key(&build)
    }

    /// Whether no push is between being taken in and its verdict.
    pub fn is_idle(&self) -> bool {
        let inner = self.0.queue.lock();
        inner.waiting.is_empty() && inner.busy.is_empty()
    }

    /// Whether a push to this app is between its turn and its verdict.
    pub fn is_busy(&self, app: AppId) -> bool {
        self.0.queue.lock().busy.contains(&app)
    }
}
