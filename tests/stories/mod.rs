//! The stories, by what they are about.
mod first_push;
mod second_push;
