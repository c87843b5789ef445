//! One backup a day by itself. A night that was missed is made up for; one that failed is tried again in an hour.
use super::{Backups, Entry};
use crate::domain::Moment;
use std::time::Duration;

/// How often the clock is looked at: a clock that was set is noticed in time.
const LOOK_EVERY: Duration = Duration::from_mins(1);
const RETRY: Duration = Duration::from_hours(1);
/// Without a good backup for this long, something is wrong.
const STALE: Duration = Duration::from_hours(50);
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
const MINUTE_MS: i64 = 60 * 1000;
/// Whom a nightly backup is made by.
const MADE_BY: &str = "nightly";

pub(super) async fn run(backups: Backups, minute: u16) {
    let stop = backups.0.tools.stop.clone();
    let since = backups.0.tools.clock.now();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let now = backups.0.tools.clock.now();
        match backups.list().await {
            Ok(entries) if is_due(&entries, minute, since, now) => {
                // A failure is in the list, in the log and with the doctor.
                let _ = backups.create(MADE_BY, true).await;
            }
            Ok(_) => {}
            Err(error) => tracing::warn!("cannot look at the backups: {error:#}"),
        }
    }
}

/// Whether the newest night's backup is still to be made. Without any backup so far, the first night after `since` counts.
fn is_due(entries: &[Entry], minute: u16, since: Moment, now: Moment) -> bool {
    let night = last_night(minute, now);
    let attempts = || entries.iter().filter(|entry| entry.nightly);
    let is_done = attempts().any(|entry| entry.failure.is_none() && entry.made_at.is_some_and(|at| at >= night));
    let tried = attempts().filter_map(|entry| entry.made_at).max();
    let has_waited = tried.is_none_or(|at| now.since(at) >= RETRY || at > now);
    let is_first_night_over = tried.is_some() || night >= since;
    !is_done && has_waited && is_first_night_over
}

/// The last moment at which a nightly backup was due.
fn last_night(minute: u16, now: Moment) -> Moment {
    let offset = i64::from(minute) * MINUTE_MS;
    Moment::from_unix_ms((now.unix_ms() - offset).div_euclid(DAY_MS) * DAY_MS + offset)
}

/// What is wrong: the newest night failed, or there is no good backup for two days.
pub(super) fn complaint(entries: &[Entry], minute: u16, now: Moment) -> Option<String> {
    let nightly = entries.iter().find(|entry| entry.nightly)?;
    let night = last_night(minute, now);
    if let Some(failure) = &nightly.failure
        && !entries.iter().any(|entry| entry.failure.is_none() && entry.made_at.is_some_and(|at| at >= night))
    {
        return Some(format!("the nightly backup {} failed: {failure}; try `paas backups:create`", nightly.name));
    }
    let good = entries.iter().filter(|entry| entry.failure.is_none()).filter_map(|entry| entry.made_at).max();
    let is_stale = good.is_none_or(|at| now.since(at) > STALE);
    is_stale.then(|| "there is no good backup of the last two days; try `paas backups:create`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u16 = 190;

    fn at(day: i64, minute: i64) -> Moment {
        Moment::from_unix_ms(day * DAY_MS + minute * MINUTE_MS)
    }

    fn entry(made_at: Moment, failure: Option<&str>) -> Entry {
        Entry {
            name: super::super::BackupName::at(made_at, true),
            made_at: Some(made_at),
            made_by: MADE_BY.to_owned(),
            nightly: true,
            cipher: "passphrase".to_owned(),
            size_bytes: None,
            sha256: None,
            verified_at: None,
            failure: failure.map(str::to_owned),
        }
    }

    #[test]
    fn one_a_night_and_a_missed_one_is_made_up_for() {
        let since = at(10, 200);
        assert!(!is_due(&[], MINUTE, since, at(10, 300)), "its first night is still to come");
        assert!(!is_due(&[], MINUTE, since, at(11, 189)));
        assert!(is_due(&[], MINUTE, since, at(11, 190)));
        let made = [entry(at(11, 190), None)];
        assert!(!is_due(&made, MINUTE, since, at(11, 191)));
        assert!(!is_due(&made, MINUTE, since, at(12, 189)));
        assert!(is_due(&made, MINUTE, since, at(12, 190)));
        // Two days later, after the machine was off, by a server that has just started.
        assert!(is_due(&made, MINUTE, at(13, 800), at(13, 801)));
        // The clock was set back: what was made in what is now the future is no reason to wait for it.
        assert!(!is_due(&made, MINUTE, since, at(9, 190)));
    }

    #[test]
    fn one_that_failed_is_tried_again_in_an_hour_and_complained_about() {
        let failed = [entry(at(11, 190), Some("no space"))];
        assert!(!is_due(&failed, MINUTE, at(10, 0), at(11, 249)));
        assert!(is_due(&failed, MINUTE, at(10, 0), at(11, 250)));
        assert!(complaint(&failed, MINUTE, at(11, 200)).unwrap().contains("no space"));
        let mended = [entry(at(11, 250), None), entry(at(11, 190), Some("no space"))];
        assert_eq!(complaint(&mended, MINUTE, at(11, 260)), None);
        assert!(complaint(&mended, MINUTE, at(14, 260)).unwrap().contains("two days"));
        assert_eq!(complaint(&[], MINUTE, at(11, 200)), None);
    }
}
