//! A build: one act of making an image from a pushed tree.
use super::{AppId, BuildId, Failure, ImageId, Moment, Oid, Pusher, ReleaseNo, VarName};
use serde::{Deserialize, Serialize};

/// The branch update that a push asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefMove {
    /// Branch name without `refs/heads/`.
    pub branch: String,
    pub old: Oid,
    pub new: Oid,
}

#[derive(Clone, Debug)]
pub struct Build {
    pub id: BuildId,
    pub app: AppId,
    pub moves: RefMove,
    pub pusher: Pusher,
    pub queued_at: Moment,
    pub started_at: Option<Moment>,
    pub ended_at: Option<Moment>,
    pub state: BuildState,
}

/// The config vars that a build was given, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reads {
    pub names: Vec<String>,
    /// A step of it is given all there are: one that is set later is read too.
    pub everything: bool,
}

impl Reads {
    /// Whether a change of this config var makes the image stale.
    pub fn includes(&self, name: &VarName) -> bool {
        self.everything || self.names.iter().any(|read| read == name.as_str())
    }
}

/// What a build is at; `Released` and `Failed` are final.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum BuildState {
    Queued,
    Running,
    /// The image exists and a release was made of it; the rollout is the release's matter.
    Released {
        image: ImageId,
        release: ReleaseNo,
    },
    Failed {
        failure: Failure,
    },
}

impl BuildState {
    pub fn word(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Released { .. } => "released",
            Self::Failed { failure: Failure::Cancelled { .. } } => "cancelled",
            Self::Failed { failure: Failure::Superseded { .. } } => "superseded",
            Self::Failed { failure: Failure::Interrupted } => "interrupted",
            Self::Failed { .. } => "failed",
        }
    }

    pub fn is_over(&self) -> bool {
        matches!(self, Self::Released { .. } | Self::Failed { .. })
    }
}
