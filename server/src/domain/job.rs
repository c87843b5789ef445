//! What of a release runs once: its release command before its first instance, and its cron table by the clock.
use super::cron::CronExpr;
use super::failure::Exit;
use super::instance::Slot;
use super::name::NameError;
use super::{Moment, ProcessType, ReleaseNo};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How long one run of a cron entry may take.
pub const RUN_LIMIT: Duration = Duration::from_hours(1);
/// How long a release command may take.
pub const RELEASE_COMMAND_LIMIT: Duration = Duration::from_mins(10);
/// A run that was missed is made up for when it is less late than this.
pub const LATE_MAX: Duration = Duration::from_hours(1);

/// Part of a release, and as immutable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jobs {
    /// Runs as Procfile lines do.
    #[serde(default)]
    pub release_command: Option<String>,
    #[serde(default)]
    pub cron: Vec<CronEntry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CronEntry {
    pub command: String,
    pub schedule: CronExpr,
}

/// The kinds of one-off instances that these are.
pub fn cron_kind() -> Result<ProcessType, NameError> {
    "cron".parse()
}

/// The one-off instance that runs a release's command: `release.7`.
pub fn release_slot(no: ReleaseNo) -> Result<Slot, NameError> {
    Ok(Slot { process: "release".parse()?, index: no.0 })
}

/// Number of a run of any entry within its app; its instance is `cron.12`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunNo(pub u32);

impl RunNo {
    pub fn slot(self) -> Result<Slot, NameError> {
        Ok(Slot { process: cron_kind()?, index: self.0 })
    }
}

impl fmt::Display for RunNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cron.{}", self.0)
    }
}

impl FromStr for RunNo {
    type Err = String;

    /// Accepts `cron.12` and `12`.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("cron.").unwrap_or(text).parse::<u32>() {
            Ok(no) if no > 0 => Ok(Self(no)),
            _ => Err(format!("`{text}` is no run; runs are cron.1, cron.2 … as `paas cron:history` lists them")),
        }
    }
}

/// Why it ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "by")]
pub enum Trigger {
    Schedule { due: Moment },
    Person { who: String },
}

impl Trigger {
    pub fn due(&self) -> Option<Moment> {
        match self {
            Self::Schedule { due } => Some(*due),
            Self::Person { .. } => None,
        }
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Schedule { .. } => f.write_str("schedule"),
            Self::Person { who } => f.write_str(who),
        }
    }
}

/// How a run fares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum RunState {
    Running,
    Ended {
        at: Moment,
        exit: Exit,
    },
    TimedOut {
        at: Moment,
        limit_secs: u64,
    },
    NotStarted {
        reason: String,
    },
    /// It was due while the one before still ran.
    Skipped {
        because: RunNo,
    },
    /// It is not known how it ended.
    Interrupted {
        at: Moment,
        reason: String,
    },
}

impl RunState {
    pub fn word(&self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Ended { exit: Exit::Status(0), .. } => "succeeded",
            Self::Ended { .. } | Self::TimedOut { .. } | Self::NotStarted { .. } => "failed",
            Self::Skipped { .. } => "skipped",
            Self::Interrupted { .. } => "interrupted",
        }
    }

    pub fn ended_at(&self) -> Option<Moment> {
        match self {
            Self::Ended { at, .. } | Self::TimedOut { at, .. } | Self::Interrupted { at, .. } => Some(*at),
            Self::Running | Self::NotStarted { .. } | Self::Skipped { .. } => None,
        }
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running => f.write_str("running"),
            Self::Ended { exit, .. } => write!(f, "{exit}"),
            Self::TimedOut { limit_secs, .. } => write!(f, "was ended after its limit of {} min", limit_secs / 60),
            Self::NotStarted { reason } => write!(f, "not started: {reason}"),
            Self::Skipped { because } => write!(f, "skipped: {because} was still running"),
            Self::Interrupted { reason, .. } => write!(f, "interrupted: {reason}"),
        }
    }
}

/// One run of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronRun {
    pub no: RunNo,
    pub release: ReleaseNo,
    pub command: String,
    pub trigger: Trigger,
    pub started_at: Moment,
    pub state: RunState,
}
