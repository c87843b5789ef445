//! Keeps what runs equal to what is wanted: observe → [`crate::domain::plan`] → act, per app, forever.
//!
//! Level-triggered: a wake says "look again" and carries no data. The same path serves a deploy, a crash, a scale change,
//! a reboot and somebody's `docker rm -f`. Only this room starts or stops instances.

mod act;
mod certificates;
mod clear;
mod collect;
mod cron;
mod cron_run;
mod disk_watch;
mod exec;
mod freeze;
mod hold;
mod hosts;
mod images;
mod memory;
mod network;
mod observe;
mod one_off;
mod one_off_care;
mod postdeploy;
mod probe;
mod probe_h2c;
mod publish;
mod reconcile;
mod release_command;
mod run_once;
mod see_through;
mod sweep;
mod tell;

pub use cron::CronError;
pub use exec::Exec;
pub use freeze::Frozen;
pub use observe::Instance;
pub use one_off::{ONE_OFFS_MAX, OneOff, OneOffError, Order, Run};
pub use see_through::Settled;

use crate::clock::Clock;
use crate::disk::Disk;
use crate::domain::{App, AppId, Failure, Moment, ReleaseNo, Site};
use crate::engine::{Engine, EngineEvent};
use crate::logs::{Logs, RouterLines};
use crate::proxy::ProxyHandle;
use crate::store::Store;
use futures_util::FutureExt;
use memory::AppMemory;
use publish::Publisher;
use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Apps that are looked at at the same time.
const PASSES_AT_ONCE: usize = 8;
/// How often the engine is asked for everything, in case an event was lost.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// Wait before the engine's event stream is opened again.
const EVENTS_RETRY: Duration = Duration::from_secs(1);
/// Engine events that may wait to be read.
const EVENT_QUEUE: usize = 256;

/// What the scheduler works with.
pub struct Tools {
    pub store: Store,
    pub engine: Arc<dyn Engine>,
    pub proxy: ProxyHandle,
    pub logs: Logs,
    pub disk: Disk,
    pub router_lines: RouterLines,
    pub clock: Arc<dyn Clock>,
    pub site: Site,
    /// Identifies this boot of the machine; saved routes of another one are not believed.
    pub boot_id: String,
    pub tracker: TaskTracker,
    pub stop: CancellationToken,
}

/// The handle: verbs only, cheap to clone.
#[derive(Clone)]
pub struct Scheduler(Arc<House>);

/// What all passes share.
pub(crate) struct House {
    tools: Tools,
    publisher: Publisher,
    dirty: Mutex<HashSet<AppId>>,
    woken: Notify,
    memories: Mutex<HashMap<AppId, Arc<Mutex<AppMemory>>>>,
    networks: tokio::sync::Mutex<()>,
    image_turn: tokio::sync::Mutex<()>,
    /// A release went live or failed.
    settled: Notify,
    one_offs: one_off::InHand,
    cron: cron::Bench,
    started_at: Moment,
    /// Apps that are held still.
    frozen: Mutex<HashSet<AppId>>,
}

impl Scheduler {
    /// Starts the loops. `saved` is the route table of before the restart, which the proxy serves already.
    pub fn start(tools: Tools, saved: crate::domain::route::RouteTable) -> Self {
        let tracker = tools.tracker.clone();
        let house = Arc::new(House {
            publisher: Publisher::new(saved),
            started_at: tools.clock.now(),
            tools,
            dirty: Mutex::default(),
            woken: Notify::new(),
            memories: Mutex::default(),
            networks: tokio::sync::Mutex::default(),
            image_turn: tokio::sync::Mutex::default(),
            settled: Notify::new(),
            frozen: Mutex::default(),
            one_offs: one_off::InHand::default(),
            cron: cron::Bench::default(),
        });
        tracker.spawn(Arc::clone(&house).dispatch());
        tracker.spawn(Arc::clone(&house).listen());
        tracker.spawn(Arc::clone(&house).sweep());
        tracker.spawn(Arc::clone(&house).keep_time());
        tracker.spawn(Arc::clone(&house).collect_garbage());
        tracker.spawn(Arc::clone(&house).watch_disk());
        tracker.spawn(Arc::clone(&house).follow_certificates());
        Self(house)
    }

    /// Somebody asked for the app to be started: what crashed before does not delay that.
    pub fn forgive(&self, app: AppId) {
        self.0.memory(app).lock().unwrap_or_else(PoisonError::into_inner).forgive_all();
    }

    /// Asks for another look at an app, soon.
    pub fn wake(&self, app: AppId) {
        self.0.wake(app);
    }

    /// Makes what an app's first instance will need while its image is still being built.
    pub fn prepare(&self, app: &App) {
        let (house, app) = (Arc::clone(&self.0), app.clone());
        self.0.tools.tracker.spawn(async move {
            // The start tries again, and tells its failure to whom it concerns.
            if let Err(error) = house.network(&app).await {
                tracing::debug!("cannot make the network ahead of need: {error:#}");
            }
        });
    }

    /// Ends a release that is starting. `false`: it had settled before.
    pub async fn overtake(&self, app: AppId, no: ReleaseNo, failure: Failure) -> crate::store::Result<bool> {
        let failed = self.0.tools.store.fail_release(app, no, failure, self.0.tools.clock.now()).await?;
        self.wake(app);
        Ok(failed)
    }
}

impl House {
    fn wake(&self, app: AppId) {
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner).insert(app);
        self.woken.notify_one();
    }

    /// Wakes an app later. One timer per app at a time: an earlier one that is set already will do.
    fn wake_after(self: &Arc<Self>, app: AppId, wait: Duration) {
        let due = self.tools.clock.now().plus(wait);
        let memory = self.memory(app);
        {
            let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
            if memory.next_look.is_some_and(|set| set <= due) {
                return;
            }
            memory.next_look = Some(due);
        }
        let house = Arc::clone(self);
        self.tools.tracker.spawn(async move {
            tokio::select! {
                () = house.tools.stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            {
                let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
                if memory.next_look == Some(due) {
                    memory.next_look = None;
                }
            }
            house.wake(app);
        });
    }

    fn memory(&self, app: AppId) -> Arc<Mutex<AppMemory>> {
        Arc::clone(self.memories.lock().unwrap_or_else(PoisonError::into_inner).entry(app).or_default())
    }

    /// Runs a pass for every dirty app: several apps at once, one app never twice at once.
    async fn dispatch(self: Arc<Self>) {
        let mut running: HashSet<AppId> = HashSet::new();
        let (done, mut finished) = mpsc::channel(PASSES_AT_ONCE);
        loop {
            tokio::select! {
                () = self.tools.stop.cancelled() => return,
                () = self.woken.notified() => {}
                Some(app) = finished.recv() => {
                    running.remove(&app);
                }
            }
            while running.len() < PASSES_AT_ONCE {
                let Some(app) = self.next_dirty(&running) else { break };
                running.insert(app);
                let (house, done) = (Arc::clone(&self), done.clone());
                self.tools.tracker.spawn(async move {
                    // A bug in one pass must not keep its app from being looked at again.
                    if AssertUnwindSafe(Arc::clone(&house).pass(app)).catch_unwind().await.is_err() {
                        tracing::error!("a pass for app {} panicked; this is a bug", app.0);
                        house.wake_after(app, SWEEP_EVERY);
                    }
                    // The dispatcher is gone only when everything stops.
                    let _ = done.send(app).await;
                });
            }
        }
    }

    fn next_dirty(&self, running: &HashSet<AppId>) -> Option<AppId> {
        let mut dirty = self.dirty.lock().unwrap_or_else(PoisonError::into_inner);
        let app = dirty.iter().find(|app| !running.contains(app)).copied()?;
        dirty.remove(&app);
        Some(app)
    }

    /// Wakes an app when the engine says that one of its instances changed.
    async fn listen(self: Arc<Self>) {
        loop {
            let (to, mut events) = mpsc::channel::<EngineEvent>(EVENT_QUEUE);
            let engine = Arc::clone(&self.tools.engine);
            let stream = engine.events(to);
            tokio::pin!(stream);
            let ended = loop {
                tokio::select! {
                    () = self.tools.stop.cancelled() => return,
                    ended = &mut stream => break ended,
                    Some(event) = events.recv() => self.wake(event.app),
                }
            };
            if let Err(error) = ended {
                tracing::warn!("lost the engine's events, asking again: {error}");
            }
            tokio::select! {
                () = self.tools.stop.cancelled() => return,
                () = tokio::time::sleep(EVENTS_RETRY) => {}
            }
            self.wake_all().await;
        }
    }

    async fn wake_all(&self) {
        match self.tools.store.apps().await {
            Ok(apps) => apps.iter().for_each(|app| self.wake(app.id)),
            Err(error) => tracing::error!("cannot list the apps: {error}"),
        }
    }
}
