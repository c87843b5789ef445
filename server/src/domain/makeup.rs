//! What belongs to a release beside its image, processes and jobs: what made it, and how it is started and asked.
use super::health::Health;
use super::{ImageId, ProcessType};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Part of a release, and as immutable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Makeup {
    /// The program inside the image that starts its commands, where that is not the shell: what buildpacks left in
    /// `.profile.d` comes first there.
    #[serde(default)]
    pub starter: Option<String>,
    /// Of process types that do not run in the release's own image; `release` stands for its command.
    #[serde(default)]
    pub images: BTreeMap<ProcessType, ImageId>,
    /// What built it, in this order.
    #[serde(default)]
    pub buildpacks: Vec<UsedBuildpack>,
    /// How the app's own files say that its web instances are asked; what was set by a command wins.
    #[serde(default)]
    pub health: Health,
}

impl Makeup {
    /// The image that instances of a process type run in.
    pub fn image_of<'a>(&'a self, process: &ProcessType, image: &'a ImageId) -> &'a ImageId {
        self.images.get(process).unwrap_or(image)
    }
}

/// A buildpack, and what it was then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsedBuildpack {
    pub source: String,
    /// A commit's id, or the sha256 of an archive; none for a folder of the app.
    pub pin: Option<String>,
}
