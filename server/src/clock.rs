//! The only caller of the system clock: everybody else is handed a [`Moment`].
use crate::domain::Moment;
use std::sync::Arc;
use std::time::Instant;

pub trait Clock: Send + Sync {
    fn now(&self) -> Moment;
}

/// Wall time at its making, then monotonic: stepping the machine's clock never moves a deadline of this process.
pub struct SystemClock {
    started_at: Moment,
    started: Instant,
}

impl SystemClock {
    pub fn shared() -> Arc<dyn Clock> {
        Arc::new(Self { started_at: wall_clock(), started: Instant::now() })
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        self.started_at.plus(self.started.elapsed())
    }
}

#[expect(clippy::disallowed_methods, reason = "this file is the one place that may ask the system")]
fn wall_clock() -> Moment {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Moment::default().plus(since_epoch)
}
