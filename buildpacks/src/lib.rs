//! From a source tree to a build plan to the text of a Dockerfile: pure, no IO.
//!
//! The story in reading order: a [`SourceTree`] is looked at by [`detect`], [`plan`] decides what the
//! image is made of and says so in sentences, [`render`] writes the Dockerfile and the files beside
//! it, and [`fingerprint`] tells whether that image exists already. The server does all the IO.
//!
//! A language is one file below `languages/`, ending in the same [`BuildPlan`] as every other, and one TOML table beside
//! it, with what is data or changes with time (file names, versions, hashes). `language` is the seam between them and us.

mod app_json;
mod aptfile;
mod binaries;
mod buildpack;
pub mod command;
mod detect;
mod diagnosis;
mod error;
mod fingerprint;
mod heroku_yml;
mod hints;
pub mod ignore;
mod language;
mod languages;
mod members;
mod overrides;
mod plan;
pub mod procfile;
mod range;
mod recipe;
mod release_yaml;
mod render;
mod root;
mod setup;
mod stack;
mod text;
mod tree;
mod versions;
mod yaml;

pub use app_json::{AppJsonError, CronEntry};
pub use buildpack::{BUILDPACKS_MAX, Buildpack, PinnedBuildpack};
pub use detect::{Detection, detect};
pub use diagnosis::{Builds, explain};
pub use error::PlanError;
pub use fingerprint::fingerprint;
pub use heroku_yml::DockerBuild;
pub use language::Language;
pub use plan::{BuildEnv, BuildPlan, DockerfileSource, ProcessTypes, Start, Versions, plan, plan_with};
pub use recipe::{EnvScope, Mount, Sharing, Stage, Step};
pub use release_yaml::{BUILT_PROCFILE, RELEASE_YAML};
pub use render::{CACHE_COMMENT, MetaFile, RenderContext, Rendered, render};
pub use root::BuildRoot;
pub use setup::{HealthWish, Setup, WantedVar, Wish};
pub use stack::StackImage;
pub use text::excerpt;
pub use tree::{EntryKind, MemoryTree, SourceTree, TreeEntry};
