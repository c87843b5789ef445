//! The last minutes of a server that was replaced: its requests and sessions end by themselves. It follows the routes of the
//! one in charge meanwhile, so that it sends nothing where that one no longer does, and tells what it still uses.
use super::DRAIN;
use super::hand_over::Signals;
use crate::domain::AppId;
use crate::domain::route::RouteTable;
use crate::generation::{Parting, Uses};
use crate::logs::Logs;
use crate::proxy::ProxyHandle;
use crate::receiver::Receiver;
use crate::scheduler::Scheduler;
use crate::store::Store;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long requests and sessions may go on in a server that was replaced.
const FINISH_LIMIT: Duration = Duration::from_mins(15);
const ROUTES_EVERY: Duration = Duration::from_millis(200);
/// Routes that could not be read for so long may be other ones by now.
const ROUTES_STALE: Duration = Duration::from_secs(1);

/// What is needed to keep in step with the one in charge.
pub(super) struct Afterlife {
    pub(super) store: Store,
    pub(super) boot_id: String,
    pub(super) proxy: ProxyHandle,
    pub(super) scheduler: Scheduler,
    pub(super) tracker: TaskTracker,
    pub(super) stop: CancellationToken,
}

/// What goes on.
pub(super) struct Rest {
    pub(super) proxy: ProxyHandle,
    pub(super) receiver: Receiver,
    pub(super) conversations: TaskTracker,
}

/// Keeps in step with the one in charge from now on, until this process ends.
pub(super) fn begin(life: Afterlife, parting: Parting, lines: mpsc::Receiver<(AppId, String)>) {
    let knows_routes = Arc::new(AtomicBool::new(true));
    let (proxy, scheduler, knows) = (life.proxy.clone(), life.scheduler.clone(), Arc::clone(&knows_routes));
    let uses = move || {
        if !knows.load(Ordering::SeqCst) {
            return Uses::Everything;
        }
        Uses::These { instances: proxy.in_use(), one_offs: scheduler.one_offs_in_hand() }
    };
    let (tracker, stop) = (life.tracker.clone(), life.stop.clone());
    tracker.spawn(parting.tell(uses, lines, stop.clone()));
    tracker.spawn(async move {
        tokio::select! {
            () = follow_routes(&life, &knows_routes) => {}
            () = stop.cancelled() => {}
        }
    });
}

/// Returns when all has ended, when its time is over, or when a signal asks for the end.
pub(super) async fn finish(logs: &Logs, rest: &Rest, signals: &mut Signals) {
    let all_over =
        async { tokio::join!(rest.proxy.shut_down(FINISH_LIMIT, DRAIN), timeout(FINISH_LIMIT, sessions_end(rest))) };
    tokio::select! {
        _ = all_over => tracing::info!("what was under way in this server has ended"),
        () = signals.next() => {
            tracing::info!("stopping before all that was under way has ended");
            rest.proxy.shut_down(DRAIN, DRAIN).await;
        }
        () = logs.watch() => {}
    }
}

async fn sessions_end(rest: &Rest) {
    rest.receiver.until_all_left().await;
    rest.conversations.close();
    rest.conversations.wait().await;
}

/// Publishes here what the one in charge publishes there.
async fn follow_routes(life: &Afterlife, knows_routes: &AtomicBool) {
    let (mut published, mut read_at): (Option<RouteTable>, _) = (None, Instant::now());
    loop {
        match life.store.saved_routes(&life.boot_id).await {
            Ok(routes) => {
                if let Some(routes) = routes.filter(|routes| published.as_ref() != Some(routes)) {
                    life.proxy.set_routes(&routes);
                    published = Some(routes);
                }
                read_at = Instant::now();
            }
            Err(error) => tracing::warn!("cannot read the routes of the server in charge: {error}"),
        }
        knows_routes.store(read_at.elapsed() < ROUTES_STALE, Ordering::SeqCst);
        sleep(ROUTES_EVERY).await;
    }
}
