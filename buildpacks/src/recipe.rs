//! What a generated Dockerfile is made of: stages and steps, as data.
//!
//! The languages write recipes; `render` alone knows Dockerfile syntax and where the files lie in the
//! build context.

use serde::{Deserialize, Serialize};

/// One stage. The last of a plan becomes the app's image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    pub name: String,
    /// A stack image's `name:tag`, or an earlier stage.
    pub from: String,
    pub steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The app's own files into /app.
    CopySource,
    /// A folder out of an earlier stage, to the same place.
    CopyFolder { stage: String, path: String },
    /// A command line in /app.
    Run { command: String, mounts: Vec<Mount>, env: EnvScope },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mount {
    /// One of the app's files in its place below /app, to be read only.
    SourceFile { path: String },
    /// A folder of an earlier stage in its place; what is written there is forgotten.
    StageFolder { stage: String, path: String },
    /// A folder which outlives the build; `name` is made the app's own by its secret id.
    Cache { name: String, path: String, sharing: Sharing },
    /// The same, written to by the user that apps run as, by one build at a time.
    OwnCache { name: String, path: String },
    /// A folder of the build context, to be read only.
    Context { folder: String, path: String },
}

/// Whether two builds may write to a cache at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sharing {
    Shared,
    /// The second waits for the first.
    Locked,
}

/// Which config vars a step is given. Less is more: a value that changes runs the step again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnvScope {
    /// Those which steer an installer, and those which its files name.
    Install,
    /// All of them: the app's own build script may look at any.
    Everything,
    /// All of them, and as files: a folder `vars` with one for each. None stands in the environment.
    Files,
}

impl Stage {
    pub(crate) fn new(name: &str, from: &str, steps: Vec<Step>) -> Self {
        Self { name: name.to_owned(), from: from.to_owned(), steps }
    }
}

impl Step {
    pub(crate) fn copy(stage: &str, path: &str) -> Self {
        Self::CopyFolder { stage: stage.to_owned(), path: path.to_owned() }
    }

    /// A step that may look at every config var.
    pub(crate) fn run(command: String, mounts: Vec<Mount>) -> Self {
        Self::Run { command, mounts, env: EnvScope::Everything }
    }

    /// A step that is given what steers installers, and no more.
    pub(crate) fn install(command: String, mounts: Vec<Mount>) -> Self {
        Self::Run { command, mounts, env: EnvScope::Install }
    }
}

impl Mount {
    pub(crate) fn cache(name: &str, path: &str, sharing: Sharing) -> Self {
        Self::Cache { name: name.to_owned(), path: path.to_owned(), sharing }
    }

    pub(crate) fn file(path: &str) -> Self {
        Self::SourceFile { path: path.to_owned() }
    }
}
