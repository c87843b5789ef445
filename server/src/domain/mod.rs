//! What the product is about: pure types and rules, without clock, IO or tokio.
//!
//! Reading order: `name` and `id` (checked words), `moment` (time as an argument), `release` and `rollout` (what is
//! deployed and how it fares), `build`, `instance` (what is seen), `route` and `router` (what the proxy is told), `plan`
//! (what to do).

pub mod acme;
#[cfg(test)]
pub(crate) mod authority;
pub mod bounded;
pub mod bridge;
pub mod build;
pub mod build_cache;
pub mod card;
pub mod certificate;
pub mod certificate_pem;
pub mod certificate_plan;
pub mod certificate_state;
pub mod cidr;
pub mod cron;
pub mod dotenv;
pub mod error_page;
pub mod failure;
pub mod fetch_allow;
pub mod health;
pub mod hex;
pub mod hostname;
pub mod id;
pub mod image_ref;
pub mod instance;
pub mod job;
pub mod key;
pub mod limits;
pub mod login;
pub mod maintenance;
pub mod makeup;
pub mod moment;
pub mod name;
pub mod permission;
pub mod plan;
pub mod protocol;
pub mod rate;
pub mod release;
pub mod renewal;
pub mod rollout;
pub mod route;
pub mod router;
pub mod secret;
pub mod session;
pub mod site;
pub mod size;
pub mod span;
pub mod submodule;
pub mod terminal;
pub mod tls_policy;
pub mod upload;
pub mod volume;

pub use bridge::BridgePrefix;
pub use build::{Build, BuildState, Reads, RefMove};
pub use certificate::{Certificate, CertificateHost, CertificateTable, ChallengeTable};
pub use cidr::Cidr;
pub use failure::Failure;
pub use fetch_allow::FetchAllow;
pub use hostname::Hostname;
pub use id::{AppId, AppKey, BuildId, ContainerId, ImageId, InstallationId, KeyId, Oid, ReleaseNo};
pub use image_ref::ImageRef;
pub use job::{CronEntry, CronRun, Jobs, RunNo, RunState, Trigger};
pub use key::{Key, Pusher};
pub use maintenance::Maintenance;
pub use makeup::{Makeup, UsedBuildpack};
pub use moment::Moment;
pub use name::{AppName, ProcessType, VarName};
pub use permission::Permission;
pub use protocol::Protocol;
pub use release::{App, Command, Origin, Release};
pub use rollout::Rollout;
pub use router::RouterPolicy;
pub use secret::Secret;
pub use site::Site;
pub use size::Size;
pub use tls_policy::TlsPolicy;
pub use volume::{MountPath, Volume, VolumeKey, VolumeName};
