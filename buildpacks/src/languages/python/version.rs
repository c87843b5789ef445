//! Which Python an app gets: Debian's own when it satisfies the request, else another suite's, else one that uv installs.

use super::{Suite, TABLE};
use crate::PlanError;
use crate::language::App;
use crate::range::{Range, Version, spelled_as_npm};
use crate::versions::{self, Request};

/// The Python that was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Python {
    Debian,
    /// Of another suite of Debian.
    Suite(&'static Suite),
    /// A version, or the first two parts of one, as uv is asked for it.
    Uv(String),
}

impl Python {
    pub(super) fn version(&self) -> &str {
        match self {
            Self::Debian => &TABLE.debian.version,
            Self::Suite(suite) => &suite.version,
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
            Self::Suite(suite) => format!("Debian {}'s python3", suite.name),
            Self::Uv(_) => "uv's python".to_owned(),
        }
    }
}

pub(super) struct Chosen {
    pub(super) python: Python,
    pub(super) note: String,
    pub(super) warning: Option<String>,
}

pub(super) fn choose(app: &App<'_>) -> Result<Chosen, PlanError> {
    let Some(request) = versions::find(app.tree, &TABLE.language)? else {
        let kept = app.kept("python", 2, &TABLE.debian.version).and_then(|minor| by_minor(&minor, &minor));
        if let Some(python) = kept {
            let note =
                format!("python {} ({}; as the release before, no .python-version)", python.version(), python.origin());
            return Ok(Chosen { python, note, warning: None });
        }
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
    let outdated = match &python {
        Python::Suite(suite) if suite.is_outdated => Some(format!(
            "Python {} comes from Debian {}, which gets no security updates any more: write `{}` into {} when the app bears it",
            minor(&suite.version),
            suite.name,
            minor(&TABLE.debian.version),
            request.file
        )),
        Python::Debian | Python::Suite(_) | Python::Uv(_) => None,
    };
    let note = format!("python {} ({} satisfies {} \"{text}\")", python.version(), python.origin(), request.place);
    Ok(Chosen { python, note, warning: outdated.or(warning) })
}

fn minor(version: &str) -> &str {
    version.match_indices('.').nth(1).map_or(version, |(at, _)| &version[..at])
}

/// An exact version is taken for any of its line where Debian has that: patches only make it safer.
fn by_minor(wanted: &str, exact: &str) -> Option<Python> {
    if wanted == minor(&TABLE.debian.version) {
        return Some(Python::Debian);
    }
    if let Some(suite) = TABLE.suites.iter().find(|suite| wanted == minor(&suite.version)) {
        return Some(Python::Suite(suite));
    }
    TABLE.uv_pythons.minors.iter().any(|minor| minor == wanted).then(|| Python::Uv(exact.to_owned()))
}

fn by_range(range: &Range) -> Option<Python> {
    let holds = |version: &str| Version::parse(version).is_some_and(|version| range.holds(version));
    if holds(&TABLE.debian.version) {
        return Some(Python::Debian);
    }
    if let Some(suite) = TABLE.suites.iter().find(|suite| holds(&suite.version)) {
        return Some(Python::Suite(suite));
    }
    // Which patches there are is not known here: uv takes the last of a line.
    let last = |minor: &&String| holds(&format!("{minor}.99"));
    TABLE.uv_pythons.minors.iter().rev().find(last).map(|minor| Python::Uv(minor.clone()))
}

/// Python's own way of writing ranges, and Poetry's: `>=3.11,<3.14`, `~=3.12`, `==3.12.*`, `^3.11`.
fn range_of(text: &str) -> Option<Range> {
    if ["latest", "stable"].contains(&text) {
        return Range::parse("*");
    }
    Range::parse(&spelled_as_npm(text)?)
}

fn unavailable(request: &Request) -> PlanError {
    let others: Vec<&str> = TABLE.uv_pythons.minors.iter().map(String::as_str).collect();
    let of_suites = TABLE.suites.iter().map(|suite| &suite.version);
    let from_debian: Vec<&str> = [&TABLE.debian.version].into_iter().chain(of_suites).map(String::as_str).collect();
    let ours = minor(&TABLE.debian.version);
    let written = if request.file == "runtime.txt" { format!("python-{ours}") } else { ours.to_owned() };
    request.refused(
        "Python",
        format!(
            "and there are {} from Debian, and {} by uv: write \"{written}\", or remove it",
            from_debian.join(", "),
            others.join(", ")
        ),
    )
}

#[cfg(test)]
mod tests {
    use crate::MemoryTree;

    #[test]
    fn requests_are_met_by_debian_first_and_by_uv_last() {
        for (file, text, version) in [
            (".python-version", "3.13\n", "3.13.5"),
            (".python-version", "3.13.1\n", "3.13.5"),
            (".python-version", "3.11\n", "3.11.2"),
            (".python-version", "3.9\n", "3.9.2"),
            (".python-version", "3.12\n", "3.12"),
            (".python-version", "3\n", "3.13.5"),
            ("mise.toml", "[tools]\npython = 'latest'\n", "3.13.5"),
            ("runtime.txt", "python-3.12.4\n", "3.12.4"),
            ("pyproject.toml", "[project]\nrequires-python = '>=3.9'\n", "3.13.5"),
            ("pyproject.toml", "[project]\nrequires-python = '>=3.10, <3.13, !=3.11.1'\n", "3.11.2"),
            ("pyproject.toml", "[project]\nrequires-python = '~=3.12.2'\n", "3.12"),
            ("pyproject.toml", "[project]\nrequires-python = '~=3.10'\n", "3.13.5"),
            ("pyproject.toml", "[project]\nrequires-python = '==3.14.*'\n", "3.14"),
            ("pyproject.toml", "[tool.poetry.dependencies]\npython = '^3.11'\n", "3.13.5"),
        ] {
            let tree = MemoryTree::new().file("requirements.txt", "").file("Procfile", "web: ./serve\n");
            let plan = crate::plan(&tree.file(file, text), &crate::BuildEnv::new()).unwrap();
            assert_eq!(plan.versions["python"], version, "{text}");
        }
    }
}
