//! The engine room against the Docker that runs on this machine: fails where none answers. Everything that a test makes
//! carries a random installation id of its own and is removed when the test ends, however it ends.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "all of this is test code, helpers included")]

mod engine_builds;
mod engine_images;
mod engine_instances;
mod engine_logs;
mod engine_networks;
mod engine_one_offs;
mod engine_outage;
mod ground;
