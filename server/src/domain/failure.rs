//! Why something failed, as data: the same sentence and the same advice reach the pusher, the pages and the audit log.
use super::{Oid, Size};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    Status(i32),
    OutOfMemory,
    /// We ended it: it wrote more to its own disk than it may.
    OverDisk {
        limit_bytes: u64,
    },
    /// We ended it: the disk of all has too little room left, and it wrote the most.
    FilledDisk,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(code @ 129..=192) => write!(f, "was killed by signal {}", code - 128),
            Self::Status(code) => write!(f, "exited with status {code}"),
            Self::OutOfMemory => f.write_str("ran out of memory"),
            Self::OverDisk { limit_bytes } => {
                write!(f, "was stopped: it wrote more than {} to its own disk", Size(*limit_bytes))
            }
            Self::FilledDisk => f.write_str("was stopped: the server's disk is nearly full, and it wrote the most"),
        }
    }
}

/// What a look at an instance that does not answer found out about its sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Listening {
    Nowhere,
    LoopbackOnly {
        port: u16,
    },
    OtherPort {
        port: u16,
    },
    /// It accepts on the right port but answers no probe.
    Silent,
    /// The sockets could not be looked at.
    Unknown,
}

impl Listening {
    /// What was found, as the end of a sentence; `None` where nothing was.
    pub fn sentence(self) -> Option<String> {
        match self {
            Self::Nowhere => Some("it listens on no port".to_owned()),
            Self::LoopbackOnly { port } => Some(format!("it listens on 127.0.0.1:{port} only")),
            Self::OtherPort { port } => Some(format!("it listens on port {port}")),
            Self::Silent => Some("it accepts connections and answers none".to_owned()),
            Self::Unknown => None,
        }
    }
}

/// A failure of a build or a rollout, with its cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Failure {
    /// The tree cannot be built as it is: the planner's sentence.
    Plan {
        reason: String,
    },
    /// A build step failed: which, and its last words.
    BuildStep {
        step: String,
        reason: String,
    },
    BuildTimedOut {
        limit_secs: u64,
    },
    /// The build log grew past its limit.
    BuildFlood {
        limit_bytes: u64,
    },
    Superseded {
        by: Oid,
    },
    Cancelled {
        by: String,
    },
    Interrupted,
    StaleRef,
    Crashed {
        process: String,
        exit: Exit,
    },
    TimedOut {
        process: String,
        port: u16,
        limit_secs: u64,
        listening: Listening,
    },
    Unhealthy {
        process: String,
        path: String,
        status: u16,
    },
    Overtaken {
        by: String,
    },
    /// Too little room on a disk to begin.
    NoRoom {
        place: String,
        needed_bytes: u64,
        free_bytes: u64,
        largest: Vec<String>,
    },
    /// The world failed: engine, disk, database.
    Platform {
        reason: String,
    },
}

impl Failure {
    /// The next step for the person who reads the failure; `None` where the sentence says it all.
    pub fn advice(&self) -> Option<String> {
        let text = match self {
            Self::TimedOut { port, listening, .. } => match listening {
                Listening::OtherPort { port: seen } => {
                    format!("listen on $PORT (PORT is {port}), or run `paas config:set PORT={seen}`")
                }
                Listening::LoopbackOnly { .. } | Listening::Nowhere | Listening::Unknown => {
                    format!("bind 0.0.0.0:$PORT (PORT is {port})")
                }
                Listening::Silent => "does its start-up block?".to_owned(),
            },
            Self::Crashed { exit: Exit::Status(0), .. } => {
                "a process must keep running in the foreground; start the server itself, not a daemon".to_owned()
            }
            Self::Crashed { exit: Exit::Status(127), .. } => {
                "127 means command not found: check the Procfile line and the image's PATH".to_owned()
            }
            Self::Crashed { exit: Exit::Status(126), .. } => {
                "126 means not executable: commit the file with `git update-index --chmod=+x FILE`".to_owned()
            }
            Self::Crashed { exit: Exit::OutOfMemory, .. } => {
                "it needs more than its memory limit of 512 MiB".to_owned()
            }
            Self::Crashed { exit: Exit::OverDisk { .. } | Exit::FilledDisk, .. } => {
                "what an instance writes is lost with it anyway: keep less, or keep it elsewhere; the server's setting \
                 `instance_disk_max` is the limit"
                    .to_owned()
            }
            Self::NoRoom { .. } => "run `paas server:status`; then remove what is not needed, or add disk".to_owned(),
            Self::Crashed { .. } => "the last lines above are what it said; `paas logs` has all of them".to_owned(),
            Self::Unhealthy { path, .. } => format!("make GET {path} answer with a status below 500"),
            Self::StaleRef => "run `git pull` (or `git fetch` and look), then push again".to_owned(),
            Self::Superseded { .. } => "the newer push carries on; nothing to do".to_owned(),
            Self::Interrupted => "push again, or run `paas releases:retry`".to_owned(),
            Self::BuildTimedOut { .. } => {
                "look at the last step above: does it wait for input or for the network?".to_owned()
            }
            Self::Platform { .. } => "run `paas server:doctor`".to_owned(),
            Self::Plan { .. }
            | Self::BuildStep { .. }
            | Self::BuildFlood { .. }
            | Self::Cancelled { .. }
            | Self::Overtaken { .. } => return None,
        };
        Some(text)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plan { reason } | Self::Platform { reason } => f.write_str(reason),
            Self::BuildStep { step, reason } => write!(f, "build step `{step}` failed: {reason}"),
            Self::BuildTimedOut { limit_secs } => {
                write!(f, "build was stopped after its limit of {} min", limit_secs / 60)
            }
            Self::BuildFlood { limit_bytes } => {
                write!(f, "build was stopped: its log grew past {} MiB", limit_bytes >> 20)
            }
            Self::Superseded { by } => write!(f, "superseded by {}", by.short()),
            Self::Cancelled { by } => write!(f, "cancelled by {by}"),
            Self::Interrupted => f.write_str("interrupted: the server stopped meanwhile"),
            Self::StaleRef => f.write_str("the branch moved since you fetched: fetch first"),
            Self::Crashed { process, exit } => write!(f, "{process} {exit} before it was ready"),
            Self::TimedOut { process, port, limit_secs, listening } => {
                write!(f, "{process} did not answer on port {port} within {limit_secs} s")?;
                listening.sentence().map_or(Ok(()), |sentence| write!(f, ": {sentence}"))
            }
            Self::Unhealthy { process, path, status } => write!(f, "{process} answered {status} to GET {path}"),
            Self::Overtaken { by } => write!(f, "overtaken by {by}"),
            Self::NoRoom { place, needed_bytes, free_bytes, largest } => {
                write!(f, "needs {} free on {place}, {} are", Size(*needed_bytes), Size(*free_bytes))?;
                if largest.is_empty() { Ok(()) } else { write!(f, "; largest: {}", largest.join(", ")) }
            }
        }
    }
}
