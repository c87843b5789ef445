//! The account of one request: who asked, which app and instance, how long, and the one router line at its end.
use super::cookies;
use super::fault::Fault;
use super::flight::Listed;
use super::limits::{BUFFER_BYTES_MAX, WAITING_BYTES};
use super::log_line::LogLine;
use super::proxy_protocol::Origin;
use super::rules::Rules;
use super::snapshot::App;
use super::snapshot::Way;
use super::target::Target;
use super::tls::Secured;
use super::visitor::Visitor;
use super::wire::Wire;
use super::worker::Worker;
use crate::domain::Maintenance;
use crate::domain::maintenance::BYPASS_PATH;
use crate::domain::router::{AccessLog, Sticky};
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
    /// Whether the peer is a proxy whose word about its visitors counts.
    pub(super) is_trusted: bool,
    /// Whether somebody passed the connection on without saying whose it is.
    is_unsaid: bool,
}

impl Client {
    /// `origin`: what was said in the PROXY protocol, where that is spoken.
    pub(super) fn new(worker: Rc<Worker>, wire: Arc<Wire>, peer: SocketAddr, origin: Option<&Origin>) -> Self {
        let is_unsaid = origin == Some(&Origin::Unsaid);
        let ip = match origin {
            Some(Origin::Relayed(from)) => from.ip(),
            Some(Origin::Unsaid) | None => peer.ip(),
        };
        let ip = ip.to_canonical();
        let address = HeaderValue::from_str(&ip.to_string()).unwrap_or(HeaderValue::from_static("-"));
        let is_trusted = worker.shared.trusts(ip);
        Self { worker, wire, address, secured: None, is_stream: false, is_trusted, is_unsaid }
    }

    /// The same client behind a handshake.
    pub(super) fn by_https(self, secured: Secured) -> Self {
        Self { secured: Some(secured), ..self }
    }

    /// The same client as one stream of its connection.
    pub(super) fn on_stream(&self, wire: Arc<Wire>) -> Self {
        Self { wire, is_stream: true, ..self.clone() }
    }

    pub(super) fn transport(&self) -> Transport {
        if self.secured.is_some() { Transport::Tls } else { Transport::Plain }
    }

    /// Who the connection is from, as far as that is certain.
    pub(super) fn peer(&self) -> Option<IpAddr> {
        if self.is_unsaid { None } else { self.address.to_str().ok()?.parse().ok() }
    }
}

pub(super) struct Exchange {
    pub(super) client: Rc<Client>,
    pub(super) app: Arc<App>,
    pub(super) flight: Listed,
    pub(super) request_id: HeaderValue,
    pub(super) method: Method,
    pub(super) version: Version,
    pub(super) visitor: Visitor,
    /// Whether it goes past a maintenance.
    pub(super) has_bypass: bool,
    /// The instance that it brought a cookie of.
    pub(super) stays_with: Option<String>,
    /// Of its body, as far as that is known.
    pub(super) body_bytes: u64,
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
            flight: Listed::new(client.worker.clone(), client.wire.clone(), app.pace),
            visitor: Visitor::of(&client, &head.headers),
            client,
            app,
            request_id: id,
            method: head.method.clone(),
            version: head.version,
            has_bypass: false,
            stays_with: None,
            body_bytes: 0,
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

    /// Where it goes now.
    pub(super) fn way(&self) -> Way<'_> {
        self.app.way_under(if self.has_bypass { Maintenance::Off } else { self.app.maintenance })
    }

    /// Whether its client may still be sending a body that nobody takes, on a connection that can carry nothing else: it ends
    /// with the answer then, and the client is to read that all the same.
    pub(super) fn leaves_sender(&self) -> bool {
        self.flight.has_leftover() && !self.client.is_stream
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// What it may take up while it waits, in bytes: its head, and as much of its body as is read ahead.
    pub(super) fn weight(&self) -> u64 {
        WAITING_BYTES + self.body_bytes.min(BUFFER_BYTES_MAX as u64)
    }

    pub(super) fn rules(&self) -> Option<&Rules> {
        self.app.rules.as_deref()
    }

    /// The cookie that keeps its visitor on the instance it went to, where the visitor has none of it.
    pub(super) fn instance_cookie(&self) -> Option<HeaderValue> {
        let target = self.target.as_ref().filter(|_| self.rules().is_some_and(|rules| rules.sticky == Sticky::On))?;
        if self.stays_with.as_ref() == Some(&target.tag) {
            return None;
        }
        cookies::set(cookies::INSTANCE, &target.tag, self.visitor.scheme)
    }

    /// Its path holds a secret, which has no place in a log.
    pub(super) fn hide_path(&mut self) {
        self.uri = Uri::from_static(BYPASS_PATH);
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
        let access_log = self.rules().map_or(AccessLog::On, |rules| rules.access_log);
        if access_log == AccessLog::Off && fault.is_none() {
            return;
        }
        let line = LogLine {
            fault,
            method: &self.method,
            path: self.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str),
            host: &self.host,
            request_id: self.request_id.to_str().unwrap_or("-"),
            client: self.visitor.address.to_str().unwrap_or("-"),
            process: self.target.as_ref().map_or("", |target| &target.process),
            connect: self.connect,
            service: self.started.elapsed().saturating_sub(self.connect),
            status: self.status,
            bytes: self.bytes,
            version: self.version,
            transport: self.client.transport(),
        };
        let text = if access_log == AccessLog::Short { line.short_text() } else { line.text() };
        self.client.worker.shared.log.line(self.app.id, text);
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
            // Who still says the rest of its body to the instance is told.
            self.flight.end(Fault::ClientLeft);
            self.fail(Fault::ClientLeft);
        }
    }
}
