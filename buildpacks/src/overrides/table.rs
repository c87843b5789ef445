//! The keys of paas.toml, as PAAS_TOML.md shows them.

pub(super) struct Key {
    /// `build.command`; `NAME` at the end stands for any name.
    pub(super) path: &'static str,
    /// What it decides.
    pub(super) about: &'static str,
    /// An example of its value.
    pub(super) example: &'static str,
}

const fn key(path: &'static str, example: &'static str, about: &'static str) -> Key {
    Key { path, about, example }
}

pub(super) const KEYS: &[Key] = &[
    key("build.language", "\"python\"", "which of the languages found is built, or one that was not found"),
    key(
        "build.dockerfile",
        "\"deploy/Dockerfile\"",
        "the Dockerfile to build, wherever it stands; the context stays the repository's root",
    ),
    key(
        "build.root",
        "\"apps/web\"",
        "the folder of a larger repository that is the app; in the paas.toml of the root alone",
    ),
    key(
        "build.args",
        "[\"NPM_TOKEN\"]",
        "config vars, and variables of `build.env`, that a Dockerfile's `ARG` lines get; the image's history shows them",
    ),
    key(
        "build.install",
        "\"pip install -r requirements/prod.txt\"",
        "the command that installs what the app depends on; it sees all of the app's files",
    ),
    key("build.command", "\"npm run build:prod\"", "the command that builds the app, behind the installation"),
    key(
        "build.env.NAME",
        "\"--max-old-space-size=2048\"",
        "a variable for the build's steps alone; a config var of that name wins",
    ),
    key(
        "versions.NAME",
        "\"3.11\"",
        "the version of a language or package manager, before every other place of [VERSIONS.md](VERSIONS.md)",
    ),
    key(
        "processes.NAME",
        "\"gunicorn app:app\"",
        "what starts a process type, before the Procfile and what was guessed; `release` runs once for each release",
    ),
    key(
        "apt.packages",
        "[\"libvips42t64\"]",
        "Debian's packages for the build and for the app when it runs, as the Aptfile has them",
    ),
    key("apt.build", "[\"libvips-dev\"]", "Debian's packages for the build alone"),
    key("apt.run", "[\"ffmpeg\"]", "Debian's packages for the app when it runs alone"),
    key("pages.root", "\"dist\"", "the folder that nginx serves, of a static site or of what a build leaves"),
    key("pages.pushstate", "true", "whether unknown paths get index.html, for pages that route in the browser"),
];

/// The key that a path is, where there is one.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| match key.path.strip_suffix(".NAME") {
        Some(section) => path.strip_prefix(section).is_some_and(|rest| rest.starts_with('.')),
        None => key.path == path,
    })
}

/// Whether a path is a section, or may become a key by more.
pub(super) fn is_section(path: &str) -> bool {
    KEYS.iter().any(|key| key.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

/// The sections and keys that may stand below one.
pub(super) fn below(section: &str) -> Vec<String> {
    let prefix = if section.is_empty() { String::new() } else { format!("{section}.") };
    let mut names: Vec<String> = KEYS
        .iter()
        .filter_map(|key| key.path.strip_prefix(&prefix))
        .map(|rest| rest.split('.').next().unwrap_or(rest).to_owned())
        .collect();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paper_shows_every_key() {
        let mut table = "| Key | Example | Decides |\n|---|---|---|\n".to_owned();
        for key in KEYS {
            table = format!("{table}| `{}` | `{}` | {} |\n", key.path, key.example, key.about);
        }
        assert!(include_str!("../../PAAS_TOML.md").contains(&table), "write into PAAS_TOML.md:\n{table}");
    }
}
