//! The account of one request: who asked, which app and instance, how long, and the one router line at its end.
use super::fault::Fault;
use super::flight::Listed;
use super::log_line::LogLine;
use super::snapshot::App;
use super::target::Target;
use super::tls::Secured;
use super::wire::Wire;
use super::worker::Worker;
use crate::visit::Transport;
use http::{HeaderValue, Method, Uri, Version, header};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A client connection, as its requests need it.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) worker: Rc<Worker>,
    pub(super) wire: Arc<Wire>,
    /// The peer's address without its port.
    pub(super) address: HeaderValue,
    /// What its handshake went by; `None` for plain http.
    pub(super) secured: Option<Secured>,
    /// Whether this is one request of many at a time (HTTP/2): its wire is its own then, and not the connection's.
    pub(super) is_stream: bool,
}

impl Client {
    pub(super) fn new(worker: Rc<Worker>, wire: Arc<Wire>, peer: SocketAddr, secured: Option<Secured>) -> Self {
        let address = HeaderValue::from_str(&peer.ip().to_canonical().to_string());
        let address = address.unwrap_or(HeaderValue::from_static("-"));
        Self { worker, wire, address, secured, is_stream: false }
    }

    /// The same client as one stream of its connection.
    pub(super) fn on_stream(&self, wire: Arc<Wire>) -> Self {
        Self { wire, is_stream: true, ..self.clone() }
    }

    pub(super) fn transport(&self) -> Transport {
        if self.secured.is_some() { Transport::Tls } else { Transport::Plain }
    }

    pub(super) fn peer(&self) -> Option<IpAddr> {
        self.address.to_str().ok()?.parse().ok()
    }
}

pub(super) struct Exchange {
    pub(super) client: Rc<Client>,
    pub(super) app: Arc<App>,
    pub(super) flight: Listed,
    pub(super) request_id: HeaderValue,
    pub(super) method: Method,
    pub(super) version: Version,
    /// Whether the gate waits for how its upgrade is answered.
    has_upgrade: bool,
    host: Arc<str>,
    uri: Uri,
    started: Instant,
    connect: Duration,
    target: Option<Arc<Target>>,
    /// Of the answer, once there is one.
    status: u16,
    pub(super) bytes: u64,
    is_over: bool,
}

impl Exchange {
    pub(super) fn new(
        client: Rc<Client>,
        app: Arc<App>,
        host: Arc<str>,
        head: &http::request::Parts,
        id: HeaderValue,
    ) -> Self {
        Self {
            flight: Listed::new(client.worker.clone(), client.wire.clone()),
            client,
            app,
            request_id: id,
            method: head.method.clone(),
            version: head.version,
            has_upgrade: head.headers.contains_key(header::UPGRADE),
            host,
            uri: head.uri.clone(),
            started: Instant::now(),
            connect: Duration::ZERO,
            target: None,
            status: 0,
            bytes: 0,
            is_over: false,
        }
    }

    /// Counts on an instance that was just entered.
    pub(super) fn board(&mut self, target: Arc<Target>) {
        self.target = Some(target.clone());
        self.flight.board(target);
    }

    /// Looks the app up in the newest snapshot.
    pub(super) fn refresh(&mut self) -> Result<(), Fault> {
        let snapshot = self.client.worker.shared.snapshot.load();
        // An app that left the table altogether was destroyed while its request waited.
        self.app = snapshot.apps.get(&self.app.id).cloned().ok_or(Fault::NoWebProcesses)?;
        Ok(())
    }

    /// The name under which the app was found.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn connected(&mut self, since: Instant) {
        self.connect += since.elapsed();
    }

    /// The answer's head is there.
    pub(super) fn answered(&mut self, status: u16) {
        self.status = status;
    }

    /// The answer went out whole.
    pub(super) fn succeed(&mut self) {
        self.end(None);
    }

    pub(super) fn fail(&mut self, fault: Fault) {
        if self.status == 0 {
            self.status = fault.status().as_u16();
        }
        self.end(Some(fault));
    }

    fn end(&mut self, fault: Option<Fault>) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        self.client.wire.rest();
        if self.has_upgrade {
            self.client.wire.decline_upgrade();
        }
        let line = LogLine {
            fault,
            method: &self.method,
            path: self.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str),
            host: &self.host,
            request_id: self.request_id.to_str().unwrap_or("-"),
            client: self.client.address.to_str().unwrap_or("-"),
            process: self.target.as_ref().map_or("", |target| &target.process),
            connect: self.connect,
            service: self.started.elapsed().saturating_sub(self.connect),
            status: self.status,
            bytes: self.bytes,
            version: self.version,
            transport: self.client.transport(),
        };
        self.client.worker.shared.log.line(self.app.id, line.text());
    }
}

impl Drop for Exchange {
    /// Dropped before its end: we ended it, or else the client left.
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        if let Some(fault) = self.flight.verdict() {
            self.fail(fault);
        } else {
            self.status = Fault::ClientLeft.status().as_u16();
            self.fail(Fault::ClientLeft);
        }
    }
}
