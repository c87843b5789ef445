//! How the guard fares: a file that it writes after every look, and that the server's doctor reads.
use super::shared_file::replace;
use anyhow::Context;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Three looks missed: it is gone or hangs.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// Its times are seconds since the machine's start: the wall clock may be stepped, and two processes must agree.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Report {
    uptime_seconds: f64,
    firewall: Option<String>,
    builds: Option<String>,
}

/// What the server knows of the guard.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Health {
    Keeps,
    /// It looked lately, and something is wrong.
    Fails(String),
    /// It never ran here, or no longer does.
    Silent,
}

impl Report {
    pub(super) fn new(firewall: anyhow::Result<()>, builds: anyhow::Result<()>) -> Self {
        let words = |outcome: anyhow::Result<()>| outcome.err().map(|error| format!("{error:#}"));
        Self { uptime_seconds: uptime_seconds().unwrap_or_default(), firewall: words(firewall), builds: words(builds) }
    }

    pub(super) fn complaint(&self) -> Option<String> {
        let parts = [("the firewall", &self.firewall), ("the limits of builds", &self.builds)];
        let told: Vec<String> =
            parts.into_iter().filter_map(|(what, error)| Some(format!("{what}: {}", error.as_ref()?))).collect();
        (!told.is_empty()).then(|| told.join("; "))
    }

    pub(super) fn write(&self, guard_dir: &Path) -> anyhow::Result<()> {
        replace(&path(guard_dir), self).context("report to the server")
    }
}

/// How the guard of this folder fares.
pub(super) fn health(guard_dir: &Path) -> Health {
    let report = std::fs::read(path(guard_dir)).ok().and_then(|text| serde_json::from_slice::<Report>(&text).ok());
    match (report, uptime_seconds()) {
        (Some(report), Some(now)) => judge(&report, now),
        (Some(_), None) | (None, _) => Health::Silent,
    }
}

fn judge(report: &Report, now: f64) -> Health {
    // A report from before a reboot is from the future.
    let is_fresh = (-1.0..=SILENCE_MAX.as_secs_f64()).contains(&(now - report.uptime_seconds));
    match report.complaint() {
        _ if !is_fresh => Health::Silent,
        Some(complaint) => Health::Fails(complaint),
        None => Health::Keeps,
    }
}

fn uptime_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/uptime").ok()?;
    text.split_ascii_whitespace().next()?.parse().ok()
}

fn path(guard_dir: &Path) -> PathBuf {
    guard_dir.join("guard/report.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_report_counts_and_an_old_one_does_not() {
        let report = |firewall: Option<&str>| Report {
            uptime_seconds: 100.0,
            firewall: firewall.map(str::to_owned),
            builds: None,
        };
        assert_eq!(judge(&report(None), 110.0), Health::Keeps);
        assert_eq!(judge(&report(None), 116.0), Health::Silent);
        assert_eq!(judge(&report(None), 5.0), Health::Silent);
        assert_eq!(judge(&report(Some("no nft")), 101.0), Health::Fails("the firewall: no nft".to_owned()));
    }

    #[test]
    fn what_the_guard_writes_the_server_reads() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(health(dir.path()), Health::Silent);
        Report::new(Ok(()), Ok(())).write(dir.path()).unwrap();
        assert_eq!(health(dir.path()), Health::Keeps);
        Report::new(Ok(()), Err(anyhow::anyhow!("read-only"))).write(dir.path()).unwrap();
        assert_eq!(health(dir.path()), Health::Fails("the limits of builds: read-only".to_owned()));
    }
}
