//! One-off instances in the scheduler's room, with a real store and the fake engine: whoever leaves, they are put away.
#![expect(clippy::unwrap_used, reason = "all of this is test code, helpers included")]

use futures_util::StreamExt as _;
use paas::clock::{Clock, SystemClock};
use paas::disk::{Allowance, Disk};
use paas::domain::failure::Exit;
use paas::domain::release::Config;
use paas::domain::{App, AppId, Command, ImageId, Oid, Origin, Release, ReleaseNo, Secret, Site, Size};
use paas::engine::{Attachment, Engine as _, FakeEngine, Keep, OneOffEngine as _, OneOffSeen, Stdio, Written};
use paas::logs::{Logs, RouterLines};
use paas::proxy::{ProxySettings, RouterLog, Waker};
use paas::scheduler::{ONE_OFFS_MAX, OneOff, OneOffError, Order, Run, Scheduler, Tools};
use paas::store::{ConfigChange, NewRelease, SealKey, Store};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

struct Nobody;

impl Waker for Nobody {
    fn app_changed(&self, _app: AppId) {}
}

impl RouterLog for Nobody {
    fn line(&self, _app: AppId, _line: String) {}
}

struct Town {
    store: Store,
    engine: FakeEngine,
    logs: Logs,
    clock: Arc<dyn Clock>,
    tracker: TaskTracker,
    stop: CancellationToken,
    scheduler: Scheduler,
    app: App,
    release: Release,
    _dir: tempfile::TempDir,
}

impl Town {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = SystemClock::shared();
        let seal = SealKey::load_or_make(&dir.path().join("seal.key")).unwrap();
        let store = Store::open(&dir.path().join("paas.db"), seal).await.unwrap();
        let app = store.create_app(&"blog".parse().unwrap(), clock.now()).await.unwrap();
        let logs = Logs::new(dir.path().join("logs"), Arc::clone(&clock));
        let engine = FakeEngine::new(Arc::clone(&clock));
        let new = NewRelease {
            app: app.id,
            origin: Origin::Rollback { to: ReleaseNo(1) },
            image: ImageId::new("ok"),
            commit: Oid::zero(),
            source: None,
            makeup: paas::domain::Makeup::default(),
            processes: [("web".parse().unwrap(), Command::ImageDefault)].into(),
            port: 5000,
            jobs: paas::domain::Jobs::default(),
            description: "a test".to_owned(),
            created_by: "a test".to_owned(),
            change: ConfigChange::new(),
        };
        let no = store.create_release(&new, clock.now()).await.unwrap();
        let release = store.release(app.id, no).await.unwrap();
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let parts = (store.clone(), engine.clone(), logs.clone(), Arc::clone(&clock));
        let scheduler = start(parts, &tracker, &stop);
        Self { store, engine, logs, clock, tracker, stop, scheduler, app, release, _dir: dir }
    }

    async fn run(&self, name: &str, line: &str, stdio: Stdio) -> Result<(OneOff, Option<Attachment>), OneOffError> {
        self.scheduler.one_off(&self.app, &self.release, order(name, line, stdio, Keep::WithServer)).await
    }

    async fn seen(&self) -> Vec<OneOffSeen> {
        self.engine.one_offs(None).await.unwrap()
    }

    /// The server is gone without a word; what it was about to do, it does not do.
    async fn dies(&mut self) {
        self.engine.set_reachable(false);
        self.stop.cancel();
        self.tracker.close();
        tokio::time::timeout(Duration::from_secs(20), self.tracker.wait()).await.unwrap();
        self.engine.set_reachable(true);
    }

    fn comes_back(&mut self) {
        (self.tracker, self.stop) = (TaskTracker::new(), CancellationToken::new());
        let parts = (self.store.clone(), self.engine.clone(), self.logs.clone(), Arc::clone(&self.clock));
        self.scheduler = start(parts, &self.tracker, &self.stop);
    }

    fn log(&self) -> Vec<String> {
        self.logs.app(&self.app.key).unwrap().tail(100, |_| true).unwrap()
    }
}

fn start(
    (store, engine, logs, clock): (Store, FakeEngine, Logs, Arc<dyn Clock>),
    tracker: &TaskTracker,
    stop: &CancellationToken,
) -> Scheduler {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = ProxySettings { threads: 1, ..ProxySettings::default() };
    let proxy = paas::proxy::start(listener, settings, Arc::clone(&clock), Arc::new(Nobody), Arc::new(Nobody)).unwrap();
    let (router_lines, writer) = RouterLines::new(logs.clone(), stop.clone());
    tracker.spawn(writer);
    let engine = Arc::new(engine);
    let allowance = Allowance { reserve: Size(0), instance_max: Size(1 << 30), build_cache_max: Size(u64::MAX) };
    let tools = Tools {
        disk: Disk::new(engine.clone(), store.clone(), std::env::temp_dir(), allowance),
        store,
        engine,
        proxy,
        logs,
        router_lines,
        clock,
        site: Site { base_domain: "localhost".parse().unwrap(), http_port: 80, ssh_port: 2222, https: None },
        boot_id: "this boot".to_owned(),
        tracker: tracker.clone(),
        stop: stop.clone(),
    };
    Scheduler::start(tools, paas::domain::route::RouteTable::default())
}

fn order(name: &str, line: &str, stdio: Stdio, keep: Keep) -> Order {
    let name = name.parse().unwrap();
    Order { name, run: Run::Line(line.to_owned()), env: Config::new(), stdio, keep }
}

async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..2000 {
        if let Some(answer) = ask().await {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within 20 s: {what}");
}

#[tokio::test]
async fn it_has_the_environment_of_an_instance_and_streams_apart() {
    let town = Town::new().await;
    let mut order = order("run.7", "cat; moan no; exit 7", Stdio::Streams, Keep::WithServer);
    order.env.insert("EXTRA".parse().unwrap(), Secret::new("more".to_owned()));
    let (one_off, attachment) = town.scheduler.one_off(&town.app, &town.release, order).await.unwrap();
    let Attachment { mut input, mut output } = attachment.unwrap();
    let env = town.engine.environment(&town.seen().await[0].id).unwrap();
    for (name, value) in [("PAAS_PROCESS", "run.7"), ("PAAS_APP", "blog"), ("PORT", "5000"), ("EXTRA", "more")] {
        assert_eq!(env.get(name).map(String::as_str), Some(value), "{name}");
    }
    let planned = town.engine.instances(None).await.unwrap();
    assert!(planned.iter().all(|seen| seen.slot.process.is_web()), "a plan sees no one-off");
    input.write_all(b"hello").await.unwrap();
    drop(input);
    let (mut said, mut moaned) = (Vec::new(), Vec::new());
    while let Some(written) = output.next().await {
        match written.unwrap() {
            Written::Output(bytes) => said.extend_from_slice(&bytes),
            Written::Error(bytes) => moaned.extend_from_slice(&bytes),
        }
    }
    assert_eq!((said.as_slice(), moaned.as_slice()), (&b"hello"[..], &b"no\n"[..]));
    assert_eq!(one_off.wait().await.unwrap(), Exit::Status(7));
    one_off.end().await.unwrap();
    assert!(town.seen().await.is_empty());
}

#[tokio::test]
async fn one_whose_owner_leaves_is_removed_and_its_place_is_free_again() {
    let town = Town::new().await;
    let mut owned = Vec::new();
    for index in 1..=ONE_OFFS_MAX {
        owned.push(town.run(&format!("run.{index}"), "sleep", Stdio::Logged).await.unwrap());
    }
    let refused = town.run("run.99", "sleep", Stdio::Logged).await.err().unwrap();
    assert!(matches!(refused, OneOffError::TooMany(_)), "{refused}");
    let left = owned.pop();
    let refused = town.run("run.1", "sleep", Stdio::Logged).await.err().unwrap();
    assert!(matches!(refused, OneOffError::Taken(_)), "{refused}");
    drop(left);
    eventually("it is removed", async || (town.seen().await.len() < ONE_OFFS_MAX).then_some(())).await;
    let again = eventually("its place is free", async || town.run("run.99", "sleep", Stdio::Logged).await.ok()).await;
    drop((owned, again));
    eventually("all are removed", async || town.seen().await.is_empty().then_some(())).await;
}

#[tokio::test]
async fn an_owner_that_leaves_while_the_engine_is_away_leaves_nothing_for_ever() {
    let town = Town::new().await;
    let one_off = town.run("run.1", "sleep", Stdio::Logged).await.unwrap();
    town.engine.set_reachable(false);
    drop(one_off);
    tokio::time::sleep(Duration::from_millis(50)).await;
    town.engine.set_reachable(true);
    eventually("it is removed", async || town.seen().await.is_empty().then_some(())).await;
}

#[tokio::test]
async fn what_a_dead_server_left_is_removed_but_what_is_kept_goes_on() {
    let mut town = Town::new().await;
    let left = town.run("release.3", "sleep", Stdio::Streams).await.unwrap();
    let kept = order("run.5", "echo hello; sleep", Stdio::Logged, Keep::Always);
    let (kept, _) = town.scheduler.one_off(&town.app, &town.release, kept).await.unwrap();
    town.scheduler.detach(&town.app, &town.release, kept, Config::new());
    let cron = order("cron.12", "sleep", Stdio::Logged, Keep::Always);
    let (cron, _) = town.scheduler.one_off(&town.app, &town.release, cron).await.unwrap();
    town.dies().await;
    drop((left, cron));
    town.comes_back();
    let names = async |town: &Town| {
        let seen = town.seen().await;
        seen.iter().map(|one| one.name.to_string()).collect::<Vec<_>>()
    };
    eventually("what nobody waits for is removed", async || {
        (!names(&town).await.contains(&"release.3".to_owned())).then_some(())
    })
    .await;
    // `cron.12` waits for its owner; `run.5` is followed again.
    assert_eq!(names(&town).await, ["run.5", "cron.12"]);
    let seen = town.scheduler.one_offs(town.app.id).await.unwrap();
    let taken_up = town.scheduler.take_up(seen.iter().find(|one| one.name.to_string() == "cron.12").unwrap()).unwrap();
    assert!(town.scheduler.stop_one_off(town.app.id, taken_up.name()).await.unwrap());
    drop(taken_up);
    let run = "run.5".parse().unwrap();
    eventually("it is followed", async || town.scheduler.looks_after(town.app.id, &run).then_some(())).await;
    assert!(town.scheduler.stop_one_off(town.app.id, &run).await.unwrap());
    assert!(!town.scheduler.stop_one_off(town.app.id, &run).await.unwrap(), "it is gone");
    eventually("nobody looks after it", async || (!town.scheduler.looks_after(town.app.id, &run)).then_some(())).await;
    let log = town.log();
    assert_eq!(log.iter().filter(|line| line.ends_with("app[run.5]: hello")).count(), 1, "{log:#?}");
    assert!(log.iter().any(|line| line.contains("run.5 ")), "{log:#?}");
}
