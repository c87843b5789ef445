//! Which Python an app gets: Debian's own when it satisfies the request, else another suite's, else one that uv installs.

use super::TABLE;
use crate::PlanError;
use crate::range::{Range, Version, spelled_as_npm};
use crate::tree::SourceTree;
use crate::versions::{self, Request};

/// The Python that was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Python {
    Debian,
    /// Of Debian's other suite.
    Suite,
    /// A version, or the first two parts of one, as uv is asked for it.
    Uv(String),
}

impl Python {
    pub(super) fn version(&self) -> &str {
        match self {
            Self::Debian => &TABLE.debian.version,
            Self::Suite => &TABLE.suite.version,
            Self::Uv(version) => version,
        }
    }

    /// `3.13`
    pub(super) fn minor(&self) -> &str {
        minor(self.version())
    }

    fn origin(&self) -> String {
        match self {
            Self::Debian => "Debian's python3".to_owned(),
            Self::Suite => format!("Debian {}'s python3", TABLE.suite.name),
            Self::Uv(_) => "uv's python".to_owned(),
        }
    }
}

pub(super) struct Chosen {
    pub(super) python: Python,
    pub(super) note: String,
    pub(super) warning: Option<String>,
}

pub(super) fn choose(tree: &dyn SourceTree) -> Result<Chosen, PlanError> {
    let Some(request) = versions::find(tree, &TABLE.language)? else {
        let note = format!("python {} (Debian's python3; no .python-version)", TABLE.debian.version);
        return Ok(Chosen { python: Python::Debian, note, warning: None });
    };
    let text = request.text.as_str();
    let number =
        ["python-", "cpython-", "cpython@"].iter().find_map(|prefix| text.strip_prefix(prefix)).unwrap_or(text);
    let exact = Version::parse(number).map(|_| minor(number));
    let python = match exact {
        Some(minor) => by_minor(minor, number),
        None => range_of(number).and_then(|range| by_range(&range)),
    };
    let python = python.ok_or_else(|| unavailable(&request))?;
    let is_other_patch = exact.is_some() && python.version() != number;
    let warning = is_other_patch.then(|| {
        format!(
            "{} asks for Python {number}, {} is used: write `{}` to take whatever Debian keeps safe",
            request.file,
            python.version(),
            python.minor()
        )
    });
    let note = format!("python {} ({} satisfies {} \"{text}\")", python.version(), python.origin(), request.place);
    Ok(Chosen { python, note, warning })
}

fn minor(version: &str) -> &str {
    version.match_indices('.').nth(1).map_or(version, |(at, _)| &version[..at])
}

/// An exact version is taken for any of its line where Debian has that: patches only make it safer.
fn by_minor(wanted: &str, exact: &str) -> Option<Python> {
    if wanted == minor(&TABLE.debian.version) {
        return Some(Python::Debian);
    }
    if wanted == minor(&TABLE.suite.version) {
        return Some(Python::Suite);
    }
    TABLE.uv_pythons.minors.iter().any(|minor| minor == wanted).then(|| Python::Uv(exact.to_owned()))
}

fn by_range(range: &Range) -> Option<Python> {
    let holds = |version: &str| Version::parse(version).is_some_and(|version| range.holds(version));
    if holds(&TABLE.debian.version) {
        return Some(Python::Debian);
    }
    if holds(&TABLE.suite.version) {
        return Some(Python::Suite);
    }
    // Which patches there are is not known here: uv takes the last of a line.
    let last = |minor: &&String| holds(&format!("{minor}.99"));
    TABLE.uv_pythons.minors.iter().rev().find(last).map(|minor| Python::Uv(minor.clone()))
}

/// Python's own way of writing ranges, and Poetry's: `>=3.11,<3.14`, `~=3.12`, `==3.12.*`, `^3.11`.
fn range_of(text: &str) -> Option<Range> {
    Range::parse(&spelled_as_npm(text)?)
}

fn unavailable(request: &Request) -> PlanError {
    let others: Vec<&str> = TABLE.uv_pythons.minors.iter().map(String::as_str).collect();
    let ours = minor(&TABLE.debian.version);
    let written = if request.file == "runtime.txt" { format!("python-{ours}") } else { ours.to_owned() };
    request.refused(
        "Python",
        format!(
            "and there are {} and {} from Debian, and {} by uv: write \"{written}\", or remove it",
            TABLE.debian.version,
            TABLE.suite.version,
            others.join(", ")
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryTree;

    #[test]
    fn requests_are_met_by_debian_first_and_by_uv_last() {
        for (file, text, version) in [
            (".python-version", "3.13\n", "3.13.5"),
            (".python-version", "3.13.1\n", "3.13.5"),
            (".python-version", "3.11\n", "3.11.2"),
            (".python-version", "3.12\n", "3.12"),
            ("runtime.txt", "python-3.12.4\n", "3.12.4"),
            ("pyproject.toml", "[project]\nrequires-python = '>=3.9'\n", "3.13.5"),
            ("pyproject.toml", "[project]\nrequires-python = '>=3.10, <3.13, !=3.11.1'\n", "3.11.2"),
            ("pyproject.toml", "[project]\nrequires-python = '~=3.12.2'\n", "3.12"),
            ("pyproject.toml", "[project]\nrequires-python = '~=3.10'\n", "3.13.5"),
            ("pyproject.toml", "[project]\nrequires-python = '==3.14.*'\n", "3.14"),
            ("pyproject.toml", "[tool.poetry.dependencies]\npython = '^3.11'\n", "3.13.5"),
        ] {
            let chosen = choose(&MemoryTree::new().file(file, text)).unwrap();
            assert_eq!(chosen.python.version(), version, "{text}");
        }
    }
}
