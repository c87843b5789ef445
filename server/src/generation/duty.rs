//! Whether this process is in charge, and what is under way that has to end before another may be.
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;

/// Shared by everybody who begins what must not be torn in two by a hand-over. Cheap to clone.
#[derive(Clone)]
pub struct Duty(Arc<watch::Sender<State>>);

/// From being in charge to having handed over. Every phase but the last may go back to the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    InCharge,
    /// Waits for what is under way; new SSH connections wait for the successor.
    Leaving,
    /// Nothing is under way, and what would begin waits.
    Closed,
    /// Another process is in charge: only what goes on by itself is finished here.
    Relieved,
}

struct State {
    phase: Phase,
    numbers: u64,
    tasks: BTreeMap<u64, String>,
}

/// Something under way; it ends when this is dropped.
pub struct Task {
    duty: Duty,
    number: u64,
}

/// What would have begun belongs to the successor.
#[derive(Debug, thiserror::Error)]
#[error("this server was replaced by a newer one meanwhile")]
pub struct Relieved;

impl Default for Duty {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(State { phase: Phase::InCharge, numbers: 0, tasks: BTreeMap::new() })))
    }
}

impl Duty {
    /// Begins something that a hand-over waits for. While one is being made, waits for how it ends.
    pub async fn begin(&self, what: &str) -> Result<Task, Relieved> {
        let mut changes = self.0.subscribe();
        loop {
            if let Some(number) = self.take_number(what) {
                return Ok(Task { duty: self.clone(), number });
            }
            if self.phase() == Phase::Relieved {
                return Err(Relieved);
            }
            // Its sender is ours.
            let _ = changes.changed().await;
        }
    }

    fn take_number(&self, what: &str) -> Option<u64> {
        let mut taken = None;
        self.0.send_if_modified(|state| match state.phase {
            Phase::InCharge | Phase::Leaving => {
                state.numbers += 1;
                state.tasks.insert(state.numbers, what.to_owned());
                taken = Some(state.numbers);
                true
            }
            Phase::Closed | Phase::Relieved => false,
        });
        taken
    }

    pub fn phase(&self) -> Phase {
        self.0.borrow().phase
    }

    /// Hears of every change of the phase, and now and then of none.
    pub fn changes(&self) -> impl Future<Output = ()> + use<> {
        let mut changes = self.0.subscribe();
        async move {
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    pub async fn until_relieved(&self) {
        let mut changes = self.0.subscribe();
        if changes.wait_for(|state| state.phase == Phase::Relieved).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    pub fn enter(&self, phase: Phase) {
        self.0.send_modify(|state| state.phase = phase);
    }

    /// From leaving to closed, if nothing is under way.
    pub fn close(&self) -> bool {
        self.0.send_if_modified(|state| {
            let may_close = state.phase == Phase::Leaving && state.tasks.is_empty();
            if may_close {
                state.phase = Phase::Closed;
            }
            may_close
        })
    }

    /// What is under way, as it was called when it began.
    pub fn under_way(&self) -> Vec<String> {
        self.0.borrow().tasks.values().cloned().collect()
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.duty.0.send_modify(|state| {
            state.tasks.remove(&self.number);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn nothing_begins_once_it_is_closed_and_what_waited_goes_on_when_it_is_open_again() {
        let duty = Duty::default();
        let push = duty.begin("push to blog").await.unwrap();
        duty.enter(Phase::Leaving);
        assert!(!duty.close());
        assert_eq!(duty.under_way(), ["push to blog"]);
        let late = duty.begin("config:set").await.unwrap();
        drop((push, late));
        assert!(duty.close());
        let waiting = duty.clone();
        let waiting = async move { waiting.begin("apps:create").await.map(drop) };
        tokio::pin!(waiting);
        assert!(tokio::time::timeout(Duration::from_millis(20), &mut waiting).await.is_err());
        duty.enter(Phase::InCharge);
        waiting.await.unwrap();
        duty.enter(Phase::Relieved);
        duty.until_relieved().await;
        assert!(duty.begin("apps:create").await.is_err());
    }

    #[tokio::test]
    async fn tasks_that_begin_at_the_same_time_are_counted_each() {
        let duty = Duty::default();
        let begun = futures_util::future::join_all((0..20).map(|n| {
            let duty = duty.clone();
            async move { duty.begin(&n.to_string()).await.unwrap() }
        }))
        .await;
        assert_eq!(duty.under_way().len(), 20);
        drop(begun);
        assert!(duty.under_way().is_empty());
    }
}
