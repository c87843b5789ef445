//! What an app asks for beside its image: what its first deploy sets up, and how its health is asked for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Done once, by the first deploy of an app; what somebody has set before stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// How many instances of a process type, by its name.
    pub formation: BTreeMap<String, u16>,
    pub vars: Vec<WantedVar>,
    /// Run once behind the first deploy, as `sh -c "exec <command>"`.
    pub postdeploy: Option<String>,
}

impl Setup {
    /// Adds those that are not asked for yet.
    pub(crate) fn add_vars(&mut self, more: &[WantedVar]) {
        for var in more {
            if !self.vars.iter().any(|known| known.name == var.name) {
                self.vars.push(var.clone());
            }
        }
    }
}

/// A config var that the app asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantedVar {
    pub name: String,
    pub wish: Wish,
    pub description: Option<String>,
    /// File and line, for sentences about it.
    pub place: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    Value(String),
    /// A random value, made once.
    Secret,
    /// The app cannot do without it, and a person has to say what it is.
    Required,
    Optional,
}

/// How new web instances are asked whether they are ready, where nobody has set it for the app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthWish {
    pub path: Option<String>,
    /// From an instance's start to its being ready.
    pub timeout_secs: Option<u64>,
    /// Line of app.json that it stands on.
    pub line: usize,
}
