//! Page tests: the real router over a real store, a fake engine and a scheduler that does nothing by itself.

mod pages;
mod rules;
mod streams;

use super::house::{self, Visitor};
use super::{Room, Tools, routes};
use crate::builder::{self, Builder, Repos};
use crate::certs::{self, Certs, Publisher};
use crate::clock::Clock;
use crate::desk::Desk;
use crate::disk::{Allowance, Disk};
use crate::domain::acme::AcmeOff;
use crate::domain::instance::Slot;
use crate::domain::route::{AppRoute, Backend, Backends, RouteTable};
use crate::domain::session::Token;
use crate::domain::{
    App, BuildId, ChallengeTable, Command, ContainerId, ImageId, Maintenance, Moment, Oid, Origin, Protocol, Pusher,
    RefMove, ReleaseNo, Secret, Site, Size,
};
use crate::engine::FakeEngine;
use crate::logs::{Logs, RouterLines};
use crate::outbound::Outbound;
use crate::proxy::{ProxySettings, RouterLog, Waker};
use crate::scheduler::{self, Scheduler};
use crate::store::{ConfigChange, NewRelease, Store};
use crate::visit::Transport;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::{HeaderMap, Method, StatusCode, header};
use http_body_util::BodyExt;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// 2026-11-24T12:00:00Z.
const NOW: Moment = Moment::from_unix_ms(1_795_521_600_000);
const CANARY: &str = "canary-value-4711";

struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Moment {
        NOW
    }
}

struct Deaf;

impl RouterLog for Deaf {
    fn line(&self, _app: crate::domain::AppId, _line: String) {}
}

impl Waker for Deaf {
    fn app_changed(&self, _app: crate::domain::AppId) {}
}

#[async_trait::async_trait]
impl Publisher for Deaf {
    fn set_challenges(&self, _table: &ChallengeTable) {}
    async fn certificates_changed(&self) {}
}

struct Town {
    room: Room,
    router: Router,
    store: Store,
    logs: Logs,
    blog: App,
    key: Pusher,
    token: Token,
    _dir: tempfile::TempDir,
}

/// What came back.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Town {
    /// A server with one key, which is logged in, and the app `blog` without a release.
    async fn new() -> Self {
        let (store, dir) = crate::store::testing::store().await;
        let id = store.add_key("laptop", "SHA256:x", "ssh-ed25519 x", NOW).await.unwrap();
        let key = Pusher::Key { id, name: "laptop".to_owned() };
        let link = store.add_login_link(&key, NOW).await.unwrap();
        let (token, _) = store.open_session(&link.hash(), NOW).await.unwrap().unwrap();
        let blog = store.create_app(&"blog".parse().unwrap(), NOW).await.unwrap();
        let logs = Logs::new(dir.path().join("logs"), Arc::new(FixedClock));
        let tools = tools(&store, &logs, &blog, dir.path());
        let room = Room::new(tools);
        let router = routes::router(&room);
        Self { room, router, store, logs, blog, key, token, _dir: dir }
    }

    async fn call(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, "paas.localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::from(body.to_owned())).unwrap();
        let visitor = Visitor { peer: [127, 0, 0, 1].into(), transport: Transport::Plain };
        request.extensions_mut().insert(visitor);
        house::respond(&self.room, self.router.clone(), request).await
    }

    async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let (head, body) = self.call(method, path, headers, body).await.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer { status: head.status, headers: head.headers, text: String::from_utf8_lossy(&bytes).into_owned() }
    }

    fn cookie(&self) -> String {
        format!("paas_session={}", self.token.reveal())
    }

    /// A page for who is logged in.
    async fn page(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, &[("cookie", &self.cookie())], "").await
    }

    /// A form as our own page sends it.
    async fn submit(&self, path: &str, fields: &str) -> Answer {
        let body = format!("form={}&{fields}", self.token.form_token());
        let headers = [
            ("cookie", self.cookie()),
            ("sec-fetch-site", "same-origin".to_owned()),
            ("content-type", "application/x-www-form-urlencoded".to_owned()),
        ];
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.ask(Method::POST, path, &headers, &body).await
    }

    /// A release that went live.
    async fn release(&self, image: &str, description: &str, config: &[(&str, &str)]) -> ReleaseNo {
        let change: ConfigChange = config
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), Some(Secret::new((*value).to_owned()))))
            .collect();
        let new = NewRelease {
            app: self.blog.id,
            origin: Origin::Config { changed: Vec::new() },
            image: ImageId::new(image),
            commit: Oid::zero(),
            source: None,
            jobs: crate::domain::Jobs::default(),
            makeup: crate::domain::Makeup::default(),
            processes: [("web".parse().unwrap(), Command::Shell("./server $PORT".to_owned()))].into(),
            port: 5000,
            description: description.to_owned(),
            created_by: "laptop".to_owned(),
            change,
        };
        let no = self.store.create_release(&new, NOW).await.unwrap();
        self.store.promote_release(self.blog.id, no, NOW.plus(Duration::from_millis(400))).await.unwrap();
        no
    }

    /// A push of `app` that waits for its turn.
    async fn queue(&self, app: &App) -> BuildId {
        let new: Oid = "0123456789012345678901234567890123456789".parse().unwrap();
        let moves = RefMove { branch: "main".to_owned(), old: Oid::zero(), new };
        self.store.enqueue_build(app.id, &moves, &self.key, NOW).await.unwrap().0
    }

    /// A page's HTML without what differs from run to run, or with every change of a vendored file.
    fn stable(&self, html: &str) -> String {
        let mut html = html.replace(&self.token.form_token(), "FORM");
        for name in ["app.css", "app.js", "htmx.min.js", "icon.svg", "idiomorph-ext.min.js"] {
            html = html.replace(super::assets::path_of(name), &format!("/static/{name}"));
        }
        match html.split_once("seen=") {
            Some((before, after)) => {
                let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
                format!("{before}seen=SEEN{}", &after[digits..])
            }
            None => html,
        }
    }
}

fn tools(store: &Store, logs: &Logs, blog: &App, dir: &std::path::Path) -> Tools {
    let clock: Arc<dyn Clock> = Arc::new(FixedClock);
    let engine = Arc::new(FakeEngine::new(Arc::clone(&clock)));
    let tracker = TaskTracker::new();
    // Stopped from the beginning: nothing but the test changes anything.
    let stopped = CancellationToken::new();
    stopped.cancel();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = ProxySettings { threads: 1, ..ProxySettings::default() };
    let proxy = crate::proxy::start(listener, settings, Arc::clone(&clock), Arc::new(Deaf), Arc::new(Deaf)).unwrap();
    let (router_lines, _writer) = RouterLines::new(logs.clone(), stopped.clone());
    let site = Site { base_domain: "example.test".parse().unwrap(), http_port: 80, ssh_port: 2222, https: None };
    let allowance = Allowance { reserve: Size(0), instance_max: Size(1 << 30), build_cache_max: Size(u64::MAX) };
    let scheduler = Scheduler::start(
        scheduler::Tools {
            store: store.clone(),
            engine: engine.clone(),
            proxy,
            logs: logs.clone(),
            disk: Disk::new(engine.clone(), store.clone(), dir.to_owned(), allowance),
            router_lines,
            clock: Arc::clone(&clock),
            site: site.clone(),
            boot_id: "this boot".to_owned(),
            tracker: tracker.clone(),
            stop: stopped.clone(),
        },
        served(blog),
    );
    let repos = Repos::new(dir.join("repos"));
    let builder = Builder::start(builder::Tools {
        store: store.clone(),
        engine: engine.clone(),
        scheduler: scheduler.clone(),
        logs: logs.clone(),
        repos: repos.clone(),
        clock: Arc::clone(&clock),
        fetcher: builder::Fetcher::new(None, crate::domain::FetchAllow::default()),
        ca_bundle: None,
        build_limit: Duration::from_mins(30),
        fetch_allow: crate::domain::FetchAllow::default(),
        registry_auth_file: None,
        tracker: tracker.clone(),
        stop: stopped.clone(),
    });
    let certs = Certs::start(certs::Tools {
        store: store.clone(),
        clock: Arc::clone(&clock),
        outbound: Outbound::new(None, None),
        publisher: Arc::new(Deaf),
        site: site.clone(),
        admin_host: "paas.example.test".parse().unwrap(),
        acme: Err(AcmeOff::SwitchedOff),
        tracker: tracker.clone(),
        stop: stopped,
    });
    let desk = Desk { store: store.clone(), builder, scheduler, engine, logs: logs.clone(), clock };
    Tools { desk, certs, repos, site, tracker, stop: CancellationToken::new() }
}

/// Routes in which `blog` answers.
fn served(blog: &App) -> RouteTable {
    let backend = Backend {
        container: ContainerId::new("c0ffee"),
        slot: Slot { process: "web".parse().unwrap(), index: 1 },
        release: ReleaseNo(1),
        address: ([10, 0, 0, 2], 5000).into(),
        protocol: Protocol::Http1,
    };
    let route = AppRoute {
        name: blog.name.clone(),
        backends: Backends::Ready(vec![backend]),
        maintenance: Maintenance::Off,
        tls: crate::domain::TlsPolicy::default(),
        policy: Arc::default(),
    };
    let mut table = RouteTable::default();
    table.hosts.insert("blog.example.test".parse().unwrap(), blog.id);
    table.apps.insert(blog.id, route);
    table
}
