//! Assembles the rooms, in the order in which they can begin to work, and takes them down again.
//!
//! The proxy serves the saved routes before the engine is asked anything; an engine that is down delays nothing but
//! what needs it.
use crate::backups::{self, Backups, Cipher};
use crate::builder::{self, Builder, Repos};
use crate::certs::{self, Certs, Publisher};
use crate::clock::{Clock, SystemClock};
use crate::commands::{self, Commands};
use crate::config::Config;
use crate::console::Console;
use crate::data_dir;
use crate::desk::Desk;
use crate::disk::{Allowance, Disk};
use crate::domain::acme::{Acme, AcmeOff};
use crate::domain::route::RouteTable;
use crate::domain::site::{Https, Site};
use crate::domain::{AppId, BridgePrefix, ChallengeTable, Pusher};
use crate::engine::DockerEngine;
use crate::guard::{GuardWatch, Wanted};
use crate::listeners::Listeners;
use crate::logs::{Logs, RouterLines};
use crate::outbound::Outbound;
use crate::proxy::{self, ProxyHandle, ProxyProtocol, ProxySettings, RouterLog, Waker};
use crate::receiver::{self, CommandRunner, Limits, Neighbours, Receiver, ReceiverSettings};
use crate::scheduler::{self, Scheduler};
use crate::store::{SealKey, Store};
use crate::visit::{QUEUE_VISITS, Visit};
use crate::web;
use anyhow::{Context, bail};
use async_trait::async_trait;
use sd_notify::NotifyState;
use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long requests and tasks may take to end after SIGTERM.
const DRAIN: Duration = Duration::from_secs(10);

/// What every room stands on.
struct Ground {
    store: Store,
    logs: Logs,
    repos: Repos,
    clock: Arc<dyn Clock>,
    tracker: TaskTracker,
    stop: CancellationToken,
    /// This boot of the machine: routes saved in another one mean nothing.
    boot_id: String,
    /// Keeps a second server away from the data folder, as long as it is held.
    _lock: File,
}

/// Runs the server until SIGTERM or SIGINT.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let ground = Ground::open(&config).await?;
    let cipher = Cipher::new(config.backup_recipient.as_deref(), config.backup_passphrase_file.as_deref())?;
    let ca_bundle = config.ca_bundle.as_deref().map(read_ca_bundle).transpose()?;
    ground.tracker.spawn(tell_damage(ground.store.clone()));
    let installation = ground.store.installation(ground.clock.now()).await?;
    let proxy_is_down = CancellationToken::new();
    let (router_lines, router_writer) = RouterLines::new(ground.logs.clone(), proxy_is_down.clone());
    ground.tracker.spawn(router_writer);
    let mut listeners = Listeners::handed_over(&crate::config::names_of_sockets())?;
    let http = listeners.take("http_listen", config.http_listen)?;
    let https = config.https_listen.map(|address| listeners.take("https_listen", address)).transpose()?;
    let ssh = listeners.take("ssh_listen", config.ssh_listen)?;
    for name in listeners.left_over() {
        tracing::warn!("the socket `{name}` was handed over and nobody here listens on it");
    }
    let saved = ground.store.saved_routes(&ground.boot_id).await?.unwrap_or_default();
    let waker = Arc::new(LateWaker::default());
    let (dashboard, visits) = mpsc::channel(QUEUE_VISITS);
    let proxy = serve_saved(&config, (http, https), &ground, &router_lines, &waker, (&saved, dashboard)).await?;
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
    let disk = Disk::new(engine.clone(), ground.store.clone(), config.data_dir.clone(), allowance(&config));
    let scheduler = ground.start_scheduler(&engine, &proxy, router_lines, &site, (saved, disk.clone()));
    waker.0.get_or_init(|| scheduler.clone());
    let publisher = ToProxy { proxy: proxy.clone(), scheduler: scheduler.clone() };
    let certs = ground.start_certs(&config, &site, publisher, ca_bundle.clone());
    let builder = ground.start_builder(&engine, &scheduler, (ca_bundle, config.build_limit));
    let backups = ground.start_backups(&config, cipher, &engine, &scheduler)?;
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
    });
    let receiver = ground.start_receiver(&config, ssh, builder.clone(), &commands, &site).await?;
    ground.start_web(&engine, builder, scheduler, &site, (visits, certs));
    commands::socket::serve(&config.data_dir.join("run"), commands, &ground.tracker, ground.stop.clone())?;

    say_ready(&config, &site, &proxy, &receiver).await?;
    tell_systemd(NotifyState::Ready);
    wait_for_signal().await?;
    tell_systemd(NotifyState::Stopping);
    tracing::info!("stopping: requests under way end first, apps go on");
    ground.stop.cancel();
    proxy.shut_down(DRAIN).await;
    proxy_is_down.cancel();
    ground.close().await;
    Ok(())
}

impl Ground {
    async fn open(config: &Config) -> anyhow::Result<Self> {
        let lock = data_dir::hold(&config.data_dir)?;
        data_dir::check_whole(&config.data_dir)?;
        let clock = SystemClock::shared();
        let seal = SealKey::load_or_make(&config.data_dir.join("keys/seal.key"))?;
        let boot_id =
            std::fs::read_to_string("/proc/sys/kernel/random/boot_id").context("read the machine's boot id")?;
        Ok(Self {
            store: Store::open(&config.data_dir.join("paas.db"), seal).await?,
            logs: Logs::new(config.data_dir.join("logs"), Arc::clone(&clock)),
            repos: Repos::new(config.data_dir.join("repos")),
            clock,
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
            boot_id: boot_id.trim().to_owned(),
            _lock: lock,
        })
    }

    fn start_scheduler(
        &self,
        engine: &Arc<DockerEngine>,
        proxy: &ProxyHandle,
        router_lines: RouterLines,
        site: &Site,
        (saved, disk): (RouteTable, Disk),
    ) -> Scheduler {
        let tools = scheduler::Tools {
            store: self.store.clone(),
            engine: engine.clone(),
            proxy: proxy.clone(),
            logs: self.logs.clone(),
            disk,
            router_lines,
            clock: Arc::clone(&self.clock),
            site: site.clone(),
            boot_id: self.boot_id.clone(),
            tracker: self.tracker.clone(),
            stop: self.stop.clone(),
        };
        Scheduler::start(tools, saved)
    }

    fn start_builder(
        &self,
        engine: &Arc<DockerEngine>,
        scheduler: &Scheduler,
        (ca_bundle, build_limit): (Option<Vec<u8>>, Duration),
    ) -> Builder {
        Builder::start(builder::Tools {
            store: self.store.clone(),
            engine: engine.clone(),
            scheduler: scheduler.clone(),
            logs: self.logs.clone(),
            repos: self.repos.clone(),
            clock: Arc::clone(&self.clock),
            ca_bundle,
            build_limit,
            tracker: self.tracker.clone(),
            stop: self.stop.clone(),
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
            tracker: self.tracker.clone(),
            stop: self.stop.clone(),
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
            tracker: self.tracker.clone(),
            stop: self.stop.clone(),
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
        let (tracker, stop) = (self.tracker.clone(), self.stop.clone());
        let repos = self.repos.clone();
        web::start(web::Tools { desk, certs, repos, site: site.clone(), tracker, stop }, visits);
    }

    async fn close(self) {
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
        };
        let settings = ReceiverSettings {
            run_dir: config.data_dir.join("run"),
            host_key: config.data_dir.join("keys/ssh_host_ed25519"),
            program: std::env::current_exe().context("find our own program, which is git's hook")?,
            git: ReceiverSettings::usual_git(),
            reserved_names: config.reserved_names(),
            site: site.clone(),
            limits: Limits::default(),
        };
        receiver::start(ssh, settings, neighbours, self.tracker.clone(), self.stop.clone()).await
    }
}

/// A page that is damaged may not be met for a long time: it is looked for at once, and nobody waits for that.
async fn tell_damage(store: Store) {
    match store.damage().await {
        Ok(None) => {}
        Ok(Some(damage)) => tracing::error!("{damage}"),
        Err(error) => tracing::error!("cannot check the database: {error}"),
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

/// Starts the proxy with the routes of before the restart.
async fn serve_saved(
    config: &Config,
    (http, https): (TcpListener, Option<TcpListener>),
    ground: &Ground,
    router_lines: &RouterLines,
    waker: &Arc<LateWaker>,
    (saved, dashboard): (&RouteTable, mpsc::Sender<Visit>),
) -> anyhow::Result<ProxyHandle> {
    for app in ground.store.apps().await? {
        router_lines.know(app.id, app.key);
    }
    let (admin_hosts, dashboard) = (config.admin_hosts(), Some(dashboard));
    // A certificate that cannot be read must not keep the others, and plain http, from being served.
    let certificates = ground.store.certificates().await.unwrap_or_else(|error| {
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
        ..ProxySettings::default()
    };
    let log: Arc<dyn RouterLog> = Arc::new(LineSink(router_lines.clone()));
    let waker: Arc<dyn Waker> = waker.clone();
    proxy::start(http, settings, Arc::clone(&ground.clock), log, waker).context("start the proxy")
}

/// What links need to know of HTTPS.
fn https_of(proxy: &ProxyHandle) -> Option<Https> {
    let (port, proxy) = (proxy.https_addr()?.port(), proxy.clone());
    Some(Https { port, has_certificate: Arc::new(move |host| proxy.has_certificate(host)) })
}

/// The one line on standard output, which says where everything listens.
async fn say_ready(config: &Config, site: &Site, proxy: &ProxyHandle, receiver: &Receiver) -> anyhow::Result<()> {
    let (http, ssh) = (proxy.local_addr(), receiver.local_addr());
    let ready = serde_json::json!({
        "ready": true,
        "http": http.to_string(),
        "https": proxy.https_addr().map(|address| address.to_string()),
        "ssh": ssh.to_string(),
        "admin": site.url_of(config.admin_host.as_str()),
    });
    let mut out = tokio::io::stdout();
    out.write_all(format!("{ready}\n").as_bytes()).await?;
    out.flush().await?;
    let https = proxy.https_addr().map_or_else(String::new, |address| format!(", https on {address}"));
    tracing::info!("ready: http on {http}{https}, ssh on {ssh}, data in {}", config.data_dir.display());
    Ok(())
}

/// Nothing happens where no systemd waits for it.
fn tell_systemd(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!("systemd does not hear how we are: {error}");
    }
}

async fn wait_for_signal() -> anyhow::Result<()> {
    let (mut term, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// What the receiver runs commands with.
struct Runner(Commands);

#[async_trait]
impl CommandRunner for Runner {
    async fn run(&self, words: Vec<String>, caller: Pusher, console: Console) -> u8 {
        self.0.run(words, caller, console).await
    }
}

/// What the proxy wakes: the scheduler, once there is one.
#[derive(Default)]
struct LateWaker(OnceLock<Scheduler>);

impl Waker for LateWaker {
    fn app_changed(&self, app: AppId) {
        if let Some(scheduler) = self.0.get() {
            scheduler.wake(app);
        }
    }
}

/// Where certificates are served, and the CA's checks answered.
struct ToProxy {
    proxy: ProxyHandle,
    scheduler: Scheduler,
}

#[async_trait]
impl Publisher for ToProxy {
    fn set_challenges(&self, table: &ChallengeTable) {
        self.proxy.set_challenges(table).iter().for_each(|fault| tracing::warn!("{fault}"));
    }

    async fn certificates_changed(&self) {
        match self.scheduler.serve_certificates().await {
            Ok(faults) => faults.iter().for_each(|fault| tracing::warn!("{fault}")),
            Err(error) => tracing::warn!("cannot read the certificates; those served go on to be: {error}"),
        }
    }
}

struct LineSink(RouterLines);

impl RouterLog for LineSink {
    fn line(&self, app: AppId, line: String) {
        self.0.line(app, line);
    }
}

fn parse_key(line: &str) -> Result<(String, String), String> {
    let parsed = receiver::parse_public_key(line).map_err(|error| error.to_string())?;
    Ok((parsed.fingerprint, parsed.public_key))
}
