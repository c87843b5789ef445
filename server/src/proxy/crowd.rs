//! Requests that wait for an instance with room, where an app says how many it gets at a time. Bounded in number here, in
//! time by the ticks. Whoever leaves an instance wakes one; nobody pays for it where nobody waits.
use super::exchange::Exchange;
use super::fault::Fault;
use super::flight::Stage;
use super::held::{Held, HeldPlace};
use super::snapshot::Way;
use super::target::{Entered, Target};
use std::pin::pin;
use std::sync::Arc;
use tokio::sync::Notify;

#[derive(Default)]
pub(super) struct Crowd {
    waiting: Arc<Held>,
    somebody_left: Notify,
}

impl Crowd {
    /// To be called after an instance's count went down.
    pub(super) fn tell_one(&self) {
        if self.waiting.waiting() > 0 {
            self.somebody_left.notify_one();
        }
    }
}

/// An instance with room, as soon as there is one; `None`: the app's requests go another way now.
pub(super) async fn wait_for_room(exchange: &mut Exchange) -> Result<Option<Arc<Target>>, Fault> {
    let crowd = exchange.app.crowd.clone();
    let mut waiter = Waiter { place: Some(enter(exchange, &crowd.waiting)?), crowd: &crowd };
    exchange.flight.enter(Stage::Queued);
    let client = exchange.client.clone();
    loop {
        let changed = client.worker.routes_changed.notified();
        let mut left = pin!(crowd.somebody_left.notified());
        // From here on whoever leaves wakes us: what was free before is seen now.
        left.as_mut().enable();
        exchange.refresh()?;
        let Way::To(targets) = exchange.way() else {
            waiter.admit();
            return Ok(None);
        };
        let target = least_busy(targets, exchange.app.room()).cloned();
        if target.is_some() {
            waiter.admit();
            return Ok(target);
        }
        tokio::select! {
            () = changed => {}
            () = left => {}
        }
    }
}

fn enter(exchange: &Exchange, waiting: &Arc<Held>) -> Result<HeldPlace, Fault> {
    if exchange.app.pace.queue == 0 {
        return Err(Fault::BacklogTooDeep);
    }
    let wire = exchange.client.wire.clone();
    waiting.enter(exchange.app.hold, exchange.weight(), wire).ok_or(Fault::BacklogTooDeep)
}

/// Entered, if any has room.
pub(super) fn least_busy(targets: &[Arc<Target>], room: Option<u64>) -> Option<&Arc<Target>> {
    let least = targets.iter().min_by_key(|target| target.in_flight())?;
    (least.enter(room) == Entered::Claimed).then_some(least)
}

/// One that is dropped without having been admitted may have been woken for nothing: the next one is told.
struct Waiter<'a> {
    place: Option<HeldPlace>,
    crowd: &'a Crowd,
}

impl Waiter<'_> {
    fn admit(&mut self) {
        if let Some(place) = self.place.take() {
            place.admit();
        }
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if self.place.take().is_some() {
            self.crowd.tell_one();
        }
    }
}
