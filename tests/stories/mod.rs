//! The stories, by what they are about.
mod backups;
mod broken;
mod commands;
mod crowd;
mod destroy;
mod excess;
mod faults;
mod first_push;
mod isolation;
mod refused;
mod rename;
mod second_push;
mod settings;
mod swap;
mod traffic;
