//! What lies outside: what DNS answers, which addresses belong to everybody, and the one client that asks other servers.

mod address;
mod client;
mod dns;
mod retry_after;
#[cfg(test)]
pub(crate) mod testing;

pub use client::{AnswerLimits, Outbound, OutboundError, check_host};
pub use dns::{Finding, Leads, look_at};
pub use retry_after::retry_after;
