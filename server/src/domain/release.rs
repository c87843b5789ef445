//! An app, and its releases: immutable sets of image, config and process types.
use super::{
    AppId, AppKey, AppName, BuildId, ImageId, Jobs, Makeup, Moment, Oid, ProcessType, ReleaseNo, Rollout, Secret,
    VarName,
};
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
    /// `apps:destroy` was said: it is on its way out, and nothing stops that.
    pub destroying: bool,
    pub created_at: Moment,
}

/// Digits of a digest that people are shown.
const DIGEST_DIGITS: usize = 12;

/// PORT of an app that says nothing else.
const PORT: u16 = 5000;

/// The port of a release: the config var PORT if it is set, else the one TCP port that the image exposes, else 5000.
pub fn port(config: &Config, exposed: &[u16]) -> Result<u16, PortError> {
    let set = config.iter().find(|(name, _)| name.as_str() == "PORT");
    match (set, exposed) {
        (Some((_, value)), _) => value.reveal().parse().ok().filter(|port| *port > 0).ok_or(PortError),
        (None, [port]) => Ok(*port),
        (None, _) => Ok(PORT),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("config var PORT is no port number; run `paas config:set PORT=5000`")]
pub struct PortError;

/// The name of an image that was built elsewhere, with the first digits of its digest.
pub fn short_source(source: &str) -> String {
    match source.split_once("@sha256:") {
        Some((name, digest)) => format!("{name}@sha256:{}", digest.get(..DIGEST_DIGITS).unwrap_or(digest)),
        None => source.to_owned(),
    }
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
    /// An image that was built elsewhere.
    Image,
}

#[derive(Clone)]
pub struct Release {
    pub app: AppId,
    pub no: ReleaseNo,
    pub origin: Origin,
    pub image: ImageId,
    /// Zero where no push stands behind the image.
    pub commit: Oid,
    /// The image that its own was made of, where that was built elsewhere: the name, pinned by its digest.
    pub source: Option<String>,
    pub processes: BTreeMap<ProcessType, Command>,
    /// The port that web instances are expected to listen on, and PORT's value.
    pub port: u16,
    pub config: Config,
    pub description: String,
    pub created_by: String,
    pub created_at: Moment,
    pub rollout: Rollout,
    pub jobs: Jobs,
    pub makeup: Makeup,
    /// When its release command succeeded.
    pub command_done_at: Option<Moment>,
}

impl Release {
    /// What runs once before its first instance starts. Who goes back runs nothing: the world is as the newer release
    /// left it, and undoing that is nobody's command.
    pub fn command(&self) -> Option<&str> {
        match self.origin {
            Origin::Push { .. } | Origin::Config { .. } | Origin::Retry { .. } => self.jobs.release_command.as_deref(),
            Origin::Rollback { .. } | Origin::Image => None,
        }
    }

    /// The build whose transcript also tells this release's rollout.
    pub fn build(&self) -> Option<BuildId> {
        match self.origin {
            Origin::Push { build } => Some(build),
            Origin::Config { .. } | Origin::Rollback { .. } | Origin::Retry { .. } | Origin::Image => None,
        }
    }

    /// What its image was made of, in short: a commit, or an image that was built elsewhere.
    pub fn made_of(&self) -> String {
        self.source.as_deref().map_or_else(|| self.commit.short().to_owned(), short_source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_config_var_wins_over_the_image_and_the_image_over_the_default() {
        let set = |value: &str| Config::from([("PORT".parse().unwrap(), Secret::new(value.to_owned()))]);
        assert_eq!(port(&set("7777"), &[8080]), Ok(7777));
        assert_eq!(port(&Config::new(), &[8080]), Ok(8080));
        assert_eq!(port(&Config::new(), &[8080, 8081]), Ok(5000));
        for bad in ["", "0", "65536", "http"] {
            assert_eq!(port(&set(bad), &[]), Err(PortError), "{bad}");
        }
    }
}
