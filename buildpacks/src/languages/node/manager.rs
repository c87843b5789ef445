//! Which package manager installs, in which version, and what its commands are.

use std::fmt;

use serde::Deserialize;

use super::package::Package;
use super::version::AVAILABLE;
use crate::PlanError;
use crate::range::{Range, Version};
use crate::text::excerpt;
use crate::tree::{SourceTree, config_file, has};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Npm,
    Pnpm,
    /// Yarn 1.
    Yarn,
    /// Yarn 2 and later.
    Berry,
    Bun,
}

/// What the table says about a manager.
#[derive(Debug, Deserialize)]
pub(super) struct Facts {
    pub(super) lockfiles: Vec<String>,
    /// Its name in the npm registry.
    pub(super) package: String,
    pub(super) cache: String,
    versions: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Managers {
    npm: Facts,
    pnpm: Facts,
    yarn: Facts,
    berry: Facts,
    bun: Facts,
}

/// The manager of an app.
#[derive(Debug)]
pub(super) struct Manager {
    pub(super) kind: Kind,
    /// Empty for npm, whose version goes with that of node.
    pub(super) version: String,
    pub(super) lockfile: Option<String>,
}

impl fmt::Display for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Npm => f.write_str("npm"),
            Kind::Pnpm | Kind::Yarn | Kind::Berry | Kind::Bun => write!(f, "{} {}", self.kind.tool(), self.version),
        }
    }
}

const KINDS: [Kind; 5] = [Kind::Npm, Kind::Pnpm, Kind::Yarn, Kind::Berry, Kind::Bun];

impl Kind {
    pub(super) fn facts(self) -> &'static Facts {
        let managers = &AVAILABLE.managers;
        match self {
            Self::Npm => &managers.npm,
            Self::Pnpm => &managers.pnpm,
            Self::Yarn => &managers.yarn,
            Self::Berry => &managers.berry,
            Self::Bun => &managers.bun,
        }
    }

    /// The command people type.
    pub(super) fn tool(self) -> &'static str {
        match self {
            Self::Npm => "npm",
            Self::Pnpm => "pnpm",
            Self::Yarn | Self::Berry => "yarn",
            Self::Bun => "bun",
        }
    }
}

impl Manager {
    pub(super) fn decide(tree: &dyn SourceTree, package: &Package) -> Result<Self, PlanError> {
        let locks = lockfiles(tree)?;
        let named = package.manager.as_deref().map(|text| named(text, package)).transpose()?;
        if let Some((tool, version)) = named {
            return with_named(tree, tool, version, &locks);
        }
        let tools: Vec<&str> = locks.iter().map(|(kind, _)| kind.tool()).collect();
        if tools.windows(2).any(|pair| pair[0] != pair[1]) {
            return Err(several(&locks));
        }
        let Some((kind, lockfile)) = locks.into_iter().next() else {
            return Ok(Self { kind: Kind::Npm, version: String::new(), lockfile: None });
        };
        let kind = if kind == Kind::Yarn && is_berry(tree) { Kind::Berry } else { kind };
        let version = default_version(tree, package, kind)?;
        Ok(Self { kind, version, lockfile: Some(lockfile) })
    }
}

/// Whether Bun installs the packages, and so runs the app too.
pub(super) fn is_bun(tree: &dyn SourceTree, package: &Package) -> bool {
    match package.manager.as_deref() {
        Some(named) => named.starts_with("bun@"),
        None => Kind::Bun.facts().lockfiles.iter().any(|lockfile| has(tree, lockfile)),
    }
}

/// `pnpm@9.1.0+sha512.…`: the tool, and an exact version.
fn named<'a>(text: &'a str, package: &Package) -> Result<(&'a str, &'a str), PlanError> {
    let wrong = || PlanError::Manifest {
        file: "package.json".to_owned(),
        line: package.line_of("packageManager"),
        reason: format!(
            "packageManager is \"{}\", and must be a manager with its exact version: write \"npm@10.9.2\", \"pnpm@9.15.9\", \"yarn@4.9.1\" or \"bun@1.2.0\", or remove it",
            excerpt(text)
        ),
    };
    let (tool, rest) = text.trim().split_once('@').ok_or_else(wrong)?;
    let version = rest.split('+').next().unwrap_or(rest);
    let is_plain = version.starts_with(|c: char| c.is_ascii_digit())
        && version.chars().all(|c| c.is_ascii_alphanumeric() || ".-".contains(c));
    let is_known = ["npm", "pnpm", "yarn", "bun"].contains(&tool);
    if is_known && is_plain { Ok((tool, version)) } else { Err(wrong()) }
}

fn with_named(
    tree: &dyn SourceTree,
    tool: &str,
    version: &str,
    locks: &[(Kind, String)],
) -> Result<Manager, PlanError> {
    let kind = match tool {
        "pnpm" => Kind::Pnpm,
        "yarn" if version.starts_with("1.") || version == "1" => Kind::Yarn,
        "yarn" => Kind::Berry,
        "bun" => Kind::Bun,
        _npm => Kind::Npm,
    };
    let own = locks.iter().find(|(other, _)| other.tool() == kind.tool());
    if let (None, Some((other, lockfile))) = (own, locks.first()) {
        return Err(PlanError::Unclear(format!(
            "package.json has packageManager \"{tool}@{version}\", and the lockfile is {lockfile}, which is {}'s: run `{tool} install`, commit {}, and `git rm {lockfile}`; or correct packageManager",
            other.tool(),
            kind.facts().lockfiles.last().map_or("its lockfile", String::as_str)
        )));
    }
    let version = match kind {
        Kind::Npm => String::new(),
        Kind::Pnpm | Kind::Yarn | Kind::Bun => version.to_owned(),
        Kind::Berry => committed_release(tree).unwrap_or_else(|| version.to_owned()),
    };
    Ok(Manager { kind, version, lockfile: own.map(|(_, lockfile)| lockfile.clone()) })
}

/// The lockfiles at the root, each with its manager; of two of one manager, the first counts.
fn lockfiles(tree: &dyn SourceTree) -> Result<Vec<(Kind, String)>, PlanError> {
    let mut found: Vec<(Kind, String)> = Vec::new();
    for kind in KINDS {
        for lockfile in &kind.facts().lockfiles {
            if found.iter().all(|(other, _)| other.tool() != kind.tool()) && lock_is_regular(tree, lockfile)? {
                found.push((kind, lockfile.clone()));
            }
        }
    }
    Ok(found)
}

/// Lockfiles are their manager's to read, and longer than what we would.
fn lock_is_regular(tree: &dyn SourceTree, path: &str) -> Result<bool, PlanError> {
    match config_file(tree, path) {
        Ok(found) => Ok(found.is_some()),
        Err(PlanError::ConfigTooLarge { .. }) => Ok(true),
        Err(other) => Err(other),
    }
}

fn several(locks: &[(Kind, String)]) -> PlanError {
    let files: Vec<&str> = locks.iter().map(|(_, lockfile)| lockfile.as_str()).collect();
    let keeping = locks.iter().map(|(kind, _)| {
        let others = locks.iter().filter(|(other, _)| other != kind).map(|(_, lockfile)| lockfile.as_str());
        format!("for {}, `git rm {}`", kind.tool(), others.collect::<Vec<_>>().join(" "))
    });
    PlanError::Unclear(format!(
        "{} are all lockfiles, of different package managers, and only one of them is right: {}; or name the manager and its version in package.json, for example `\"packageManager\": \"{}\"`",
        files.join(", "),
        keeping.collect::<Vec<_>>().join("; "),
        locks.first().map_or("npm@10.9.2", |(kind, _)| if *kind == Kind::Npm { "npm@10.9.2" } else { "pnpm@9.15.9" })
    ))
}

fn is_berry(tree: &dyn SourceTree) -> bool {
    has(tree, ".yarnrc.yml") || lock_text(tree, "yarn.lock").contains("__metadata:")
}

/// The beginning of a lockfile, where it says its format.
fn lock_text(tree: &dyn SourceTree, path: &str) -> String {
    let bytes = tree.read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes[..bytes.len().min(2048)]).into_owned()
}

/// The version of a `.yarn/releases/yarn-4.1.0.cjs`: the registry has the same one, and it needs no part of the tree.
fn committed_release(tree: &dyn SourceTree) -> Option<String> {
    let mut releases = tree.files().iter().filter_map(|file| file.path.strip_prefix(".yarn/releases/yarn-"));
    let version = releases.find_map(|name| name.strip_suffix(".cjs"))?;
    Version::parse(version).map(|_| version.to_owned())
}

/// For an app that does not name one: what `engines` allows, else what wrote the lockfile.
fn default_version(tree: &dyn SourceTree, package: &Package, kind: Kind) -> Result<String, PlanError> {
    let versions = &kind.facts().versions;
    let newest = || versions.last().cloned().unwrap_or_default();
    let of_major = |major: &str| {
        versions.iter().find(|version| version.split('.').next() == Some(major)).cloned().unwrap_or_else(newest)
    };
    if let Some(text) = package.engines.get(kind.tool()) {
        return for_engine(text, package, kind, &newest());
    }
    let version = match kind {
        Kind::Npm => String::new(),
        Kind::Yarn | Kind::Bun => newest(),
        Kind::Berry => committed_release(tree).unwrap_or_else(|| {
            let format = number_behind(&lock_text(tree, "yarn.lock"), "version:");
            of_major(if format.is_none_or(|format| format >= 8) { "4" } else { "3" })
        }),
        Kind::Pnpm => {
            let format = number_behind(&lock_text(tree, "pnpm-lock.yaml"), "lockfileVersion:");
            // Since pnpm 10 settings stand in pnpm-workspace.yaml, and 9 would find that the lockfile has others.
            let settings = lock_text(tree, "pnpm-workspace.yaml");
            let is_ten = ["overrides:", "onlyBuiltDependencies:", "patchedDependencies:", "ignoredBuiltDependencies:"]
                .iter()
                .any(|key| settings.lines().any(|line| line.starts_with(key)));
            of_major(match format {
                Some(..=5) => "7",
                Some(6..=8) => "8",
                Some(9..) | None => {
                    if is_ten {
                        "10"
                    } else {
                        "9"
                    }
                }
            })
        }
    };
    Ok(version)
}

fn for_engine(text: &str, package: &Package, kind: Kind, newest: &str) -> Result<String, PlanError> {
    let range = Range::parse(text);
    let versions = kind.facts().versions.iter().rev();
    let holds = |version: &&String| range.as_ref().zip(Version::parse(version)).is_some_and(|(r, v)| r.holds(v));
    if let Some(version) = versions.clone().find(holds) {
        return Ok(version.clone());
    }
    // An exact version need not be in the table, nor the newest of a line: the registry has them all.
    if kind == Kind::Npm {
        return Ok(String::new());
    }
    if let Some(version) = exact_or_line(text) {
        return Ok(version);
    }
    let all: Vec<&str> = versions.rev().map(String::as_str).collect();
    Err(PlanError::Version {
        place: format!("package.json line {}", package.line_of("engines")),
        what: kind.tool().to_owned(),
        request: excerpt(text),
        fix: format!(
            "and there are {}: write one of their major versions, or `\"packageManager\": \"{}@{newest}\"`",
            all.join(", "),
            kind.tool()
        ),
    })
}

/// `11.5.2` as it is; `11.5.x` and `~11.5.0` as `11.5`, by which npm takes the newest of that line.
fn exact_or_line(text: &str) -> Option<String> {
    let plain = text.trim().trim_start_matches('v');
    if Version::parse(plain).is_some() {
        return Some(plain.to_owned());
    }
    let line = plain.strip_prefix('~').unwrap_or(plain);
    let mut parts = line.split('.');
    let numbers: Vec<&str> = parts.by_ref().take(2).collect();
    let are_numbers = numbers.len() == 2 && numbers.iter().all(|part| part.parse::<u32>().is_ok());
    let is_open = parts.next().is_none_or(|last| ["x", "X", "*"].contains(&last) || plain.starts_with('~'));
    (are_numbers && is_open && parts.next().is_none()).then(|| numbers.join("."))
}

/// The number at the beginning of a line's value: `lockfileVersion: '9.0'` is 9.
fn number_behind(text: &str, key: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.trim().strip_prefix(key))?;
    let digits: String = value.trim_start_matches([' ', '\'', '"']).chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_manager_is_named_as_npm_takes_it() {
        for (text, version) in [
            ("11.5.2", Some("11.5.2")),
            ("v9.1.0", Some("9.1.0")),
            ("11.5.x", Some("11.5")),
            ("11.5", Some("11.5")),
            ("~11.5.3", Some("11.5")),
            ("11.x", None),
            (">=11.5 <11.6", None),
            ("11.5.x.y", None),
        ] {
            assert_eq!(exact_or_line(text).as_deref(), version, "{text}");
        }
    }

    #[test]
    fn the_number_of_a_lockfile_is_found() {
        assert_eq!(number_behind("lockfileVersion: '9.0'\n", "lockfileVersion:"), Some(9));
        assert_eq!(number_behind("lockfileVersion: 5.4\n", "lockfileVersion:"), Some(5));
        assert_eq!(number_behind("__metadata:\n  version: 8\n", "version:"), Some(8));
        assert_eq!(number_behind("", "version:"), None);
    }
}
