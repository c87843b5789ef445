//! A certificate that somebody asks for by hand: when that is granted, and who hears how it ended.
use crate::domain::certificate::CertificateSource;
use crate::domain::certificate_plan::CertificateSituation;
use crate::domain::moment::ago;
use crate::domain::{CertificateHost, Hostname, Moment};
use std::time::Duration;
use tokio::sync::oneshot;

pub(super) const QUEUE_WISHES: usize = 16;
/// How often the CA is asked by hand for one host: after a failure, and after a success.
const AFTER_FAILURE: Duration = Duration::from_mins(1);
const AFTER_SUCCESS: Duration = Duration::from_hours(1);

pub(super) struct Wish {
    pub(super) host: Hostname,
    pub(super) answer: Waiting,
}

pub(super) type Waiting = oneshot::Sender<Result<(), Refusal>>;

/// Why there is no new certificate, in a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(String);

impl Refusal {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl Wish {
    pub(super) fn new(host: Hostname) -> (Self, oneshot::Receiver<Result<(), Refusal>>) {
        let (answer, heard) = oneshot::channel();
        (Self { host, answer }, heard)
    }
}

/// Which certificate a wish is about: the host's own or the wildcard that stands for it. Bounded, so that no hand uses up
/// what the CA allows.
pub(super) fn grant(
    host: &Hostname,
    situation: &CertificateSituation,
    now: Moment,
) -> Result<CertificateHost, Refusal> {
    let above = host.as_str().split_once('.').and_then(|(_, above)| above.parse().ok()).map(CertificateHost::Below);
    let own = CertificateHost::Exact(host.clone());
    let mut candidates = std::iter::once(own).chain(above);
    let Some(host) = candidates.find(|candidate| situation.wanted.contains_key(candidate)) else {
        return Err(Refusal::new(format!("{host} is no host of an app, or none that a CA could know")));
    };
    if situation.certificates.get(&host).is_some_and(|known| known.source == CertificateSource::Uploaded) {
        return Err(Refusal::new(format!("the certificate of {host} was uploaded; a CA's never replaces it")));
    }
    if situation.under_way.contains_key(&host) {
        return Ok(host);
    }
    let Some(attempt) = situation.attempts.get(&host) else { return Ok(host) };
    if let Some(until) = attempt.barred_until.filter(|until| *until > now) {
        let said = attempt.complaint.as_deref().unwrap_or("without a word");
        let span = ago(until.since(now));
        return Err(Refusal::new(format!("the CA wants not to be asked for {host} for another {span}: {said}")));
    }
    let pause = if attempt.failures > 0 { AFTER_FAILURE } else { AFTER_SUCCESS };
    let since = now.since(attempt.tried_at);
    if since < pause {
        let left = ago(pause.saturating_sub(since));
        return Err(Refusal::new(format!("the CA was asked for {host} {} ago; wait {left}", ago(since))));
    }
    Ok(host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::certificate_plan::Proof;
    use crate::domain::renewal::{Attempt, Cause, KnownCertificate, Refused};

    fn situation() -> CertificateSituation {
        let wanted = [("www.example.com", Proof::Visit), ("*.apps.example.com", Proof::Record)];
        CertificateSituation {
            wanted: wanted.into_iter().map(|(host, proof)| (host.parse().unwrap(), proof)).collect(),
            ..CertificateSituation::default()
        }
    }

    fn ask(host: &str, situation: &CertificateSituation, now: Moment) -> Result<String, String> {
        let granted = grant(&host.parse().unwrap(), situation, now);
        granted.map(|host| host.to_string()).map_err(|refusal| refusal.to_string())
    }

    fn attempt(cause: Cause) -> Attempt {
        let refused = Refused { complaint: "too many".to_owned(), cause, retry_after: None };
        Attempt::fail(None, &"www.example.com".parse().unwrap(), &refused, Moment::default())
    }

    #[test]
    fn a_host_or_the_wildcard_above_it_is_granted() {
        assert_eq!(ask("www.example.com", &situation(), Moment::default()).unwrap(), "www.example.com");
        assert_eq!(ask("blog.apps.example.com", &situation(), Moment::default()).unwrap(), "*.apps.example.com");
        assert!(ask("other.example.com", &situation(), Moment::default()).is_err());
    }

    #[test]
    fn hands_are_bounded() {
        let (mut situation, minute) = (situation(), Moment::default().plus(AFTER_FAILURE));
        situation.attempts.insert("www.example.com".parse().unwrap(), attempt(Cause::Host));
        assert!(ask("www.example.com", &situation, Moment::default()).unwrap_err().contains("wait 1 min"));
        assert!(ask("www.example.com", &situation, minute).is_ok());
        situation.attempts.insert("www.example.com".parse().unwrap(), Attempt::succeed(Moment::default()));
        assert!(ask("www.example.com", &situation, minute).is_err());
        assert!(ask("www.example.com", &situation, Moment::default().plus(AFTER_SUCCESS)).is_ok());
        situation.attempts.insert("www.example.com".parse().unwrap(), attempt(Cause::RateLimit));
        assert!(ask("www.example.com", &situation, minute).unwrap_err().contains("too many"));
        // Who asks while it is asked for already hears the same.
        situation.under_way.insert("www.example.com".parse().unwrap(), Moment::default());
        assert!(ask("www.example.com", &situation, minute).is_ok());
    }

    #[test]
    fn an_uploaded_certificate_is_not_replaced() {
        let mut situation = situation();
        let known = KnownCertificate {
            source: CertificateSource::Uploaded,
            not_before: Moment::default(),
            not_after: Moment::default().plus(AFTER_SUCCESS),
            added_at: Moment::default(),
        };
        situation.certificates.insert("www.example.com".parse().unwrap(), known);
        assert!(ask("www.example.com", &situation, Moment::default()).unwrap_err().contains("uploaded"));
    }
}
