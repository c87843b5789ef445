//! The stories, by what they are about.
mod broken;
mod commands;
mod crowd;
mod excess;
mod faults;
mod first_push;
mod isolation;
mod refused;
mod second_push;
mod swap;
mod traffic;
