//! Decides which hosts a CA is asked for now. Pure: what is wanted and known goes in, what to do comes out, again and again.
use super::certificate::CertificateSource;
use super::renewal::{Attempt, KnownCertificate};
use super::{CertificateHost, Hostname, Moment};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Orders under way at a time, over all hosts.
pub const ORDERS_MAX: usize = 3;
/// How long an answer of DNS is good enough to begin an order.
const DNS_FRESH: Duration = Duration::from_mins(1);
/// How often DNS is asked about a host that does not lead here, at first and in the end.
const DNS_AGAIN_MIN: Duration = Duration::from_secs(10);
const DNS_AGAIN_MAX: Duration = Duration::from_mins(10);
/// For how long a certificate that nobody wants any more is kept behind its end.
const KEPT_BEHIND_END: Duration = Duration::from_hours(7 * 24);

/// How a host is shown to be ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The CA comes to the host: DNS must lead it here.
    Visit,
    /// By a record in DNS; where the host leads does not matter.
    Record,
}

/// What DNS said of a host when it was asked last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsAnswer {
    pub leads_here: bool,
    /// In words, for people.
    pub said: String,
    pub asked_at: Moment,
    /// Since when it has been asked about without being led here.
    pub waiting_since: Moment,
}

impl DnsAnswer {
    /// A quarter of the time waited so far, between ten seconds and ten minutes.
    pub fn next_ask(&self) -> Moment {
        let wait = self.asked_at.since(self.waiting_since) / 4;
        self.asked_at.plus(wait.clamp(DNS_AGAIN_MIN, DNS_AGAIN_MAX))
    }
}

/// Everything that is known when the planner is asked.
#[derive(Clone, Debug, Default)]
pub struct CertificateSituation {
    pub wanted: BTreeMap<CertificateHost, Proof>,
    pub certificates: BTreeMap<CertificateHost, KnownCertificate>,
    pub attempts: BTreeMap<CertificateHost, Attempt>,
    pub dns: BTreeMap<CertificateHost, DnsAnswer>,
    /// Orders that have not ended, since when.
    pub under_way: BTreeMap<CertificateHost, Moment>,
    /// Somebody wants a new one now.
    pub asked_for: BTreeSet<CertificateHost>,
    /// The CA has troubles: nobody is asked for by ourselves before.
    pub quiet_until: Moment,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateAction {
    AskDns(Vec<CertificateHost>),
    Order(CertificateHost),
    /// Nobody wants it, and it has ended.
    Forget(CertificateHost),
}

/// What to do, and when to ask again at the latest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificatePlan {
    pub actions: Vec<CertificateAction>,
    pub wake_at: Option<Moment>,
}

/// What one host needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Rest,
    Wait(Moment),
    AskDns,
    Order,
}

/// The host's own certificate, or else an uploaded wildcard that is served for it.
pub fn serving<'a>(
    certificates: &'a BTreeMap<CertificateHost, KnownCertificate>,
    host: &CertificateHost,
    now: Moment,
) -> Option<(CertificateHost, &'a KnownCertificate)> {
    if let Some(own) = certificates.get(host) {
        return Some((host.clone(), own));
    }
    let above = match host {
        CertificateHost::Exact(exact) => exact.as_str().split_once('.')?.1.parse::<Hostname>().ok()?,
        CertificateHost::Below(_) => return None,
    };
    let wildcard = CertificateHost::Below(above);
    let known = certificates.get(&wildcard)?;
    let serves = known.source == CertificateSource::Uploaded && !known.is_over(now);
    serves.then_some((wildcard, known))
}

pub fn plan(situation: &CertificateSituation, now: Moment) -> CertificatePlan {
    let (mut to_ask, mut to_order, mut waits) = (Vec::new(), Vec::new(), Vec::new());
    for (host, proof) in &situation.wanted {
        match situation.step(host, *proof, now) {
            Step::Rest => {}
            Step::Wait(until) => waits.push(until),
            Step::AskDns => to_ask.push(host.clone()),
            Step::Order => to_order.push(host),
        }
    }
    to_order.sort_by_key(|host| situation.urgency(host));
    let free = ORDERS_MAX.saturating_sub(situation.under_way.len());
    let forget = situation.forgettable(now).map(CertificateAction::Forget);
    let ask = (!to_ask.is_empty()).then_some(CertificateAction::AskDns(to_ask));
    let order = to_order.into_iter().take(free).cloned().map(CertificateAction::Order);
    CertificatePlan { actions: forget.chain(ask).chain(order).collect(), wake_at: waits.into_iter().min() }
}

impl CertificateSituation {
    fn step(&self, host: &CertificateHost, proof: Proof, now: Moment) -> Step {
        if self.under_way.contains_key(host) {
            return Step::Rest;
        }
        let is_asked_for = self.asked_for.contains(host);
        if let Some((of, known)) = serving(&self.certificates, host, now) {
            match known.source {
                // One by a CA never replaces it: its end is a matter for people.
                CertificateSource::Uploaded if of == *host => return Step::Rest,
                CertificateSource::Uploaded if !is_asked_for => return Step::Wait(known.not_after),
                CertificateSource::Acme if !is_asked_for && known.renewal(host) > now => {
                    return Step::Wait(known.renewal(host));
                }
                CertificateSource::Uploaded | CertificateSource::Acme => {}
            }
        }
        let attempt = self.attempts.get(host);
        let not_before = if is_asked_for {
            attempt.and_then(|attempt| attempt.barred_until)
        } else {
            attempt.map(|attempt| attempt.next_at).max(Some(self.quiet_until))
        };
        match not_before.filter(|at| *at > now) {
            Some(at) => Step::Wait(at),
            None => self.ask_dns_first(host, proof, now),
        }
    }

    fn ask_dns_first(&self, host: &CertificateHost, proof: Proof, now: Moment) -> Step {
        match (proof, self.dns.get(host)) {
            (Proof::Record, _) => Step::Order,
            (Proof::Visit, Some(answer)) if answer.leads_here && now.since(answer.asked_at) < DNS_FRESH => Step::Order,
            (Proof::Visit, Some(answer)) if !answer.leads_here && answer.next_ask() > now => {
                Step::Wait(answer.next_ask())
            }
            (Proof::Visit, Some(_) | None) => Step::AskDns,
        }
    }

    /// Least first: what somebody waits for, then what has no certificate, then what ends first.
    fn urgency(&self, host: &CertificateHost) -> (bool, Option<Moment>, Option<Moment>) {
        let ends_at = self.certificates.get(host).map(|known| known.not_after);
        (!self.asked_for.contains(host), ends_at, self.attempts.get(host).map(|attempt| attempt.tried_at))
    }

    fn forgettable(&self, now: Moment) -> impl Iterator<Item = CertificateHost> {
        let is_old = move |known: &KnownCertificate| {
            known.source == CertificateSource::Acme && now > known.not_after.plus(KEPT_BEHIND_END)
        };
        let unwanted = self.certificates.iter().filter(|(host, _)| !self.wanted.contains_key(host));
        unwanted.filter(move |(_, known)| is_old(known)).map(|(host, _)| host.clone())
    }
}

#[cfg(test)]
mod tests;
