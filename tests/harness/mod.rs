//! What the stories are told with: a town is a server with its users, their checkouts and their visitors.
pub(crate) mod engine;
mod http;
mod outcome;
mod server;
mod town;
mod wait;
mod wire;
mod work;

pub(crate) use engine::Engine;
pub(crate) use http::{Connection, Response};
pub(crate) use outcome::Outcome;
pub(crate) use town::{Town, host_command, run};
pub(crate) use wait::eventually;
pub(crate) use wire::Wire;
pub(crate) use work::{Push, Work};
