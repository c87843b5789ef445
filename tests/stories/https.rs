//! HTTPS with an uploaded certificate, as curl and sslyze see it.
use crate::harness::{Outcome, Town};
use std::path::{Path, PathBuf};
use std::process::Command;

const NEW_KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";

/// A certificate authority made with openssl, in a town's folder.
pub(super) struct Authority {
    folder: PathBuf,
}

impl Authority {
    pub(super) fn new(home: &Path) -> Self {
        let authority = Self { folder: home.join("ca") };
        std::fs::create_dir(&authority.folder).expect("make a folder");
        authority.openssl(&format!(
            "req -x509 {NEW_KEY} -days 30 -subj /CN=Town-CA -addext keyUsage=critical,keyCertSign -keyout ca.key -out ca.pem"
        ));
        authority
    }

    /// Certificate, the authority's own behind it, and key: what `certs:add` reads.
    pub(super) fn bundle(&self, host: &str) -> String {
        self.openssl(&format!(
            "req {NEW_KEY} -subj /CN=town -addext subjectAltName=DNS:{host} -keyout {host}.key -out {host}.csr"
        ));
        self.openssl(&format!(
            "x509 -req -in {host}.csr -CA ca.pem -CAkey ca.key -days 30 -copy_extensions copy -out {host}.pem"
        ));
        [format!("{host}.pem"), "ca.pem".to_owned(), format!("{host}.key")].map(|file| self.read(&file)).concat()
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.folder.join(file)).unwrap_or_else(|error| panic!("read {file}: {error}"))
    }

    fn openssl(&self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let output = Command::new("openssl").current_dir(&self.folder).args(&words).output().expect("start openssl");
        Outcome::new(&format!("openssl {}", words[0]), &output).succeeds();
    }

    /// What curl says by HTTP/1.1; the head of every answer comes first.
    fn curl(&self, words: &[&str]) -> Outcome {
        self.visit(&[&["-i", "--http1.1"], words].concat())
    }

    /// What curl says, which trusts this authority alone.
    pub(super) fn visit(&self, words: &[&str]) -> Outcome {
        let mut command = Command::new("curl");
        command.args(["-sS", "--max-time", "60", "--cacert"]).arg(self.folder.join("ca.pem")).args(words);
        Outcome::new(&format!("curl {}", words.join(" ")), &command.output().expect("start curl"))
    }
}

pub(super) fn url(town: &Town, host: &str, path: &str) -> String {
    format!("https://{host}:{}{path}", town.https().port())
}

#[test]
fn an_uploaded_certificate_secures_an_app_until_it_is_removed() {
    let mut town = Town::start();
    let ca = Authority::new(town.home());
    town.push("hello-shell", "blog").succeeds();
    let host = "blog.localhost";
    ca.curl(&[&url(&town, host, "/")]).fails_with(60, "certificate");
    town.paas(&["certs"]).succeeds().says("no certificates");

    let bundle = ca.bundle(host);
    town.paas_with_input(&["certs:add", "shop.localhost"], bundle.as_bytes())
        .fails_with(1, "not for shop.localhost, but for blog.localhost");
    town.paas_with_input(&["certs:add", host], ca.read("ca.pem").as_bytes()).fails_with(1, "no private key");
    town.paas_with_input(&["certs:add", "10.0.0.1"], bundle.as_bytes()).fails_with(2, "no host name");
    let link = url(&town, host, "");
    town.paas_with_input(&["certs:add", host], bundle.as_bytes()).succeeds().says("valid until").says(&link);
    ca.curl(&[&url(&town, host, "/")]).succeeds().says("HTTP/1.1 200").says("hello-shell");
    town.ssh("certs:list --json").succeeds().says("\"state\": \"live\"").says("\"source\": \"uploaded\"");
    town.paas(&["certs:info", host]).succeeds().says("CN=Town-CA").says("2 certificates");
    assert_eq!(town.paas(&["apps:info", "-a", "blog", "--json"]).json()["url"], link.as_str());

    let sent = town.get("blog", "/a?b");
    assert_eq!((sent.status, sent.header("location")), (301, Some(format!("{link}/a?b").as_str())), "{sent:?}");
    assert_eq!(town.connect("blog").and_then(|mut c| c.post("/", b"x")).expect("an answer").status, 308);
    town.paas(&["https:set", "redirect=off", "hsts=30d", "-a", "blog"]).succeeds();
    town.shows("blog", "hello-shell");
    let heard = ca.curl(&[&url(&town, host, "/")]);
    assert!(heard.stdout.to_lowercase().contains("strict-transport-security: max-age=2592000\r\n"), "{heard:?}");
    assert_eq!(town.get("blog", "/").header("strict-transport-security"), None);

    town.kill9();
    town.start_again(&[]);
    ca.curl(&[&url(&town, host, "/")]).succeeds().says("hello-shell");
    town.paas(&["https", "-a", "blog"]).succeeds().says("redirect off").says("hsts     2592000 s");
    town.paas(&["https:set", "redirect=on", "-a", "blog"]).succeeds();
    assert_eq!(town.get("blog", "/").status, 301);

    town.paas(&["certs:remove", host]).succeeds();
    town.paas(&["certs:remove", host]).fails_with(1, "there is no certificate for blog.localhost");
    ca.curl(&[&url(&town, host, "/")]).fails_with(60, "certificate");
    town.shows("blog", "hello-shell");
    town.doctor_is_clean();
}

#[test]
fn with_a_certificate_the_pages_are_logged_in_to_by_https() {
    let town = Town::start();
    let ca = Authority::new(town.home());
    let host = "paas.localhost";
    town.paas_with_input(&["certs:add", host], ca.bundle(host).as_bytes()).succeeds();
    let said = town.paas(&["login"]);
    let link = said.succeeds().stdout.lines().find_map(|line| line.trim().strip_prefix(&url(&town, host, "")));
    let link = link.unwrap_or_else(|| panic!("a link by https: {said:?}"));
    let token = link.rsplit('=').next().expect("a token");
    // As it looks from elsewhere: an address that another proxy tells of.
    let page = ca.curl(&["-H", "X-Forwarded-For: 203.0.113.7", &url(&town, host, link)]);
    page.succeeds().says("HTTP/1.1 200");
    let form = format!("token={token}");
    let posted = |site: &str| ca.curl(&["-H", site, "-d", &form, &url(&town, host, "/login")]);
    posted("Sec-Fetch-Site: same-site").succeeds().says("HTTP/1.1 403");
    let inside = posted("Sec-Fetch-Site: same-origin");
    let cookie = inside.succeeds().stdout.lines().find(|line| line.contains("__Host-paas_session="));
    let cookie = cookie.unwrap_or_else(|| panic!("a cookie: {inside:?}"));
    assert!(cookie.contains("HttpOnly") && cookie.contains("Secure"), "{cookie}");
    let (_, cookie) = cookie.split_once(": ").expect("a field");
    let cookie = format!("Cookie: {}", cookie.split(';').next().expect("a pair"));
    ca.curl(&["-H", &cookie, &url(&town, host, "/")]).succeeds().says("HTTP/1.1 200");
    ca.curl(&[&url(&town, host, "/")]).succeeds().says("HTTP/1.1 303");
}

#[test]
fn what_is_offered_by_https_is_mozillas_intermediate_profile() {
    let town = Town::start();
    let ca = Authority::new(town.home());
    town.paas_with_input(&["certs:add", "blog.localhost"], ca.bundle("blog.localhost").as_bytes()).succeeds();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("sslyze");
    let mut command = Command::new(script);
    command.args(["blog.localhost", &town.https().to_string()]).arg(ca.folder.join("ca.pem"));
    let output = command.output();
    let judged = Outcome::new("tests/sslyze", &output.expect("start tests/sslyze"));
    judged.succeeds().says("OK - Compliant");
    // Tickets it takes for unsupported, because a resumed session brings a fresh one; a room test shows them.
    judged.says("With Session IDs: OK - Supported");
    assert!(!judged.stdout.contains("VULNERABLE"), "{judged:?}");
}
