//! Which instance a request goes to: the less loaded of two random ones; after a failed connect the next one in line.
use super::exchange::Exchange;
use super::fault::Fault;
use super::held::HeldPlace;
use super::limits::{CLAIM_TRIES_MAX, CONNECT_BACKOFF_MAX, CONNECT_BACKOFF_MIN};
use super::snapshot::{Serving, Way};
use super::target::{Entered, Target};
use super::{crowd, crowd::least_busy};
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

/// Claims an instance for the request, which waits while its app starts or is paused.
pub(super) async fn claim(exchange: &mut Exchange, attempts: &mut Attempts) -> Result<Arc<Target>, Fault> {
    let mut held: Option<HeldPlace> = None;
    for _ in 0..CLAIM_TRIES_MAX {
        match exchange.way() {
            Way::To(targets) => {
                let (room, stays_with) = (exchange.app.room(), exchange.stays_with.as_deref());
                let target = choose(targets, exchange.client.worker.random.next(), stays_with, attempts);
                let entered = match target.enter(room) {
                    Entered::Claimed => Some(target.clone()),
                    // Closed: a table without it was published before.
                    Entered::Closed => None,
                    Entered::Full => match least_busy(targets, room).cloned() {
                        Some(other) => Some(other),
                        None => Box::pin(crowd::wait_for_room(exchange)).await?,
                    },
                };
                if let Some(target) = entered {
                    exchange.board(target.clone());
                    if let Some(place) = held {
                        place.admit();
                    }
                    return Ok(target);
                }
                exchange.refresh()?;
            }
            Way::Waits(stage) => {
                if held.is_none() {
                    let wire = exchange.client.wire.clone();
                    let (held_by, limits) = (&exchange.app.held, exchange.app.hold);
                    let place = held_by.enter(limits, exchange.weight(), wire);
                    held = Some(place.ok_or(Fault::BacklogTooDeep)?);
                    exchange.flight.enter(stage);
                }
                Box::pin(wait_for_change(exchange)).await?;
            }
            Way::Nowhere(fault) => return Err(fault),
        }
    }
    Err(Fault::BootTimeout)
}

/// Until a snapshot lets the app's requests go on. Its time is kept by the ticks.
async fn wait_for_change(exchange: &mut Exchange) -> Result<(), Fault> {
    let client = exchange.client.clone();
    loop {
        let changed = client.worker.routes_changed.notified();
        exchange.refresh()?;
        if !matches!(exchange.way(), Way::Waits(_)) {
            return Ok(());
        }
        changed.await;
    }
}

fn choose<'a>(
    targets: &'a [Arc<Target>],
    random: u64,
    stays_with: Option<&str>,
    attempts: &mut Attempts,
) -> &'a Arc<Target> {
    if attempts.failed == 0 {
        let known = stays_with.and_then(|tag| targets.iter().position(|target| target.tag == tag));
        attempts.first_choice = known.unwrap_or_else(|| less_loaded(targets, random));
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
