//! Why something failed, as data: the same sentence and the same advice reach the pusher, the pages and the audit log.
use super::limits::Memory;
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
        /// What its last lines mean, and the way out.
        #[serde(default)]
        advice: Option<String>,
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
    OutOfMemory {
        process: String,
        limit_bytes: u64,
    },
    Unhealthy {
        process: String,
        path: String,
        status: u16,
    },
    Overtaken {
        by: String,
    },
    /// The release command ended otherwise than by success.
    ReleaseCommand {
        exit: Exit,
    },
    ReleaseCommandTimedOut {
        limit_secs: u64,
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
            Self::Crashed { exit: Exit::Status(126), .. } | Self::ReleaseCommand { exit: Exit::Status(126) } => {
                "126 means not executable: commit the file with `git update-index --chmod=+x FILE`".to_owned()
            }
            Self::Crashed { exit: Exit::OutOfMemory, .. } => {
                "it needs more than its memory limit; `paas ps:limits` shows and changes it".to_owned()
            }
            Self::Crashed { exit: Exit::OverDisk { .. } | Exit::FilledDisk, .. } => {
                "what an instance writes is lost with it anyway: keep less, or keep it elsewhere; the server's setting \
                 `instance_disk_max` is the limit"
                    .to_owned()
            }
            Self::NoRoom { .. } => "run `paas server:status`; then remove what is not needed, or add disk".to_owned(),
            Self::OutOfMemory { process, limit_bytes } => out_of_memory_advice(process, *limit_bytes),
            Self::Crashed { .. } => "the last lines above are what it said; `paas logs` has all of them".to_owned(),
            Self::Unhealthy { path, status: 500.., .. } => {
                format!("make GET {path} answer with 2xx; `paas checks:set` names another path")
            }
            // Only a declared path is refused for less than a server error.
            Self::Unhealthy { path, .. } => format!(
                "make GET {path} answer with 2xx, or redirect to the same host; `paas checks:set` names another path"
            ),
            Self::StaleRef => "run `git pull` (or `git fetch` and look), then push again".to_owned(),
            Self::Superseded { .. } => "the newer push carries on; nothing to do".to_owned(),
            Self::Interrupted => "push again, or run `paas releases:retry`".to_owned(),
            Self::BuildTimedOut { .. } => {
                "look at the last step above: does it wait for input or for the network?".to_owned()
            }
            Self::ReleaseCommand { exit: Exit::Status(127) } => {
                "127 means command not found: check the Procfile's `release:` line and the image's PATH".to_owned()
            }
            Self::ReleaseCommand { exit: Exit::OutOfMemory } => {
                "it needs more than its memory limit; `paas ps:limits release memory=1G` raises it".to_owned()
            }
            Self::ReleaseCommand { .. } => {
                "its lines above say why; mend it and push again, or run `paas releases:retry`".to_owned()
            }
            Self::ReleaseCommandTimedOut { .. } => {
                "what takes longer belongs into `paas run -d`; does it wait for input or for a lock?".to_owned()
            }
            Self::Platform { .. } => "run `paas server:doctor`".to_owned(),
            Self::BuildStep { advice, .. } => return advice.clone(),
            Self::Plan { .. } | Self::BuildFlood { .. } | Self::Cancelled { .. } | Self::Overtaken { .. } => {
                return None;
            }
        };
        Some(text)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plan { reason } | Self::Platform { reason } => f.write_str(reason),
            Self::BuildStep { step, reason, .. } => write!(f, "build step `{step}` failed: {reason}"),
            Self::BuildTimedOut { limit_secs } if limit_secs % 60 == 0 => {
                write!(f, "build was stopped after its limit of {} min", limit_secs / 60)
            }
            Self::BuildTimedOut { limit_secs } => write!(f, "build was stopped after its limit of {limit_secs} s"),
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
            Self::OutOfMemory { process, .. } => write!(f, "{process} {} before it was ready", Exit::OutOfMemory),
            Self::Unhealthy { process, path, status } => write!(f, "{process} answered {status} to GET {path}"),
            Self::Overtaken { by } => write!(f, "overtaken by {by}"),
            Self::ReleaseCommand { exit } => write!(f, "the release command {exit}"),
            Self::ReleaseCommandTimedOut { limit_secs } => {
                write!(f, "the release command was ended after its limit of {} min", limit_secs / 60)
            }
            Self::NoRoom { place, needed_bytes, free_bytes, largest } => {
                write!(f, "needs {} free on {place}, {} are", Size(*needed_bytes), Size(*free_bytes))?;
                if largest.is_empty() { Ok(()) } else { write!(f, "; largest: {}", largest.join(", ")) }
            }
        }
    }
}

fn out_of_memory_advice(process: &str, limit_bytes: u64) -> String {
    let limit = Memory::from_bytes(limit_bytes).map_or_else(|| format!("{limit_bytes} bytes"), |it| it.to_string());
    let kind = process.split('.').next().unwrap_or(process);
    format!(
        "it needs more than its memory limit of {limit}; `paas ps:limits {kind} memory={}M` doubles it",
        limit_bytes >> 19
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advice_names_the_limit_and_the_path_that_hold_for_the_app() {
        let failure = Failure::OutOfMemory { process: "worker.2".to_owned(), limit_bytes: 64 << 20 };
        assert_eq!(failure.to_string(), "worker.2 ran out of memory before it was ready");
        let advice = failure.advice().unwrap();
        assert!(advice.contains("64 MiB") && advice.contains("ps:limits worker memory=128M"), "{advice}");
        let unhealthy = |status| Failure::Unhealthy { process: "web.1".to_owned(), path: "/up".to_owned(), status };
        assert_eq!(unhealthy(404).to_string(), "web.1 answered 404 to GET /up");
        assert!(unhealthy(404).advice().unwrap().contains("GET /up answer with 2xx, or redirect"));
        assert!(unhealthy(503).advice().unwrap().contains("GET /up answer with 2xx"));
    }
}
