//! What package.json says, as far as it matters here.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::PlanError;
use crate::text::excerpt;

#[derive(Debug, Default)]
pub(super) struct Package {
    pub(super) name: Option<String>,
    pub(super) main: Option<String>,
    /// Where Bun's `init` writes the entry.
    pub(super) module: Option<String>,
    /// What `engines` says of node and of package managers.
    pub(super) engines: BTreeMap<String, String>,
    /// packageManager
    pub(super) manager: Option<String>,
    pub(super) scripts: BTreeMap<String, String>,
    /// What runs in production: dependencies, optional and peer ones.
    pub(super) dependencies: BTreeMap<String, String>,
    pub(super) dev_dependencies: BTreeMap<String, String>,
    pub(super) has_workspaces: bool,
    /// The patterns of the workspace's folders.
    pub(super) workspaces: Vec<String>,
    /// Peer dependencies and optional ones, which a lockfile need not know.
    unlocked: BTreeSet<String>,
    text: String,
}

impl Package {
    pub(super) fn parse(text: &str) -> Result<Self, PlanError> {
        let value: Value = serde_json::from_str(text).map_err(|error| PlanError::PackageJson {
            line: error.line(),
            column: error.column(),
            reason: reason(&error),
        })?;
        let Value::Object(fields) = value else {
            return Err(wrong("the file", "an object: `{ … }`"));
        };
        let mut dependencies = BTreeMap::new();
        let mut unlocked = BTreeSet::new();
        for field in ["dependencies", "optionalDependencies", "peerDependencies"] {
            let named = texts(&fields, field)?;
            if field != "dependencies" {
                unlocked.extend(named.keys().cloned());
            }
            dependencies.extend(named);
        }
        Ok(Self {
            name: fields.get("name").and_then(Value::as_str).map(str::to_owned),
            main: text_of(&fields, "main", "main")?,
            module: fields.get("module").and_then(Value::as_str).map(str::to_owned),
            engines: engines(&fields)?,
            manager: text_of(&fields, "packageManager", "packageManager")?,
            scripts: texts(&fields, "scripts")?,
            dependencies,
            dev_dependencies: texts(&fields, "devDependencies")?,
            has_workspaces: fields.contains_key("workspaces"),
            workspaces: workspaces(&fields),
            unlocked,
            text: text.to_owned(),
        })
    }

    pub(super) fn script(&self, name: &str) -> Option<&str> {
        let script = self.scripts.get(name)?.trim();
        (!script.is_empty()).then_some(script)
    }

    /// Whether a package is asked for, to run or to build with.
    pub(super) fn asks_for(&self, name: &str) -> bool {
        self.dependencies.contains_key(name) || self.dev_dependencies.contains_key(name)
    }

    /// The packages which an up-to-date lockfile must know.
    pub(super) fn locked_dependencies(&self) -> impl Iterator<Item = &str> {
        let all = self.dependencies.iter().chain(&self.dev_dependencies);
        let plain = all.filter(|(name, wanted)| !self.unlocked.contains(*name) && !wanted.contains(':'));
        plain.map(|(name, _)| name.as_str())
    }

    /// The first line that has this word in quotes; 1 when none has.
    pub(super) fn line_of(&self, word: &str) -> usize {
        let quoted = format!("\"{word}\"");
        self.text.lines().position(|line| line.contains(&quoted)).map_or(1, |at| at + 1)
    }

    /// Dependencies which are files of this very tree.
    pub(super) fn has_local_dependencies(&self) -> bool {
        let all = self.dependencies.values().chain(self.dev_dependencies.values());
        all.into_iter().any(|wanted| {
            ["file:", "link:", "workspace:", "./", "../", "/"].iter().any(|prefix| wanted.starts_with(prefix))
        })
    }
}

/// A list of patterns, or Yarn's object with one.
fn workspaces(fields: &Map<String, Value>) -> Vec<String> {
    let listed = fields.get("workspaces").map(|named| named.get("packages").unwrap_or(named));
    let patterns = listed.and_then(Value::as_array).into_iter().flatten();
    patterns.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// serde_json's message without the place, which stands in front of ours.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((reason, _)) => reason.to_owned(),
        None => text,
    }
}

fn wrong(field: &str, wanted: &'static str) -> PlanError {
    PlanError::PackageField { field: excerpt(field), wanted }
}

fn engines(fields: &Map<String, Value>) -> Result<BTreeMap<String, String>, PlanError> {
    match fields.get("engines") {
        // A list, from long ago, says nothing to npm either.
        None | Some(Value::Null | Value::Array(_)) => Ok(BTreeMap::new()),
        Some(Value::Object(_)) => texts(fields, "engines"),
        Some(_) => Err(wrong("engines", "an object such as `{ \"node\": \"20.x\" }`")),
    }
}

fn text_of(fields: &Map<String, Value>, key: &str, field: &str) -> Result<Option<String>, PlanError> {
    match fields.get(key) {
        None | Some(Value::Null) => Ok(None),
        // No process can be given a NUL.
        Some(Value::String(text)) if text.contains('\0') => Err(wrong(field, "a text without NUL")),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(wrong(field, "a text in double quotes")),
    }
}

/// An object of texts; absent is empty.
fn texts(fields: &Map<String, Value>, field: &str) -> Result<BTreeMap<String, String>, PlanError> {
    let object = match fields.get(field) {
        None | Some(Value::Null) => return Ok(BTreeMap::new()),
        Some(Value::Object(object)) => object,
        Some(_) => return Err(wrong(field, "an object: `{ … }`")),
    };
    let pairs = object.keys().map(|key| {
        let text = text_of(object, key, &format!("{field}.{key}"))?;
        Ok((key.clone(), text.unwrap_or_default()))
    });
    pairs.collect()
}
