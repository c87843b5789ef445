//! What every test stands on: an engine, an installation of its own, and the sweeping up.
use bollard::Docker;
use bollard::query_parameters::{
    ListContainersOptions, ListImagesOptions, ListNetworksOptions, ListVolumesOptions, RemoveContainerOptions,
    RemoveImageOptions, RemoveVolumeOptions,
};
use bytes::Bytes;
use paas::domain::instance::Slot;
use paas::domain::{AppId, AppKey, ContainerId, ImageId, InstallationId, Protocol, ReleaseNo};
use paas::engine::{
    BuildError, BuildEvent, BuildSpec, DockerEngine, Engine, EngineError, InstanceSpec, NetworkId, Observed,
    ObservedState, StepCache, label,
};
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(30);
const GLANCE: Duration = Duration::from_millis(20);

pub(crate) const BASE: &str = "debian:trixie-slim";

pub(crate) struct Ground {
    pub(crate) engine: DockerEngine,
    pub(crate) installation: InstallationId,
    pub(crate) base: ImageId,
}

impl Ground {
    /// Panics where no engine answers or the base image is missing: that is no reason to skip.
    pub(crate) async fn new() -> Self {
        let installation = InstallationId::new(random_hex());
        let engine = DockerEngine::connect(None, installation.clone()).unwrap();
        let base = engine.image(BASE).await.expect("docker answers on /var/run/docker.sock");
        let base = base
            .unwrap_or_else(|| panic!("{BASE} is here: mmdebstrap --variant=minbase trixie - | docker import - {BASE}"))
            .id;
        Self { engine, installation, base }
    }

    pub(crate) async fn network(&self, app: AppId) -> NetworkId {
        for _attempt in 0..20 {
            let taken = self.engine.subnets_in_use().await.unwrap();
            let [first, second, ..] = getrandom::u32().unwrap().to_le_bytes();
            let subnet = [10, 200 + first % 50, second, 0];
            if taken.iter().any(|(address, _)| address.octets() == subnet) {
                continue;
            }
            let subnet = format!("{}.{}.{}.0/24", subnet[0], subnet[1], subnet[2]);
            match self.engine.ensure_network(app, &key_of(app), &subnet).await {
                Ok(network) => return network,
                // Another test took the same one meanwhile.
                Err(EngineError::Refused(_)) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
        panic!("no subnet is free");
    }

    /// A worker of an app that runs a shell line in the base image.
    pub(crate) async fn spec(&self, app: AppId, line: &str) -> InstanceSpec {
        InstanceSpec {
            app,
            app_key: key_of(app),
            release: ReleaseNo(3),
            slot: Slot { process: "web".parse().unwrap(), index: 2 },
            epoch: 9,
            protocol: Protocol::Http1,
            image: self.base.clone(),
            starter: None,
            shell_command: Some(line.to_owned()),
            env: BTreeMap::from([("PORT".to_owned(), "5000".to_owned())]),
            network: self.network(app).await,
            memory_bytes: 64 << 20,
            mounts: Vec::new(),
            cpu_millis: None,
        }
    }

    pub(crate) async fn start(&self, app: AppId, line: &str) -> ContainerId {
        let spec = self.spec(app, line).await;
        self.engine.start(&spec).await.unwrap().0
    }

    pub(crate) async fn observed(&self, id: &ContainerId) -> Option<Observed> {
        self.engine.instances(None).await.unwrap().into_iter().find(|one| one.id == *id)
    }

    pub(crate) async fn exited(&self, id: &ContainerId) -> ObservedState {
        eventually("the instance ends", async || {
            let state = self.observed(id).await.expect("it is listed").state;
            matches!(state, ObservedState::Exited { .. }).then_some(state)
        })
        .await
    }

    /// Waits for a line of the instance's output that contains `words`; fails after 30 s with what was said instead.
    pub(crate) async fn says(&self, id: &ContainerId, words: &str) {
        let began = Instant::now();
        loop {
            let lines = self.engine.last_lines(id, 50).await.unwrap();
            if lines.iter().any(|line| line.text.contains(words)) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "not within 30 s: {words}; it said {lines:?}");
            tokio::time::sleep(GLANCE).await;
        }
    }

    pub(crate) fn reference(&self, name: &str) -> String {
        format!("paas-test/{}:{name}", self.installation)
    }

    /// Builds a Dockerfile and collects what the build said.
    pub(crate) async fn build(&self, dockerfile: &str) -> (Result<ImageId, BuildError>, Vec<BuildEvent>) {
        let (to, mut from) = mpsc::channel(16);
        let build = self.engine.build(self.build_spec("built", dockerfile), to, CancellationToken::new());
        let collect = async {
            let mut events = Vec::new();
            while let Some(event) = from.recv().await {
                events.push(event);
            }
            events
        };
        tokio::join!(build, collect)
    }

    pub(crate) fn build_spec(&self, tag: &str, dockerfile: &str) -> BuildSpec {
        BuildSpec {
            reference: self.reference(tag),
            dockerfile: "Dockerfile".to_owned(),
            target: None,
            args: BTreeMap::new(),
            labels: BTreeMap::new(),
            cache: StepCache::Used,
            context: context(&[("Dockerfile", dockerfile.as_bytes())]),
        }
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let installation = self.installation.clone();
        // Drop cannot wait for a future on the test's own runtime.
        let sweeper = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(sweep(&installation));
        });
        let swept = sweeper.join();
        assert!(swept.is_ok() || std::thread::panicking(), "everything that the test made is removed");
    }
}

async fn sweep(installation: &InstallationId) {
    let docker = docker();
    let ours = HashMap::from([("label".to_owned(), vec![format!("{}={installation}", label::INSTALLATION)])]);
    let options = ListContainersOptions { all: true, filters: Some(ours.clone()), ..Default::default() };
    for container in docker.list_containers(Some(options)).await.unwrap() {
        let options = RemoveContainerOptions { force: true, v: true, link: false };
        drop(docker.remove_container(&container.id.unwrap(), Some(options)).await);
    }
    let options = ListNetworksOptions { filters: Some(ours.clone()) };
    for network in docker.list_networks(Some(options)).await.unwrap() {
        docker.remove_network(&network.id.unwrap()).await.unwrap();
    }
    let options = ListVolumesOptions { filters: Some(ours.clone()) };
    for volume in docker.list_volumes(Some(options)).await.unwrap().volumes.unwrap_or_default() {
        drop(docker.remove_volume(&volume.name, None::<RemoveVolumeOptions>).await);
    }
    let options = ListImagesOptions { filters: Some(ours), ..Default::default() };
    for image in docker.list_images(Some(options)).await.unwrap() {
        let options = RemoveImageOptions { force: true, ..Default::default() };
        drop(docker.remove_image(&image.id, Some(options), None).await);
    }
}

/// A client of the test's own, for looking at what the engine room made.
pub(crate) fn docker() -> Docker {
    Docker::connect_with_unix(
        "/var/run/docker.sock",
        60,
        &bollard::ClientVersion { major_version: 1, minor_version: 41 },
    )
    .unwrap()
}

pub(crate) fn key_of(app: AppId) -> AppKey {
    AppKey::new(format!("{:032x}", app.0))
}

pub(crate) fn random_hex() -> String {
    format!("{:016x}", getrandom::u64().unwrap())
}

/// A whole context in one chunk.
pub(crate) fn context(files: &[(&str, &[u8])]) -> mpsc::Receiver<std::io::Result<Bytes>> {
    let (to, from) = mpsc::channel(1);
    to.try_send(Ok(Bytes::from(tar_of(files)))).unwrap();
    from
}

pub(crate) fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o755);
        tar.append_data(&mut header, name, *bytes).unwrap();
    }
    tar.into_inner().unwrap()
}

/// Asks again and again until there is an answer; fails after 30 s.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if let Some(answer) = ask().await {
            return answer;
        }
        tokio::time::sleep(GLANCE).await;
    }
    panic!("not within 30 s: {what}");
}
