//! When a certificate is renewed, and when a refused one is asked for again: pure arithmetic, the same on every run.
use super::certificate::{CertificateSource, StoredCertificate};
use super::{CertificateHost, Moment};
use sha2::{Digest, Sha256};
use std::time::Duration;

/// The first wait after a refusal; it doubles with each one that follows.
const RETRY_FIRST: Duration = Duration::from_mins(1);
/// A refused host is asked for at least this often.
const RETRY_MAX: Duration = Duration::from_hours(24);
/// A CA that limits us and does not say for how long: this long.
const LIMITED: Duration = Duration::from_hours(1);
/// The longest wait that a CA may ask for: whoever says more is mistaken, or has the time wrong.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(7 * 24);
/// The part of a life or a wait over which hosts are spread, so that what was made together does not come back together.
const SPREAD_PART: u32 = 24;
/// A certificate that is due as soon as it comes, from a CA with another clock, is not renewed again for this long.
const AGAIN_AFTER: Duration = Duration::from_hours(24);

/// A certificate that there is, without what is secret in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownCertificate {
    pub source: CertificateSource,
    pub not_before: Moment,
    pub not_after: Moment,
    pub added_at: Moment,
}

impl From<&StoredCertificate> for KnownCertificate {
    fn from(stored: &StoredCertificate) -> Self {
        let StoredCertificate { source, not_before, not_after, added_at, .. } = *stored;
        Self { source, not_before, not_after, added_at }
    }
}

impl KnownCertificate {
    pub fn is_over(&self, now: Moment) -> bool {
        now >= self.not_after
    }

    /// At two thirds of its life and up to a twenty-fourth of it later, by host.
    pub fn renewal(&self, host: &CertificateHost) -> Moment {
        let life = self.not_after.since(self.not_before);
        let due = self.not_before.plus(life / 3 * 2).plus(spread(host, life));
        due.max(self.added_at.plus(AGAIN_AFTER.min(life / 3)))
    }
}

/// What a CA was asked for a host, and how that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// In a row; none after one that succeeded.
    pub failures: u32,
    pub tried_at: Moment,
    /// Not asked again before, but by hand.
    pub next_at: Moment,
    /// Until when the CA itself wants not to be asked, by hand or not.
    pub barred_until: Option<Moment>,
    /// The CA's own words, or ours where it had none.
    pub complaint: Option<String>,
}

/// How a CA said no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub complaint: String,
    pub cause: Cause,
    /// `Retry-After`.
    pub retry_after: Option<Duration>,
}

/// Whose trouble it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// This host's alone.
    Host,
    /// The CA cannot be reached or has troubles of its own: other hosts will not fare better now.
    Authority,
    /// We asked for too much.
    RateLimit,
}

impl Attempt {
    /// How the attempt stands when it begins: as if it had failed, so that one that dies with us is none for free.
    pub fn begin(before: Option<&Self>, host: &CertificateHost, now: Moment) -> Self {
        let refused = Refused {
            complaint: "the server was stopped while the CA was asked".to_owned(),
            cause: Cause::Host,
            retry_after: None,
        };
        Self::fail(before, host, &refused, now)
    }

    pub fn fail(before: Option<&Self>, host: &CertificateHost, refused: &Refused, now: Moment) -> Self {
        let failures = before.map_or(0, |attempt| attempt.failures).saturating_add(1);
        let limited = match refused.cause {
            Cause::RateLimit => Some(refused.retry_after.unwrap_or(LIMITED)),
            Cause::Host | Cause::Authority => refused.retry_after,
        };
        let barred = limited.map(|span| now.plus(span.min(RETRY_AFTER_MAX)));
        let wait = backoff(failures);
        let next_at = now.plus(wait).plus(spread(host, wait));
        Self {
            failures,
            tried_at: now,
            next_at: barred.map_or(next_at, |barred| barred.max(next_at)),
            barred_until: barred,
            complaint: Some(refused.complaint.clone()),
        }
    }

    pub fn succeed(now: Moment) -> Self {
        Self { failures: 0, tried_at: now, next_at: now, barred_until: None, complaint: None }
    }
}

/// 1 min, 2 min, 4 min … 1 day.
fn backoff(failures: u32) -> Duration {
    RETRY_FIRST.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX)).min(RETRY_MAX)
}

/// A part of `span` that is the host's own, always the same.
fn spread(host: &CertificateHost, span: Duration) -> Duration {
    let digest = Sha256::digest(host.to_string().as_bytes());
    let share = u32::from(u16::from_be_bytes([digest[0], digest[1]]));
    span / SPREAD_PART * share / u32::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DAY: Duration = Duration::from_hours(24);

    fn host(text: &str) -> CertificateHost {
        text.parse().unwrap()
    }

    fn refused(cause: Cause, retry_after: Option<Duration>) -> Refused {
        Refused { complaint: "no".to_owned(), cause, retry_after }
    }

    fn lasting(days: u32, added_at: Moment) -> KnownCertificate {
        let not_before = Moment::default();
        let not_after = not_before.plus(DAY * days);
        KnownCertificate { source: CertificateSource::Acme, not_before, not_after, added_at }
    }

    #[test]
    fn a_certificate_of_ninety_days_is_renewed_after_sixty_and_hosts_are_spread() {
        let known = lasting(90, Moment::default());
        let days = |name: &str| known.renewal(&host(name)).since(Moment::default()).as_secs_f64() / 86_400.0;
        assert!((60.0..=63.75).contains(&days("a.example.com")));
        assert!((days("a.example.com") - days("b.example.com")).abs() > 0.01);
        assert!((days("a.example.com") - days("a.example.com")).abs() < f64::EPSILON);
    }

    #[test]
    fn one_that_is_due_when_it_comes_is_not_asked_for_again_at_once() {
        let now = Moment::default().plus(DAY * 80);
        assert!(lasting(90, now).renewal(&host("a.example.com")) >= now.plus(DAY));
    }

    #[test]
    fn refusals_are_waited_out_longer_and_longer_up_to_a_day() {
        let (host, now) = (host("a.example.com"), Moment::default());
        let (mut before, mut waits) = (None, Vec::new());
        for _ in 0..15 {
            let attempt = Attempt::fail(before.as_ref(), &host, &refused(Cause::Host, None), now);
            waits.push(attempt.next_at.since(now).as_secs() / 60);
            before = Some(attempt);
        }
        assert_eq!(waits[..4], [1, 2, 4, 8]);
        assert!(waits.is_sorted() && (24 * 60..=25 * 60).contains(waits.last().unwrap()), "{waits:?}");
        assert_eq!(Attempt::succeed(now).failures, 0);
    }

    #[test]
    fn what_the_ca_asks_for_is_granted_within_reason() {
        let (host, now) = (host("a.example.com"), Moment::default());
        let fail = |cause, span| Attempt::fail(None, &host, &refused(cause, span), now);
        let asked = fail(Cause::Host, Some(DAY * 2));
        assert_eq!((asked.next_at, asked.barred_until), (now.plus(DAY * 2), Some(now.plus(DAY * 2))));
        assert_eq!(fail(Cause::RateLimit, None).barred_until, Some(now.plus(LIMITED)));
        assert_eq!(fail(Cause::RateLimit, Some(DAY * 4000)).barred_until, Some(now.plus(RETRY_AFTER_MAX)));
        assert_eq!(fail(Cause::Authority, None).barred_until, None);
    }

    proptest! {
        #[test]
        fn a_renewal_lies_within_the_last_third(days in 2_u32..4000, name in "[a-z]{1,10}") {
            let known = lasting(days, Moment::default());
            let renewal = known.renewal(&host(&format!("{name}.example.com")));
            prop_assert!(renewal < known.not_after);
            let slack = Duration::from_millis(2);
            prop_assert!(renewal.since(known.not_before) + slack >= DAY * days / 3 * 2);
        }
    }
}
