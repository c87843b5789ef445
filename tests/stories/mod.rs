//! The stories, by what they are about.
mod backups;
mod broken;
mod commands;
mod crowd;
mod destroy;
mod faults;
mod first_push;
mod isolation;
mod jobs;
mod refused;
mod rename;
mod second_push;
mod swap;
mod traffic;
