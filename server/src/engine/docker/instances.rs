//! Instances: making, watching and ending containers.
use super::link::{READ_TIME_MAX, Task, WRITE_TIME_MAX};
use super::{DockerEngine, app_of, creation, moment_of, random_hex};
use crate::crash_point;
use crate::domain::failure::{Exit, Listening};
use crate::domain::instance::Slot;
use crate::domain::{AppId, ContainerId, Moment, ReleaseNo};
use crate::engine::{Census, EngineError, InstanceSpec, NO_ADDRESS, Observed, ObservedState, Result, label, sockets};
use anyhow::anyhow;
use bollard::Docker;
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, ContainerState, ContainerSummary, ContainerSummaryStateEnum,
};
use bollard::query_parameters::{
    CreateContainerOptions, ListContainersOptions, RemoveContainerOptions, StopContainerOptions,
};
use futures_util::stream::{self, StreamExt as _};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Inspections at a time, when many instances are new to us.
const INSPECTIONS_AT_ONCE: usize = 8;
/// SIGKILL's status.
const KILLED: i64 = 137;

/// What inspections said. A list carries neither start nor exit, and it is asked for every few seconds, so each container
/// is inspected once per state that a list shows it in.
#[derive(Default)]
pub(super) struct Known(Mutex<HashMap<String, (Look, ObservedState)>>);

/// What of a list's entry changes when its state does.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Look {
    state: Option<ContainerSummaryStateEnum>,
    address: Option<String>,
}

impl Known {
    fn get(&self, id: &str, look: &Look) -> Option<ObservedState> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(id).filter(|(then, _)| then == look).map(|(_, state)| state.clone())
    }

    fn put(&self, id: &str, look: Look, state: ObservedState) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned(), (look, state));
    }

    /// The engine tells that a container ended before its list does: what is known of it from the list means nothing then.
    pub(super) fn forget(&self, id: &ContainerId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id.as_str());
    }

    fn retain(&self, ids: &HashSet<&str>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|id, _| ids.contains(id.as_str()));
    }
}

impl DockerEngine {
    pub(super) async fn list_instances(&self, app: Option<AppId>) -> Result<Vec<Observed>> {
        let summaries = self.list_containers(app).await?;
        if app.is_none() {
            self.known.retain(&summaries.iter().filter_map(|one| one.id.as_deref()).collect());
        }
        self.instances_among(summaries).await
    }

    /// Everything by one list.
    pub(super) async fn count_all(&self) -> Result<Census> {
        let summaries = self.list_containers(None).await?;
        self.known.retain(&summaries.iter().filter_map(|one| one.id.as_deref()).collect());
        let paused = summaries.iter().filter(|one| one.state == Some(ContainerSummaryStateEnum::PAUSED));
        let paused = paused.filter_map(|one| {
            let app = one.labels.as_ref().and_then(app_of);
            Some((ContainerId::new(one.id.clone()?), app))
        });
        let paused = paused.collect();
        let one_offs = self.one_offs_among(summaries.clone()).await?;
        Ok(Census { instances: self.instances_among(summaries).await?, one_offs, paused })
    }

    async fn instances_among(&self, summaries: Vec<ContainerSummary>) -> Result<Vec<Observed>> {
        let looks = stream::iter(summaries).map(|summary| self.observe(summary)).buffered(INSPECTIONS_AT_ONCE);
        let observed: Vec<Result<Option<Observed>>> = looks.collect().await;
        observed.into_iter().filter_map(Result::transpose).collect()
    }

    pub(super) async fn list_containers(&self, app: Option<AppId>) -> Result<Vec<ContainerSummary>> {
        let options = ListContainersOptions { all: true, filters: Some(self.ours(app)), ..Default::default() };
        let list = |docker: Docker| async move { docker.list_containers(Some(options)).await };
        self.link.ask(Task::new("list", "containers", ""), READ_TIME_MAX, list).await
    }

    pub(super) async fn all_containers(&self) -> Result<Vec<(ContainerId, Option<AppId>)>> {
        let containers = self.list_containers(None).await?.into_iter();
        let named = |one: ContainerSummary| Some((ContainerId::new(one.id?), app_of(&one.labels.unwrap_or_default())));
        Ok(containers.filter_map(named).collect())
    }

    /// `None`: it is no instance, or was removed meanwhile.
    async fn observe(&self, summary: ContainerSummary) -> Result<Option<Observed>> {
        let (Some(id), Some(labels)) = (&summary.id, &summary.labels) else { return Ok(None) };
        let Some((app, release, slot, epoch)) = identity_of(labels) else { return Ok(None) };
        let protocol = labels.get(label::PROTOCOL).and_then(|named| named.parse().ok()).unwrap_or_default();
        let Some(state) = self.state_of(id, &summary).await? else { return Ok(None) };
        let created_at = created_at(&summary);
        Ok(Some(Observed { id: ContainerId::new(id.clone()), app, release, slot, epoch, protocol, created_at, state }))
    }

    /// The state that a list's entry stands for; `None`: it was removed meanwhile.
    pub(super) async fn state_of(&self, id: &str, summary: &ContainerSummary) -> Result<Option<ObservedState>> {
        let look = Look { state: summary.state, address: listed_address(summary) };
        if let Some(state) = self.known.get(id, &look) {
            return Ok(Some(state));
        }
        match self.inspect(id).await {
            Ok(inspected) => {
                let state = state_of(&inspected);
                self.known.put(id, look, state.clone());
                Ok(Some(state))
            }
            Err(EngineError::Missing(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn inspect(&self, id: &str) -> Result<ContainerInspectResponse> {
        let inspect = |docker: Docker| async move { docker.inspect_container(id, None).await };
        self.link.ask(Task::new("inspect", "container", id), READ_TIME_MAX, inspect).await
    }

    /// Dropped half-way it may leave a container that was made and not started: the next list shows it.
    pub(super) async fn make_instance(&self, spec: &InstanceSpec) -> Result<ContainerId> {
        let id = self.create(spec, creation::body(&self.installation, spec)).await?;
        crash_point!("instance-created");
        Ok(id)
    }

    pub(super) async fn create(&self, spec: &InstanceSpec, body: ContainerCreateBody) -> Result<ContainerId> {
        let name = creation::name(&self.installation, spec, &random_hex()?);
        let options = CreateContainerOptions { name: Some(name), ..Default::default() };
        let create = |docker: Docker| async move { docker.create_container(Some(options), body).await };
        let task = Task::new("create a container from", "image", spec.image.as_str());
        let id = ContainerId::new(self.link.ask(task, WRITE_TIME_MAX, create).await?.id);
        if let Err(error) = self.give_mounts(&id, &spec.mounts).await {
            // The first error is the one to tell; what stays behind is seen by the next list.
            drop(self.remove_instance(&id).await);
            return Err(error);
        }
        Ok(id)
    }

    pub(super) async fn start_container(&self, id: &ContainerId) -> Result<()> {
        let start = |docker: Docker| async move { docker.start_container(id.as_str(), None).await };
        self.link.ask(Task::new("start", "container", id.short()), WRITE_TIME_MAX, start).await
    }

    pub(super) async fn run_instance(&self, id: &ContainerId) -> Result<IpAddr> {
        self.start_container(id).await?;
        let inspected = self.inspect(id.as_str()).await?;
        match (address_of(&inspected), state_of(&inspected)) {
            (Some(address), _) => Ok(address),
            // A crash at once is no failure to start: its exit and its last lines are still to be read.
            (None, ObservedState::Exited { .. }) => Ok(NO_ADDRESS),
            (None, ObservedState::Created | ObservedState::Running { .. }) => {
                Err(EngineError::Other(anyhow!("the engine gave container {} no address", id.short())))
            }
        }
    }

    pub(super) async fn stop_instance(&self, id: &ContainerId, grace: Duration) -> Result<()> {
        let seconds = i32::try_from(grace.as_millis().div_ceil(1000)).unwrap_or(i32::MAX);
        let options = StopContainerOptions { t: Some(seconds), ..Default::default() };
        let stop = |docker: Docker| async move { docker.stop_container(id.as_str(), Some(options)).await };
        let task = Task::new("stop", "container", id.short());
        match self.link.ask(task, grace + WRITE_TIME_MAX, stop).await {
            // Gone or on its way out: removing it has the last word.
            Ok(()) | Err(EngineError::Missing(_) | EngineError::Refused(_)) => self.remove_instance(id).await,
            Err(error @ (EngineError::Unreachable(_) | EngineError::Other(_))) => Err(error),
        }
    }

    pub(super) async fn remove_instance(&self, id: &ContainerId) -> Result<()> {
        // With the anonymous volumes that the image's VOLUME lines made: they carry no label of ours.
        let options = RemoveContainerOptions { force: true, v: true, link: false };
        let remove = |docker: Docker| async move { docker.remove_container(id.as_str(), Some(options)).await };
        match self.link.ask(Task::new("remove", "container", id.short()), WRITE_TIME_MAX, remove).await {
            Err(EngineError::Missing(_)) => Ok(()),
            Err(EngineError::Refused(words)) if words.contains("already in progress") => Ok(()),
            outcome => outcome,
        }
    }

    pub(super) async fn judge_listening(&self, id: &ContainerId, port: u16) -> Listening {
        let pid = match self.inspect(id.as_str()).await {
            Ok(inspected) => inspected.state.and_then(|state| state.pid).filter(|pid| *pid > 0),
            Err(_unreachable_or_gone) => None,
        };
        let Some(pid) = pid else { return Listening::Unknown };
        sockets::of_process(pid).await.map_or(Listening::Unknown, |sockets| sockets::judge(&sockets, port))
    }
}

fn identity_of(labels: &HashMap<String, String>) -> Option<(AppId, ReleaseNo, Slot, u64)> {
    let process = labels.get(label::PROCESS)?.parse().ok()?;
    let index = labels.get(label::INDEX)?.parse().ok()?;
    let release = ReleaseNo(labels.get(label::RELEASE)?.parse().ok()?);
    let epoch = labels.get(label::EPOCH)?.parse().ok()?;
    Some((app_of(labels)?, release, Slot { process, index }, epoch))
}

pub(super) fn created_at(summary: &ContainerSummary) -> Moment {
    Moment::from_unix_ms(summary.created.unwrap_or_default().saturating_mul(1000))
}

fn listed_address(summary: &ContainerSummary) -> Option<String> {
    summary.network_settings.as_ref()?.networks.as_ref()?.values().find_map(|network| network.ip_address.clone())
}

/// Its address on its one network.
fn address_of(inspected: &ContainerInspectResponse) -> Option<IpAddr> {
    let networks = inspected.network_settings.as_ref()?.networks.as_ref()?;
    networks.values().find_map(|network| network.ip_address.as_deref()?.parse().ok())
}

pub(super) fn state_of(inspected: &ContainerInspectResponse) -> ObservedState {
    let Some(state) = &inspected.state else { return ObservedState::Created };
    let Some(started_at) = state.started_at.as_deref().and_then(moment_of) else {
        return ObservedState::Created;
    };
    if state.running != Some(true) {
        let ended_at = state.finished_at.as_deref().and_then(moment_of);
        return ObservedState::Exited { at: ended_at.unwrap_or(started_at), exit: exit_of(state) };
    }
    match address_of(inspected) {
        Some(address) => ObservedState::Running { address, started_at },
        // Somebody took its network away: nobody can reach it, so it counts as ended and is replaced.
        None => ObservedState::Exited { at: started_at, exit: Exit::Status(-1) },
    }
}

/// The engine's flag also stays set by a child that was killed earlier, while the instance lived on: memory is the cause
/// only of an end that was a failure.
fn exit_of(state: &ContainerState) -> Exit {
    let code = state.exit_code.unwrap_or(KILLED);
    match (state.oom_killed, code) {
        (Some(true), 1..) => Exit::OutOfMemory,
        _ => Exit::Status(i32::try_from(code).unwrap_or(-1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(oom_killed: bool, exit_code: i64) -> Exit {
        exit_of(&ContainerState { oom_killed: Some(oom_killed), exit_code: Some(exit_code), ..Default::default() })
    }

    #[test]
    fn memory_is_blamed_for_failures_only() {
        assert_eq!(exit(true, KILLED), Exit::OutOfMemory);
        assert_eq!(exit(true, 1), Exit::OutOfMemory);
        assert_eq!(exit(true, 0), Exit::Status(0));
        assert_eq!(exit(false, KILLED), Exit::Status(137));
    }

    #[test]
    fn what_is_ours_but_no_instance_is_passed_over() {
        let mut labels: HashMap<String, String> = [
            (label::APP, "7"),
            (label::RELEASE, "2"),
            (label::PROCESS, "web"),
            (label::INDEX, "1"),
            (label::EPOCH, "0"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let (app, release, slot, epoch) = identity_of(&labels).unwrap();
        assert_eq!((app, release, slot.to_string().as_str(), epoch), (AppId(7), ReleaseNo(2), "web.1", 0));
        labels.remove(label::RELEASE);
        assert!(identity_of(&labels).is_none());
    }
}
