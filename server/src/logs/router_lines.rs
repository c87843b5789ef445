//! Takes the proxy's log lines off its threads: a bounded queue, one writer, and a count of what did not fit.
use super::Logs;
use crate::domain::{AppId, AppKey};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Lines that may wait for the writer.
const QUEUE_LINES: usize = 8192;
/// Lines are written together that come within this time: each wake of the writer costs the proxy's thread a system call.
const GATHERING: Duration = Duration::from_millis(20);

/// The proxy's end. Never blocks.
#[derive(Clone)]
pub struct RouterLines {
    to: mpsc::Sender<(AppId, String)>,
    dropped: Arc<AtomicU64>,
    keys: Arc<RwLock<HashMap<AppId, AppKey>>>,
}

impl RouterLines {
    /// The queue and its writer, which writes what has come and ends once `stop` is cancelled.
    pub fn new(logs: Logs, stop: CancellationToken) -> (Self, impl Future<Output = ()>) {
        let (to, from) = mpsc::channel(QUEUE_LINES);
        let lines = Self { to, dropped: Arc::default(), keys: Arc::default() };
        let writer = write(from, Arc::clone(&lines.dropped), Arc::clone(&lines.keys), logs, stop);
        (lines, writer)
    }

    pub fn line(&self, app: AppId, line: String) {
        if self.to.try_send((app, line)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Says where an app's lines go; lines of unknown apps are dropped.
    pub fn know(&self, app: AppId, key: AppKey) {
        self.keys.write().unwrap_or_else(PoisonError::into_inner).insert(app, key);
    }

    /// Drops what still comes for an app that is gone.
    pub fn forget(&self, app: AppId) {
        self.keys.write().unwrap_or_else(PoisonError::into_inner).remove(&app);
    }
}

async fn write(
    mut from: mpsc::Receiver<(AppId, String)>,
    dropped: Arc<AtomicU64>,
    keys: Arc<RwLock<HashMap<AppId, AppKey>>>,
    logs: Logs,
    stop: CancellationToken,
) {
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            biased;
            count = from.recv_many(&mut batch, QUEUE_LINES) => if count == 0 { return },
            () = stop.cancelled() => return,
        }
        let mut by_app: HashMap<AppId, Vec<String>> = HashMap::new();
        for (app, line) in batch.drain(..) {
            by_app.entry(app).or_default().push(line);
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        for (app, lines) in by_app {
            let key = keys.read().unwrap_or_else(PoisonError::into_inner).get(&app).cloned();
            let Some(key) = key else { continue };
            if lost > 0 {
                let text =
                    format!("dropped {lost} router lines of all apps: they came faster than the disk takes them");
                logs.say(&key, "paas[router]", &text);
            }
            logs.say_of_router(&key, &lines);
        }
        tokio::select! {
            () = tokio::time::sleep(GATHERING) => {}
            () = stop.cancelled() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    #[tokio::test]
    async fn router_lines_that_have_no_place_are_counted_and_told() {
        let dir = tempfile::tempdir().unwrap();
        let (logs, key, stop) =
            (Logs::new(dir.path().to_owned(), SystemClock::shared()), AppKey::new("a"), CancellationToken::new());
        let (lines, writer) = RouterLines::new(logs.clone(), stop.clone());
        lines.know(AppId(1), key.clone());
        // Nobody writes yet.
        for n in 0..QUEUE_LINES + 7 {
            lines.line(AppId(1), format!("line {n}"));
        }
        assert_eq!(lines.dropped.load(Ordering::Relaxed), 7);
        // What has come is written before the stop is looked at.
        stop.cancel();
        writer.await;
        let told = logs.app(&key).unwrap().tail(1, |line| line.contains("dropped 7 router lines of all apps")).unwrap();
        assert_eq!(told.len(), 1);
    }
}
