//! Commands inside instances. An engine of this age lets them run on when their client has gone, and knows no call to end
//! one: it is ended by a signal that is sent inside the instance, by its shell.
use super::command::shell_line;
use super::hijack::{self, Call};
use super::link::{READ_TIME_MAX, Task};
use super::{DockerEngine, Result};
use crate::domain::ContainerId;
use crate::domain::failure::Exit;
use crate::domain::terminal::WindowSize;
use crate::engine::{Attachment, EngineError, ExecCommand, ExecId, ExecSpec, Stdio};
use bollard::Docker;
use bollard::exec::{CreateExecOptions, StartExecOptions};
use bollard::models::ExecInspectResponse;
use bytes::Bytes;
use std::time::Duration;

/// Between two looks at a command that is about to end. No engine tells of the end itself.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
const LOOK_AGAIN_MAX: Duration = Duration::from_millis(500);
/// Runs inside the instance: the process group first, then the process alone, which may have left the group.
const KILL: &str = "kill -s \"$1\" -- \"-$2\" 2>/dev/null; kill -s \"$1\" -- \"$2\" 2>/dev/null";

impl DockerEngine {
    pub(super) async fn start_exec(&self, id: &ContainerId, spec: &ExecSpec) -> Result<(ExecId, Attachment)> {
        let is_terminal = spec.stdio == Stdio::Terminal;
        let options = CreateExecOptions {
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            tty: Some(is_terminal),
            env: Some(spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
            cmd: Some(match &spec.command {
                ExecCommand::Words(words) => words.clone(),
                ExecCommand::Line(line) => vec!["sh".to_owned(), "-c".to_owned(), shell_line(line)],
            }),
            ..CreateExecOptions::default()
        };
        let exec = self.create_exec(id, options).await?;
        let version = self.link.api_version().await?;
        let call = Call {
            path: format!("/v{version}/exec/{}/start", exec.0),
            body: Bytes::from(serde_json::json!({ "Detach": false, "Tty": is_terminal }).to_string()),
            thing: "container",
            what: "start a command in a container",
        };
        let attachment = hijack::open(self.link.socket(), call, spec.stdio).await?;
        Ok((exec, attachment))
    }

    async fn create_exec(&self, id: &ContainerId, options: CreateExecOptions<String>) -> Result<ExecId> {
        let create = |docker: Docker| async move { docker.create_exec(id.as_str(), options).await };
        let task = Task::new("make a command for", "container", id.short());
        Ok(ExecId(self.link.ask(task, READ_TIME_MAX, create).await?.id))
    }

    pub(super) async fn resize_exec_terminal(&self, exec: &ExecId, size: WindowSize) -> Result<()> {
        let options = bollard::exec::ResizeExecOptions { height: size.rows, width: size.columns };
        let resize = |docker: Docker| async move { docker.resize_exec(&exec.0, options).await };
        self.link.ask(Task::new("resize the terminal of", "command", &exec.0), READ_TIME_MAX, resize).await
    }

    pub(super) async fn wait_for_exec(&self, exec: &ExecId) -> Result<Exit> {
        let mut pause = LOOK_AGAIN;
        loop {
            match self.inspect_exec(exec).await {
                Ok(inspected) if inspected.running == Some(false) => {
                    let code = inspected.exit_code.unwrap_or(-1);
                    return Ok(Exit::Status(i32::try_from(code).unwrap_or(-1)));
                }
                Ok(_) | Err(EngineError::Unreachable(_)) => tokio::time::sleep(pause).await,
                Err(error) => return Err(error),
            }
            pause = (pause * 2).min(LOOK_AGAIN_MAX);
        }
    }

    pub(super) async fn kill_exec(&self, id: &ContainerId, exec: &ExecId, grace: Duration) -> Result<()> {
        let Some((pid, is_terminal)) = self.process_of(exec).await? else { return Ok(()) };
        self.signal(id, if is_terminal { "HUP" } else { "TERM" }, &pid).await?;
        if tokio::time::timeout(grace, self.wait_for_exec(exec)).await.is_ok() {
            return Ok(());
        }
        self.signal(id, "KILL", &pid).await
    }

    /// Its process as the instance numbers it, and whether it has a terminal; `None` when it has ended.
    async fn process_of(&self, exec: &ExecId) -> Result<Option<(String, bool)>> {
        let inspected = match self.inspect_exec(exec).await {
            Ok(inspected) if inspected.running == Some(true) => inspected,
            Ok(_) | Err(EngineError::Missing(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let is_terminal = inspected.process_config.and_then(|config| config.tty) == Some(true);
        // It has no number before it runs, and its entry is gone when it has ended meanwhile.
        let Some(pid) = inspected.pid.filter(|pid| *pid > 0) else { return Ok(None) };
        let status = tokio::fs::read_to_string(format!("/proc/{pid}/status")).await.unwrap_or_default();
        Ok(inner_pid(&status).map(|pid| (pid.to_owned(), is_terminal)))
    }

    /// As the user that the command runs as: another one, root too, would have no right to (20.10 gives it no capability).
    async fn signal(&self, id: &ContainerId, signal: &str, pid: &str) -> Result<()> {
        let words = ["sh", "-c", KILL, "sh", signal, pid].map(str::to_owned).to_vec();
        let options = CreateExecOptions { cmd: Some(words), ..CreateExecOptions::default() };
        let exec = match self.create_exec(id, options).await {
            Ok(exec) => exec,
            // The instance has ended, and everything in it.
            Err(EngineError::Missing(_) | EngineError::Refused(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        let start = |docker: Docker| async move {
            let options = StartExecOptions { detach: true, ..StartExecOptions::default() };
            docker.start_exec(&exec.0, Some(options)).await.map(drop)
        };
        self.link.ask(Task::new("signal a command in", "container", id.short()), READ_TIME_MAX, start).await
    }

    async fn inspect_exec(&self, exec: &ExecId) -> Result<ExecInspectResponse> {
        let inspect = |docker: Docker| async move { docker.inspect_exec(&exec.0).await };
        self.link.ask(Task::new("inspect", "command", &exec.0), READ_TIME_MAX, inspect).await
    }
}

/// The innermost of the numbers that a process has: `NSpid:  4711  23`.
fn inner_pid(status: &str) -> Option<&str> {
    status.lines().find_map(|line| line.strip_prefix("NSpid:"))?.split_ascii_whitespace().nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_in_an_instance_has_a_number_there_too() {
        assert_eq!(inner_pid("Name:\tsh\nNSpid:\t4711\t23\nNSpgid:\t1\n"), Some("23"));
        assert_eq!(inner_pid("NSpid:\t4711\n"), None, "a process of the host is never meant");
        assert_eq!(inner_pid(""), None);
    }
}
