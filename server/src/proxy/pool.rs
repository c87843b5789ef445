//! Idle connections to instances, one pool per thread. An instance's pool dies with its place in the table.
use super::limits::{IDLE_LANES_MAX, LANE_IDLE_MAX_UNSAFE, Spans};
use super::target::Target;
use super::upstream::Lane;
use http::Method;
use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

pub(super) struct Pool {
    /// By the target's serial; the one used last stands last.
    lanes: RefCell<HashMap<u64, Vec<Idle>>>,
    tick: Duration,
}

struct Idle {
    lane: Lane,
    since: u32,
}

impl Pool {
    pub(super) fn new(spans: &Spans) -> Self {
        Self { lanes: RefCell::default(), tick: spans.tick }
    }

    /// A connection that most likely still lives. What must not be sent twice gets one that was used just now, or none.
    pub(super) fn take(&self, target: &Target, method: &Method, now: u32) -> Option<Lane> {
        let longest = if is_idempotent(method) { Duration::MAX } else { LANE_IDLE_MAX_UNSAFE };
        let mut lanes = self.lanes.borrow_mut();
        let idle = lanes.get_mut(&target.serial)?;
        for place in (0..idle.len()).rev() {
            if !self.is_alive(&idle[place], now) {
                idle.remove(place);
            } else if self.age(&idle[place], now) <= longest {
                return Some(idle.remove(place).lane);
            }
        }
        None
    }

    pub(super) fn give_back(&self, mut lane: Lane, now: u32) {
        if lane.idle_max.is_zero() || !lane.is_free() {
            return;
        }
        lane.rest();
        let mut lanes = self.lanes.borrow_mut();
        let idle = lanes.entry(lane.target.serial).or_default();
        if idle.len() < IDLE_LANES_MAX {
            idle.push(Idle { lane, since: now });
        }
    }

    /// Closes what is too old, and what leads to instances that left the table.
    pub(super) fn prune(&self, now: u32) {
        self.lanes.borrow_mut().retain(|_, idle| {
            idle.retain(|idle| self.is_alive(idle, now));
            !idle.is_empty()
        });
    }

    pub(super) fn clear(&self) {
        self.lanes.borrow_mut().clear();
    }

    fn is_alive(&self, idle: &Idle, now: u32) -> bool {
        idle.lane.is_free() && self.age(idle, now) <= idle.lane.idle_max
    }

    /// At most so old: a tick may have been about to pass when it began to idle.
    fn age(&self, idle: &Idle, now: u32) -> Duration {
        self.tick * (now.saturating_sub(idle.since) + 1)
    }
}

/// RFC 9110, section 9.2.2.
pub(super) fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE)
}
