//! How all hosts fare, written anew after each look: what commands and pages show.
use crate::domain::acme::AcmeOff;
use crate::domain::certificate_plan::CertificateSituation;
use crate::domain::certificate_state::{CertificateState, Effort};
use crate::domain::{CertificateHost, Hostname, Moment};
use std::collections::BTreeMap;

#[derive(Clone)]
pub struct Board {
    /// Wanted hosts, and those that have a certificate anyway.
    pub states: BTreeMap<CertificateHost, CertificateState>,
    off: Option<AcmeOff>,
}

impl Board {
    pub(super) fn empty(off: Option<AcmeOff>) -> Self {
        Self { states: BTreeMap::new(), off }
    }

    pub(super) fn of(situation: &CertificateSituation, off: Option<AcmeOff>, now: Moment) -> Self {
        let reason = off.map(AcmeOff::reason);
        let hosts = situation.wanted.keys().chain(situation.certificates.keys());
        let states = hosts.map(|host| (host.clone(), situation.state_of(host, reason, now))).collect();
        Self { states, off }
    }

    /// The host's own state, or that of the wildcard that stands for it.
    pub fn state(&self, host: &Hostname) -> CertificateState {
        let own = self.states.get(&CertificateHost::Exact(host.clone()));
        let above = || {
            let (_, above) = host.as_str().split_once('.')?;
            self.states.get(&CertificateHost::Below(above.parse().ok()?))
        };
        own.or_else(above).cloned().unwrap_or_else(|| match self.off {
            Some(off) => CertificateState::off(off.reason()),
            None if !crate::domain::acme::is_public(host) => CertificateState::off("the host is local"),
            None => CertificateState { live: None, effort: Effort::Queued },
        })
    }
}
