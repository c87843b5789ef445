//! Certificates as the proxy serves them, and the challenges by which a CA finds out that a host is ours.
use super::hostname::HostnameError;
use super::{Hostname, Moment, Secret};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
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

impl FromStr for CertificateHost {
    type Err = HostnameError;

    fn from_str(text: &str) -> Result<Self, HostnameError> {
        match text.strip_prefix("*.") {
            Some(above) => above.parse().map(Self::Below),
            None => text.parse().map(Self::Exact),
        }
    }
}

impl fmt::Display for CertificateHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => write!(f, "{host}"),
            Self::Below(above) => write!(f, "*.{above}"),
        }
    }
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

/// A certificate as it is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredCertificate {
    pub host: CertificateHost,
    pub source: CertificateSource,
    pub certificate: Certificate,
    pub not_before: Moment,
    pub not_after: Moment,
    pub added_at: Moment,
}

impl FromIterator<StoredCertificate> for CertificateTable {
    fn from_iter<T: IntoIterator<Item = StoredCertificate>>(stored: T) -> Self {
        Self { hosts: stored.into_iter().map(|one| (one.host, Arc::new(one.certificate))).collect() }
    }
}

/// Who saw to it, and sees to the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateSource {
    Uploaded,
    Acme,
}

impl CertificateSource {
    pub fn word(self) -> &'static str {
        match self {
            Self::Uploaded => "uploaded",
            Self::Acme => "acme",
        }
    }
}

impl FromStr for CertificateSource {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "uploaded" => Ok(Self::Uploaded),
            "acme" => Ok(Self::Acme),
            _ => Err("a certificate is `uploaded` or by `acme`"),
        }
    }
}
