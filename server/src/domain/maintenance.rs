//! Maintenance: whether an app's visitors are let in, told to come back, or made to wait.
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// What stands before the token in the path that lets its bearer past the page.
pub const BYPASS_PATH: &str = "/.well-known/paas-bypass/";

/// Whether an app's visitors are served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Maintenance {
    #[default]
    Off,
    /// Requests are answered by a page of ours, 503 H80.
    On,
    /// Requests wait, bounded in number and time.
    Pause,
}

impl Maintenance {
    pub fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::On => "on",
            Self::Pause => "pause",
        }
    }
}

impl FromStr for Maintenance {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Off, Self::On, Self::Pause];
        all.into_iter().find(|one| one.word() == text).ok_or_else(|| format!("`{text}` is not on, off or pause"))
    }
}
