//! The stories, by what they are about.
mod broken;
mod first_push;
mod second_push;
