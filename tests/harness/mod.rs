//! What the stories are told with: a town is a server with its users, their checkouts and their visitors.
mod browser;
pub(crate) mod engine;
mod http;
mod installed;
mod outcome;
mod own_engine;
pub(crate) mod private_engine;
mod server;
mod town;
mod wait;
mod wire;
mod work;

pub(crate) use browser::Browser;
pub(crate) use engine::Engine;
pub(crate) use http::{Connection, Response};
pub(crate) use outcome::Outcome;
pub(crate) use own_engine::OwnEngine;
pub(crate) use server::paas;
pub(crate) use town::{Town, host_command, run};
pub(crate) use wait::eventually;
pub(crate) use wire::Wire;
pub(crate) use work::{Push, Pushing, Work};
