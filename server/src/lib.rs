//! Shipway's server: the rooms in reading order. A push flows receiver → builder → scheduler → proxy; see ARCHITECTURE.md.

pub mod clock;
pub mod domain;
pub mod engine;
pub mod proxy;
