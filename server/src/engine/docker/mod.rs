//! The real engine: Docker over its socket. This folder alone knows bollard.
//!
//! Nothing is asked of the engine when the house is built: the connection is made, and the API version agreed on, by the
//! first call, and again after an outage. bollard logs request bodies, environments included, through the `log` crate at
//! debug level: never connect `log` to `tracing` here (R9).
mod command;
mod creation;
mod disk;
mod exec;
mod guests;
mod hijack;
mod image_files;
mod images;
mod instances;
mod link;
mod networks;
mod one_off;
mod raw;
mod streams;
mod volume_copy;
mod volumes;

use super::{
    BuildError, BuildEvent, BuildSpec, Census, Engine, EngineError, EngineEvent, EngineFacts, ImageInfo, InstanceSpec,
    Inventory, LogLine, NetworkId, Observed, Result, buildkit, label,
};
use crate::domain::failure::Listening;
use crate::domain::{AppId, AppKey, ContainerId, ImageId, InstallationId, Moment, VolumeKey};
use anyhow::Context as _;
use async_trait::async_trait;
use bytes::Bytes;
use link::{Link, READ_TIME_MAX, Task};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use streams::Start;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How often a running build is checked against an engine that hangs, and how many checks in a row may fail: one that
/// hangs for a minute is waited for, as each check waits for [`READ_TIME_MAX`] too.
const HEARTBEAT: Duration = Duration::from_secs(15);
const MISSED_HEARTBEATS_MAX: u32 = 3;

pub struct DockerEngine {
    link: Link,
    installation: InstallationId,
    known: instances::Known,
}

impl DockerEngine {
    /// `host` is `unix:///path/to/docker.sock`; `None` means the usual place. Succeeds while the engine is down.
    pub fn connect(host: Option<&str>, installation: InstallationId) -> Result<Self> {
        Ok(Self { link: Link::new(host)?, installation, known: instances::Known::default() })
    }

    /// The filter without which nothing is listed, for what belongs to an app or to the installation as a whole.
    fn ours(&self, app: Option<AppId>) -> HashMap<String, Vec<String>> {
        let mut labels = vec![format!("{}={}", label::INSTALLATION, self.installation)];
        labels.extend(app.map(|app| format!("{}={}", label::APP, app.0)));
        HashMap::from([("label".to_owned(), labels)])
    }

    fn is_ours(&self, labels: &HashMap<String, String>) -> bool {
        labels.get(label::INSTALLATION).is_some_and(|id| id == self.installation.as_str())
    }

    /// Returns once the engine has stopped answering.
    async fn watch_heartbeat(&self) -> EngineError {
        let mut missed = 0;
        loop {
            tokio::time::sleep(HEARTBEAT).await;
            let ping = |docker: bollard::Docker| async move { docker.ping().await };
            match self.link.ask(Task::new("ping", "engine", ""), READ_TIME_MAX, ping).await {
                Err(error @ EngineError::Unreachable(_)) if missed + 1 == MISSED_HEARTBEATS_MAX => return error,
                Err(EngineError::Unreachable(_)) => missed += 1,
                // It answers, whatever it says.
                Ok(_) | Err(EngineError::Missing(_) | EngineError::Refused(_) | EngineError::Other(_)) => missed = 0,
            }
        }
    }
}

/// The app that labels name.
fn app_of(labels: &HashMap<String, String>) -> Option<AppId> {
    labels.get(label::APP)?.parse().ok().map(AppId)
}

/// Six random hex digits.
fn random_hex() -> Result<String> {
    let number = getrandom::u32().context("ask the system for randomness")?;
    Ok(format!("{:06x}", number >> 8))
}

/// Reads one of the engine's timestamps (RFC 3339 with nanoseconds); year 1 is its way to say never.
fn moment_of(text: &str) -> Option<Moment> {
    let timestamp: jiff::Timestamp = text.parse().ok()?;
    (timestamp > jiff::Timestamp::UNIX_EPOCH).then(|| Moment::from_unix_ms(timestamp.as_millisecond()))
}

#[async_trait]
impl Engine for DockerEngine {
    async fn facts(&self) -> Result<EngineFacts> {
        let ask = |docker: bollard::Docker| async move { Ok((docker.version().await?, docker.info().await?)) };
        let (version, info) = self.link.ask(Task::new("ask", "engine", "for its version"), READ_TIME_MAX, ask).await?;
        Ok(EngineFacts {
            version: format!("Docker {}", version.version.unwrap_or_default()),
            storage_driver: info.driver.unwrap_or_default(),
            cores: info.ncpu.and_then(|cores| u32::try_from(cores).ok()).unwrap_or(0),
            memory_bytes: info.mem_total.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0),
        })
    }

    async fn instances(&self, app: Option<AppId>) -> Result<Vec<Observed>> {
        self.list_instances(app).await
    }

    async fn census(&self) -> Result<Census> {
        self.count_all().await
    }

    async fn make(&self, spec: &InstanceSpec) -> Result<ContainerId> {
        self.make_instance(spec).await
    }

    async fn start_made(&self, id: &ContainerId) -> Result<IpAddr> {
        self.run_instance(id).await
    }

    async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<()> {
        self.stop_instance(id, grace).await
    }

    async fn remove(&self, id: &ContainerId) -> Result<()> {
        self.remove_instance(id).await
    }

    async fn listening(&self, id: &ContainerId, port: u16) -> Listening {
        self.judge_listening(id, port).await
    }

    async fn ensure_network(&self, app: AppId, key: &AppKey, subnet: &str) -> Result<NetworkId> {
        self.ensure_app_network(app, key, subnet).await
    }

    async fn remove_network(&self, app: AppId) -> Result<()> {
        self.remove_app_networks(app).await
    }

    async fn subnets_in_use(&self) -> Result<Vec<(Ipv4Addr, u8)>> {
        self.list_subnets().await
    }

    async fn ensure_volume(&self, volume: &VolumeKey) -> Result<()> {
        self.make_volume(volume).await
    }

    async fn remove_volume(&self, volume: &VolumeKey) -> Result<()> {
        self.remove_our_volume(volume).await
    }

    async fn volumes(&self) -> Result<Vec<VolumeKey>> {
        self.all_volumes().await
    }

    async fn events(&self, to: mpsc::Sender<EngineEvent>) -> Result<()> {
        self.pass_events(to).await
    }

    async fn follow_logs(&self, id: &ContainerId, since: Option<Moment>, to: mpsc::Sender<LogLine>) -> Result<()> {
        self.pass_logs(id, since.map_or(Start::FirstLine, Start::At), to).await
    }

    async fn follow_newest(&self, id: &ContainerId, count: usize, to: mpsc::Sender<LogLine>) -> Result<()> {
        self.pass_logs(id, Start::Newest(count), to).await
    }

    async fn last_lines(&self, id: &ContainerId, count: usize) -> Result<Vec<LogLine>> {
        self.read_last_lines(id, count).await
    }

    async fn build(
        &self,
        mut spec: BuildSpec,
        events: mpsc::Sender<BuildEvent>,
        stop: CancellationToken,
    ) -> std::result::Result<ImageId, BuildError> {
        spec.labels.insert(label::INSTALLATION.to_owned(), self.installation.to_string());
        let build = async {
            let api_version = self.link.api_version().await?;
            buildkit::build(self.link.socket(), &api_version, spec, events).await
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => Err(BuildError::Cancelled),
            outcome = build => outcome,
            error = self.watch_heartbeat() => Err(error.into()),
        }
    }

    async fn import(&self, reference: &str, root_tar: mpsc::Receiver<std::io::Result<Bytes>>) -> Result<ImageId> {
        self.import_image(reference, root_tar).await
    }

    async fn pull(&self, reference: &str) -> Result<ImageId> {
        self.pull_image(reference).await
    }

    async fn image(&self, reference: &str) -> Result<Option<ImageInfo>> {
        self.inspect_image(reference).await
    }

    async fn read_files(&self, image: &ImageId, paths: &[&str]) -> Result<Vec<Option<Bytes>>> {
        self.read_image_files(image, paths).await
    }

    async fn tag(&self, image: &ImageId, reference: &str) -> Result<()> {
        self.tag_image(image, reference).await
    }

    async fn remove_image(&self, reference: &str) -> Result<()> {
        self.remove_image_reference(reference).await
    }

    async fn inventory(&self) -> Result<Inventory> {
        Ok(Inventory {
            containers: self.all_containers().await?,
            networks: self.all_networks().await?,
            images: self.all_images().await?,
            volumes: self.all_volumes().await?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_times_are_read_and_year_one_means_never() {
        assert_eq!(moment_of("2026-11-23T15:14:27.203236914Z"), Some(Moment::from_unix_ms(1_795_446_867_203)));
        assert_eq!(moment_of("2026-11-23T16:14:27.203236914+01:00"), Some(Moment::from_unix_ms(1_795_446_867_203)));
        assert_eq!(moment_of("0001-01-01T00:00:00Z"), None);
        assert_eq!(moment_of("yesterday"), None);
    }
}
