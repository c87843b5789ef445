//! Which instance a request goes to: the less loaded of two random ones; after a failed connect the next one in line.
use super::exchange::Exchange;
use super::fault::Fault;
use super::flight::Stage;
use super::limits::{CLAIM_TRIES_MAX, CONNECT_BACKOFF_MAX, CONNECT_BACKOFF_MIN, HELD_MAX};
use super::snapshot::{App, Serving};
use super::target::Target;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The attempts of one request to reach an instance.
pub(super) struct Attempts {
    failed: usize,
    first_choice: usize,
    since: Option<Instant>,
    backoff: Duration,
}

impl Attempts {
    pub(super) fn new() -> Self {
        Self { failed: 0, first_choice: 0, since: None, backoff: CONNECT_BACKOFF_MIN }
    }

    /// Notes a failed connect, or a fresh connection that took nothing: any request may try again, within the budget. Once every instance
    /// failed it waits a little, or until the table changes.
    pub(super) async fn failed(&mut self, exchange: &Exchange, error: &io::Error) -> Result<(), Fault> {
        let worker = &exchange.client.worker;
        self.failed += 1;
        let since = *self.since.get_or_insert_with(Instant::now);
        if since.elapsed() >= worker.shared.spans.connect_budget {
            return Err(match error.kind() {
                io::ErrorKind::TimedOut => Fault::ConnectTimeout,
                io::ErrorKind::ConnectionReset => Fault::ClosedWithoutResponse,
                _ => Fault::ConnectRefused,
            });
        }
        let count = match &exchange.app.serving {
            Serving::Ready(targets) => targets.len(),
            Serving::Starting | Serving::Crashed | Serving::Off => 1,
        };
        if self.failed.is_multiple_of(count) {
            let _ = tokio::time::timeout(self.backoff, worker.routes_changed.notified()).await;
            self.backoff = (self.backoff * 2).min(CONNECT_BACKOFF_MAX);
        }
        Ok(())
    }
}

/// Claims an instance for the request, which waits while its app starts.
pub(super) async fn claim(exchange: &mut Exchange, attempts: &mut Attempts) -> Result<Arc<Target>, Fault> {
    let mut held = None;
    for _ in 0..CLAIM_TRIES_MAX {
        match &exchange.app.serving {
            Serving::Ready(targets) => {
                let target = choose(targets, exchange.client.worker.random.next(), attempts);
                if target.enter() {
                    let target = target.clone();
                    exchange.board(target.clone());
                    return Ok(target);
                }
                // Closed: a table without it was published before.
                exchange.refresh()?;
            }
            Serving::Starting => {
                if held.is_none() {
                    held = Some(exchange.app.held.enter(HELD_MAX).ok_or(Fault::BacklogTooDeep)?);
                    exchange.flight.enter(Stage::Held);
                }
                wait_for_change(exchange).await?;
            }
            Serving::Crashed => return Err(Fault::AppCrashed),
            Serving::Off => return Err(Fault::NoWebProcesses),
        }
    }
    Err(Fault::BootTimeout)
}

/// Until the app has another snapshot. Its time is kept by the ticks.
async fn wait_for_change(exchange: &mut Exchange) -> Result<(), Fault> {
    let client = exchange.client.clone();
    loop {
        let changed = client.worker.routes_changed.notified();
        let known: *const App = Arc::as_ptr(&exchange.app);
        exchange.refresh()?;
        if !std::ptr::eq(known, Arc::as_ptr(&exchange.app)) && !matches!(exchange.app.serving, Serving::Starting) {
            return Ok(());
        }
        changed.await;
    }
}

fn choose<'a>(targets: &'a [Arc<Target>], random: u64, attempts: &mut Attempts) -> &'a Arc<Target> {
    if attempts.failed == 0 {
        attempts.first_choice = less_loaded(targets, random);
    }
    &targets[(attempts.first_choice + attempts.failed) % targets.len()]
}

fn less_loaded(targets: &[Arc<Target>], random: u64) -> usize {
    let (high, low) = ((random >> 32) as usize, (random & 0xffff_ffff) as usize);
    if targets.len() == 1 {
        return 0;
    }
    let one = high % targets.len();
    let other = (one + 1 + low % (targets.len() - 1)) % targets.len();
    if targets[other].in_flight() < targets[one].in_flight() { other } else { one }
}
