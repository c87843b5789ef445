//! The old one's way out: waits until nothing is torn in two, starts the next generation, hands over, finishes.
//!
//! Until the next one says that it is prepared nothing here has stopped, and giving up means going on. From `go` on this
//! process schedules, builds and writes no more, whatever happens: should the next one die then, the program that runs
//! here is started as the next one.
use super::finish::{self, Afterlife};
use super::{Control, LineSink};
use crate::builder::Builder;
use crate::crash_point;
use crate::data_dir;
use crate::files::remove_if_there;
use crate::generation::{Bequest, Duty, OURSELVES, Order, Parting, Phase, Serving, Successor};
use crate::logs::Logs;
use crate::proxy::ProxyHandle;
use crate::scheduler::Scheduler;
use crate::store::Store;
use anyhow::{Context, bail};
use sd_notify::NotifyState;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long what is under way is waited for: pushes, rollouts, commands that change something.
const SETTLE_LIMIT: Duration = Duration::from_mins(15);
const SETTLE_LOOK: Duration = Duration::from_millis(50);
/// How long the next generation may take to say that it is prepared; migrations are run in it.
const PREPARE_LIMIT: Duration = Duration::from_secs(30);
/// How long our own tasks may take to end, before the next one goes ahead.
const CONTROL_LIMIT: Duration = Duration::from_secs(10);
/// How long it may take to accept once it is in charge.
const SERVE_LIMIT: Duration = Duration::from_secs(15);
/// Before the next attempt, when even the program that ran here does not come up.
const RETRY: Duration = Duration::from_secs(2);

/// SIGTERM and SIGINT.
pub(super) struct Signals {
    term: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self { term: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// How being in charge ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Somebody stops the server.
    Stopped,
    /// Another generation serves; what goes on here is to be finished.
    Relieved,
}

/// What can be passed on, and what has to be asked whether it can.
pub(super) struct Estate {
    pub(super) store: Store,
    pub(super) logs: Logs,
    pub(super) builder: Builder,
    pub(super) duty: Duty,
    pub(super) control: Control,
    pub(super) sink: Arc<LineSink>,
    pub(super) data_dir: PathBuf,
    pub(super) generation: u64,
    pub(super) program: PathBuf,
    pub(super) words: Vec<String>,
    pub(super) lock: Option<File>,
    pub(super) listeners: Vec<(String, TcpListener)>,
    pub(super) proxy: ProxyHandle,
    pub(super) scheduler: Scheduler,
    pub(super) boot_id: String,
    /// Of what goes on in a server that was replaced, and its end.
    pub(super) tracker: TaskTracker,
    pub(super) stop: CancellationToken,
}

impl Estate {
    /// Serves until a signal comes, or another generation serves instead.
    pub(super) async fn be_in_charge(&mut self, signals: &mut Signals, orders: &mut mpsc::Receiver<Order>) -> End {
        loop {
            let order = tokio::select! {
                () = signals.next() => return End::Stopped,
                Some(order) = orders.recv() => order,
            };
            let prepared = tokio::select! {
                prepared = self.prepare(&order) => prepared,
                () = signals.next() => return End::Stopped,
            };
            let (successor, parting, version) = match prepared {
                Ok(prepared) => prepared,
                Err(error) => {
                    self.duty.enter(Phase::InCharge);
                    tracing::warn!("no hand-over, this server goes on: {error:#}");
                    // Whoever asked may have gone.
                    let _ = order.answer.send(Err(format!("{error:#}; this server goes on as before")));
                    continue;
                }
            };
            tracing::info!("handing over to version {version}");
            let answer = self.commit(successor, parting).await;
            let _ = order.answer.send(answer);
            return End::Relieved;
        }
    }

    /// Everything that may fail without harm.
    async fn prepare(&self, order: &Order) -> anyhow::Result<(Successor, Parting, String)> {
        let run_dir = self.data_dir.join("run");
        Parting::check_room(&run_dir)?;
        self.duty.enter(Phase::Leaving);
        self.settle(order).await?;
        self.copy_database().await.context("copy the database")?;
        // Whoever asked hears it or has gone.
        let _ = order.said.send("starting the new version beside the running one".to_owned()).await;
        let mut successor = Successor::start(&self.program, &self.bequest()).await?;
        crash_point!("successor-started");
        match timeout(PREPARE_LIMIT, successor.prepared()).await {
            Ok(Ok(version)) => match Parting::open(&run_dir, self.generation) {
                Ok(parting) => Ok((successor, parting, version)),
                Err(error) => {
                    successor.end().await;
                    Err(error)
                }
            },
            Ok(Err(error)) => {
                successor.end().await;
                Err(error.context("the new version does not come up"))
            }
            Err(_) => {
                successor.end().await;
                bail!("the new version was not ready within {} s", PREPARE_LIMIT.as_secs())
            }
        }
    }

    fn bequest(&self) -> Bequest<'_> {
        Bequest { lock: self.lock.as_ref(), listeners: &self.listeners, program: &self.program, words: &self.words }
    }

    /// Waits until nothing is under way that would be torn in two, and keeps it so.
    async fn settle(&self, order: &Order) -> anyhow::Result<()> {
        let begun = Instant::now();
        let mut told = String::new();
        loop {
            if self.is_settled().await? && self.duty.close() {
                // Again: something may have begun between the look and the closing.
                if self.is_settled().await? {
                    return Ok(());
                }
                self.duty.enter(Phase::Leaving);
            }
            if begun.elapsed() > SETTLE_LIMIT {
                bail!("{} did not end within {} min", self.what_is_under_way(), SETTLE_LIMIT.as_secs() / 60);
            }
            if order.answer.is_closed() {
                bail!("whoever asked for it has left");
            }
            let waits_for = self.what_is_under_way();
            if waits_for != told && begun.elapsed() > SETTLE_LOOK * 4 {
                let text = format!("waiting for {waits_for} to end; new pushes and SSH sessions wait meanwhile");
                let _ = order.said.send(text).await;
                told = waits_for;
            }
            sleep(SETTLE_LOOK).await;
        }
    }

    async fn is_settled(&self) -> anyhow::Result<bool> {
        Ok(self.builder.is_idle() && self.store.is_settled().await?)
    }

    fn what_is_under_way(&self) -> String {
        let tasks = self.duty.under_way();
        if tasks.is_empty() { "a build or rollout".to_owned() } else { tasks.join(", ") }
    }

    /// The database as it is before another version touches it.
    async fn copy_database(&self) -> anyhow::Result<()> {
        let copy = self.data_dir.join("backups").join(data_dir::BEFORE_UPGRADE);
        let half = copy.with_extension("partial");
        for file in [&half, &copy.with_extension("db-journal")] {
            remove_if_there(file)?;
        }
        self.store.copy_to(&half).await?;
        let file = File::open(&half)?;
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        file.sync_all()?;
        Ok(std::fs::rename(&half, &copy)?)
    }

    /// The point of no return is behind this line: in the end some generation serves.
    async fn commit(&mut self, mut successor: Successor, parting: Parting) -> Result<Serving, String> {
        crash_point!("before-go");
        let lines = self.sink.keep_for_successor();
        self.control.end(CONTROL_LIMIT).await;
        self.logs.end_writing().await;
        finish::begin(
            Afterlife {
                store: self.store.clone(),
                boot_id: self.boot_id.clone(),
                proxy: self.proxy.clone(),
                scheduler: self.scheduler.clone(),
                tracker: self.tracker.clone(),
                stop: self.stop.clone(),
            },
            parting,
            lines,
        );
        let mut died = None;
        let serving = loop {
            match put_in_charge(&mut successor).await {
                Ok(serving) => break serving,
                Err(error) => {
                    tracing::error!("the next generation died while it took over: {error:#}");
                    died.get_or_insert(format!("{error:#}"));
                }
            }
            successor.end().await;
            successor = self.start_ourselves().await;
        };
        crash_point!("successor-serves");
        if let Err(error) = sd_notify::notify(&[NotifyState::MainPid(serving.process)]) {
            tracing::warn!("systemd does not hear who serves now: {error}");
        }
        // Else a start after the successor's death would be refused, or visitors would wait at a socket of ours.
        self.listeners.clear();
        self.lock = None;
        self.duty.enter(Phase::Relieved);
        tracing::info!("generation {} serves, as process {}", serving.generation, serving.process);
        let stop = self.stop.clone();
        self.tracker.spawn(async move {
            tokio::select! { () = successor.ended() => {}, () = stop.cancelled() => {} }
        });
        match died {
            None => Ok(serving),
            Some(why) => Err(format!("the new version died while it took over ({why}); the one before serves again")),
        }
    }

    /// The program that ran here so far, as the next generation, however often that has to be tried: this process serves
    /// visitors meanwhile.
    async fn start_ourselves(&self) -> Successor {
        loop {
            sleep(RETRY).await;
            let started = Successor::start(Path::new(OURSELVES), &self.bequest()).await;
            let mut successor = match started {
                Ok(successor) => successor,
                Err(error) => {
                    tracing::error!("cannot start this program again: {error:#}");
                    continue;
                }
            };
            match timeout(PREPARE_LIMIT, successor.prepared()).await {
                Ok(Ok(_)) => return successor,
                Ok(Err(error)) => tracing::error!("this program does not come up again: {error:#}"),
                Err(_) => tracing::error!("this program was not ready again in time"),
            }
            successor.end().await;
        }
    }
}

async fn put_in_charge(successor: &mut Successor) -> anyhow::Result<Serving> {
    successor.go().await?;
    crash_point!("after-go");
    match timeout(SERVE_LIMIT, successor.serving()).await {
        Ok(serving) => serving,
        Err(_) => bail!("it did not serve within {} s", SERVE_LIMIT.as_secs()),
    }
}
