//! What the rooms are given of each other: small traits that they declare, filled in here.
use crate::certs::Publisher;
use crate::commands::Commands;
use crate::console::Console;
use crate::domain::{AppId, ChallengeTable, Pusher};
use crate::logs::RouterLines;
use crate::proxy::{ProxyHandle, RouterLog, Waker};
use crate::receiver::{self, CommandRunner};
use crate::scheduler::Scheduler;
use async_trait::async_trait;
use std::sync::OnceLock;
use tokio::sync::mpsc;

/// Router lines kept until the successor takes them.
const LINES_KEPT_MAX: usize = 8192;

/// What the receiver runs commands with.
pub(super) struct Runner(pub(super) Commands);

#[async_trait]
impl CommandRunner for Runner {
    async fn run(&self, words: Vec<String>, caller: Pusher, console: Console) -> u8 {
        self.0.run(words, caller, console).await
    }
}

/// What the proxy wakes: the scheduler, once there is one.
#[derive(Default)]
pub(super) struct LateWaker(pub(super) OnceLock<Scheduler>);

impl Waker for LateWaker {
    fn app_changed(&self, app: AppId) {
        if let Some(scheduler) = self.0.get() {
            scheduler.wake(app);
        }
    }
}

/// Where certificates are served, and the CA's checks answered.
pub(super) struct ToProxy {
    pub(super) proxy: ProxyHandle,
    pub(super) scheduler: Scheduler,
}

#[async_trait]
impl Publisher for ToProxy {
    fn set_challenges(&self, table: &ChallengeTable) {
        self.proxy.set_challenges(table).iter().for_each(|fault| tracing::warn!("{fault}"));
    }

    async fn certificates_changed(&self) {
        match self.scheduler.serve_certificates().await {
            Ok(faults) => faults.iter().for_each(|fault| tracing::warn!("{fault}")),
            Err(error) => tracing::warn!("cannot read the certificates; those served go on to be: {error}"),
        }
    }
}

/// Where the proxy's lines go: into the logs here, or, once another server writes those, to that one.
pub(super) struct LineSink {
    lines: RouterLines,
    kept: OnceLock<mpsc::Sender<(AppId, String)>>,
}

impl LineSink {
    pub(super) fn new(lines: RouterLines) -> Self {
        Self { lines, kept: OnceLock::new() }
    }

    /// From now on lines are kept for the successor, who reads them at the other end.
    pub(super) fn keep_for_successor(&self) -> mpsc::Receiver<(AppId, String)> {
        let (to, from) = mpsc::channel(LINES_KEPT_MAX);
        self.kept.get_or_init(|| to);
        from
    }
}

impl RouterLog for LineSink {
    fn line(&self, app: AppId, line: String) {
        match self.kept.get() {
            // Beyond what is kept they are lost, as they are when the disk is too slow for them.
            Some(kept) => drop(kept.try_send((app, line))),
            None => self.lines.line(app, line),
        }
    }
}

pub(super) fn parse_key(line: &str) -> Result<(String, String), String> {
    let parsed = receiver::parse_public_key(line).map_err(|error| error.to_string())?;
    Ok((parsed.fingerprint, parsed.public_key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::logs::Logs;
    use tokio_util::sync::CancellationToken;

    #[tokio::test]
    async fn so_many_lines_wait_for_the_successor_and_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let logs = Logs::new(dir.path().to_owned(), SystemClock::shared());
        let (lines, _writer) = RouterLines::new(logs, CancellationToken::new());
        let sink = LineSink::new(lines);
        let mut kept = sink.keep_for_successor();
        for number in 0..=LINES_KEPT_MAX {
            sink.line(AppId(1), number.to_string());
        }
        let mut batch = Vec::new();
        kept.recv_many(&mut batch, LINES_KEPT_MAX + 1).await;
        assert_eq!(batch.len(), LINES_KEPT_MAX);
        assert_eq!(batch.last().map(|(_, line)| line.clone()), Some((LINES_KEPT_MAX - 1).to_string()));
        sink.line(AppId(1), "there is room again".to_owned());
        assert_eq!(kept.recv().await.map(|(_, line)| line).as_deref(), Some("there is room again"));
    }
}
