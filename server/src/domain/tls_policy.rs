//! What an app wants of HTTPS beside a certificate.
use serde::{Deserialize, Serialize};

/// Longest time that a browser may be told to keep to HTTPS: two years, what preload lists ask for.
pub const HSTS_SECONDS_MAX: u32 = 2 * 365 * 24 * 60 * 60;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsPolicy {
    /// Visitors who come by http are sent on to https, where a certificate lives for the host.
    pub redirect: bool,
    /// How long browsers are told to come by https alone (RFC 6797); `None`: they are told nothing.
    pub hsts_seconds: Option<u32>,
}

impl Default for TlsPolicy {
    fn default() -> Self {
        Self { redirect: true, hsts_seconds: None }
    }
}
