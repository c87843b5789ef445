//! From a source tree to a build plan to the text of a Dockerfile: pure, no IO.
//!
//! The story in reading order: a [`SourceTree`] is looked at by [`detect`], [`plan`] decides what the
//! image is made of and says so in sentences, [`render`] writes the Dockerfile and the files beside
//! it, and [`fingerprint`] tells whether that image exists already. The server does all the IO.
//!
//! One file per language (`dockerfile`, `static_site`, `node`, `python`, `shell`), each ending in the
//! same [`BuildPlan`]; what changes with time (versions, hashes) stands in a TOML table beside it.

mod app_json;
pub mod command;
mod detect;
mod dockerfile;
mod error;
mod fingerprint;
mod hints;
pub mod ignore;
mod node;
mod plan;
pub mod procfile;
mod python;
mod recipe;
mod render;
mod shell;
mod stack;
mod static_site;
mod text;
mod tree;

pub use app_json::{AppJsonError, CronEntry};
pub use detect::{Detection, Language, detect};
pub use error::PlanError;
pub use fingerprint::fingerprint;
pub use plan::{BuildEnv, BuildPlan, DockerfileSource, ProcessTypes, Start, plan};
pub use recipe::{EnvScope, Mount, Stage, Step};
pub use render::{MetaFile, RenderContext, Rendered, render};
pub use stack::StackImage;
pub use text::excerpt;
pub use tree::{EntryKind, MemoryTree, SourceTree, TreeEntry};
