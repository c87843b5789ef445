//! HTTPS: real handshakes by rustls' client, over the same kind of town.
use super::*;
use crate::domain::authority::Authority;
use crate::domain::{Certificate, CertificateTable, ChallengeTable};
use crate::visit::{AnswerBody, Transport, Visit};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, Tls12Resumption};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind, RootCertStore, SignatureScheme};
use rustls::{StreamOwned, SupportedProtocolVersion};
use tokio::sync::mpsc;

type Pairs<'a> = &'a [(&'a str, Arc<Certificate>)];

fn table(pairs: Pairs<'_>) -> CertificateTable {
    let hosts = pairs.iter().map(|(host, certificate)| (host.parse().unwrap(), certificate.clone()));
    CertificateTable { hosts: hosts.collect() }
}

impl Town {
    fn secure(spans: Spans, pairs: Pairs<'_>) -> Self {
        Self::secure_with(spans, pairs, None)
    }

    fn secure_with(spans: Spans, pairs: Pairs<'_>, dashboard: Option<mpsc::Sender<Visit>>) -> Self {
        Self::secure_under(spans, pairs, ProxySettings { dashboard, ..ProxySettings::default() })
    }

    fn secure_under(spans: Spans, pairs: Pairs<'_>, settings: ProxySettings) -> Self {
        let told = Arc::new(Told::default());
        let bind = || TcpListener::bind("127.0.0.1:0").unwrap();
        let settings = ProxySettings {
            threads: 2,
            admin_hosts: vec!["admin.test".parse().unwrap()],
            https: Some((bind(), table(pairs))),
            ..settings
        };
        let proxy = start_with(&bind(), settings, spans, SystemClock::shared(), told.clone(), told.clone()).unwrap();
        Self { proxy, told }
    }

    /// `hosts` lead to one app, whose owner wants this of HTTPS.
    fn route_hosts(&self, app: &Instance, hosts: &[&str], tls: TlsPolicy) {
        let hosts = hosts.iter().map(|host| (host.parse().unwrap(), BLOG)).collect();
        let mut routes = RouteTable { hosts, ..RouteTable::default() };
        let (name, backends) = ("blog".parse().unwrap(), Backends::Ready(vec![app.backend()]));
        routes
            .apps
            .insert(BLOG, AppRoute { name, backends, maintenance: Maintenance::Off, tls, policy: Arc::default() });
        self.proxy.set_routes(&routes);
    }

    fn https(&self) -> SocketAddr {
        self.proxy.https_addr().unwrap()
    }
}

/// Takes every certificate: what is shown is the test's matter.
#[derive(Debug)]
struct Anything;

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}

fn trusting(ca: &Authority, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(ca.der()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    builder.with_protocol_versions(versions).unwrap().with_root_certificates(roots).with_no_client_auth()
}

fn credulous() -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_protocol_versions(&[&TLS13, &TLS12]).unwrap();
    builder.dangerous().with_custom_certificate_verifier(Arc::new(Anything)).with_no_client_auth()
}

/// One secured connection.
struct TlsClient {
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
}

impl TlsClient {
    fn new(address: SocketAddr, name: &str, config: &Arc<ClientConfig>) -> Self {
        Self::try_new(address, name, config).unwrap()
    }

    fn try_new(address: SocketAddr, name: &str, config: &Arc<ClientConfig>) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut stream = StreamOwned::new(ClientConnection::new(config.clone(), name).unwrap(), stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self { stream: BufReader::new(stream) })
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    fn get(&mut self, host: &str, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n"));
        self.answer()
    }

    fn answer(&mut self) -> Answer {
        let head = read_head(&mut self.stream).expect("an answer's head");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let (body, is_whole) = read_body(&mut self.stream, &head);
        Answer { status, head, body, is_whole }
    }

    fn connection(&self) -> &ClientConnection {
        &self.stream.get_ref().conn
    }

    /// The host's own certificate, as it was shown.
    fn shown(&self) -> CertificateDer<'static> {
        self.connection().peer_certificates().unwrap()[0].clone().into_owned()
    }
}

fn der_of(certificate: &Certificate) -> CertificateDer<'static> {
    crate::domain::certificate_pem::Parts::of(certificate).unwrap().chain[0].clone()
}

#[test]
fn a_visitor_by_https_is_served_and_the_app_is_told_so() {
    let (ca, app) = (Authority::named("Test CA"), Instance::named("one"));
    let town = Town::secure(spans(), &[("blog.test", ca.issue(&["blog.test"]))]);
    town.route_to(&app);
    let mut config = trusting(&ca, &[&TLS13]);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let mut client = TlsClient::new(town.https(), "blog.test", &Arc::new(config));
    assert_eq!(client.connection().alpn_protocol(), Some(&b"http/1.1"[..]));
    for _ in 0..2 {
        let answer = client.get("blog.test", "/");
        assert_eq!((answer.status, answer.text().as_str()), (200, "one"));
    }
    let (head, port) = (app.last_head(), town.https().port().to_string());
    assert_eq!(field(&head, "x-forwarded-proto").as_deref(), Some("https"));
    assert_eq!(field(&head, "x-forwarded-port"), Some(port));
    town.line_with(&["status=200", "protocol=http1.1 tls=true"]);
    let old = Arc::new(trusting(&ca, &[&TLS12]));
    assert_eq!(TlsClient::new(town.https(), "blog.test", &old).get("blog.test", "/").status, 200);
}

#[test]
fn the_name_that_a_client_asks_for_picks_the_certificate() {
    let (ca, app) = (Authority::named("Test CA"), Instance::named("one"));
    let (exact, below) = (ca.issue(&["blog.test"]), ca.issue(&["*.test"]));
    let town = Town::secure(spans(), &[("blog.test", exact.clone()), ("*.test", below.clone())]);
    town.route_hosts(&app, &["blog.test", "shop.test", "a.b.test"], TlsPolicy::default());
    let config = Arc::new(credulous());
    let shown = |name: &str| TlsClient::new(town.https(), name, &config).shown();
    assert_eq!(shown("blog.test"), der_of(&exact));
    assert_eq!(shown("shop.test"), der_of(&below));
    // One label alone (RFC 9525), a name of nobody, and none at all.
    for name in ["a.b.test", "nobody.example", "127.0.0.1"] {
        let mut client = TlsClient::new(town.https(), name, &config);
        assert!(![der_of(&exact), der_of(&below)].contains(&client.shown()), "{name}");
        assert_eq!(client.get("blog.test", "/").status, 421, "{name}");
        assert_eq!(client.get("nobody.example", "/").status, 404, "{name}");
    }
    assert_eq!(app.count(), 0);
}

#[test]
fn a_host_that_the_certificate_is_not_for_is_misdirected() {
    let (ca, app) = (Authority::named("Test CA"), Instance::named("one"));
    let both = ca.issue(&["blog.test", "www.blog.test"]);
    let town = Town::secure(spans(), &[("blog.test", both), ("shop.test", ca.issue(&["shop.test"]))]);
    town.route_hosts(&app, &["blog.test", "www.blog.test", "shop.test"], TlsPolicy::default());
    let mut client = TlsClient::new(town.https(), "blog.test", &Arc::new(trusting(&ca, &[&TLS13])));
    assert_eq!(client.get("blog.test", "/").status, 200);
    assert_eq!(client.get("WWW.blog.test:443", "/").status, 200);
    assert_eq!(client.get("shop.test", "/").status, 421);
    assert_eq!(client.get("admin.test", "/").status, 421);
    assert_eq!(client.get("blog.test", "/").status, 200, "the connection goes on");
}

#[test]
fn sessions_are_resumed_by_tickets_and_by_ids() {
    let (ca, app) = (Authority::named("Test CA"), Instance::named("one"));
    let town = Town::secure(spans(), &[("blog.test", ca.issue(&["blog.test"]))]);
    town.route_to(&app);
    for (version, how) in [
        (&TLS13, Tls12Resumption::Disabled),
        (&TLS12, Tls12Resumption::SessionIdOrTickets),
        (&TLS12, Tls12Resumption::SessionIdOnly),
    ] {
        let mut config = trusting(&ca, &[version]);
        config.resumption = Resumption::in_memory_sessions(8).tls12_resumption(how);
        let config = Arc::new(config);
        let mut kinds = Vec::new();
        for _ in 0..3 {
            let mut client = TlsClient::new(town.https(), "blog.test", &config);
            assert_eq!(client.get("blog.test", "/").status, 200);
            kinds.push(client.connection().handshake_kind().unwrap());
        }
        assert_eq!(kinds[1..], [HandshakeKind::Resumed; 2], "{version:?} {how:?}");
        assert_ne!(kinds[0], HandshakeKind::Resumed);
    }
}

#[test]
fn visitors_by_http_are_sent_on_once_a_certificate_lives() {
    let (ca, app) = (Authority::named("Test CA"), Instance::named("one"));
    let old = Arc::new(ca.issue_in(&["old.test"], 2020, 2021));
    let town = Town::secure(spans(), &[("old.test", old)]);
    let hosts = ["blog.test", "old.test", "shop.test"];
    town.route_hosts(&app, &hosts, TlsPolicy::default());
    for host in hosts {
        assert_eq!(town.get(host, "/").status, 200, "{host}: nothing lives");
    }
    let live = table(&[("blog.test", ca.issue(&["blog.test"])), ("admin.test", ca.issue(&["admin.test"]))]);
    assert!(town.proxy.set_certificates(&live).is_empty());
    assert!(town.proxy.has_certificate("blog.test") && !town.proxy.has_certificate("shop.test"));
    let answer = town.get("Blog.test:80", "/a?b=c");
    assert_eq!(answer.status, 301);
    let target = format!("https://blog.test:{}", town.https().port());
    assert_eq!(answer.header("location"), Some(format!("{target}/a?b=c")));
    town.line_with(&["status=301", "host=blog.test", "tls=false"]);
    let mut client = town.client();
    client.send("POST / HTTP/1.1\r\nhost: blog.test\r\ncontent-length: 0\r\n\r\n");
    let answer = client.answer();
    assert_eq!((answer.status, answer.header("location")), (308, Some(format!("{target}/"))));
    assert_eq!(town.get("shop.test", "/").status, 200);
    town.route_hosts(&app, &hosts, TlsPolicy { redirect: false, hsts_seconds: None });
    assert_eq!(town.get("blog.test", "/").status, 200);
    // Who comes from loopback is served as before: the end of a tunnel is there.
    assert_eq!(town.get("admin.test", "/").status, 404);
}

#[test]
fn browsers_are_told_to_keep_to_https_where_the_owner_asked_and_over_https_alone() {
    let ca = Authority::named("Test CA");
    let app = Instance::new("one", |head, stream| {
        let own = head.starts_with("GET /own ").then_some("strict-transport-security: max-age=7\r\n");
        respond(stream.get_mut(), own.unwrap_or_default(), b"one");
        Then::Keep
    });
    let town = Town::secure(spans(), &[("blog.test", ca.issue(&["blog.test"]))]);
    let config = Arc::new(trusting(&ca, &[&TLS13]));
    let told = |path: &str| TlsClient::new(town.https(), "blog.test", &config).get("blog.test", path);
    town.route_hosts(&app, &["blog.test"], TlsPolicy::default());
    assert_eq!(told("/").header("strict-transport-security"), None);
    town.route_hosts(&app, &["blog.test"], TlsPolicy { redirect: false, hsts_seconds: Some(300) });
    assert_eq!(told("/").header("strict-transport-security").as_deref(), Some("max-age=300"));
    assert_eq!(told("/own").header("strict-transport-security").as_deref(), Some("max-age=7"));
    assert_eq!(town.get("blog.test", "/").header("strict-transport-security"), None);
}

#[test]
fn a_ca_that_checks_by_http_is_answered_for_exact_tokens_alone() {
    let (ca, app) = (Authority::named("Test CA"), Instance::named("one"));
    let town = Town::secure(spans(), &[("blog.test", ca.issue(&["blog.test"]))]);
    town.route_hosts(&app, &["blog.test", "shop.test"], TlsPolicy::default());
    let tokens = [("tok-1".to_owned(), "tok-1.thumb".to_owned())].into();
    let faults = town.proxy.set_challenges(&ChallengeTable { tokens, ..ChallengeTable::default() });
    assert!(faults.is_empty());
    let path = "/.well-known/acme-challenge/tok-1";
    for host in ["blog.test", "shop.test", "not-yet.example"] {
        let answer = town.get(host, path);
        assert_eq!((answer.status, answer.text().as_str()), (200, "tok-1.thumb"), "{host}");
        assert_eq!(answer.header("content-type").as_deref(), Some("text/plain"));
    }
    for other in
        ["/.well-known/acme-challenge/tok-2", "/.well-known/acme-challenge/tok-1/", "/.well-known/acme-challenge/"]
    {
        assert_eq!(town.get("blog.test", other).status, 301, "{other}");
        assert_eq!(town.get("shop.test", other).status, 200, "{other}: the app's own");
    }
    let mut client = town.client();
    client.send(format!("POST {path} HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 0\r\n\r\n"));
    assert_eq!(client.answer().text(), "one");
    assert!(town.proxy.set_challenges(&ChallengeTable::default()).is_empty());
    assert_eq!(town.get("shop.test", path).text(), "one");
}

#[test]
fn a_ca_that_checks_by_handshake_sees_its_certificate_and_nothing_else() {
    let (ca, app) = (Authority::named("Test CA"), Instance::named("one"));
    let town = Town::secure(spans(), &[("blog.test", ca.issue(&["blog.test"]))]);
    town.route_to(&app);
    let challenge = ca.issue(&["blog.test"]);
    let handshakes = [("blog.test".parse().unwrap(), challenge.clone())].into();
    assert!(town.proxy.set_challenges(&ChallengeTable { handshakes, ..ChallengeTable::default() }).is_empty());
    let offering = |protocols: &[&str]| {
        let mut config = credulous();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Arc::new(config)
    };
    let mut client = TlsClient::new(town.https(), "blog.test", &offering(&["acme-tls/1"]));
    assert_eq!(client.connection().alpn_protocol(), Some(&b"acme-tls/1"[..]));
    assert_eq!(client.shown(), der_of(&challenge));
    assert_eq!(client.stream.read(&mut [0; 1]).unwrap(), 0, "the connection ends");
    let mut both = TlsClient::new(town.https(), "blog.test", &offering(&["acme-tls/1", "http/1.1"]));
    assert_ne!(both.shown(), der_of(&challenge));
    assert_eq!(both.get("blog.test", "/").status, 200);
    assert!(TlsClient::try_new(town.https(), "shop.test", &offering(&["acme-tls/1"])).is_err());
    assert!(town.proxy.set_challenges(&ChallengeTable::default()).is_empty());
    assert!(TlsClient::try_new(town.https(), "blog.test", &offering(&["acme-tls/1"])).is_err());
}

#[test]
fn a_slow_handshake_is_cut_and_holds_up_nobody() {
    let (ca, app) = (Authority::named("Test CA"), Instance::named("one"));
    let spans = Spans { handshake: Duration::from_millis(300), ..spans() };
    let town = Town::secure(spans, &[("blog.test", ca.issue(&["blog.test"]))]);
    town.route_to(&app);
    let begun = Instant::now();
    let mut slow: Vec<Client> = (0..8).map(|_| Client::new(town.https())).collect();
    // The beginning of a handshake record; half of them send nothing at all.
    slow.iter_mut().take(4).for_each(|client| client.send([22, 3, 1, 2, 0, 1]));
    let config = Arc::new(trusting(&ca, &[&TLS13]));
    assert_eq!(TlsClient::new(town.https(), "blog.test", &config).get("blog.test", "/").status, 200);
    assert!(slow.iter_mut().all(Client::is_ended));
    assert!(begun.elapsed() >= Duration::from_millis(250), "nobody was cut early");
    let mut nonsense = Client::new(town.https());
    nonsense.send("GET / HTTP/1.1\r\nhost: blog.test\r\n\r\n");
    assert!(nonsense.is_ended());
    assert_eq!(TlsClient::new(town.https(), "blog.test", &config).get("blog.test", "/").status, 200);
}

#[test]
fn streams_and_upgrades_go_through_tls_as_they_come() {
    let ca = Authority::named("Test CA");
    let app = Instance::new("one", |head, stream| {
        if field(head, "upgrade").is_none() {
            stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
            for part in ["3\r\none\r\n", "3\r\ntwo\r\n"] {
                stream.get_mut().write_all(part.as_bytes()).unwrap();
                // The next one goes when the visitor has this one.
                stream.read_exact(&mut [0; 1]).unwrap();
            }
            stream.get_mut().write_all(b"0\r\n\r\n").unwrap();
            return Then::Close;
        }
        stream
            .get_mut()
            .write_all(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\n")
            .unwrap();
        let mut bytes = [0; 4];
        while stream.read_exact(&mut bytes).is_ok() {
            stream.get_mut().write_all(&bytes).unwrap();
        }
        Then::Close
    });
    let town = Town::secure(spans(), &[("blog.test", ca.issue(&["blog.test"]))]);
    town.route_to(&app);
    let config = Arc::new(trusting(&ca, &[&TLS13]));
    let mut client = TlsClient::new(town.https(), "blog.test", &config);
    client.send("POST / HTTP/1.1\r\nhost: blog.test\r\ncontent-length: 2\r\n\r\n");
    read_head(&mut client.stream).unwrap();
    for part in ["one", "two"] {
        assert_eq!(read_chunk(&mut client.stream).unwrap(), part.as_bytes());
        client.send("x");
    }
    assert_eq!(read_chunk(&mut client.stream).unwrap(), b"");
    let mut client = TlsClient::new(town.https(), "blog.test", &config);
    client.send("GET / HTTP/1.1\r\nhost: blog.test\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\n");
    assert!(read_head(&mut client.stream).unwrap().starts_with("HTTP/1.1 101 "));
    for word in ["ping", "pong"] {
        client.send(word);
        let mut back = [0; 4];
        client.stream.read_exact(&mut back).unwrap();
        assert_eq!(back, word.as_bytes());
    }
}

#[test]
fn a_bad_certificate_is_told_and_takes_no_other_down() {
    let (ca, app) = (Authority::named("Test CA"), Instance::named("one"));
    let (first, second) = (ca.issue(&["blog.test"]), ca.issue(&["blog.test"]));
    let shop = ca.issue(&["shop.test"]);
    let town = Town::secure(spans(), &[("blog.test", first.clone())]);
    town.route_hosts(&app, &["blog.test", "shop.test"], TlsPolicy::default());
    let config = Arc::new(trusting(&ca, &[&TLS13]));
    let shown = |name: &str| TlsClient::new(town.https(), name, &config).shown();
    let wrong = |key: &Arc<Certificate>| {
        Arc::new(Certificate { chain_pem: first.chain_pem.clone(), key_pem: key.key_pem.clone() })
    };
    let faults = town.proxy.set_certificates(&table(&[
        ("blog.test", wrong(&shop)),
        ("new.test", wrong(&second)),
        ("shop.test", shop.clone()),
    ]));
    let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("the certificate for blog.test is not served: its private key"), "{told:?}");
    assert_eq!(shown("blog.test"), der_of(&first), "what was served goes on to be");
    assert_eq!(shown("shop.test"), der_of(&shop));
    assert!(town.proxy.set_certificates(&table(&[("blog.test", second.clone())])).is_empty());
    assert_eq!(shown("blog.test"), der_of(&second));
    assert!(TlsClient::try_new(town.https(), "shop.test", &config).is_err(), "it was removed");
}

#[test]
fn the_pages_are_answered_to_anybody_by_https() {
    let ca = Authority::named("Test CA");
    let (door, mut visits) = mpsc::channel::<Visit>(4);
    let town = Town::secure_with(spans(), &[("admin.test", ca.issue(&["admin.test"]))], Some(door));
    let house = thread::spawn(move || {
        let mut seen = Vec::new();
        for _ in 0..2 {
            let visit = visits.blocking_recv().unwrap();
            seen.push(visit.transport);
            let page = http::Response::new(AnswerBody::Whole("page".into()));
            visit.answer.send(page).unwrap();
        }
        seen
    });
    let mut client = TlsClient::new(town.https(), "admin.test", &Arc::new(trusting(&ca, &[&TLS13])));
    // As it looks behind another proxy; by plain http that is no tunnel's end.
    let head = "GET / HTTP/1.1\r\nhost: admin.test\r\nx-forwarded-for: 203.0.113.7\r\n\r\n";
    client.send(head);
    assert_eq!(client.answer().text(), "page");
    let mut plain = town.client();
    plain.send(head);
    assert_eq!(plain.answer().status, 404);
    assert_eq!(town.get("admin.test", "/").text(), "page");
    assert_eq!(house.join().unwrap(), [Transport::Tls, Transport::Plain]);
}

#[test]
fn a_stop_ends_handshakes_and_idle_connections() {
    let (ca, app) = (Authority::named("Test CA"), Instance::named("one"));
    let town = Town::secure(spans(), &[("blog.test", ca.issue(&["blog.test"]))]);
    town.route_to(&app);
    let mut idle = TlsClient::new(town.https(), "blog.test", &Arc::new(trusting(&ca, &[&TLS13])));
    assert_eq!(idle.get("blog.test", "/").status, 200);
    let mut shaking = Client::new(town.https());
    shaking.send([22, 3, 1]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let begun = Instant::now();
    runtime.block_on(town.proxy.shut_down(Duration::from_secs(5), Duration::from_secs(5)));
    assert!(begun.elapsed() < Duration::from_secs(4), "nobody was waited for");
    assert!(shaking.is_ended());
    assert_eq!(idle.stream.read(&mut [0; 1]).unwrap(), 0, "a clean end, with close_notify");
}

#[test]
fn who_came_by_https_to_a_trusted_proxy_is_not_sent_on_for_ever() {
    let (ca, app) = (Authority::named("Test CA"), Instance::named("one"));
    let trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let settings = ProxySettings { trusted_proxies, ..ProxySettings::default() };
    let town = Town::secure_under(spans(), &[("blog.test", ca.issue(&["blog.test"]))], settings);
    town.route_hosts(&app, &["blog.test"], TlsPolicy::default());
    assert_eq!(town.client().get_with("x-forwarded-proto: http\r\n", "/").status, 301);
    assert_eq!(town.client().get_with("x-forwarded-proto: https\r\n", "/").text(), "one");
    assert_eq!(field(&app.last_head(), "x-forwarded-proto").as_deref(), Some("https"));
}
