//! Starting and stopping the proxy, and the handle others hold.
use super::control::{Shared, Stop};
use super::held::HoldReport;
use super::limits::Spans;
use super::target::DrainReport;
use super::tls::{CertificateFault, Tls};
use super::worker::{self, Seat};
use super::{ProxySettings, RouterLog, Waker};
use crate::clock::Clock;
use crate::domain::instance::Traffic;
use crate::domain::route::RouteTable;
use crate::domain::{AppId, CertificateTable, ChallengeTable, ContainerId};
use crate::generation::Elders;
use std::collections::BTreeSet;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// After the grace is over: how long cut connections have to be dropped.
const CUT_TIME_MAX: Duration = Duration::from_secs(1);

/// The control plane's side of the proxy. Cheap to clone.
#[derive(Clone)]
pub struct ProxyHandle {
    pub(super) shared: Arc<Shared>,
    local_addr: SocketAddr,
    https_addr: Option<SocketAddr>,
    /// Every thread holds a receiver: it is closed when all have ended.
    pub(super) threads: Arc<watch::Sender<()>>,
}

/// Takes the listener over: each thread accepts on a clone of it.
#[expect(clippy::needless_pass_by_value, reason = "nobody else may keep accepting on it; it ends with our clones")]
pub fn start(
    listener: TcpListener,
    settings: ProxySettings,
    clock: Arc<dyn Clock>,
    log: Arc<dyn RouterLog>,
    waker: Arc<dyn Waker>,
) -> io::Result<ProxyHandle> {
    start_with(&listener, settings, Spans::default(), clock, log, waker)
}

pub(super) fn start_with(
    listener: &TcpListener,
    mut settings: ProxySettings,
    spans: Spans,
    clock: Arc<dyn Clock>,
    log: Arc<dyn RouterLog>,
    waker: Arc<dyn Waker>,
) -> io::Result<ProxyHandle> {
    listener.set_nonblocking(true)?;
    let https = settings.https.take();
    let routes = std::mem::take(&mut settings.routes);
    let local_addr = listener.local_addr()?;
    let wanted_threads = settings.threads;
    let mut shared = Shared::new(settings, spans, clock, log, waker);
    let https_addr = match &https {
        Some((listener, certificates)) => {
            listener.set_nonblocking(true)?;
            let tls = Tls::new()?;
            tls.set_certificates(certificates).iter().for_each(|fault| tracing::warn!("{fault}"));
            let address = listener.local_addr()?;
            (shared.tls, shared.https_port) = (Some(tls), Some(address.port()));
            Some(address)
        }
        None => None,
    };
    let shared = Arc::new(shared);
    shared.set_routes(&routes);
    let threads = Arc::new(watch::Sender::new(()));
    let count = match wanted_threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        count => count,
    };
    let handle = ProxyHandle { shared, local_addr, https_addr, threads };
    let spawned = (0..count).try_for_each(|index| {
        let https = https.as_ref().map(|(listener, _)| listener.try_clone()).transpose()?;
        handle.spawn(index, listener.try_clone()?, https)
    });
    if let Err(error) = spawned {
        handle.say(Stop::Cut);
        return Err(error);
    }
    Ok(handle)
}

impl ProxyHandle {
    /// Publishes a table. Requests that come after this returned go by it; instances that left drain from now on.
    pub fn set_routes(&self, table: &RouteTable) {
        self.shared.set_routes(table);
    }

    /// Whether anything is or may be sent to the instance. One that was never in a table is quiet.
    pub fn traffic(&self, id: &ContainerId) -> Traffic {
        self.shared.traffic(id)
    }

    /// Instances that anything is or may be sent to by this proxy, for whoever is in charge of them.
    pub fn in_use(&self) -> BTreeSet<ContainerId> {
        self.shared.in_use()
    }

    /// Earlier servers that still send to instances of ours.
    pub fn elders(&self) -> &Elders {
        &self.shared.elders
    }

    /// How its drain went; `None` until it ended, and after [`Self::forget`].
    pub fn drained(&self, id: &ContainerId) -> Option<DrainReport> {
        self.shared.drained(id)
    }

    /// How the app's last hold went: the last time its requests waited for an exchange or a pause to be over.
    pub fn last_hold(&self, app: AppId) -> Option<HoldReport> {
        self.shared.last_hold(app)
    }

    /// Requests of the app that wait now.
    pub fn waiting(&self, app: AppId) -> usize {
        self.shared.waiting(app)
    }

    /// The instance is gone: what is left of its requests is cut, and nothing about it is kept.
    pub fn forget(&self, id: &ContainerId) {
        self.shared.forget(id);
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Where visitors come by HTTPS.
    pub fn https_addr(&self) -> Option<SocketAddr> {
        self.https_addr
    }

    /// Publishes certificates: handshakes that begin after this returned go by them. Returns those that cannot be served;
    /// what was served for their hosts before goes on to be. Without HTTPS nothing happens.
    pub fn set_certificates(&self, table: &CertificateTable) -> Vec<CertificateFault> {
        self.shared.tls.as_ref().map_or_else(Vec::new, |tls| tls.set_certificates(table))
    }

    /// Publishes what a CA that is checking is answered. Returns the certificates that cannot be shown to it.
    pub fn set_challenges(&self, table: &ChallengeTable) -> Vec<CertificateFault> {
        self.shared.tls.as_ref().map_or_else(Vec::new, |tls| tls.set_challenges(table))
    }

    /// Whether a certificate lives for the host: it is served, and in date.
    pub fn has_certificate(&self, host: &str) -> bool {
        self.shared.tls.as_ref().is_some_and(|tls| tls.has_certificate(host, self.shared.clock.now()))
    }

    /// Stops accepting, lets answers close their connections, waits at most `grace` for the rest, then cuts it. WebSockets are
    /// told to come again when no more than `parting` of that is left.
    pub async fn shut_down(&self, grace: Duration, parting: Duration) {
        let linger = self.shared.spans.linger.min(grace / 2);
        let behind = grace.saturating_sub(linger);
        let parting = parting.min(behind);
        let closing = behind.saturating_sub(parting);
        for (stop, limit) in [(Stop::Lingering, linger), (Stop::Closing, closing), (Stop::Parting, parting)] {
            self.say(stop);
            if tokio::time::timeout(limit, self.threads.closed()).await.is_ok() {
                return;
            }
        }
        self.say(Stop::Cut);
        if tokio::time::timeout(CUT_TIME_MAX, self.threads.closed()).await.is_err() {
            tracing::warn!("a thread of the proxy did not end in time");
        }
    }

    fn spawn(&self, index: usize, http: TcpListener, https: Option<TcpListener>) -> io::Result<()> {
        let (shared, local_addr, alive) = (self.shared.clone(), self.local_addr, self.threads.subscribe());
        let seat = Seat { shared, http, https, local_addr, alive };
        std::thread::Builder::new().name(format!("proxy-{index}")).spawn(move || worker::run(seat)).map(drop)
    }

    fn say(&self, stop: Stop) {
        self.shared.signal.send_modify(|signal| signal.stop = stop);
    }
}
