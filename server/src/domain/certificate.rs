//! Certificates as the proxy serves them, and the challenges by which a CA finds out that a host is ours.
use super::{Hostname, Secret};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A certificate with its chain and its private key, in PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The host's own certificate first (RFC 8446, section 4.4.2).
    pub chain_pem: String,
    pub key_pem: Secret<String>,
}

/// Which hosts a certificate is served for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CertificateHost {
    Exact(Hostname),
    /// Every host one label below this one: `*.example.com` (RFC 9525, section 6.3).
    Below(Hostname),
}

/// All certificates of the server. A snapshot: published whole, never edited in place.
#[derive(Clone, Default)]
pub struct CertificateTable {
    pub hosts: BTreeMap<CertificateHost, Arc<Certificate>>,
}

/// What the proxy answers to a CA that is checking; published whole.
#[derive(Clone, Default)]
pub struct ChallengeTable {
    /// HTTP-01 (RFC 8555, section 8.3): token → key authorization.
    pub tokens: BTreeMap<String, String>,
    /// TLS-ALPN-01 (RFC 8737): host → the self-signed certificate for a handshake that offers only `acme-tls/1`.
    pub handshakes: BTreeMap<Hostname, Arc<Certificate>>,
}
