//! A CA of its own (pebble) and a DNS of its own (pebble-challtestsrv), both at a loopback address that nobody else has.
use super::{eventually, run};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// Where the town's server listens, at the same address: there the CA comes to check.
const HTTP_PORT: u16 = 5080;
const HTTPS_PORT: u16 = 5443;

pub(crate) struct Authority {
    pub(crate) address: Ipv4Addr,
    home: TempDir,
    dns: Child,
    pebble: Option<Child>,
}

impl Authority {
    /// A CA that refuses every second nonce, as `environment` says otherwise.
    pub(crate) fn start(environment: &[(&str, &str)]) -> Self {
        Self::configured(environment, |_| {})
    }

    /// The same, which comes to another port than the one where the server answers.
    pub(crate) fn checking_at(port: u16, environment: &[(&str, &str)]) -> Self {
        Self::configured(environment, |config| config["httpPort"] = port.into())
    }

    /// The same, which takes only those whom it knows by this id and key.
    pub(crate) fn of_customers(id: &str, key: &str) -> Self {
        Self::configured(&[], |config| {
            config["externalAccountBindingRequired"] = true.into();
            config["externalAccountMACKeys"] = serde_json::json!({ id: key });
        })
    }

    fn configured(environment: &[(&str, &str)], change: impl FnOnce(&mut serde_json::Value)) -> Self {
        // A process is one test: its id makes the address its own.
        let [_, high, middle, low] = std::process::id().to_be_bytes();
        let address = Ipv4Addr::new(127, 64 | (high & 0x3f), middle, low);
        let home = tempfile::Builder::new().prefix("paas-ca-").tempdir().expect("make a folder");
        std::fs::write(home.path().join("resolv.conf"), format!("nameserver {address}\noptions timeout:1\n"))
            .expect("write resolv.conf");
        make_certificates(home.path(), address);
        write_config(home.path(), address, change);
        let dns = start_dns(home.path(), address);
        let mut authority = Self { address, home, dns, pebble: None };
        authority.begin(environment);
        authority
    }

    /// Starts the CA; it has forgotten everything that it knew before.
    pub(crate) fn begin(&mut self, environment: &[(&str, &str)]) {
        let mut command = Command::new("pebble");
        command.arg("-config").arg(self.file("pebble.json")).args(["-dnsserver", &format!("{}:53", self.address)]);
        command.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_WFE_NONCEREJECT", "50").env("PEBBLE_AUTHZREUSE", "50");
        command.envs(environment.iter().copied()).stdin(Stdio::null());
        let log = std::fs::File::create(self.file("pebble.log")).expect("make pebble.log");
        command.stdout(log.try_clone().expect("share pebble.log")).stderr(log);
        self.pebble = Some(command.spawn().expect("start pebble: run tests/install"));
        let roots = format!("https://{}:15000/roots/0", self.address);
        eventually("the CA answers", Duration::from_secs(20), || {
            let got = Command::new("curl").args(["-fsk", "-o"]).arg(self.root()).arg(&roots).output();
            got.is_ok_and(|output| output.status.success())
        });
    }

    /// The CA is gone.
    pub(crate) fn end(&mut self) {
        if let Some(mut pebble) = self.pebble.take() {
            let _ = pebble.kill();
            pebble.wait().expect("wait for pebble");
        }
    }

    /// What the server is told.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("PAAS_HTTP_LISTEN", format!("{}:{HTTP_PORT}", self.address)),
            ("PAAS_HTTPS_LISTEN", format!("{}:{HTTPS_PORT}", self.address)),
            ("PAAS_BASE_DOMAIN", "apps.test".to_owned()),
            ("PAAS_ACME_DIRECTORY", format!("https://{}:14000/dir", self.address)),
            ("PAAS_ACME_EMAIL", "admin@example.com".to_owned()),
            ("PAAS_CA_BUNDLE", self.file("ca.pem").to_string_lossy().into_owned()),
        ]
    }

    /// Runs a program where this DNS is the system's.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--", "sh", "-c", "mount --bind \"$1\" /etc/resolv.conf; shift; exec \"$@\"", "sh"]);
        command.arg(self.file("resolv.conf")).arg(program);
        command
    }

    /// Makes DNS answer with this address for a host.
    pub(crate) fn lead(&self, host: &str, to: Ipv4Addr) {
        // It adds to what there is.
        self.ask_dns("clear-a", &format!(r#"{{"host":"{host}."}}"#));
        self.ask_dns("add-a", &format!(r#"{{"host":"{host}.","addresses":["{to}"]}}"#));
    }

    /// A program for DNS-01 that notes what it was called with.
    pub(crate) fn dns_program(&self) -> (PathBuf, PathBuf) {
        let (program, calls) = (self.file("dns-program"), self.file("dns-calls"));
        let text = format!(
            r#"#!/bin/sh
echo "$1 $2" >>{calls}
case $1 in
present) curl -fsS -d '{{"host":"'"$2"'.","value":"'"$3"'"}}' http://{address}:8055/set-txt ;;
cleanup) curl -fsS -d '{{"host":"'"$2"'."}}' http://{address}:8055/clear-txt ;;
esac
"#,
            calls = calls.display(),
            address = self.address
        );
        std::fs::write(&program, text).expect("write a program");
        let set = Command::new("chmod").arg("755").arg(&program).status();
        assert!(set.is_ok_and(|status| status.success()), "chmod failed");
        (program, calls)
    }

    /// Writes a file beside the CA's own.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        std::fs::write(self.file(name), text).expect("write a file");
        self.file(name)
    }

    /// The serial number of what is served for a host, if this CA has issued it for that host and it is good.
    pub(crate) fn served(&self, host: &str) -> Option<String> {
        let root = self.root();
        self.greet(host, &["-verify_hostname", host, "-verify_return_error", "-CAfile", &root.to_string_lossy()])
    }

    /// The serial number of what is served for a host, whoever has issued it.
    pub(crate) fn shown(&self, host: &str) -> Option<String> {
        self.greet(host, &[])
    }

    fn greet(&self, host: &str, more: &[&str]) -> Option<String> {
        let at = SocketAddr::from((self.address, HTTPS_PORT)).to_string();
        let mut greet = Command::new("openssl");
        greet.args(["s_client", "-connect", &at, "-servername", host]).args(more);
        let greeted = run(greet, "openssl s_client", b"");
        let mut read = Command::new("openssl");
        read.args(["x509", "-noout", "-serial"]);
        let read = run(read, "openssl x509", greeted.stdout.as_bytes());
        (greeted.code == Some(0) && read.code == Some(0)).then(|| read.stdout.trim().to_owned())
    }

    fn ask_dns(&self, verb: &str, body: &str) {
        let url = format!("http://{}:8055/{verb}", self.address);
        let asked = Command::new("curl").args(["-fsS", "-d", body, &url]).status();
        assert!(asked.is_ok_and(|status| status.success()), "{verb} {body} failed");
    }

    fn root(&self) -> PathBuf {
        self.file("root.pem")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        self.end();
        // It may have ended already.
        let _ = self.dns.kill();
        let _ = self.dns.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.file("pebble.log")).unwrap_or_default();
            eprintln!("---- log of the CA ----\n{log}");
        }
    }
}

fn start_dns(home: &Path, address: Ipv4Addr) -> Child {
    let log = std::fs::File::create(home.join("dns.log")).expect("make dns.log");
    let address = address.to_string();
    let child = Command::new("pebble-challtestsrv")
        .args(["-defaultIPv4", &address, "-defaultIPv6", "", "-dns01", &format!("{address}:53")])
        .args(["-management", &format!("{address}:8055"), "-http01", "", "-https01", "", "-tlsalpn01", ""])
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("share dns.log"))
        .stderr(log)
        .spawn()
        .expect("start pebble-challtestsrv: run tests/install");
    eventually("the DNS answers", Duration::from_secs(10), || {
        std::net::TcpStream::connect(format!("{address}:8055")).is_ok()
    });
    child
}

/// Debian's pebble has none: an authority, and with it the certificate by which the CA itself is known.
pub(super) fn make_certificates(home: &Path, address: Ipv4Addr) {
    let openssl = |line: &str| {
        let mut command = Command::new("openssl");
        command.args(line.split_whitespace()).current_dir(home);
        let outcome = run(command, &format!("openssl {line}"), b"");
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(&format!(
        "req -x509 {key} -keyout ca.key -out ca.pem -days 7300 -subj /CN=tests -addext basicConstraints=critical,CA:TRUE \
         -addext keyUsage=critical,keyCertSign"
    ));
    openssl(&format!("req {key} -keyout leaf.key -out leaf.csr -subj /CN=pebble -addext subjectAltName=IP:{address}"));
    openssl("x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -out leaf.pem -days 7300 -copy_extensions copyall");
}

fn write_config(home: &Path, address: Ipv4Addr, change: impl FnOnce(&mut serde_json::Value)) {
    let mut config = serde_json::json!({ "pebble": {
        "listenAddress": format!("{address}:14000"),
        "managementListenAddress": format!("{address}:15000"),
        "certificate": home.join("leaf.pem"),
        "privateKey": home.join("leaf.key"),
        "httpPort": HTTP_PORT,
        "tlsPort": HTTPS_PORT,
        "ocspResponderURL": "",
        "externalAccountBindingRequired": false,
    }});
    change(&mut config["pebble"]);
    std::fs::write(home.join("pebble.json"), config.to_string()).expect("write pebble.json");
}
