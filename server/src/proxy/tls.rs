//! Certificates as a handshake wants them: prepared once when they are published, then only read.
//!
//! What is offered is Mozilla's intermediate profile, which is rustls' own choice: TLS 1.2 and 1.3, forward secrecy and
//! AEAD alone. Sessions are resumed by tickets, and by ids where a client knows no tickets; a session belongs to the
//! name that it was made for (RFC 6066, section 3).
use crate::domain::certificate_pem::{CertificateError, Parts};
use crate::domain::{Certificate, CertificateHost, CertificateTable, ChallengeTable, Moment};
use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::{ProducesTickets, ServerSessionMemoryCache, StoresServerSessions};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;

use super::limits::SESSIONS_MAX;

/// HTTP/2 as ALPN names it (RFC 9113, section 3.2).
pub(super) const H2: &[u8] = b"h2";
/// What clients are offered, the best first.
const OFFERED: &[&[u8]] = &[H2, b"http/1.1", b"http/1.0"];
/// TLS-ALPN-01 (RFC 8737, section 6.2).
pub(super) const ACME_TLS: &[u8] = b"acme-tls/1";

pub(super) struct Tls {
    served: ArcSwap<HostMap<Arc<Served>>>,
    challenges: ArcSwap<Challenges>,
    /// For names that no certificate is for: what a visitor sees is a wrong certificate, and not a broken connection.
    stranger: Arc<Served>,
    mold: Mold,
}

/// A certificate, ready for handshakes.
pub(super) struct Served {
    source: Arc<Certificate>,
    pub(super) config: Arc<ServerConfig>,
    names: HostMap<()>,
    not_before: Moment,
    not_after: Moment,
}

/// Something by host, exact or one label above it.
struct HostMap<T> {
    exact: HashMap<Box<str>, T>,
    below: HashMap<Box<str>, T>,
}

#[derive(Default)]
struct Challenges {
    tokens: BTreeMap<String, String>,
    handshakes: HashMap<Box<str>, Arc<ServerConfig>>,
}

/// A certificate that was not taken.
#[derive(Debug, thiserror::Error)]
#[error("the certificate for {host} is not served: {error}")]
pub struct CertificateFault {
    pub host: CertificateHost,
    #[source]
    pub error: CertificateError,
}

/// What a connection's handshake went by.
#[derive(Clone)]
pub(super) struct Secured {
    served: Arc<Served>,
    /// The name that the client asked for, if a certificate was for it.
    name: Option<Box<str>>,
}

impl Secured {
    /// Whether a request for `host` may come over this connection (RFC 9110, section 15.5.20).
    pub(super) fn covers(&self, host: &str) -> bool {
        self.name.as_deref() == Some(host) || self.served.names.find(host).is_some()
    }
}

impl Served {
    fn is_in_date(&self, now: Moment) -> bool {
        self.not_before <= now && now < self.not_after
    }
}

impl Tls {
    pub(super) fn new() -> io::Result<Self> {
        let mold = Mold::new().map_err(io::Error::other)?;
        let stranger = Arc::new(mold.stranger()?);
        Ok(Self { served: ArcSwap::default(), challenges: ArcSwap::default(), stranger, mold })
    }

    /// Publishes a table. A certificate that is no good is told, and what was served for its host before goes on to be.
    pub(super) fn set_certificates(&self, table: &CertificateTable) -> Vec<CertificateFault> {
        let (before, mut next, mut faults) = (self.served.load_full(), HostMap::default(), Vec::new());
        for (host, certificate) in &table.hosts {
            let known = before.get(host).filter(|known| *known.source == **certificate).cloned();
            match known.map_or_else(|| self.mold.served(certificate, OFFERED).map(Arc::new), Ok) {
                Ok(served) => next.insert(host, served),
                Err(error) => {
                    if let Some(known) = before.get(host) {
                        next.insert(host, known.clone());
                    }
                    faults.push(CertificateFault { host: host.clone(), error });
                }
            }
        }
        self.served.store(Arc::new(next));
        faults
    }

    pub(super) fn set_challenges(&self, table: &ChallengeTable) -> Vec<CertificateFault> {
        let mut next = Challenges { tokens: table.tokens.clone(), handshakes: HashMap::new() };
        let mut faults = Vec::new();
        for (host, certificate) in &table.handshakes {
            match self.mold.served(certificate, &[ACME_TLS]) {
                Ok(served) => {
                    next.handshakes.insert(host.as_str().into(), served.config);
                }
                Err(error) => faults.push(CertificateFault { host: CertificateHost::Exact(host.clone()), error }),
            }
        }
        self.challenges.store(Arc::new(next));
        faults
    }

    /// What the handshake of a client that asks for `name` goes by.
    pub(super) fn choose(&self, name: Option<&str>) -> (Arc<ServerConfig>, Secured) {
        let name = name.map(str::to_ascii_lowercase);
        let found = name.as_deref().and_then(|name| self.served.load().find(name).cloned());
        let name = found.is_some().then_some(name).flatten().map(String::into_boxed_str);
        let served = found.unwrap_or_else(|| self.stranger.clone());
        (served.config.clone(), Secured { served, name })
    }

    /// For a CA that is checking by TLS-ALPN-01.
    pub(super) fn challenge_config(&self, name: Option<&str>) -> Option<Arc<ServerConfig>> {
        self.challenges.load().handshakes.get(name?.to_ascii_lowercase().as_str()).cloned()
    }

    /// The answer to a CA that is checking by HTTP-01.
    pub(super) fn key_authorization(&self, token: &str) -> Option<String> {
        self.challenges.load().tokens.get(token).cloned()
    }

    /// Whether a certificate lives for the host: it is served, and in date.
    pub(super) fn has_certificate(&self, host: &str, now: Moment) -> bool {
        self.served.load().find(host).is_some_and(|served| served.is_in_date(now))
    }
}

/// What all configurations share, so that a session is known whichever it was made by.
struct Mold {
    provider: Arc<CryptoProvider>,
    sessions: Arc<dyn StoresServerSessions>,
    tickets: Arc<dyn ProducesTickets>,
}

impl Mold {
    fn new() -> Result<Self, rustls::Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let sessions = ServerSessionMemoryCache::new(SESSIONS_MAX);
        Ok(Self { provider, sessions, tickets: aws_lc_rs::Ticketer::new()? })
    }

    fn served(&self, certificate: &Arc<Certificate>, protocols: &[&[u8]]) -> Result<Served, CertificateError> {
        let parts = Parts::of(certificate)?;
        let (key, leaf) = (parts.certified_key()?, parts.leaf()?);
        let config = self.config(key, protocols).map_err(|error| CertificateError::UnusableKey(error.to_string()))?;
        let mut names = HostMap::default();
        leaf.names.iter().for_each(|name| names.insert(name, ()));
        let (not_before, not_after) = (leaf.not_before, leaf.not_after);
        Ok(Served { source: certificate.clone(), config, names, not_before, not_after })
    }

    fn config(&self, key: CertifiedKey, protocols: &[&[u8]]) -> Result<Arc<ServerConfig>, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
        config.session_storage = self.sessions.clone();
        config.ticketer = self.tickets.clone();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Arc::new(config))
    }

    /// Signed by nobody, for nobody.
    fn stranger(&self) -> io::Result<Served> {
        let made = rcgen::generate_simple_self_signed(["unknown-host.invalid".to_owned()]).map_err(io::Error::other)?;
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).map_err(io::Error::other)?;
        let parts = Parts { chain: vec![made.cert.der().clone()], key };
        let mut served = self.served(&Arc::new(parts.certificate()), OFFERED).map_err(io::Error::other)?;
        served.names = HostMap::default();
        Ok(served)
    }
}

impl<T> HostMap<T> {
    fn find(&self, host: &str) -> Option<&T> {
        let above = || host.split_once('.').and_then(|(_, above)| self.below.get(above));
        self.exact.get(host).or_else(above)
    }

    fn get(&self, host: &CertificateHost) -> Option<&T> {
        match host {
            CertificateHost::Exact(host) => self.exact.get(host.as_str()),
            CertificateHost::Below(above) => self.below.get(above.as_str()),
        }
    }

    fn insert(&mut self, host: &CertificateHost, value: T) {
        match host {
            CertificateHost::Exact(host) => self.exact.insert(host.as_str().into(), value),
            CertificateHost::Below(above) => self.below.insert(above.as_str().into(), value),
        };
    }
}

impl<T> Default for HostMap<T> {
    fn default() -> Self {
        Self { exact: HashMap::new(), below: HashMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_sessions_are_remembered_and_no_more() {
        let sessions = Mold::new().unwrap().sessions;
        let key = |number: usize| number.to_be_bytes().to_vec();
        let many = 2 * SESSIONS_MAX;
        for number in 0..many {
            assert!(sessions.put(key(number), vec![1]));
        }
        let remembered = (0..many).filter(|number| sessions.get(&key(*number)).is_some()).count();
        assert!((1..=SESSIONS_MAX).contains(&remembered), "{remembered}");
        assert!(sessions.get(&key(many - 1)).is_some(), "the last one is among them");
    }
}
