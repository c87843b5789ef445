//! The planner's rules, one example each, and a random world in which they have to hold on every action.

mod examples;
mod exclusive;
mod invariants;
mod property;
mod world;

use super::*;
use crate::domain::failure::Exit;

/// `web.1`.
fn slot(text: &str) -> Slot {
    text.parse().unwrap()
}

fn process(text: &str) -> ProcessType {
    text.parse().unwrap()
}

fn spec(no: u32, processes: &[&str]) -> Spec {
    Spec { no: ReleaseNo(no), processes: processes.iter().map(|p| process(p)).collect(), port: 5000 }
}
