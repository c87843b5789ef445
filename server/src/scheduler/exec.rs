//! Commands inside instances that run (`paas exec`). Whoever asks for one holds its [`Exec`]; when that is dropped, the
//! command is ended, which the engine would not do by itself.
use super::one_off::Run;
use super::{House, Scheduler};
use crate::domain::ContainerId;
use crate::domain::failure::Exit;
use crate::domain::release::Config;
use crate::engine::{Attachment, EngineError, ExecCommand, ExecId, ExecSpec, Stdio, WindowSize};
use std::sync::Arc;
use std::time::Duration;

/// From the signal to end to SIGKILL.
const GRACE: Duration = Duration::from_secs(5);

/// A command that runs inside an instance. Dropped, it is ended.
pub struct Exec {
    house: Arc<House>,
    container: ContainerId,
    id: ExecId,
}

impl Scheduler {
    /// Starts a command inside an instance, with `env` beside the instance's environment.
    pub async fn exec(
        &self,
        container: &ContainerId,
        run: Run,
        env: &Config,
        stdio: Stdio,
    ) -> Result<(Exec, Attachment), EngineError> {
        let command = match run {
            Run::Line(line) => ExecCommand::Line(line),
            Run::Words(words) => ExecCommand::Words(words),
            Run::ImageDefault => return Err(EngineError::Refused("no command was given".to_owned())),
        };
        let env = env.iter().map(|(name, value)| (name.to_string(), value.reveal().clone())).collect();
        let (id, attachment) = self.0.tools.engine.exec(container, &ExecSpec { command, stdio, env }).await?;
        Ok((Exec { house: Arc::clone(&self.0), container: container.clone(), id }, attachment))
    }
}

impl Exec {
    pub async fn resize(&self, size: WindowSize) -> Result<(), EngineError> {
        self.house.tools.engine.resize_exec(&self.id, size).await
    }

    pub async fn wait(&self) -> Result<Exit, EngineError> {
        self.house.tools.engine.wait_exec(&self.id).await
    }
}

impl Drop for Exec {
    fn drop(&mut self) {
        let (house, container, id) = (Arc::clone(&self.house), self.container.clone(), self.id.clone());
        self.house.tools.tracker.spawn(async move {
            if let Err(error) = house.tools.engine.end_exec(&container, &id, GRACE).await {
                tracing::warn!("a command inside {} may run on without its user: {error}", container.short());
            }
        });
    }
}
