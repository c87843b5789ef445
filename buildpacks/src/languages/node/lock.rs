//! Whether the lockfile knows the packages that package.json asks for. Only a package that is wholly absent counts: what
//! versions satisfy is the manager's to judge, and it does so when it installs.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::manager::{Kind, Manager};
use super::package::Package;
use crate::PlanError;
use crate::text::excerpt;
use crate::tree::{SourceTree, entry};

/// A longer lockfile is left to its manager: reading it takes longer than planning may.
const LOCK_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// Refuses a package.json which names a package that the lockfile does not.
pub(super) fn check(tree: &dyn SourceTree, package: &Package, manager: &Manager) -> Result<(), PlanError> {
    let Some(lockfile) = &manager.lockfile else { return Ok(()) };
    if entry(tree, lockfile).is_none_or(|entry| entry.size_bytes > LOCK_BYTES_MAX) {
        return Ok(());
    }
    let bytes = tree.read(lockfile).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let knows: Box<dyn Fn(&str) -> bool> = match manager.kind {
        Kind::Npm => {
            let Ok(lock) = serde_json::from_str::<NpmLock>(&text) else {
                return Err(PlanError::Unclear(format!(
                    "{lockfile} is no JSON, which a merge may have left: `rm {lockfile}`, run `npm install` and commit it"
                )));
            };
            Box::new(move |name| lock.knows(name))
        }
        Kind::Yarn | Kind::Berry => Box::new(|name| {
            let (plain, quoted) = (format!("{name}@"), format!("\"{name}@"));
            text.lines().any(|line| line.starts_with(&plain) || line.starts_with(&quoted))
                || text.contains(&format!(", {plain}"))
        }),
        Kind::Pnpm => Box::new(|name| {
            let (plain, quoted) = (format!("{name}:"), format!("'{name}':"));
            text.lines().map(str::trim_start).any(|line| line.starts_with(&plain) || line.starts_with(&quoted))
        }),
        Kind::Bun => return Ok(()),
    };
    let wanted = package.locked_dependencies();
    let missing: Vec<&str> = wanted.filter(|name| !knows(name)).collect();
    let Some(first) = missing.first() else { return Ok(()) };
    let more = match missing.len() {
        1 => String::new(),
        count => format!(" and {} more", count - 1),
    };
    Err(PlanError::Unclear(format!(
        "{lockfile} is out of date: package.json line {} asks for {}{more}, and {lockfile} does not know it: run `{} install`, then `git add {lockfile}` and commit",
        package.line_of(first),
        excerpt(first),
        manager.kind.tool()
    )))
}

/// The parts of a package-lock.json that tell; the rest is passed over.
#[derive(Debug, Deserialize)]
struct NpmLock {
    #[serde(default)]
    packages: Packages,
    /// Of the first format.
    #[serde(default)]
    dependencies: Map<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
struct Packages {
    #[serde(rename = "")]
    root: Option<Root>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Root {
    #[serde(default)]
    dependencies: Map<String, Value>,
    #[serde(default)]
    dev_dependencies: Map<String, Value>,
    #[serde(default)]
    optional_dependencies: Map<String, Value>,
    #[serde(default)]
    peer_dependencies: Map<String, Value>,
}

impl NpmLock {
    /// A lock without any of the two is too odd to judge.
    fn knows(&self, name: &str) -> bool {
        match &self.packages.root {
            Some(root) => {
                [&root.dependencies, &root.dev_dependencies, &root.optional_dependencies, &root.peer_dependencies]
                    .iter()
                    .any(|list| list.contains_key(name))
            }
            None => self.dependencies.is_empty() || self.dependencies.contains_key(name),
        }
    }
}
