//! The stories: each drives a real `paas` from outside, as a user would.
