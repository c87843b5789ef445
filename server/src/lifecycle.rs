//! Assembles the rooms, in the order in which they can begin to work, and takes them down again.
//!
//! The proxy serves the saved routes before the engine is asked anything; an engine that is down delays nothing but
//! what needs it. How a server is replaced while it runs is told in `hand_over` (the old one), `arrival` (the new one) and
//! `finish` (the old one again).
mod arrival;
mod finish;
mod hand_over;
mod seams;
mod tell;

pub use arrival::check;

use crate::backups::{self, Backups, Cipher};
use crate::builder::{self, Builder, Fetcher, Repos};
use crate::certs::{self, Certs};
use crate::clock::{Clock, SystemClock};
use crate::commands::{self, Commands};
use crate::config::Config;
use crate::data_dir;
use crate::desk::Desk;
use crate::disk::{Allowance, Disk};
use crate::domain::BridgePrefix;
use crate::domain::acme::{Acme, AcmeOff};
use crate::domain::route::RouteTable;
use crate::domain::site::{Https, Site};
use crate::engine::DockerEngine;
use crate::generation::{Duty, Elders, HandOver, Order};
use crate::guard::{GuardWatch, Wanted};
use crate::listeners::Listeners;
use crate::logs::{Logs, RouterLines};
use crate::outbound::Outbound;
use crate::proxy::{self, ProxyHandle, ProxyProtocol, ProxySettings, RouterLog, Waker};
use crate::receiver::{self, Limits, Neighbours, Receiver, ReceiverSettings};
use crate::scheduler::{self, Scheduler};
use crate::store::{SealKey, Store};
use crate::visit::{QUEUE_VISITS, Visit};
use crate::web;
use anyhow::{Context, bail};
use arrival::Arrival;
use finish::Rest;
use hand_over::{End, Estate, Signals};
use sd_notify::NotifyState;
use seams::{LateWaker, LineSink, Runner, ToProxy, parse_key};
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tell::{say_ready, tell_damage, tell_systemd, tell_where};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long requests and tasks may take to end after SIGTERM.
const DRAIN: Duration = Duration::from_secs(10);

/// Where visitors and pushers come in.
struct Doors {
    http: TcpListener,
    https: Option<TcpListener>,
    ssh: TcpListener,
}

impl Doors {
    fn of(config: &Config, listeners: &mut Listeners) -> anyhow::Result<Self> {
        let doors = Self {
            http: listeners.take("http_listen", config.http_listen)?,
            https: config.https_listen.map(|address| listeners.take("https_listen", address)).transpose()?,
            ssh: listeners.take("ssh_listen", config.ssh_listen)?,
        };
        for name in listeners.left_over() {
            tracing::warn!("the socket `{name}` was handed over and nobody here listens on it");
        }
        Ok(doors)
    }
}

/// What every room stands on.
struct Ground {
    store: Store,
    logs: Logs,
    repos: Repos,
    clock: Arc<dyn Clock>,
    tracker: TaskTracker,
    stop: CancellationToken,
    /// Of what only the server in charge does.
    control: Control,
    duty: Duty,
    sink: Arc<LineSink>,
    router_lines: RouterLines,
    proxy_is_down: CancellationToken,
    generation: u64,
    /// The path that the server is started by.
    program: PathBuf,
    /// This boot of the machine: routes saved in another one mean nothing.
    boot_id: String,
}

/// What ends at a hand-over: scheduling, building, the pages, the nightly backup.
#[derive(Clone)]
struct Control {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Control {
    /// Ends all of it, and waits so long at most.
    async fn end(&self, limit: Duration) {
        self.stop.cancel();
        self.tracker.close();
        if tokio::time::timeout(limit, self.tracker.wait()).await.is_err() {
            tracing::warn!("{} tasks did not end within {} s", self.tracker.len(), limit.as_secs());
        }
    }
}

/// Runs the server until SIGTERM or SIGINT, or until another one has taken over and all that was under way has ended.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let mut arrival = Arrival::of(&config)?;
    let lived = live(&config, &mut arrival).await;
    if let Err(error) = &lived {
        arrival.tell_failure(error).await;
    }
    lived
}

async fn live(config: &Config, arrival: &mut Arrival) -> anyhow::Result<()> {
    let cipher = Cipher::new(config.backup_recipient.as_deref(), config.backup_passphrase_file.as_deref())?;
    let ca_bundle = config.ca_bundle.as_deref().map(read_ca_bundle).transpose()?;
    let (ground, lock) = Ground::open(config, arrival).await?;
    ground.tracker.spawn(tell_damage(ground.store.clone()));
    let installation = ground.store.installation(ground.clock.now()).await?;
    let elders = ground.meet_elders(config).await?;
    let mut listeners = arrival.listeners()?;
    let Doors { http, https, ssh } = Doors::of(config, &mut listeners)?;
    let saved = ground.store.saved_routes(&ground.boot_id).await?.unwrap_or_default();
    let waker = Arc::new(LateWaker::default());
    let (dashboard, visits) = mpsc::channel(QUEUE_VISITS);
    let proxy = ground.serve_saved(config, (http, https), &waker, (&saved, dashboard, elders)).await?;
    let site = Site {
        base_domain: config.base_domain.clone(),
        http_port: proxy.local_addr().port(),
        ssh_port: ssh.local_addr().context("ask for the SSH listener's address")?.port(),
        https: https_of(&proxy),
    };

    let guard = GuardWatch::new(config.guard_dir.clone(), config.data_dir.join("run/guard"));
    guard.ask(&Wanted { bridges: BridgePrefix::of(&installation), ports: site.ports() })?;

    let engine = Arc::new(DockerEngine::connect(config.docker_host.as_deref(), installation)?);
    builder::heal(&ground.store, &ground.logs, &ground.repos, &*ground.clock).await?;
    let disk = Disk::new(engine.clone(), ground.store.clone(), config.data_dir.clone(), allowance(config));
    let scheduler = ground.start_scheduler(&engine, &proxy, &site, (saved, disk.clone()));
    waker.0.get_or_init(|| scheduler.clone());
    let publisher = ToProxy { proxy: proxy.clone(), scheduler: scheduler.clone() };
    let certs = ground.start_certs(config, &site, publisher, ca_bundle.clone());
    let builder = ground.start_builder(config, &engine, &scheduler, ca_bundle);
    let backups = ground.start_backups(config, cipher, &engine, &scheduler)?;
    let (hand_over, orders) = HandOver::new();
    let commands = Commands::new(commands::Tools {
        store: ground.store.clone(),
        backups,
        certs: certs.clone(),
        builder: builder.clone(),
        scheduler: scheduler.clone(),
        engine: engine.clone(),
        repos: ground.repos.clone(),
        logs: ground.logs.clone(),
        disk,
        clock: Arc::clone(&ground.clock),
        parse_key,
        site: site.clone(),
        reserved_names: config.reserved_names(),
        guard,
        admin_host: config.admin_host.clone(),
        data_dir: config.data_dir.clone(),
        duty: ground.duty.clone(),
        hand_over,
    });
    let receiver = ground.start_receiver(config, ssh, builder.clone(), &commands, &site).await?;
    ground.start_web(&engine, builder.clone(), scheduler.clone(), &site, (visits, certs));
    let run_dir = config.data_dir.join("run");
    let conversations = commands::socket::serve(&run_dir, commands, &ground.tracker, ground.stop.clone())?;

    tell_where(config, &proxy, &receiver);
    if arrival.is_alone() {
        say_ready(config, &site, &proxy, &receiver).await?;
        tell_systemd(NotifyState::Ready);
    }
    arrival.tell_serving(ground.generation).await;
    let estate = ground.estate(config, (builder, proxy.clone(), scheduler), lock, listeners.into_kept());
    stay(ground, estate, Rest { proxy, receiver, conversations }, orders).await
}

/// Serves to the end, whichever it is.
async fn stay(ground: Ground, mut estate: Estate, rest: Rest, mut orders: mpsc::Receiver<Order>) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    match estate.be_in_charge(&mut signals, &mut orders).await {
        End::Stopped => {
            tell_systemd(NotifyState::Stopping);
            tracing::info!("stopping: requests under way end first, apps go on");
            ground.stop.cancel();
            rest.proxy.shut_down(DRAIN, DRAIN).await;
        }
        End::Relieved => {
            finish::finish(&ground.logs, &rest, &mut signals).await;
            ground.stop.cancel();
        }
    }
    ground.close().await;
    Ok(())
}

impl Ground {
    /// What everything stands on, and the lock that keeps a second server away as long as it is held. Of a server that takes
    /// over this returns once the old one has stopped to write.
    async fn open(config: &Config, arrival: &mut Arrival) -> anyhow::Result<(Self, File)> {
        let lock = arrival.lock(&config.data_dir)?;
        data_dir::check_whole(&config.data_dir)?;
        let clock = SystemClock::shared();
        let seal = SealKey::load_or_make(&config.data_dir.join("keys/seal.key"))?;
        let boot_id =
            std::fs::read_to_string("/proc/sys/kernel/random/boot_id").context("read the machine's boot id")?;
        let boot_id = boot_id.trim().to_owned();
        let database = config.data_dir.join("paas.db");
        arrival.rehearse(&database).await?;
        let store = Store::open(&database, seal).await?;
        arrival.wait_for_turn(&store).await?;
        let (store, generation) = arrival.take_charge(store, &lock, &*clock).await?;
        let logs = Logs::new(config.data_dir.join("logs"), Arc::clone(&clock));
        let (tracker, stop, proxy_is_down) = (TaskTracker::new(), CancellationToken::new(), CancellationToken::new());
        let (router_lines, router_writer) = RouterLines::new(logs.clone(), proxy_is_down.clone());
        tracker.spawn(router_writer);
        let control = Control { tracker: TaskTracker::new(), stop: stop.child_token() };
        let ground = Self {
            store,
            logs,
            repos: Repos::new(config.data_dir.join("repos")),
            clock,
            tracker,
            stop,
            control,
            duty: Duty::default(),
            sink: Arc::new(LineSink::new(router_lines.clone())),
            router_lines,
            proxy_is_down,
            generation,
            program: arrival.program()?,
            boot_id,
        };
        Ok((ground, lock))
    }

    /// Servers before this one that still finish what they began: what they use is known from here on.
    async fn meet_elders(&self, config: &Config) -> anyhow::Result<Elders> {
        let (elders, met) = Elders::meet(&config.data_dir.join("run")).await?;
        for elder in met {
            let lines = self.router_lines.clone();
            let note = move |app, text| lines.line(app, text);
            self.control.tracker.spawn(elder.follow(elders.clone(), self.control.stop.clone(), note));
        }
        Ok(elders)
    }

    fn estate(
        &self,
        config: &Config,
        (builder, proxy, scheduler): (Builder, ProxyHandle, Scheduler),
        lock: File,
        listeners: Vec<(String, TcpListener)>,
    ) -> Estate {
        Estate {
            proxy,
            scheduler,
            boot_id: self.boot_id.clone(),
            tracker: self.tracker.clone(),
            stop: self.stop.clone(),
            store: self.store.clone(),
            logs: self.logs.clone(),
            builder,
            duty: self.duty.clone(),
            control: self.control.clone(),
            sink: Arc::clone(&self.sink),
            data_dir: config.data_dir.clone(),
            generation: self.generation,
            program: self.program.clone(),
            words: config.words.clone(),
            lock: Some(lock),
            listeners,
        }
    }

    /// Starts the proxy with the routes of before.
    async fn serve_saved(
        &self,
        config: &Config,
        (http, https): (TcpListener, Option<TcpListener>),
        waker: &Arc<LateWaker>,
        (saved, dashboard, elders): (&RouteTable, mpsc::Sender<Visit>, Elders),
    ) -> anyhow::Result<ProxyHandle> {
        for app in self.store.apps().await? {
            self.router_lines.know(app.id, app.key);
        }
        let (admin_hosts, dashboard) = (config.admin_hosts(), Some(dashboard));
        // A certificate that cannot be read must not keep the others, and plain http, from being served.
        let certificates = self.store.certificates().await.unwrap_or_else(|error| {
            tracing::error!("cannot read the certificates, so none is served: {error}");
            Vec::new()
        });
        let https = https.map(|listener| (listener, certificates.into_iter().collect()));
        let settings = ProxySettings {
            admin_hosts,
            dashboard,
            trusted_proxies: config.trusted_proxies.clone(),
            proxy_protocol: if config.http_proxy_protocol { ProxyProtocol::Required } else { ProxyProtocol::Off },
            https,
            routes: saved.clone(),
            elders,
            ..ProxySettings::default()
        };
        let log: Arc<dyn RouterLog> = self.sink.clone();
        let waker: Arc<dyn Waker> = waker.clone();
        proxy::start(http, settings, Arc::clone(&self.clock), log, waker).context("start the proxy")
    }

    fn start_scheduler(
        &self,
        engine: &Arc<DockerEngine>,
        proxy: &ProxyHandle,
        site: &Site,
        (saved, disk): (RouteTable, Disk),
    ) -> Scheduler {
        let tools = scheduler::Tools {
            store: self.store.clone(),
            engine: engine.clone(),
            proxy: proxy.clone(),
            logs: self.logs.clone(),
            disk,
            router_lines: self.router_lines.clone(),
            clock: Arc::clone(&self.clock),
            site: site.clone(),
            boot_id: self.boot_id.clone(),
            tracker: self.control.tracker.clone(),
            stop: self.control.stop.clone(),
        };
        Scheduler::start(tools, saved)
    }

    fn start_builder(
        &self,
        config: &Config,
        engine: &Arc<DockerEngine>,
        scheduler: &Scheduler,
        ca_bundle: Option<Vec<u8>>,
    ) -> Builder {
        Builder::start(builder::Tools {
            store: self.store.clone(),
            engine: engine.clone(),
            scheduler: scheduler.clone(),
            logs: self.logs.clone(),
            repos: self.repos.clone(),
            clock: Arc::clone(&self.clock),
            fetcher: Fetcher::new(ca_bundle.clone(), config.fetch_allow.clone()),
            ca_bundle,
            build_limit: config.build_limit,
            fetch_allow: config.fetch_allow.clone(),
            registry_auth_file: config.registry_auth_file.clone(),
            tracker: self.control.tracker.clone(),
            stop: self.control.stop.clone(),
        })
    }

    fn start_certs(&self, config: &Config, site: &Site, publisher: ToProxy, ca_bundle: Option<Vec<u8>>) -> Certs {
        let acme = config.https_listen.map_or(Err(AcmeOff::NoHttps), |_| config.acme.clone());
        if let Err(off) = &acme {
            tracing::info!("no CA is asked for certificates: {}", off.reason());
        }
        let allowed = acme.as_ref().ok().and_then(Acme::address);
        Certs::start(certs::Tools {
            store: self.store.clone(),
            clock: Arc::clone(&self.clock),
            outbound: Outbound::new(ca_bundle, allowed),
            publisher: Arc::new(publisher),
            site: site.clone(),
            admin_host: config.admin_host.clone(),
            acme,
            tracker: self.control.tracker.clone(),
            stop: self.control.stop.clone(),
        })
    }

    fn start_backups(
        &self,
        config: &Config,
        cipher: Cipher,
        engine: &Arc<DockerEngine>,
        scheduler: &Scheduler,
    ) -> anyhow::Result<Backups> {
        Backups::start(backups::Tools {
            store: self.store.clone(),
            repos: self.repos.clone(),
            engine: engine.clone(),
            scheduler: scheduler.clone(),
            clock: Arc::clone(&self.clock),
            data_dir: config.data_dir.clone(),
            cipher,
            nightly_at: config.backup_at,
            tracker: self.control.tracker.clone(),
            stop: self.control.stop.clone(),
        })
    }

    fn start_web(
        &self,
        engine: &Arc<DockerEngine>,
        builder: Builder,
        scheduler: Scheduler,
        site: &Site,
        (visits, certs): (mpsc::Receiver<Visit>, Certs),
    ) {
        let desk = Desk {
            store: self.store.clone(),
            builder,
            scheduler,
            engine: engine.clone(),
            logs: self.logs.clone(),
            clock: Arc::clone(&self.clock),
        };
        let (tracker, stop) = (self.control.tracker.clone(), self.control.stop.clone());
        let repos = self.repos.clone();
        web::start(web::Tools { desk, certs, repos, site: site.clone(), tracker, stop }, visits);
    }

    async fn close(self) {
        self.control.end(DRAIN).await;
        self.proxy_is_down.cancel();
        self.tracker.close();
        if tokio::time::timeout(DRAIN, self.tracker.wait()).await.is_err() {
            tracing::warn!("{} tasks did not end within {} s", self.tracker.len(), DRAIN.as_secs());
        }
        self.store.close().await;
    }

    async fn start_receiver(
        &self,
        config: &Config,
        ssh: TcpListener,
        builder: Builder,
        commands: &Commands,
        site: &Site,
    ) -> anyhow::Result<Receiver> {
        let neighbours = Neighbours {
            store: self.store.clone(),
            intake: Arc::new(builder),
            logs: self.logs.clone(),
            repos: self.repos.clone(),
            clock: Arc::clone(&self.clock),
            runner: Arc::new(Runner(commands.clone())),
            duty: self.duty.clone(),
        };
        let settings = ReceiverSettings {
            run_dir: config.data_dir.join("run"),
            host_key: config.data_dir.join("keys/ssh_host_ed25519"),
            program: self.program.clone(),
            git: ReceiverSettings::usual_git(),
            reserved_names: config.reserved_names(),
            site: site.clone(),
            limits: Limits::default(),
            fetch_allow: config.fetch_allow.clone(),
        };
        let receiver = receiver::start(ssh, settings, neighbours, self.tracker.clone(), self.stop.clone()).await?;
        receiver.collect_repositories(&self.control.tracker, self.control.stop.clone());
        Ok(receiver)
    }
}

fn allowance(config: &Config) -> Allowance {
    Allowance {
        reserve: config.disk_reserve,
        instance_max: config.instance_disk_max,
        build_cache_max: config.build_cache_max,
    }
}

fn read_ca_bundle(path: &Path) -> anyhow::Result<Vec<u8>> {
    let bundle = std::fs::read(path).with_context(|| format!("ca_bundle: read {}", path.display()))?;
    if !bundle.windows(27).any(|window| window == b"-----BEGIN CERTIFICATE-----") {
        bail!("ca_bundle: {} holds no PEM certificate", path.display());
    }
    Ok(bundle)
}

/// What links need to know of HTTPS.
fn https_of(proxy: &ProxyHandle) -> Option<Https> {
    let (port, proxy) = (proxy.https_addr()?.port(), proxy.clone());
    Some(Https { port, has_certificate: Arc::new(move |host| proxy.has_certificate(host)) })
}
