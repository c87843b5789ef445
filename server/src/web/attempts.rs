//! Limits how often an address may try to log in: a link's token cannot be guessed, and nobody shall keep trying.
use crate::domain::Moment;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Failed logins of one address in [`SPAN`] before it has to wait.
const FAILURES_MAX: u32 = 20;
const SPAN: Duration = Duration::from_mins(1);
/// Addresses remembered.
const ADDRESSES_MAX: usize = 10_000;

#[derive(Default)]
pub(super) struct Attempts(Mutex<HashMap<IpAddr, (Moment, u32)>>);

impl Attempts {
    /// How long the address has to wait before it may try again, if it has to.
    pub(super) fn wait(&self, peer: IpAddr, now: Moment) -> Option<Duration> {
        let failed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, count) = failed.get(&peer)?;
        let gone = now.since(*since);
        (*count >= FAILURES_MAX && gone < SPAN).then(|| SPAN.saturating_sub(gone))
    }

    pub(super) fn note_failure(&self, peer: IpAddr, now: Moment) {
        let mut failed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failed.retain(|_, (since, _)| now.since(*since) < SPAN);
        if failed.len() < ADDRESSES_MAX {
            failed.entry(peer).or_insert((now, 0)).1 += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fails_too_often_waits_a_minute() {
        let (attempts, now) = (Attempts::default(), Moment::from_unix_ms(1000));
        let (one, other) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        for _ in 0..FAILURES_MAX {
            assert_eq!(attempts.wait(one, now), None);
            attempts.note_failure(one, now);
        }
        assert_eq!(attempts.wait(one, now), Some(SPAN));
        assert_eq!(attempts.wait(other, now), None);
        assert_eq!(attempts.wait(one, now.plus(SPAN)), None);
    }
}
