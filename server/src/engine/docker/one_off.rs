//! One-off instances: made as instances are, attached to, waited for.
use super::instances::{created_at, state_of};
use super::link::{READ_TIME_MAX, STREAM_OPEN_TIME_MAX, Task};
use super::{DockerEngine, app_of, creation, hijack};
use crate::domain::failure::Exit;
use crate::domain::instance::Slot;
use crate::domain::{AppId, ContainerId, InstallationId, ReleaseNo};
use crate::engine::{
    Attachment, EngineError, ExecId, ExecSpec, Keep, ObservedState, OneOffEngine, OneOffSeen, OneOffSpec, Result,
    Stdio, WindowSize, label,
};
use async_trait::async_trait;
use bollard::Docker;
use bollard::errors::Error;
use bollard::models::{ContainerCreateBody, ContainerSummary, HostConfigLogConfig};
use bollard::query_parameters::ResizeContainerTTYOptions;
use bytes::Bytes;
use futures_util::StreamExt as _;
use std::collections::HashMap;
use std::pin::pin;
use std::time::Duration;

/// Before an engine that went away is asked again.
const RETRY: Duration = Duration::from_secs(1);
const KEPT: &str = "yes";

#[async_trait]
impl OneOffEngine for DockerEngine {
    async fn create_one_off(&self, spec: &OneOffSpec) -> Result<ContainerId> {
        self.create(&spec.instance, body(&self.installation, spec)).await
    }

    async fn attach(&self, id: &ContainerId, stdio: Stdio) -> Result<Attachment> {
        let version = self.link.api_version().await?;
        let call = hijack::Call {
            path: format!("/v{version}/containers/{id}/attach?stream=1&stdin=1&stdout=1&stderr=1"),
            body: Bytes::new(),
            thing: "container",
            what: "attach to a container",
        };
        hijack::open(self.link.socket(), call, stdio).await
    }

    async fn start_one_off(&self, id: &ContainerId) -> Result<()> {
        self.start_container(id).await
    }

    async fn resize(&self, id: &ContainerId, size: WindowSize) -> Result<()> {
        let options = ResizeContainerTTYOptions { h: size.rows.into(), w: size.columns.into() };
        let resize = |docker: Docker| async move { docker.resize_container_tty(id.as_str(), options).await };
        self.link.ask(Task::new("resize the terminal of", "container", id.short()), READ_TIME_MAX, resize).await
    }

    async fn wait(&self, id: &ContainerId) -> Result<Exit> {
        loop {
            match self.end_of(id).await {
                Ok(Some(exit)) => return Ok(exit),
                Ok(None) | Err(EngineError::Unreachable(_)) => tokio::time::sleep(RETRY).await,
                Err(error @ (EngineError::Missing(_) | EngineError::Refused(_) | EngineError::Other(_))) => {
                    return Err(error);
                }
            }
        }
    }

    async fn one_offs(&self, app: Option<AppId>) -> Result<Vec<OneOffSeen>> {
        self.one_offs_among(self.list_containers(app).await?).await
    }

    async fn exec(&self, id: &ContainerId, spec: &ExecSpec) -> Result<(ExecId, Attachment)> {
        self.start_exec(id, spec).await
    }

    async fn resize_exec(&self, exec: &ExecId, size: WindowSize) -> Result<()> {
        self.resize_exec_terminal(exec, size).await
    }

    async fn wait_exec(&self, exec: &ExecId) -> Result<Exit> {
        self.wait_for_exec(exec).await
    }

    async fn end_exec(&self, id: &ContainerId, exec: &ExecId, grace: Duration) -> Result<()> {
        self.kill_exec(id, exec, grace).await
    }
}

impl DockerEngine {
    /// How it ended; `None`: the engine stopped waiting before it did.
    async fn end_of(&self, id: &ContainerId) -> Result<Option<Exit>> {
        let docker = self.link.client(Task::new("wait for", "container", id.short()), STREAM_OPEN_TIME_MAX).await?;
        let mut end = pin!(docker.wait_container(id.as_str(), None));
        let status = match end.next().await {
            Some(Ok(end)) => Some(end.status_code),
            Some(Err(Error::DockerContainerWaitError { code, .. })) => Some(code),
            // Whatever else was said, the inspection says it again, or knows better.
            Some(Err(_)) | None => None,
        };
        match (self.inspect(id.as_str()).await, status) {
            // The status alone does not tell whether memory was the cause.
            (Ok(inspected), _) => Ok(match state_of(&inspected) {
                ObservedState::Exited { exit, .. } => Some(exit),
                ObservedState::Created | ObservedState::Running { .. } => None,
            }),
            // Whoever ended it has removed it at once.
            (Err(EngineError::Missing(_)), Some(status)) => Ok(Some(Exit::Status(i32::try_from(status).unwrap_or(-1)))),
            (Err(error), _) => Err(error),
        }
    }

    pub(super) async fn one_offs_among(&self, summaries: Vec<ContainerSummary>) -> Result<Vec<OneOffSeen>> {
        let mut seen = Vec::new();
        for summary in summaries {
            seen.extend(self.observe_one_off(summary).await?);
        }
        Ok(seen)
    }

    /// `None`: it is no one-off, or was removed meanwhile.
    async fn observe_one_off(&self, summary: ContainerSummary) -> Result<Option<OneOffSeen>> {
        let (Some(id), Some(labels)) = (&summary.id, &summary.labels) else { return Ok(None) };
        let Some((app, release, name, keep)) = identity_of(labels) else { return Ok(None) };
        let Some(state) = self.state_of(id, &summary).await? else { return Ok(None) };
        let (id, created_at) = (ContainerId::new(id.clone()), created_at(&summary));
        Ok(Some(OneOffSeen { id, app, release, name, keep, created_at, state }))
    }
}

fn identity_of(labels: &HashMap<String, String>) -> Option<(AppId, ReleaseNo, Slot, Keep)> {
    let name = labels.get(label::JOB)?.parse().ok()?;
    let release = ReleaseNo(labels.get(label::RELEASE)?.parse().ok()?);
    let keep = if labels.contains_key(label::KEEP) { Keep::Always } else { Keep::WithServer };
    Some((app_of(labels)?, release, name, keep))
}

fn body(installation: &InstallationId, spec: &OneOffSpec) -> ContainerCreateBody {
    let mut body = creation::body(installation, &spec.instance);
    let labels = body.labels.get_or_insert_default();
    for of_the_formation in [label::PROCESS, label::INDEX, label::EPOCH] {
        labels.remove(of_the_formation);
    }
    labels.insert(label::JOB.to_owned(), spec.instance.slot.to_string());
    if spec.keep == Keep::Always {
        labels.insert(label::KEEP.to_owned(), KEPT.to_owned());
    }
    if let Some(words) = &spec.words {
        body.entrypoint = Some(Vec::new());
        body.cmd = Some(creation::started(&spec.instance, words.iter().cloned()));
    }
    let is_attached = match spec.stdio {
        Stdio::Logged => false,
        Stdio::Streams => true,
        Stdio::Terminal => {
            body.tty = Some(true);
            // What a terminal that is gone says to its programs; a shell on it ignores SIGTERM.
            body.stop_signal = Some("SIGHUP".to_owned());
            true
        }
    };
    if is_attached {
        body.open_stdin = Some(true);
        body.stdin_once = Some(true);
        if let Some(host) = &mut body.host_config {
            host.log_config = Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None });
        }
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{AppKey, ImageId, Protocol};
    use crate::engine::{InstanceSpec, NetworkId};
    use std::collections::BTreeMap;

    fn spec(stdio: Stdio) -> OneOffSpec {
        let instance = InstanceSpec {
            app: AppId(7),
            app_key: AppKey::new("0123456789abcdef0123456789abcdef"),
            release: ReleaseNo(3),
            slot: "run.7".parse().unwrap(),
            epoch: 0,
            protocol: Protocol::Http1,
            image: ImageId::new("sha256:ab"),
            starter: None,
            shell_command: Some("node x".to_owned()),
            env: BTreeMap::new(),
            network: NetworkId("net".to_owned()),
            memory_bytes: 1 << 29,
            cpu_millis: None,
            mounts: Vec::new(),
        };
        OneOffSpec { instance, words: None, stdio, keep: Keep::WithServer }
    }

    #[test]
    fn plans_do_not_see_it_and_its_limits_are_an_instances() {
        let installation = InstallationId::new("i");
        let (spec, ordinary) = (spec(Stdio::Logged), creation::body(&installation, &spec(Stdio::Logged).instance));
        let body = body(&installation, &spec);
        let labels = body.labels.unwrap();
        assert!(labels.keys().all(|name| ![label::PROCESS, label::INDEX, label::EPOCH].contains(&name.as_str())));
        let identity = (AppId(7), ReleaseNo(3), "run.7".parse().unwrap(), Keep::WithServer);
        assert_eq!(identity_of(&labels), Some(identity));
        assert_eq!((body.host_config, body.cmd), (ordinary.host_config, ordinary.cmd));
    }

    #[test]
    fn words_run_as_they_are_and_a_line_in_a_shell() {
        let words = Some(vec!["echo".to_owned(), "$HOME".to_owned()]);
        let body = super::body(&InstallationId::new("i"), &OneOffSpec { words, ..spec(Stdio::Terminal) });
        assert_eq!(body.cmd.unwrap(), ["echo", "$HOME"]);
        assert_eq!((body.tty, body.stop_signal.as_deref()), (Some(true), Some("SIGHUP")));
        let body = super::body(&InstallationId::new("i"), &spec(Stdio::Streams));
        assert_eq!(body.cmd.unwrap(), ["sh", "-c", "exec node x"]);
        assert_eq!((body.tty, body.open_stdin), (None, Some(true)));
    }
}
