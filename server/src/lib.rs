//! Shipway's server: the rooms in reading order. A push flows receiver → builder → scheduler → proxy; see ARCHITECTURE.md.

pub mod config;
pub mod lifecycle;
pub mod listeners;

pub mod laptop;
pub mod upgrade;

pub mod receiver;

pub mod backups;
pub mod builder;
pub mod certs;
pub mod commands;
pub mod desk;
pub mod scheduler;
pub mod web;

pub mod proxy;

pub mod guard;

pub mod domain;

pub mod clock;
pub mod console;
pub mod crash_point;
pub mod data_dir;
pub mod disk;
pub mod engine;
pub mod files;
pub mod generation;
pub mod logs;
pub mod outbound;
pub mod store;
pub mod visit;

/// What the fuzz targets of the rooms run on.
#[cfg(test)]
#[path = "../../tests/fuzz/mutate.rs"]
mod mutate;
