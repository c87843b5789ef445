//! An app, and its releases: immutable sets of image, config and process types.
use super::{AppId, AppKey, AppName, BuildId, ImageId, Moment, Oid, ProcessType, ReleaseNo, Rollout, Secret, VarName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Config vars of an app or of a release.
pub type Config = BTreeMap<VarName, Secret<String>>;
/// How many instances of each process type are wanted.
pub type Formation = BTreeMap<ProcessType, u16>;

#[derive(Clone, Debug)]
pub struct App {
    pub id: AppId,
    pub key: AppKey,
    pub name: AppName,
    /// The one branch whose pushes deploy; set by the first push that does not fail.
    pub deploy_branch: Option<String>,
    /// `ps:stop` was said and nothing has started the app since.
    pub stopped: bool,
    pub created_at: Moment,
}

/// How a process is started inside its image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// `sh -c 'exec LINE'` inside the image, so that `$PORT` expands.
    Shell(String),
    /// The image's own entrypoint and command.
    ImageDefault,
}

/// Where a release comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "origin")]
pub enum Origin {
    Push {
        build: BuildId,
    },
    /// Names of the config vars that changed.
    Config {
        changed: Vec<VarName>,
    },
    Rollback {
        to: ReleaseNo,
    },
    Retry {
        of: ReleaseNo,
    },
}

#[derive(Clone)]
pub struct Release {
    pub app: AppId,
    pub no: ReleaseNo,
    pub origin: Origin,
    pub image: ImageId,
    pub commit: Oid,
    pub processes: BTreeMap<ProcessType, Command>,
    /// The port that web instances are expected to listen on, and PORT's value.
    pub port: u16,
    pub config: Config,
    pub description: String,
    pub created_by: String,
    pub created_at: Moment,
    pub rollout: Rollout,
}

impl Release {
    /// The build whose transcript also tells this release's rollout.
    pub fn build(&self) -> Option<BuildId> {
        match self.origin {
            Origin::Push { build } => Some(build),
            Origin::Config { .. } | Origin::Rollback { .. } | Origin::Retry { .. } => None,
        }
    }
}
