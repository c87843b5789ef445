//! The stories: each drives a real `paas` from outside, as a user would, and its name is what it claims.
#![expect(clippy::disallowed_methods, reason = "the stories start git, ssh, docker and paas, and read PAAS_BIN")]
mod harness;
mod stories;
