//! Shipway's server: the rooms in reading order. A push flows receiver → builder → scheduler → proxy; see ARCHITECTURE.md.

pub mod builder;
pub mod clock;
pub mod console;
pub mod domain;
pub mod engine;
pub mod logs;
pub mod receiver;
pub mod store;
