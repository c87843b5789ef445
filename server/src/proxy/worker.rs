//! One thread of the proxy: its runtime, its accept loop, and what its connections share.
use super::ProxyProtocol;
use super::answer;
use super::client_stream::ClientStream;
use super::control::{Shared, Stop};
use super::exchange::Client;
use super::flight::Flight;
use super::gated_io::GatedIo;
use super::h2_in;
use super::handshake;
use super::limits::{
    ACCEPT_BACKOFF_MAX, ACCEPT_BACKOFF_MIN, BUFFER_BYTES_MAX, FIELDS_MAX, PROXY_HEADER_TIME_MAX, STUCK_AFTER,
};
use super::logins::Known;
use super::pool::Pool;
use super::proxy_protocol;
use super::request_id::Random;
use super::tls;
use super::trunk::Trunks;
use super::watch::{Limits, Watched};
use super::wire::{Order, Wire};
use crate::visit::Transport;
use http::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use slab::Slab;
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Notify, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::task::TaskTracker;

/// What a thread is given.
pub(super) struct Seat {
    pub(super) shared: Arc<Shared>,
    pub(super) http: std::net::TcpListener,
    pub(super) https: Option<std::net::TcpListener>,
    pub(super) local_addr: SocketAddr,
    /// Held until the thread ends.
    pub(super) alive: watch::Receiver<()>,
}

pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) ticks: Rc<Cell<u32>>,
    pub(super) flights: RefCell<Slab<Rc<Flight>>>,
    pub(super) pool: Pool,
    pub(super) trunks: Trunks,
    /// Wakes the requests of this thread that wait for another snapshot.
    pub(super) routes_changed: Notify,
    pub(super) tasks: TaskTracker,
    pub(super) random: Random,
    /// Logins that were right.
    pub(super) known: Known,
    http_port: u16,
    /// Of http and of https.
    forwarded_ports: [HeaderValue; 2],
    pub(super) stop: Cell<Stop>,
    /// The tick at which WebSockets began to be told to come again.
    parting_since: Cell<Option<u32>>,
    limits: Limits,
    wires: RefCell<Vec<Watched>>,
    http: http1::Builder,
}

pub(super) fn run(seat: Seat) {
    let runtime = match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("a thread of the proxy cannot start: {error}");
            return;
        }
    };
    let Seat { shared, http, https, local_addr, alive } = seat;
    runtime.block_on(async {
        match (TcpListener::from_std(http), https.map(TcpListener::from_std).transpose()) {
            (Ok(http), Ok(https)) => serve(Rc::new(Worker::new(shared, local_addr)), http, https).await,
            (Err(error), _) | (_, Err(error)) => tracing::error!("a thread of the proxy cannot listen: {error}"),
        }
    });
    // Tasks are dropped with the runtime, and only then the thread counts as ended.
    drop(runtime);
    drop(alive);
}

async fn serve(worker: Rc<Worker>, http: TcpListener, https: Option<TcpListener>) {
    let mut signal = worker.shared.signal.subscribe();
    let mut ticker = tokio::time::interval(worker.shared.spans.tick);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut plain, mut secured) = (Acceptor::new(Some(http)), Acceptor::new(https));
    let mut last_tick = Instant::now();
    loop {
        tokio::select! {
            (stream, peer) = plain.next(), if worker.has_room() => worker.welcome(stream, peer),
            (stream, peer) = secured.next(), if worker.has_room() => worker.greet(stream, peer),
            _ = ticker.tick() => {
                if last_tick.elapsed() > STUCK_AFTER {
                    tracing::warn!("a thread of the proxy was stuck for {} ms", last_tick.elapsed().as_millis());
                }
                last_tick = Instant::now();
                worker.tick();
            }
            changed = signal.changed() => {
                let stop = if changed.is_ok() { signal.borrow_and_update().stop } else { Stop::Cut };
                worker.obey(stop);
                if stop != Stop::Running {
                    (plain.listener, secured.listener) = (None, None);
                }
            }
        }
        if worker.is_done() {
            return;
        }
    }
}

struct Acceptor {
    /// `None` once we are asked to stop, and where nobody listens.
    listener: Option<TcpListener>,
    /// After a failure: not before.
    pause: Option<tokio::time::Instant>,
    backoff: Duration,
}

impl Acceptor {
    fn new(listener: Option<TcpListener>) -> Self {
        Self { listener, pause: None, backoff: ACCEPT_BACKOFF_MIN }
    }

    async fn next(&mut self) -> (TcpStream, SocketAddr) {
        let Some(listener) = &self.listener else { return std::future::pending().await };
        loop {
            if let Some(until) = self.pause {
                tokio::time::sleep_until(until).await;
                self.pause = None;
            }
            match listener.accept().await {
                Ok(accepted) => {
                    self.backoff = ACCEPT_BACKOFF_MIN;
                    return accepted;
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::warn!("accept failed, trying again in {} ms: {error}", self.backoff.as_millis());
                    self.pause = Some(tokio::time::Instant::now() + self.backoff);
                    self.backoff = (self.backoff * 2).min(ACCEPT_BACKOFF_MAX);
                }
            }
        }
    }
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, local_addr: SocketAddr) -> Self {
        let mut http = http1::Builder::new();
        http.max_buf_size(BUFFER_BYTES_MAX).max_headers(FIELDS_MAX);
        Self {
            ticks: Rc::new(Cell::new(shared.tick())),
            flights: RefCell::default(),
            pool: Pool::new(&shared.spans),
            trunks: Trunks::new(&shared.spans),
            routes_changed: Notify::new(),
            tasks: TaskTracker::new(),
            random: Random::seeded(),
            known: Known::default(),
            http_port: local_addr.port(),
            forwarded_ports: [local_addr.port(), shared.https_port.unwrap_or_default()].map(HeaderValue::from),
            stop: Cell::default(),
            parting_since: Cell::new(None),
            limits: Limits::new(&shared.spans),
            wires: RefCell::default(),
            http,
            shared,
        }
    }

    fn has_room(&self) -> bool {
        self.wires.borrow().len() < self.shared.connections_max
    }

    fn welcome(self: &Rc<Self>, stream: TcpStream, peer: SocketAddr) {
        let wire = self.watch_accepted(&stream);
        match self.shared.proxy_protocol {
            ProxyProtocol::Off => {
                let client = Client::new(self.clone(), wire, peer, None);
                self.tasks.spawn_local(Self::converse(ClientStream::Plain(stream), client));
            }
            ProxyProtocol::Required => {
                self.tasks.spawn_local(self.clone().hear_origin(stream, wire, peer));
            }
        }
    }

    /// Serves a connection once it has said who it is from.
    async fn hear_origin(self: Rc<Self>, mut stream: TcpStream, wire: Arc<Wire>, peer: SocketAddr) {
        match tokio::time::timeout(PROXY_HEADER_TIME_MAX, proxy_protocol::read(&mut stream)).await {
            Ok(Ok(origin)) => {
                let client = Client::new(self, wire, peer, Some(&origin));
                Self::converse(ClientStream::Plain(stream), client).await;
            }
            Ok(Err(error)) => {
                tracing::debug!("a connection from {peer} is refused: {error}");
                wire.set_gone();
            }
            Err(_) => wire.set_gone(),
        }
    }

    /// The handshake is the connection's own matter: nobody else waits for it.
    fn greet(self: &Rc<Self>, stream: TcpStream, peer: SocketAddr) {
        let (worker, wire) = (self.clone(), self.watch_accepted(&stream));
        self.tasks.spawn_local(async move {
            let shaken = match &worker.shared.tls {
                Some(tls) => handshake::shake(tls, stream, &wire).await,
                None => None,
            };
            match shaken {
                Some((stream, secured)) if stream.get_ref().1.alpn_protocol() == Some(tls::H2) => {
                    let client = Client::new(worker, wire, peer, None).by_https(secured);
                    h2_in::serve(Rc::new(client), stream).await;
                }
                Some((stream, secured)) => {
                    let client = Client::new(worker, wire, peer, None).by_https(secured);
                    Self::converse(ClientStream::Tls(stream), client).await;
                }
                None => wire.set_gone(),
            }
        });
    }

    fn watch_accepted(&self, stream: &TcpStream) -> Arc<Wire> {
        // A refusal means the client is gone already, which the first read will tell.
        let _ = stream.set_nodelay(true);
        self.watch()
    }

    /// The requests of one connection, to its end.
    fn converse(stream: ClientStream, client: Client) -> impl Future<Output = ()> {
        let (worker, wire, client) = (client.worker.clone(), client.wire.clone(), Rc::new(client));
        let io = TokioIo::new(GatedIo::new(stream, wire));
        let service = service_fn(move |request| {
            let client = client.clone();
            // hyper keeps room for it as long as the connection lives: what is boxed takes room only while it is answered.
            Box::pin(async move { Ok::<_, Infallible>(answer::answer(client, request).await) })
        });
        let connection = worker.http.serve_connection(io, service).with_upgrades();
        async move {
            if let Err(error) = connection.await {
                tracing::trace!("a client connection ended: {error}");
            }
        }
    }

    pub(super) fn forwarded_port(&self, transport: Transport) -> HeaderValue {
        let [http, https] = &self.forwarded_ports;
        match transport {
            Transport::Plain => http.clone(),
            Transport::Tls => https.clone(),
        }
    }

    /// `:8080`, where http is not at its usual port.
    pub(super) fn http_port_suffix(&self) -> String {
        if self.http_port == 80 { String::new() } else { format!(":{}", self.http_port) }
    }

    /// The wire of a new connection, which the ticks look at from now on.
    pub(super) fn watch(&self) -> Arc<Wire> {
        let wire = Arc::new(Wire::default());
        self.wires.borrow_mut().push(Watched::new(wire.clone(), self.ticks.get()));
        wire
    }

    pub(super) fn tick(&self) {
        let now = self.shared.tick();
        self.ticks.set(now);
        self.check_flights();
        self.flights.borrow_mut().retain(|_, flight| Rc::strong_count(flight) > 1);
        let mut wires = self.wires.borrow_mut();
        wires.retain_mut(|watched| {
            watched.check(&self.limits, now);
            !watched.wire.is_gone()
        });
        if matches!(self.stop.get(), Stop::Closing | Stop::Parting) {
            wires.iter().for_each(Watched::close_if_idle);
        }
        drop(wires);
        self.pool.prune(now);
        self.trunks.prune(now);
    }

    fn check_flights(&self) {
        let now = self.ticks.get();
        let parting_ticks = self.parting_since.get().map(|since| now.saturating_sub(since));
        for (_, flight) in self.flights.borrow().iter() {
            self.limits.check(flight, now);
            if let Some(ticks) = parting_ticks {
                self.limits.part(flight, ticks);
            }
        }
    }

    /// The snapshot changed, an instance was forgotten, or we are to stop.
    pub(super) fn obey(&self, stop: Stop) {
        self.stop.set(stop);
        self.pool.prune(self.ticks.get());
        self.trunks.prune(self.ticks.get());
        if stop == Stop::Parting && self.parting_since.get().is_none() {
            self.parting_since.set(Some(self.ticks.get()));
        }
        self.check_flights();
        self.routes_changed.notify_waiters();
        match stop {
            Stop::Running => {}
            Stop::Lingering => self.wires.borrow().iter().for_each(Watched::take_leave),
            Stop::Closing | Stop::Parting => {
                self.pool.clear();
                self.trunks.clear();
                self.wires.borrow().iter().for_each(Watched::close_if_idle);
            }
            Stop::Cut => self.wires.borrow().iter().for_each(|watched| watched.wire.give(Order::Abort)),
        }
    }

    pub(super) fn is_done(&self) -> bool {
        match self.stop.get() {
            Stop::Running => false,
            Stop::Lingering | Stop::Closing | Stop::Parting => {
                let has_clients = self.wires.borrow().iter().any(|watched| !watched.wire.is_gone());
                !has_clients && self.flights.borrow().is_empty()
            }
            Stop::Cut => true,
        }
    }
}
