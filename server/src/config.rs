//! The only reader of flags, environment and the TOML file: flags > `PAAS_*` > file > defaults, into one checked [`Config`].
use crate::domain::acme::{Acme, AcmeOff};
use crate::domain::site::LOCAL_ADMIN_HOST;
use crate::domain::{Cidr, FetchAllow, Hostname, Size, span};
use anyhow::{Context, bail};
use authority::{AcmeKeys, ExternalAccountKeys};
use clap::Parser;
use serde::Deserialize;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

const DATA_DIR: &str = "/var/lib/paas";
const HTTP_LISTEN: &str = "[::]:80";
const HTTPS_LISTEN: &str = "[::]:443";
const SSH_LISTEN: &str = "[::]:2222";
const BASE_DOMAIN: &str = "localhost";
const DISK_RESERVE: &str = "1GiB";
const INSTANCE_DISK_MAX: &str = "2GiB";
const BUILD_CACHE_MAX: &str = "10GiB";
const BACKUP_AT: &str = "03:10";
const BUILD_LIMIT: &str = "30m";
/// What the limit of a build may be set to.
const BUILD_LIMIT_RANGE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(24);

/// `paas server`: receives, builds, runs and routes apps.
#[derive(Parser, Default)]
#[command(name = "paas server", version, about = "Run the server in the foreground.")]
struct Flags {
    /// TOML file with the same keys as the flags
    #[arg(long, env = "PAAS_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Only say whether this program could take over from the server that runs on the data folder
    #[arg(long, hide = true)]
    check: bool,
    /// Take over from the server at the other end of standard input
    #[arg(long, hide = true)]
    take_over: bool,
    /// Only start the same line again without this word, as nobody's child
    #[arg(long, hide = true)]
    detach: bool,
    #[command(flatten)]
    keys: Keys,
}

/// Every key, as a flag, as `PAAS_…`, and in the file.
#[derive(clap::Args, Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// Folder of all state [default: /var/lib/paas]
    #[arg(long, env = "PAAS_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where visitors connect; port 0 takes a free one [default: [::]:80]
    #[arg(long, env = "PAAS_HTTP_LISTEN", value_name = "ADDRESS:PORT")]
    http_listen: Option<String>,
    /// Where visitors connect by HTTPS; port 0 takes a free one; `off` for none [default: [::]:443]
    #[arg(long, env = "PAAS_HTTPS_LISTEN", value_name = "ADDRESS:PORT")]
    https_listen: Option<String>,
    /// Where git and ssh connect; port 0 takes a free one [default: [::]:2222]
    #[arg(long, env = "PAAS_SSH_LISTEN", value_name = "ADDRESS:PORT")]
    ssh_listen: Option<String>,
    /// Apps answer at APP.DOMAIN [default: localhost]
    #[arg(long, env = "PAAS_BASE_DOMAIN", value_name = "DOMAIN")]
    base_domain: Option<String>,
    /// Host of the dashboard [default: paas.BASE_DOMAIN]
    #[arg(long, env = "PAAS_ADMIN_HOST", value_name = "HOST")]
    admin_host: Option<String>,
    /// Container engine [default: unix:///var/run/docker.sock]
    #[arg(long, env = "PAAS_DOCKER_HOST", value_name = "unix://SOCKET")]
    docker_host: Option<String>,
    /// Certificate authorities (PEM) that build steps, and the server where it asks others, trust beside the usual ones
    #[arg(long, env = "PAAS_CA_BUNDLE", value_name = "FILE")]
    ca_bundle: Option<PathBuf>,
    /// Room that must be left on the data's and the engine's disk for a build to begin [default: 1GiB]
    #[arg(long, env = "PAAS_DISK_RESERVE", value_name = "SIZE")]
    disk_reserve: Option<String>,
    /// What an instance may write to its own disk before it is stopped [default: 2GiB]
    #[arg(long, env = "PAAS_INSTANCE_DISK_MAX", value_name = "SIZE")]
    instance_disk_max: Option<String>,
    /// What the engine's build cache is pruned back to, whoever else builds there [default: 10GiB]
    #[arg(long, env = "PAAS_BUILD_CACHE_MAX", value_name = "SIZE")]
    build_cache_max: Option<String>,
    /// How long a build may take: seconds, minutes or hours, up to 24h [default: 30m]
    #[arg(long, env = "PAAS_BUILD_LIMIT", value_name = "TIME")]
    build_limit: Option<String>,
    /// Hosts of buildpacks, and addresses of registries that are not public, such as git.example.com or 127.0.0.1:8443 [default: large public hosts]
    #[arg(long, env = "PAAS_FETCH_ALLOW", value_name = "HOST", value_delimiter = ',')]
    fetch_allow: Option<Vec<String>>,
    /// Logins of registries that images are pulled from, as `docker login` writes them
    #[arg(long, env = "PAAS_REGISTRY_AUTH_FILE", value_name = "FILE")]
    registry_auth_file: Option<PathBuf>,
    /// Public key that backups are encrypted to: age1… or an SSH key
    #[arg(long, env = "PAAS_BACKUP_RECIPIENT", value_name = "KEY")]
    backup_recipient: Option<String>,
    /// File with the passphrase that backups are encrypted with
    #[arg(long, env = "PAAS_BACKUP_PASSPHRASE_FILE", value_name = "FILE")]
    backup_passphrase_file: Option<PathBuf>,
    /// When the nightly backup is made, in UTC, or `off` [default: 03:10]
    #[arg(long, env = "PAAS_BACKUP_AT", value_name = "HH:MM")]
    backup_at: Option<String>,
    /// Proxies before this server whose word about their visitors counts: ranges such as 10.0.0.0/8, or `cloudflare`
    #[arg(long, env = "PAAS_TRUSTED_PROXIES", value_name = "RANGE", value_delimiter = ',')]
    trusted_proxies: Option<Vec<String>>,
    /// Whether every connection to `http_listen` begins with a header of the PROXY protocol: on or off [default: off]
    #[arg(long, env = "PAAS_HTTP_PROXY_PROTOCOL", value_name = "on|off")]
    http_proxy_protocol: Option<String>,
    /// Directory of the CA that certificates come from, or `off` [default: Let's Encrypt, unless the base domain is local]
    #[arg(long, env = "PAAS_ACME_DIRECTORY", value_name = "URL")]
    acme_directory: Option<String>,
    /// Where the CA may write to; setting it agrees to the CA's terms of service
    #[arg(long, env = "PAAS_ACME_EMAIL", value_name = "ADDRESS")]
    acme_email: Option<String>,
    /// How single hosts are shown to be ours: http-01, tls-alpn-01 or dns-01 [default: http-01]
    #[arg(long, env = "PAAS_ACME_CHALLENGE", value_name = "KIND")]
    acme_challenge: Option<String>,
    /// The program that sets records in DNS, and its words. In the file alone: no flag, no variable, no command sets it.
    #[arg(skip)]
    acme_dns_program: Option<Vec<String>>,
    /// The account at a CA that gives certificates to its customers alone, `{ id, key }`. In the file alone: a flag is seen
    /// by everybody who lists the processes.
    #[arg(skip)]
    acme_external_account: Option<ExternalAccountKeys>,
    /// Folder shared with `paas host-guard`; where it is set, `server:doctor` insists that one runs
    #[arg(long, env = "PAAS_GUARD_DIR", value_name = "DIR")]
    guard_dir: Option<PathBuf>,
}

/// Everything that can be set, checked.
#[derive(Debug)]
pub struct Config {
    pub data_dir: PathBuf,
    pub http_listen: SocketAddr,
    pub https_listen: Option<SocketAddr>,
    pub ssh_listen: SocketAddr,
    pub base_domain: Hostname,
    pub admin_host: Hostname,
    pub docker_host: Option<String>,
    pub ca_bundle: Option<PathBuf>,
    pub disk_reserve: Size,
    pub instance_disk_max: Size,
    pub build_cache_max: Size,
    pub build_limit: Duration,
    pub fetch_allow: FetchAllow,
    pub registry_auth_file: Option<PathBuf>,
    pub backup_recipient: Option<String>,
    pub backup_passphrase_file: Option<PathBuf>,
    /// Minute of the day, UTC.
    pub backup_at: Option<u16>,
    pub trusted_proxies: Vec<Cidr>,
    pub http_proxy_protocol: bool,
    /// The CA that is asked for certificates, or why none is.
    pub acme: Result<Acme, AcmeOff>,
    pub guard_dir: Option<PathBuf>,
    pub start: Start,
    /// The words that it was read from, for the server's successor.
    pub words: Vec<String>,
}

/// What the server is started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    Usual,
    /// To say whether it could take over.
    Check,
    /// To take over from one that runs.
    TakeOver,
    /// To start the one that takes over.
    Detach,
}

/// Why there is no configuration: help that was asked for, or a mistake.
#[derive(Debug)]
pub enum NoConfig {
    /// To standard output, exit code 0.
    Help(String),
    /// To standard error, exit code 2.
    Usage(String),
}

impl Config {
    /// Reads `words`, the words after `paas server`.
    pub fn load(words: &[String]) -> Result<Self, NoConfig> {
        let line = std::iter::once("paas server".to_owned()).chain(words.iter().cloned());
        let flags = Flags::try_parse_from(line).map_err(|error| {
            let text = error.render().to_string();
            if error.use_stderr() { NoConfig::Usage(text) } else { NoConfig::Help(text) }
        })?;
        let own = |word: &&String| !matches!(word.as_str(), "--check" | "--take-over" | "--detach");
        let words = words.iter().filter(own).cloned().collect();
        Self::merge(flags, words).map_err(|error| NoConfig::Usage(format!("paas server: {error:#}\n")))
    }

    fn merge(flags: Flags, words: Vec<String>) -> anyhow::Result<Self> {
        let file = flags.config.as_deref().map(read_file).transpose()?.unwrap_or_default();
        let keys = flags.keys;
        let base_domain = keys.base_domain.or(file.base_domain).unwrap_or_else(|| BASE_DOMAIN.to_owned());
        let base_domain: Hostname = base_domain.parse().context("base_domain")?;
        let admin_host = keys.admin_host.or(file.admin_host).unwrap_or_else(|| format!("paas.{base_domain}"));
        let docker_host = keys.docker_host.or(file.docker_host);
        if let Some(host) = docker_host.as_deref().filter(|host| !host.starts_with("unix://")) {
            bail!("docker_host: `{host}` is no local socket; write it as unix:///var/run/docker.sock");
        }
        let acme = AcmeKeys {
            directory: keys.acme_directory.or(file.acme_directory),
            email: keys.acme_email.or(file.acme_email),
            challenge: keys.acme_challenge.or(file.acme_challenge),
            dns_program: file.acme_dns_program,
            external_account: file.acme_external_account,
        };
        let data_dir = keys.data_dir.or(file.data_dir).unwrap_or_else(|| PathBuf::from(DATA_DIR));
        Ok(Self {
            data_dir: std::path::absolute(&data_dir).with_context(|| format!("data_dir: {}", data_dir.display()))?,
            http_listen: address("http_listen", keys.http_listen.or(file.http_listen), HTTP_LISTEN)?,
            https_listen: address_or_off("https_listen", keys.https_listen.or(file.https_listen), HTTPS_LISTEN)?,
            ssh_listen: address("ssh_listen", keys.ssh_listen.or(file.ssh_listen), SSH_LISTEN)?,
            admin_host: admin_host.parse().context("admin_host")?,
            docker_host,
            ca_bundle: keys.ca_bundle.or(file.ca_bundle),
            disk_reserve: size("disk_reserve", keys.disk_reserve.or(file.disk_reserve).as_deref(), DISK_RESERVE)?,
            instance_disk_max: size(
                "instance_disk_max",
                keys.instance_disk_max.or(file.instance_disk_max).as_deref(),
                INSTANCE_DISK_MAX,
            )?,
            build_cache_max: size(
                "build_cache_max",
                keys.build_cache_max.or(file.build_cache_max).as_deref(),
                BUILD_CACHE_MAX,
            )?,
            build_limit: limit("build_limit", keys.build_limit.or(file.build_limit).as_deref(), BUILD_LIMIT)?,
            fetch_allow: hosts("fetch_allow", keys.fetch_allow.or(file.fetch_allow))?,
            registry_auth_file: keys.registry_auth_file.or(file.registry_auth_file),
            backup_recipient: keys.backup_recipient.or(file.backup_recipient),
            backup_passphrase_file: keys.backup_passphrase_file.or(file.backup_passphrase_file),
            backup_at: minute("backup_at", keys.backup_at.or(file.backup_at), BACKUP_AT)?,
            trusted_proxies: ranges(
                "trusted_proxies",
                keys.trusted_proxies.or(file.trusted_proxies).unwrap_or_default(),
            )?,
            http_proxy_protocol: switch(
                "http_proxy_protocol",
                keys.http_proxy_protocol.or(file.http_proxy_protocol).as_deref(),
            )?,
            acme: acme.check(&base_domain)?,
            base_domain,
            guard_dir: keys.guard_dir.or(file.guard_dir),
            start: match (flags.check, flags.detach, flags.take_over) {
                (true, _, _) => Start::Check,
                (false, true, _) => Start::Detach,
                (false, false, true) => Start::TakeOver,
                (false, false, false) => Start::Usual,
            },
            words,
        })
    }

    /// Where the dashboard answers: its own host, and the one that a tunnel's end or this machine goes by.
    pub fn admin_hosts(&self) -> Vec<Hostname> {
        let mut hosts = vec![self.admin_host.clone()];
        hosts.extend(LOCAL_ADMIN_HOST.parse().ok().filter(|local| *local != self.admin_host));
        hosts
    }

    /// Names that no app may have, because the dashboard answers there.
    pub fn reserved_names(&self) -> Vec<String> {
        let suffix = format!(".{}", self.base_domain);
        self.admin_hosts().iter().filter_map(|host| host.as_str().strip_suffix(&suffix)).map(str::to_owned).collect()
    }
}

fn read_file(path: &Path) -> anyhow::Result<Keys> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("read {}", path.display()))
}

fn address(key: &str, given: Option<String>, default: &str) -> anyhow::Result<SocketAddr> {
    let text = given.unwrap_or_else(|| default.to_owned());
    text.parse().with_context(|| format!("{key}: `{text}` is no address and port; write it like 127.0.0.1:8080"))
}

/// `None` for `off`.
fn address_or_off(key: &str, given: Option<String>, default: &str) -> anyhow::Result<Option<SocketAddr>> {
    if given.as_deref() == Some("off") { Ok(None) } else { address(key, given, default).map(Some) }
}

fn size(key: &str, given: Option<&str>, default: &str) -> anyhow::Result<Size> {
    given.unwrap_or(default).parse().with_context(|| key.to_owned())
}

/// The ranges that Cloudflare names at <https://www.cloudflare.com/ips/>.
const CLOUDFLARE: [&str; 22] = [
    "173.245.48.0/20",
    "103.21.244.0/22",
    "103.22.200.0/22",
    "103.31.4.0/22",
    "141.101.64.0/18",
    "108.162.192.0/18",
    "190.93.240.0/20",
    "188.114.96.0/20",
    "197.234.240.0/22",
    "198.41.128.0/17",
    "162.158.0.0/15",
    "104.16.0.0/13",
    "104.24.0.0/14",
    "172.64.0.0/13",
    "131.0.72.0/22",
    "2400:cb00::/32",
    "2606:4700::/32",
    "2803:f800::/32",
    "2405:b500::/32",
    "2405:8100::/32",
    "2a06:98c0::/29",
    "2c0f:f248::/32",
];

fn ranges(key: &str, given: Vec<String>) -> anyhow::Result<Vec<Cidr>> {
    let mut ranges = Vec::new();
    for word in given {
        let named = if word == "cloudflare" { &CLOUDFLARE[..] } else { &[word.trim()] };
        for range in named {
            ranges.push(range.parse().with_context(|| key.to_owned())?);
        }
    }
    Ok(ranges)
}

fn hosts(key: &str, given: Option<Vec<String>>) -> anyhow::Result<FetchAllow> {
    let Some(words) = given else { return Ok(FetchAllow::default()) };
    FetchAllow::parse(&words).map_err(anyhow::Error::msg).with_context(|| key.to_owned())
}

fn switch(key: &str, given: Option<&str>) -> anyhow::Result<bool> {
    match given {
        None | Some("off") => Ok(false),
        Some("on") => Ok(true),
        Some(other) => bail!("{key}: `{other}` is not on or off"),
    }
}

/// A span of time within what a build's limit may be.
fn limit(key: &str, given: Option<&str>, default: &str) -> anyhow::Result<Duration> {
    let text = given.unwrap_or(default);
    let limit = span::parse(text).ok().filter(|limit| BUILD_LIMIT_RANGE.contains(limit));
    limit.with_context(|| format!("{key}: `{text}` is no time from 1s to 24h; write it like {default}"))
}

/// A time of day as its minute; `None` for `off`.
fn minute(key: &str, given: Option<String>, default: &str) -> anyhow::Result<Option<u16>> {
    let text = given.unwrap_or_else(|| default.to_owned());
    if text == "off" {
        return Ok(None);
    }
    let parse = || {
        let (hour, minute) = text.split_once(':').filter(|(hour, minute)| hour.len() == 2 && minute.len() == 2)?;
        let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
        (hour < 24 && minute < 60).then_some(hour * 60 + minute)
    };
    parse().map(Some).with_context(|| format!("{key}: `{text}` is no time; write it like {default}, or off"))
}

/// Takes `--data-dir D` from the front of a host command line, else `PAAS_DATA_DIR`.
pub fn named_data_dir(words: &mut Vec<String>) -> Option<PathBuf> {
    if let Some(value) = words.first().and_then(|first| first.strip_prefix("--data-dir=")).map(PathBuf::from) {
        words.remove(0);
        return Some(value);
    }
    if words.first().is_some_and(|first| first == "--data-dir") && words.len() > 1 {
        let dir = PathBuf::from(words.remove(1));
        words.remove(0);
        return Some(dir);
    }
    env_var("PAAS_DATA_DIR").map(PathBuf::from)
}

/// Where the server's folder is when nobody says.
pub fn usual_data_dir() -> PathBuf {
    PathBuf::from(DATA_DIR)
}

/// `TERM`: what the terminal of whoever types is called.
pub fn terminal_name() -> Option<String> {
    env_var("TERM")
}

/// `LISTEN_FDNAMES`: what the sockets that systemd hands over are called, in their order.
pub fn names_of_sockets() -> Vec<String> {
    env_var("LISTEN_FDNAMES").map_or_else(Vec::new, |names| names.split(':').map(str::to_owned).collect())
}

/// `PAAS_LOG`: what is logged, in tracing's filter language.
pub fn log_filter() -> String {
    env_var("PAAS_LOG").unwrap_or_else(|| "info,russh=warn,sqlx=warn".to_owned())
}

#[expect(clippy::disallowed_methods, reason = "this file is the one reader of the environment")]
fn env_var(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

mod authority;
#[cfg(test)]
mod tests;
