//! The stories, by what they are about.
mod broken;
mod crowd;
mod first_push;
mod refused;
mod second_push;
