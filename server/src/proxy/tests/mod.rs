//! Room tests: a real proxy, real TCP on loopback, instances and clients written by hand with blocking sockets, so that
//! every byte on both sides is the test's own.

mod admission;
mod crowd;
mod drain;
mod faults;
#[path = "../../../../tests/fuzz/proxy.rs"]
mod fuzz;
mod gate;
mod hold;
mod http2;
mod routing;
mod streams;
mod tls;
mod trust;
mod uploads;
mod websockets;

use super::handle::start_with;
use super::limits::Spans;
use super::{ProxyHandle, ProxySettings, RouterLog, Waker};
use crate::clock::SystemClock;
use crate::domain::instance::Slot;
use crate::domain::route::{AppRoute, Backend, Backends, RouteTable};
use crate::domain::{AppId, ContainerId, Maintenance, ProcessType, Protocol, ReleaseNo, RouterPolicy, TlsPolicy};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(10);
const BLOG: AppId = AppId(1);

/// A proxy with what it told, and the table it was given last.
struct Town {
    proxy: ProxyHandle,
    told: Arc<Told>,
}

#[derive(Default)]
struct Told {
    lines: Mutex<Vec<String>>,
    wakes: AtomicUsize,
}

impl RouterLog for Told {
    fn line(&self, _app: AppId, line: String) {
        self.lines.lock().unwrap().push(line);
    }
}

impl Waker for Told {
    fn app_changed(&self, _app: AppId) {
        self.wakes.fetch_add(1, SeqCst);
    }
}

/// Ticks fast enough for tests; spans long unless a test shortens one.
fn spans() -> Spans {
    Spans { tick: Duration::from_millis(10), linger: Duration::from_millis(50), ..Spans::default() }
}

impl Town {
    fn new() -> Self {
        Self::with(spans())
    }

    fn with(spans: Spans) -> Self {
        Self::with_settings(spans, ProxySettings::default())
    }

    fn with_settings(spans: Spans, settings: ProxySettings) -> Self {
        let told = Arc::new(Told::default());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let settings = ProxySettings { threads: 2, admin_hosts: vec!["admin.test".parse().unwrap()], ..settings };
        let proxy = start_with(&listener, settings, spans, SystemClock::shared(), told.clone(), told.clone()).unwrap();
        Self { proxy, told }
    }

    /// A town whose `blog.test` is served by one instance.
    fn serving(app: &Instance) -> Self {
        let town = Self::new();
        town.route(&[("blog.test", BLOG, Backends::Ready(vec![app.backend()]))]);
        town
    }

    fn route(&self, routes: &[(&str, AppId, Backends)]) {
        self.proxy.set_routes(&table(routes));
    }

    /// Routes `blog.test` to these, under what its owner set.
    fn route_under(&self, policy: &RouterPolicy, maintenance: Maintenance, backends: Backends) {
        let mut table = RouteTable::default();
        table.hosts.insert("blog.test".parse().unwrap(), BLOG);
        let policy = Arc::new(policy.clone());
        let (name, tls) = ("blog".parse().unwrap(), TlsPolicy::default());
        table.apps.insert(BLOG, AppRoute { name, backends, maintenance, tls, policy });
        self.proxy.set_routes(&table);
    }

    fn route_to(&self, app: &Instance) {
        self.route(&[("blog.test", BLOG, Backends::Ready(vec![app.backend()]))]);
    }

    fn client(&self) -> Client {
        Client::new(self.proxy.local_addr())
    }

    fn get(&self, host: &str, path: &str) -> Answer {
        self.client().get(host, path)
    }

    /// Waits for a router line that holds all of these.
    fn line_with(&self, parts: &[&str]) -> String {
        let mut found = None;
        eventually("a router line", || {
            let lines = self.told.lines.lock().unwrap();
            found = lines.iter().find(|line| parts.iter().all(|part| line.contains(part))).cloned();
            found.is_some()
        });
        found.unwrap()
    }
}

/// What an owner set, as it is written.
fn policy(settings: &[&str]) -> RouterPolicy {
    let mut policy = RouterPolicy::default();
    for word in settings {
        let setting: crate::domain::router::Setting = word.parse().unwrap();
        policy.set(setting.key, setting.text()).unwrap();
    }
    policy
}

fn table(routes: &[(&str, AppId, Backends)]) -> RouteTable {
    let mut table = RouteTable::default();
    for (host, id, backends) in routes {
        table.hosts.insert(host.parse().unwrap(), *id);
        let name = format!("app{}", id.0).parse().unwrap();
        let (maintenance, tls) = (Maintenance::Off, TlsPolicy::default());
        table.apps.insert(*id, AppRoute { name, backends: backends.clone(), maintenance, tls, policy: Arc::default() });
    }
    table
}

/// One connection to the proxy.
struct Client {
    stream: BufReader<TcpStream>,
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
    /// Whether the body came to its proper end.
    is_whole: bool,
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn header(&self, name: &str) -> Option<String> {
        field(&self.head, name)
    }
}

fn field(head: &str, name: &str) -> Option<String> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find_map(|(known, value)| known.eq_ignore_ascii_case(name).then(|| value.trim().to_owned()))
}

impl Client {
    fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    fn get(&mut self, host: &str, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n"));
        self.answer()
    }

    fn get_with(&mut self, fields: &str, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: blog.test\r\n{fields}\r\n"));
        self.answer()
    }

    fn head(&mut self) -> String {
        read_head(&mut self.stream).expect("an answer's head")
    }

    fn answer(&mut self) -> Answer {
        let head = self.head();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let (body, is_whole) = read_body(&mut self.stream, &head);
        Answer { status, head, body, is_whole }
    }

    /// Whether the other side ended the connection.
    fn is_ended(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => true,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

/// Up to and with the blank line; `None` when the connection ended before.
fn read_head(stream: &mut impl BufRead) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    Some(head)
}

fn read_body(stream: &mut impl BufRead, head: &str) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    if let Some(length) = field(head, "content-length") {
        body.resize(length.parse().unwrap(), 0);
        let is_whole = stream.read_exact(&mut body).is_ok();
        return (body, is_whole);
    }
    if field(head, "transfer-encoding").is_some() {
        while let Some(chunk) = read_chunk(stream) {
            if chunk.is_empty() {
                return (body, true);
            }
            body.extend(chunk);
        }
        return (body, false);
    }
    let is_whole = stream.read_to_end(&mut body).is_ok();
    (body, is_whole)
}

fn read_chunk(stream: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut size = String::new();
    stream.read_line(&mut size).ok()?;
    let mut chunk = vec![0; usize::from_str_radix(size.trim(), 16).ok()? + 2];
    stream.read_exact(&mut chunk).ok()?;
    chunk.truncate(chunk.len() - 2);
    Some(chunk)
}

/// A small server that stands for an app's instance. Ends with the test's process.
struct Instance {
    id: &'static str,
    address: SocketAddr,
    /// Request heads it has read, in order.
    heads: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

/// What an instance does with a connection after a request.
#[derive(PartialEq)]
enum Then {
    Keep,
    Close,
}

impl Instance {
    /// Answers every request with its own name, and reads bodies whole.
    fn named(id: &'static str) -> Self {
        Self::new(id, move |_, stream| {
            respond(stream.get_mut(), "", id.as_bytes());
            Then::Keep
        })
    }

    fn new(id: &'static str, serve: impl Fn(&str, &mut BufReader<TcpStream>) -> Then + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (heads, connections) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let instance = Self { id, address, heads: heads.clone(), connections: connections.clone() };
        let serve = Arc::new(serve);
        thread::spawn(move || {
            for stream in listener.incoming() {
                connections.fetch_add(1, SeqCst);
                let (heads, serve) = (heads.clone(), serve.clone());
                thread::spawn(move || {
                    let mut stream = BufReader::new(stream.unwrap());
                    while let Some(head) = read_head(&mut stream) {
                        heads.lock().unwrap().push(head.clone());
                        if serve(&head, &mut stream) == Then::Close {
                            return;
                        }
                    }
                });
            }
        });
        instance
    }

    fn backend(&self) -> Backend {
        let slot = Slot { process: ProcessType::web(), index: 1 };
        Backend {
            container: self.container(),
            slot,
            release: ReleaseNo(1),
            address: self.address,
            protocol: Protocol::Http1,
        }
    }

    fn container(&self) -> ContainerId {
        ContainerId::new(self.id)
    }

    fn last_head(&self) -> String {
        self.heads.lock().unwrap().last().cloned().unwrap_or_default()
    }

    fn count(&self) -> usize {
        self.heads.lock().unwrap().len()
    }
}

/// An answer with a length; `fields` are whole lines. A client that is gone already is none of its business.
fn respond(stream: &mut TcpStream, fields: &str, body: &[u8]) {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n{fields}\r\n", body.len());
    let _ = stream.write_all(&[head.as_bytes(), body].concat());
}

/// Waits for a condition, with a limit.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < PATIENCE, "{what} did not come");
        thread::sleep(Duration::from_millis(2));
    }
}
