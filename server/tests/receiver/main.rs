//! The receiver with the real git and ssh clients, a real store and a builder that does as it is told.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod access;
mod collection;
mod commands;
mod lives;
mod pushes;
mod refusals;
mod town;
