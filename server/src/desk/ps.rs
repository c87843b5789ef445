//! Instances in words, and new ones in their place.
use super::{Desk, Refusal};
use crate::domain::App;
use crate::domain::ProcessType;
use crate::domain::health::Health;
use crate::domain::instance::{Probe, Slot, State, Traffic};
use crate::scheduler::Instance;

/// How an instance is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceWords {
    pub state: &'static str,
    pub detail: String,
}

pub fn words_of(instance: &Instance, health: &Health) -> InstanceWords {
    let (state, detail) = match (instance.state, instance.traffic) {
        (State::Ready, Traffic::Routed) => ("up", "serves".to_owned()),
        (State::Ready, Traffic::Draining) => ("draining", "finishes its requests".to_owned()),
        (State::Ready, Traffic::Quiet) => ("up", String::new()),
        (State::Starting { probe: Probe::Status(status), .. }, _) => {
            ("starting", format!("GET {} → {status}", health.path()))
        }
        (State::Starting { probe: Probe::NoAnswer, .. }, _) => ("starting", String::new()),
        (State::Made, _) => ("made", "waits for its turn".to_owned()),
        (State::Stopping, _) => ("stopping", String::new()),
        (State::Exited { exit, .. }, _) => ("exited", exit.to_string()),
    };
    InstanceWords { state, detail }
}

impl Desk {
    /// Asks for new instances: of a type (`web`), of one slot (`web.1`), of everything when nothing is named.
    pub async fn restart(&self, app: &App, what: Option<&str>) -> Result<(), Refusal> {
        let live = self.store.live_release(app.id).await?;
        let live = live.ok_or_else(|| Refusal::new(format!("{} has no release to restart", app.name)))?;
        let (types, index) = match what {
            None => (live.processes.keys().cloned().collect(), None),
            Some(text) => parse_what(text)?,
        };
        for process in &types {
            if !live.processes.contains_key(process) {
                return Err(Refusal::new(format!("{} of {} has no process type `{process}`", live.no, app.name)));
            }
            self.store.restart(app.id, process, index).await?;
        }
        self.scheduler.wake(app.id);
        Ok(())
    }
}

fn parse_what(text: &str) -> Result<(Vec<ProcessType>, Option<u32>), Refusal> {
    if text.contains('.') {
        let slot: Slot = text.parse().map_err(|error: String| Refusal::new(error))?;
        return Ok((vec![slot.process], Some(slot.index)));
    }
    let process = text.parse().map_err(|error: crate::domain::name::NameError| Refusal::new(error.to_string()))?;
    Ok((vec![process], None))
}
