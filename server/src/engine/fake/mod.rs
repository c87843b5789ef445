//! An engine for room tests: its instances are real HTTP servers inside this process, each on a loopback address of its
//! own (127.x.y.z), listening on the PORT of its environment. The image's name says how an instance behaves
//! ([`Behaviour`]); the test can end instances, remove them behind our back and take the whole engine away.
mod behaviour;
mod disk;
mod guests;
mod instance;
mod one_off;
#[cfg(test)]
mod tests;
mod volume_copy;
mod world;

pub use behaviour::Behaviour;

use super::{
    BuildError, BuildEvent, BuildSpec, Engine, EngineError, EngineEvent, EngineFacts, EventKind, ImageInfo,
    InstanceSpec, Inventory, LogLine, NO_ADDRESS, NetworkId, Observed, ObservedState, Result,
};
use crate::clock::Clock;
use crate::domain::failure::{Exit, Listening};
use crate::domain::{AppId, AppKey, ContainerId, ImageId, Moment, VolumeKey};
use anyhow::anyhow;
use async_trait::async_trait;
use bytes::Bytes;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use world::World;

/// How often a log follower looks for new lines.
const FOLLOW_PAUSE: Duration = Duration::from_millis(10);

/// Cheap to clone; all clones are the same engine.
#[derive(Clone)]
pub struct FakeEngine {
    clock: Arc<dyn Clock>,
    world: Arc<Mutex<World>>,
    reachable: watch::Sender<bool>,
}

/// What a test does to the engine, and asks of it.
impl FakeEngine {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, world: Arc::default(), reachable: watch::Sender::new(true) }
    }

    /// Every call fails with `Unreachable` and event streams end, until it is set back. Instances serve on.
    pub fn set_reachable(&self, reachable: bool) {
        self.reachable.send_replace(reachable);
    }

    /// How often `start` succeeded.
    pub fn starts(&self) -> usize {
        self.world().starts
    }

    /// How often `stop` was called on an instance that was there.
    pub fn stops(&self) -> usize {
        self.world().stops
    }

    /// How often an instance was started while one of another release had the same volume.
    pub fn clashes(&self) -> usize {
        self.world().clashes
    }

    /// The instance dies by SIGKILL, like one that the kernel ended.
    pub fn kill(&self, id: &ContainerId) {
        self.end(id, Exit::Status(137));
    }

    /// The instance ends by itself; connections to it break.
    pub fn end(&self, id: &ContainerId, exit: Exit) {
        world::end(&self.world, id, exit, self.clock.now());
    }

    /// Somebody's `docker rm -f`.
    pub fn vanish(&self, id: &ContainerId) {
        self.end(id, Exit::Status(137));
        self.world().remove(id);
    }

    /// What the next build does: an image of this behaviour, or a step that fails. Builds beyond those that were set
    /// make the image `ok`.
    pub fn set_next_build(&self, outcome: std::result::Result<ImageId, (String, String)>) {
        self.world().builds.push_back(outcome);
    }

    /// Somebody's `docker volume rm`, with or without force.
    pub fn lose_volume(&self, volume: &VolumeKey) {
        self.world().volumes.remove(volume);
    }

    /// What an instance was made with.
    pub fn mounts(&self, id: &ContainerId) -> Vec<super::Mount> {
        self.world().instances.get(id).map(|instance| instance.spec.mounts.clone()).unwrap_or_default()
    }

    /// Memory in bytes and processor time in thousandths of a core that an instance may use.
    pub fn limits(&self, id: &ContainerId) -> Option<(u64, Option<u32>)> {
        self.world().instances.get(id).map(|instance| (instance.spec.memory_bytes, instance.spec.cpu_millis))
    }

    /// Environment an instance was started with.
    pub fn environment(&self, id: &ContainerId) -> Option<std::collections::BTreeMap<String, String>> {
        self.world().instances.get(id).map(|instance| instance.spec.env.clone())
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The world, if the engine can be reached.
    fn reach(&self) -> Result<MutexGuard<'_, World>> {
        if *self.reachable.borrow() {
            return Ok(self.world());
        }
        Err(EngineError::Unreachable(anyhow!("the test took the engine away")))
    }

    async fn drain(&self, mut chunks: mpsc::Receiver<std::io::Result<Bytes>>) -> Result<()> {
        while let Some(chunk) = chunks.recv().await {
            chunk.map_err(|error| anyhow!(error).context("read a tar for the fake engine"))?;
        }
        self.reach().map(drop)
    }

    fn make_image(&self, id: &ImageId, reference: &str) -> Result<()> {
        self.reach()?.tag(id, reference);
        Ok(())
    }
}

#[async_trait]
impl Engine for FakeEngine {
    async fn facts(&self) -> Result<EngineFacts> {
        drop(self.reach()?);
        Ok(EngineFacts {
            version: "Fake 1".to_owned(),
            storage_driver: "memory".to_owned(),
            cores: 2,
            memory_bytes: 4 << 30,
        })
    }

    async fn instances(&self, app: Option<AppId>) -> Result<Vec<Observed>> {
        Ok(self.reach()?.observe(app))
    }

    async fn make(&self, spec: &InstanceSpec) -> Result<ContainerId> {
        if Behaviour::of(&spec.image) == Behaviour::Missing {
            return Err(EngineError::Missing("image"));
        }
        let now = self.clock.now();
        self.reach()?.add(spec.clone(), now)
    }

    async fn start_made(&self, id: &ContainerId) -> Result<IpAddr> {
        let now = self.clock.now();
        let (spec, address) = self.reach()?.run(id, now)?;
        let is_up = instance::run(self, id, &spec, address, Behaviour::of(&spec.image));
        Ok(if is_up { address } else { NO_ADDRESS })
    }

    async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<()> {
        let Some((close, connections)) = self.reach()?.ask_to_stop(id) else { return Ok(()) };
        close.cancel();
        connections.close();
        // What is under way may end within the grace; then it is cut off.
        let exit = match tokio::time::timeout(grace, connections.wait()).await {
            Ok(()) => Exit::Status(143),
            Err(_elapsed) => Exit::Status(137),
        };
        self.end(id, exit);
        self.world().remove(id);
        Ok(())
    }

    async fn remove(&self, id: &ContainerId) -> Result<()> {
        drop(self.reach()?);
        self.vanish(id);
        Ok(())
    }

    async fn listening(&self, id: &ContainerId, port: u16) -> Listening {
        let Ok(world) = self.reach() else { return Listening::Unknown };
        match world.instances.get(id).map(|instance| Behaviour::of(&instance.spec.image)) {
            None | Some(Behaviour::Missing) => Listening::Unknown,
            Some(Behaviour::Loopback) => Listening::LoopbackOnly { port },
            Some(Behaviour::Never | Behaviour::Slow(_) | Behaviour::Crash(_)) => Listening::Nowhere,
            Some(Behaviour::Sick | Behaviour::Dies(_) | Behaviour::Answers) => Listening::Silent,
        }
    }

    async fn ensure_network(&self, app: AppId, _key: &AppKey, subnet: &str) -> Result<NetworkId> {
        let mut world = self.reach()?;
        let network = world.networks.entry(app).or_insert_with(|| (format!("net-{}", app.0), subnet.to_owned()));
        Ok(NetworkId(network.0.clone()))
    }

    async fn remove_network(&self, app: AppId) -> Result<()> {
        self.reach()?.networks.remove(&app);
        Ok(())
    }

    async fn subnets_in_use(&self) -> Result<Vec<(Ipv4Addr, u8)>> {
        let world = self.reach()?;
        let parse = |text: &str| {
            let (address, length) = text.split_once('/')?;
            Some((address.parse().ok()?, length.parse().ok()?))
        };
        Ok(world.networks.values().filter_map(|(_, subnet)| parse(subnet)).collect())
    }

    async fn ensure_volume(&self, volume: &VolumeKey) -> Result<()> {
        self.reach()?.volumes.insert(volume.clone());
        Ok(())
    }

    async fn remove_volume(&self, volume: &VolumeKey) -> Result<()> {
        let mut world = self.reach()?;
        if world.instances.values().any(|one| one.spec.mounts.iter().any(|mount| mount.volume == *volume)) {
            return Err(EngineError::Refused(format!("remove volume {volume}: volume is in use")));
        }
        world.volumes.remove(volume);
        Ok(())
    }

    async fn volumes(&self) -> Result<Vec<VolumeKey>> {
        Ok(self.reach()?.volumes.iter().cloned().collect())
    }

    async fn events(&self, to: mpsc::Sender<EngineEvent>) -> Result<()> {
        let mut events = self.reach()?.events.subscribe();
        let mut reachable = self.reachable.subscribe();
        loop {
            tokio::select! {
                // A receiver that lags behind loses events, as it may: wakes carry no data.
                event = events.recv() => if let Ok(event) = event { drop(to.send(event).await) },
                () = async { drop(reachable.wait_for(|reachable| !reachable).await) } => return Ok(()),
                () = to.closed() => return Ok(()),
            }
        }
    }

    async fn follow_logs(&self, id: &ContainerId, since: Option<Moment>, to: mpsc::Sender<LogLine>) -> Result<()> {
        let mut sent = 0;
        loop {
            let (lines, has_ended) = match self.reach()?.instances.get(id) {
                Some(instance) => (instance.lines[sent..].to_vec(), instance.has_ended()),
                None if sent == 0 => return Err(EngineError::Missing("container")),
                None => return Ok(()),
            };
            sent += lines.len();
            for line in lines.into_iter().filter(|line| since.is_none_or(|since| line.at >= since)) {
                if to.send(line).await.is_err() {
                    return Ok(());
                }
            }
            if has_ended {
                return Ok(());
            }
            tokio::select! {
                () = tokio::time::sleep(FOLLOW_PAUSE) => {}
                () = to.closed() => return Ok(()),
            }
        }
    }

    async fn follow_newest(&self, id: &ContainerId, count: usize, to: mpsc::Sender<LogLine>) -> Result<()> {
        let since = self.last_lines(id, count).await?.first().map(|line| line.at);
        self.follow_logs(id, since, to).await
    }

    async fn last_lines(&self, id: &ContainerId, count: usize) -> Result<Vec<LogLine>> {
        let world = self.reach()?;
        let lines = &world.instances.get(id).ok_or(EngineError::Missing("container"))?.lines;
        Ok(lines[lines.len().saturating_sub(count)..].to_vec())
    }

    async fn build(
        &self,
        spec: BuildSpec,
        events: mpsc::Sender<BuildEvent>,
        stop: CancellationToken,
    ) -> std::result::Result<ImageId, BuildError> {
        tokio::select! {
            () = stop.cancelled() => return Err(BuildError::Cancelled),
            drained = self.drain(spec.context) => drained?,
        }
        drop(events.send(BuildEvent::Step { name: "RUN fake".to_owned(), cached: false }).await);
        drop(events.send(BuildEvent::Line("built by the fake engine".to_owned())).await);
        let outcome = self.reach()?.builds.pop_front().unwrap_or_else(|| Ok(ImageId::new("ok")));
        let image = outcome.map_err(|(step, reason)| BuildError::Step { step, reason })?;
        self.make_image(&image, &spec.reference)?;
        Ok(image)
    }

    async fn import(&self, reference: &str, root_tar: mpsc::Receiver<std::io::Result<Bytes>>) -> Result<ImageId> {
        self.drain(root_tar).await?;
        let image = ImageId::new(format!("imported:{reference}"));
        self.make_image(&image, reference)?;
        Ok(image)
    }

    async fn pull(&self, reference: &str) -> Result<ImageId> {
        drop(self.reach()?);
        Err(EngineError::Refused(format!("pull image {reference}: the fake engine knows no registry")))
    }

    async fn image(&self, reference: &str) -> Result<Option<ImageInfo>> {
        Ok(self.reach()?.image(reference))
    }

    async fn read_files(&self, _image: &ImageId, paths: &[&str]) -> Result<Vec<Option<Bytes>>> {
        // Its images hold no files.
        self.reach().map(|_| vec![None; paths.len()])
    }

    async fn tag(&self, image: &ImageId, reference: &str) -> Result<()> {
        self.make_image(image, reference)
    }

    async fn remove_image(&self, reference: &str) -> Result<()> {
        self.reach()?.references.remove(reference);
        Ok(())
    }

    async fn inventory(&self) -> Result<Inventory> {
        Ok(self.reach()?.inventory())
    }
}
