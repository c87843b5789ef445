//! How a host fares with its certificate, for people: waiting for DNS, being issued, live, or failed with the CA's words.
use super::certificate::CertificateSource;
use super::certificate_plan::{CertificateSituation, Proof, serving};
use super::moment::ago;
use super::{CertificateHost, Moment};
use std::time::Duration;

/// What serves, and what is done for the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateState {
    pub live: Option<Live>,
    pub effort: Effort,
}

/// A certificate that is served and has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// The host, or the wildcard above it.
    pub of: String,
    pub source: CertificateSource,
    pub ends_at: Moment,
    /// Uploaded ones are never renewed.
    pub renews_at: Option<Moment>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Nothing is to be done now.
    None,
    /// No CA is asked; why, and what to set.
    Off {
        reason: &'static str,
    },
    /// An uploaded one has ended, and people must bring another.
    Ended {
        ended_at: Moment,
    },
    WaitingDns {
        said: String,
        next_ask: Option<Moment>,
    },
    /// Others are before it.
    Queued,
    Issuing {
        since: Moment,
    },
    Failed {
        complaint: String,
        failed_at: Moment,
        next_try: Moment,
    },
}

impl CertificateState {
    /// Of a host that nobody knows of.
    pub fn off(reason: &'static str) -> Self {
        Self { live: None, effort: Effort::Off { reason } }
    }

    /// One word or two, as lists show it.
    pub fn word(&self) -> &'static str {
        match (&self.live, &self.effort) {
            (Some(_), _) => "Live",
            (None, Effort::None | Effort::Queued) => "Waiting",
            (None, Effort::Off { .. }) => "None",
            (None, Effort::Ended { .. }) => "Ended",
            (None, Effort::WaitingDns { .. }) => "Waiting DNS",
            (None, Effort::Issuing { .. }) => "Issuing",
            (None, Effort::Failed { .. }) => "Failed",
        }
    }

    /// What is to be said beside the word: until when, or what is in the way and when it is tried again.
    pub fn detail(&self, now: Moment) -> String {
        let live = self.live.as_ref().map(|live| format!("for another {}", ago(live.ends_at.since(now))));
        let next = |at: Moment| match at.since(now) {
            Duration::ZERO => "next try now".to_owned(),
            wait => format!("next try in {}", ago(wait)),
        };
        let effort = match &self.effort {
            Effort::None => None,
            Effort::Off { reason } => Some((*reason).to_owned()),
            Effort::Ended { ended_at } => Some(format!(
                "the uploaded one ended {} ago; `paas certs:add` takes another",
                ago(now.since(*ended_at))
            )),
            Effort::WaitingDns { said, next_ask: None } => Some(said.clone()),
            Effort::WaitingDns { said, next_ask: Some(at) } => Some(format!("{said}; {}", next(*at))),
            Effort::Queued => Some("its turn comes".to_owned()),
            Effort::Issuing { since } => Some(format!("the CA has been asked for {}", ago(now.since(*since)))),
            Effort::Failed { complaint, next_try, .. } => Some(format!("{complaint}; {}", next(*next_try))),
        };
        match (live, effort) {
            (Some(live), Some(effort)) => format!("{live}; renewal: {effort}"),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => String::new(),
        }
    }
}

impl CertificateSituation {
    /// How a host fares; `off` says why no CA is asked at all, if none is.
    pub fn state_of(&self, host: &CertificateHost, off: Option<&'static str>, now: Moment) -> CertificateState {
        let serving = serving(&self.certificates, host, now);
        let live = serving.as_ref().filter(|(_, known)| !known.is_over(now)).map(|(of, known)| Live {
            of: of.to_string(),
            source: known.source,
            ends_at: known.not_after,
            renews_at: (known.source == CertificateSource::Acme && off.is_none()).then(|| known.renewal(of)),
        });
        let own_upload = serving.filter(|(of, known)| of == host && known.source == CertificateSource::Uploaded);
        let effort = match own_upload {
            Some((_, known)) if known.is_over(now) => Effort::Ended { ended_at: known.not_after },
            Some(_) => Effort::None,
            None => self.effort_for(host, live.as_ref(), off, now),
        };
        CertificateState { live, effort }
    }

    fn effort_for(
        &self,
        host: &CertificateHost,
        live: Option<&Live>,
        off: Option<&'static str>,
        now: Moment,
    ) -> Effort {
        if let Some(reason) = off {
            return if live.is_some() { Effort::None } else { Effort::Off { reason } };
        }
        if let Some(since) = self.under_way.get(host) {
            return Effort::Issuing { since: *since };
        }
        let is_due =
            live.is_none_or(|live| live.renews_at.is_some_and(|at| at <= now)) || self.asked_for.contains(host);
        let failed = self.attempts.get(host).filter(|attempt| attempt.failures > 0);
        let waits_for_dns = self.wanted.get(host) == Some(&Proof::Visit);
        let dns = self.dns.get(host).filter(|answer| waits_for_dns && is_due && !answer.leads_here);
        match (failed, dns) {
            // Whatever the CA said before, now DNS is in the way.
            (_, Some(answer)) => Effort::WaitingDns { said: answer.said.clone(), next_ask: Some(answer.next_ask()) },
            (Some(attempt), None) => Effort::Failed {
                complaint: attempt.complaint.clone().unwrap_or_default(),
                failed_at: attempt.tried_at,
                next_try: attempt.next_at.max(self.quiet_until),
            },
            // Nobody is asked while the CA has troubles.
            (None, None) if is_due && now < self.quiet_until => Effort::Queued,
            (None, None) if is_due && waits_for_dns && !self.dns.contains_key(host) => {
                Effort::WaitingDns { said: "DNS is being asked".to_owned(), next_ask: None }
            }
            (None, None) if is_due => Effort::Queued,
            (None, None) => Effort::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::certificate_plan::DnsAnswer;
    use super::super::renewal::{Attempt, Cause, KnownCertificate, Refused};
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    fn at(days: u32) -> Moment {
        Moment::default().plus(DAY * days)
    }

    fn host() -> CertificateHost {
        "www.example.com".parse().unwrap()
    }

    fn wanting() -> CertificateSituation {
        CertificateSituation { wanted: [(host(), Proof::Visit)].into(), ..Default::default() }
    }

    fn failed(now: Moment) -> Attempt {
        let complaint = "the CA's own words".to_owned();
        Attempt::fail(None, &host(), &Refused { complaint, cause: Cause::Host, retry_after: None }, now)
    }

    #[test]
    fn a_host_goes_from_waiting_to_issuing_to_live() {
        let mut situation = wanting();
        let word = |situation: &CertificateSituation| situation.state_of(&host(), None, at(100)).word();
        assert_eq!(word(&situation), "Waiting DNS");
        let answer = DnsAnswer { leads_here: true, said: String::new(), asked_at: at(100), waiting_since: at(100) };
        situation.dns.insert(host(), answer);
        assert_eq!(word(&situation), "Waiting");
        situation.under_way.insert(host(), at(100));
        assert_eq!(word(&situation), "Issuing");
        situation.under_way.clear();
        situation.attempts.insert(host(), failed(at(100)));
        let state = situation.state_of(&host(), None, at(100));
        assert_eq!(state.word(), "Failed");
        assert!(matches!(state.effort, Effort::Failed { complaint, .. } if complaint == "the CA's own words"));
    }

    #[test]
    fn a_failed_renewal_is_told_beside_what_is_live() {
        let mut situation = wanting();
        let known =
            KnownCertificate { source: CertificateSource::Acme, not_before: at(0), not_after: at(90), added_at: at(0) };
        situation.certificates.insert(host(), known);
        assert_eq!(situation.state_of(&host(), None, at(1)).effort, Effort::None);
        situation.attempts.insert(host(), failed(at(70)));
        let state = situation.state_of(&host(), None, at(70));
        assert_eq!((state.word(), state.live.unwrap().ends_at), ("Live", at(90)));
        assert!(matches!(state.effort, Effort::Failed { .. }));
        // Over: it is live no longer, and why is still told.
        assert_eq!(situation.state_of(&host(), None, at(91)).word(), "Failed");
        // Nobody asks a CA any more: what is live is told all the same, without a promise.
        let state = situation.state_of(&host(), Some("off"), at(80));
        assert_eq!((state.word(), state.live.unwrap().renews_at), ("Live", None));
        assert_eq!(situation.state_of(&host(), Some("off"), at(91)).effort, Effort::Off { reason: "off" });
    }

    #[test]
    fn an_uploaded_one_that_ended_is_said_to_have() {
        let mut situation = wanting();
        let known = KnownCertificate {
            source: CertificateSource::Uploaded,
            not_before: at(0),
            not_after: at(90),
            added_at: at(0),
        };
        situation.certificates.insert(host(), known);
        assert_eq!(situation.state_of(&host(), None, at(89)).word(), "Live");
        assert_eq!(situation.state_of(&host(), None, at(90)).word(), "Ended");
    }
}
