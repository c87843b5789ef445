//! The scheduler's room with a real store, a real proxy and the fake engine: what is asked for in the store is, after a
//! while, what answers over HTTP. Time can be moved on; nothing sleeps but to look again.
#![expect(clippy::unwrap_used, reason = "all of this is test code, helpers included")]

mod certificates;
mod disk;
mod jobs;
mod settings;
mod volumes;

use paas::clock::{Clock, SystemClock};
use paas::disk::{Allowance, Disk};
use paas::domain::failure::Exit;
use paas::domain::instance::{State, Traffic};
use paas::domain::{
    App, AppId, CertificateTable, Command, ContainerId, Failure, ImageId, Jobs, Moment, Oid, Origin, ReleaseNo,
    Rollout, Secret, Site, Size, VarName,
};
use paas::engine::FakeEngine;
use paas::logs::{Logs, RouterLines};
use paas::proxy::{ProxyHandle, ProxySettings, RouterLog, Waker};
use paas::scheduler::{Instance, Scheduler, Settled, Tools};
use paas::store::{ConfigChange, NewRelease, SealKey, Store};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const PATIENCE: Duration = Duration::from_secs(20);
const GLANCE: Duration = Duration::from_millis(10);
const BOOT: &str = "this boot";

/// The system's clock, which a test can move on.
struct MovableClock {
    inner: Arc<dyn Clock>,
    ahead_ms: AtomicU64,
}

impl Clock for MovableClock {
    fn now(&self) -> Moment {
        self.inner.now().plus(Duration::from_millis(self.ahead_ms.load(SeqCst)))
    }
}

/// The proxy wakes the scheduler of the day.
#[derive(Default)]
struct Bell(Mutex<Option<Scheduler>>);

impl Waker for Bell {
    fn app_changed(&self, app: AppId) {
        if let Some(scheduler) = &*self.0.lock().unwrap() {
            scheduler.wake(app);
        }
    }
}

struct NoLines;

impl RouterLog for NoLines {
    fn line(&self, _app: AppId, _line: String) {}
}

struct Town {
    store: Store,
    engine: FakeEngine,
    proxy: ProxyHandle,
    logs: Logs,
    clock: Arc<MovableClock>,
    bell: Arc<Bell>,
    tracker: TaskTracker,
    stop: CancellationToken,
    scheduler: Scheduler,
    app: App,
    _dir: tempfile::TempDir,
}

impl Town {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(MovableClock { inner: SystemClock::shared(), ahead_ms: AtomicU64::new(0) });
        let seal = SealKey::load_or_make(&dir.path().join("seal.key")).unwrap();
        let store = Store::open(&dir.path().join("paas.db"), seal).await.unwrap();
        let app = store.create_app(&"blog".parse().unwrap(), clock.now()).await.unwrap();
        let logs = Logs::new(dir.path().join("logs"), clock.clone());
        let engine = FakeEngine::new(clock.clone());
        let bell = Arc::new(Bell::default());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let https = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let https = Some((https, CertificateTable::default()));
        let settings = ProxySettings { threads: 1, https, ..ProxySettings::default() };
        let proxy = paas::proxy::start(listener, settings, clock.clone(), Arc::new(NoLines), bell.clone()).unwrap();
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let parts = (store.clone(), engine.clone(), proxy.clone(), logs.clone(), clock.clone());
        let scheduler = start(parts, &bell, &tracker, &stop).await;
        Self { store, engine, proxy, logs, clock, bell, tracker, stop, scheduler, app, _dir: dir }
    }

    /// The scheduler goes; instances, routes and the proxy stay.
    async fn scheduler_dies(&mut self) {
        *self.bell.0.lock().unwrap() = None;
        self.stop.cancel();
        self.tracker.close();
        tokio::time::timeout(PATIENCE, self.tracker.wait()).await.unwrap();
    }

    async fn scheduler_comes_back(&mut self) {
        (self.tracker, self.stop) = (TaskTracker::new(), CancellationToken::new());
        let parts =
            (self.store.clone(), self.engine.clone(), self.proxy.clone(), self.logs.clone(), self.clock.clone());
        self.scheduler = start(parts, &self.bell, &self.tracker, &self.stop).await;
    }

    /// Makes a release of an image that behaves as its name says.
    async fn release(&self, image: &str, processes: &[&str]) -> ReleaseNo {
        self.release_by(image, processes, Origin::Rollback { to: ReleaseNo(1) }).await
    }

    async fn release_by(&self, image: &str, processes: &[&str], origin: Origin) -> ReleaseNo {
        let new = NewRelease {
            app: self.app.id,
            origin,
            image: ImageId::new(image),
            commit: Oid::zero(),
            source: None,
            makeup: paas::domain::Makeup::default(),
            processes: processes.iter().map(|p| (p.parse().unwrap(), Command::ImageDefault)).collect(),
            port: 5000,
            jobs: Jobs::default(),
            description: "a test".to_owned(),
            created_by: "a test".to_owned(),
            change: ConfigChange::new(),
        };
        let no = self.store.create_release(&new, self.clock.now()).await.unwrap();
        self.scheduler.wake(self.app.id);
        no
    }

    async fn settled(&self, no: ReleaseNo) -> Settled {
        tokio::time::timeout(PATIENCE, self.scheduler.settled(&self.app, no))
            .await
            .expect("the release settles")
            .unwrap()
    }

    /// A release that goes live, and is routed where it has web.
    async fn goes_live(&self, image: &str, processes: &[&str]) -> ReleaseNo {
        let no = self.release(image, processes).await;
        assert_eq!(self.settled(no).await, Settled::Live);
        self.until("the release is all there is", async || {
            let instances = self.instances().await;
            !instances.is_empty()
                && instances
                    .iter()
                    .all(|i| i.release == no && i.state == State::Ready && is_routed(i) == i.slot.process.is_web())
        })
        .await;
        no
    }

    async fn scale(&self, process: &str, count: u16) {
        self.store.scale(self.app.id, &BTreeMap::from([(process.parse().unwrap(), count)])).await.unwrap();
        self.scheduler.wake(self.app.id);
    }

    async fn set_stopped(&self, stopped: bool) {
        self.store.set_stopped(self.app.id, stopped).await.unwrap();
        self.scheduler.wake(self.app.id);
    }

    fn pass_time(&self, seconds: u64) {
        self.clock.ahead_ms.fetch_add(seconds * 1000, SeqCst);
        self.scheduler.wake(self.app.id);
    }

    async fn instances(&self) -> Vec<Instance> {
        self.scheduler.instances(self.app.id).await.unwrap_or_default()
    }

    /// The container that is ready in a slot; what is left of one that ended may be there beside it.
    async fn container(&self, slot: &str) -> ContainerId {
        let instances = self.instances().await;
        let found = instances.iter().find(|i| i.slot.to_string() == slot && i.state == State::Ready);
        found.expect("there is one").id.clone()
    }

    /// What answers at the app's host: status and body.
    async fn get(&self, path: &str) -> (u16, String) {
        self.get_of("blog.example.test", path).await
    }

    async fn get_of(&self, host: &str, path: &str) -> (u16, String) {
        get_at(self.proxy.local_addr(), host, path).await
    }

    async fn until(&self, what: &str, is_so: impl AsyncFn() -> bool) {
        let waiting = async {
            while !is_so().await {
                tokio::time::sleep(GLANCE).await;
            }
        };
        let is_late = tokio::time::timeout(PATIENCE, waiting).await.is_err();
        let log = self.logs.app(&self.app.key).unwrap().tail(20, |_| true).unwrap();
        let instances = self.instances().await;
        assert!(
            !is_late,
            "not within {} s: {what}; there is {instances:#?}, and the log says {log:#?}",
            PATIENCE.as_secs()
        );
    }

    async fn until_answered(&self, body: &str) {
        self.until(body, async || self.get("/").await == (200, body.to_owned())).await;
    }

    fn log_holds(&self, text: &str) -> bool {
        !self.logs.app(&self.app.key).unwrap().tail(1, |line| line.contains(text)).unwrap().is_empty()
    }
}

impl Drop for Town {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn get_at(proxy: std::net::SocketAddr, host: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(proxy).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

async fn start(
    (store, engine, proxy, logs, clock): (Store, FakeEngine, ProxyHandle, Logs, Arc<MovableClock>),
    bell: &Bell,
    tracker: &TaskTracker,
    stop: &CancellationToken,
) -> Scheduler {
    let saved = store.saved_routes(BOOT).await.unwrap().unwrap_or_default();
    let (router_lines, _writer) = RouterLines::new(logs.clone(), stop.clone());
    let engine = Arc::new(engine);
    let tools = Tools {
        disk: disk(&engine, &store),
        store,
        engine,
        proxy,
        logs,
        router_lines,
        clock,
        site: Site { base_domain: "example.test".parse().unwrap(), http_port: 80, ssh_port: 2222, https: None },
        boot_id: BOOT.to_owned(),
        tracker: tracker.clone(),
        stop: stop.clone(),
    };
    let scheduler = Scheduler::start(tools, saved);
    *bell.0.lock().unwrap() = Some(scheduler.clone());
    scheduler
}

fn disk(engine: &Arc<FakeEngine>, store: &Store) -> Disk {
    // More than any disk has: the instances are looked at every second.
    let (reserve, instance_max, build_cache_max) = (Size(u64::MAX), Size(1 << 30), Size(10 << 30));
    let allowance = Allowance { reserve, instance_max, build_cache_max };
    Disk::new(engine.clone(), store.clone(), std::env::temp_dir(), allowance)
}

fn is_routed(instance: &Instance) -> bool {
    instance.traffic == Traffic::Routed
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_goes_live_and_is_swapped_for_the_next_without_a_failed_request() {
    let town = Town::new().await;
    town.goes_live("ok", &["web"]).await;
    town.until_answered("v1/web.1").await;
    let next = town.release("slow:200", &["web"]).await;
    let under_way = town.get("/sleep/1000");
    let visits = async {
        while town.get("/").await == (200, "v1/web.1".to_owned()) {}
        town.get("/").await
    };
    let (finished, visited, settled) = tokio::join!(under_way, visits, town.settled(next));
    assert_eq!((finished, settled), ((200, "v1/web.1".to_owned()), Settled::Live));
    assert_eq!(visited, (200, "v2/web.1".to_owned()));
    town.until("v1 is gone", async || town.instances().await.iter().all(|i| i.release == next)).await;
    assert_eq!((town.engine.starts(), town.engine.stops()), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_candidate_leaves_the_old_release_serving() {
    let town = Town::new().await;
    town.goes_live("ok", &["web"]).await;
    let serving = town.container("web.1").await;
    let crashed = Failure::Crashed { process: "web.1".to_owned(), exit: Exit::Status(1) };
    let no = town.release("crash", &["web"]).await;
    assert_eq!(town.settled(no).await, Settled::Failed(crashed));
    let no = town.release("sick", &["web"]).await;
    town.until("it is probed", async || town.instances().await.iter().any(|i| i.release == no)).await;
    town.until("it was found sick", async || {
        town.instances()
            .await
            .iter()
            .any(|i| matches!(i.state, State::Starting { probe: paas::domain::instance::Probe::Status(500), .. }))
    })
    .await;
    town.pass_time(60);
    let sick = Failure::Unhealthy { process: "web.1".to_owned(), path: "/".to_owned(), status: 500 };
    assert_eq!(town.settled(no).await, Settled::Failed(sick));
    let no = town.release("missing", &["web"]).await;
    assert!(matches!(town.settled(no).await, Settled::Failed(Failure::Platform { .. })));
    town.until("only v1 is left", async || town.instances().await.len() == 1).await;
    assert_eq!(town.container("web.1").await, serving);
    assert_eq!(town.get("/").await, (200, "v1/web.1".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_starts_it_again_at_once_and_then_waits_longer_each_time() {
    let town = Town::new().await;
    town.goes_live("ok", &["web"]).await;
    for (crash, wait) in [(1, 0), (2, 1), (3, 5), (4, 30)] {
        town.engine.kill(&town.container("web.1").await);
        let told = match wait {
            0 => format!("crash {crash} in a row, starting it again"),
            _ => format!("crash {crash} in a row, next start in {wait} s"),
        };
        town.until(&told, async || town.log_holds(&told)).await;
        if wait > 1 {
            town.until("what is left is removed", async || town.instances().await.is_empty()).await;
            assert_eq!(town.engine.starts(), crash);
            town.pass_time(wait);
        }
        town.until_answered("v1/web.1").await;
        assert_eq!(town.engine.starts(), crash + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_somebody_removed_is_started_again() {
    let town = Town::new().await;
    town.scale("web", 2).await;
    town.goes_live("ok", &["web"]).await;
    town.engine.vanish(&town.container("web.1").await);
    // A request that meets the very moment of its death may fail; the next one finds the other.
    town.until("the other answers", async || town.get("/").await.0 == 200).await;
    town.until("two are routed", async || town.instances().await.iter().filter(|i| is_routed(i)).count() == 2).await;
    assert_eq!((town.engine.starts(), town.engine.stops()), (3, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_away_changes_nothing_that_serves() {
    let town = Town::new().await;
    town.goes_live("ok", &["web"]).await;
    town.engine.set_reachable(false);
    let next = town.release("ok", &["web"]).await;
    // More than one look fails meanwhile.
    for _ in 0..100 {
        town.scheduler.wake(town.app.id);
        assert_eq!(town.get("/").await, (200, "v1/web.1".to_owned()));
    }
    assert!(matches!(town.store.release(town.app.id, next).await.unwrap().rollout, Rollout::Starting { .. }));
    town.engine.set_reachable(true);
    assert_eq!(town.settled(next).await, Settled::Live);
    town.until_answered("v2/web.1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_scheduler_takes_over_what_runs_without_a_restart() {
    let mut town = Town::new().await;
    town.scale("web", 2).await;
    town.scale("worker", 1).await;
    let next = town.release("ok", &["web", "worker"]).await;
    town.until("the worker runs", async || town.instances().await.len() == 3).await;
    town.pass_time(3);
    assert_eq!(town.settled(next).await, Settled::Live);
    town.until("both are routed", async || town.instances().await.iter().filter(|i| is_routed(i)).count() == 2).await;
    let before: Vec<ContainerId> = town.instances().await.into_iter().map(|i| i.id).collect();
    town.scheduler_dies().await;
    assert_eq!(town.get("/").await.0, 200);
    town.scheduler_comes_back().await;
    // It works again once it brings back what is missing.
    town.engine.vanish(&before[2]);
    town.until("it looks after the app", async || town.engine.starts() == 4).await;
    let after: Vec<ContainerId> = town.instances().await.into_iter().map(|i| i.id).collect();
    assert_eq!((&after[..2], town.engine.stops()), (&before[..2], 0));
    assert_eq!(town.get("/").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_replaced_after_the_web_and_one_that_dies_brings_the_old_back() {
    let town = Town::new().await;
    town.scale("worker", 1).await;
    let types = &["web", "worker"];
    let first = town.release("ok", types).await;
    town.until("the worker runs", async || town.instances().await.len() == 2).await;
    town.pass_time(3);
    assert_eq!(town.settled(first).await, Settled::Live);
    let worker = town.container("worker.1").await;

    let second = town.release("ok", types).await;
    let is_worker_of = |no| move |i: &Instance| i.release == no && !i.slot.process.is_web();
    town.until("the new worker runs", async || town.instances().await.iter().any(is_worker_of(second))).await;
    assert!(town.instances().await.iter().all(|i| i.id != worker), "the old one ended first");
    assert_eq!(town.get("/").await, (200, "v1/web.1".to_owned()));
    town.engine.kill(&town.container_of(second, "worker.1").await);
    let crashed = Failure::Crashed { process: "worker.1".to_owned(), exit: Exit::Status(137) };
    assert_eq!(town.settled(second).await, Settled::Failed(crashed));
    town.until("the old release is complete again", async || {
        let instances = town.instances().await;
        instances.len() == 2 && instances.iter().all(|i| i.release == first)
    })
    .await;

    let third = town.release("ok", types).await;
    town.until("the new worker runs", async || town.instances().await.iter().any(is_worker_of(third))).await;
    town.pass_time(3);
    assert_eq!(town.settled(third).await, Settled::Live);
    town.until_answered("v3/web.1").await;
}

impl Town {
    async fn container_of(&self, no: ReleaseNo, slot: &str) -> ContainerId {
        let instances = self.instances().await;
        let found = instances.iter().find(|i| i.release == no && i.slot.to_string() == slot);
        found.expect("there is one").id.clone()
    }

    async fn config_change(&self, value: &str) -> ReleaseNo {
        let changed: Vec<VarName> = vec!["COLOUR".parse().unwrap()];
        let change = BTreeMap::from([(changed[0].clone(), Some(Secret::new(value.to_owned())))]);
        self.store.change_config(self.app.id, &change).await.unwrap();
        self.release_by("ok", &["web"], Origin::Config { changed }).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_change_makes_new_instances_that_have_it() {
    let town = Town::new().await;
    town.goes_live("ok", &["web"]).await;
    let next = town.config_change("blue").await;
    assert_eq!(town.settled(next).await, Settled::Live);
    town.until_answered("v2/web.1").await;
    let env = town.engine.environment(&town.container_of(next, "web.1").await).unwrap();
    assert_eq!((env["COLOUR"].as_str(), env["PAAS_RELEASE"].as_str()), ("blue", "v2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_app_has_no_instances_and_its_next_config_waits_for_its_start() {
    let town = Town::new().await;
    town.goes_live("ok", &["web"]).await;
    town.set_stopped(true).await;
    town.until("all are gone", async || town.instances().await.is_empty()).await;
    assert_eq!(town.get("/").await.0, 503);
    let next = town.config_change("red").await;
    assert_eq!(town.settled(next).await, Settled::Live);
    assert_eq!(town.engine.starts(), 1);
    town.set_stopped(false).await;
    town.until_answered("v2/web.1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_replaces_the_instance_and_fails_no_request() {
    let town = Town::new().await;
    town.goes_live("slow:100", &["web"]).await;
    let before = town.container("web.1").await;
    town.store.restart(town.app.id, &"web".parse().unwrap(), None).await.unwrap();
    town.scheduler.wake(town.app.id);
    town.until("another one serves alone", async || {
        assert_eq!(town.get("/").await.0, 200);
        let instances = town.instances().await;
        instances.len() == 1 && instances[0].id != before && is_routed(&instances[0])
    })
    .await;
}
