//! Heroku's classic buildpacks as people name them: an address, a folder of the app, or the name of one that we stand for.

use serde::{Deserialize, Serialize};

use crate::language::Language;
use crate::languages::classic;
use crate::text::{excerpt, is_invisible};
use crate::tree::ending;

const SOURCE_BYTES_MAX: usize = 1000;
/// More than anybody lists, and each is fetched.
pub const BUILDPACKS_MAX: usize = 10;

/// Where a buildpack comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Buildpack {
    /// A repository; without a reference its default branch.
    Git { url: String, reference: Option<String> },
    /// A packed folder (`.tgz`).
    Archive { url: String },
    /// A folder of the app itself; empty for its root.
    Inline { folder: String },
}

/// A buildpack of a plan, and what it was when the image was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedBuildpack {
    pub buildpack: Buildpack,
    /// A commit's id, or the sha256 of an archive; none for a folder of the app, which its commit pins.
    pub pin: Option<String>,
}

/// What a line of a list stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Named {
    Buildpack(Buildpack),
    /// One of Heroku's own, whose language is built here without it.
    Ours(Language),
}

impl Buildpack {
    /// Checks a source as it is typed, for who keeps a list of them.
    pub fn check(source: &str) -> Result<(), String> {
        named(source).map(drop)
    }

    /// It has to be fetched before it can run.
    pub fn is_elsewhere(&self) -> bool {
        !matches!(self, Self::Inline { .. })
    }
}

impl std::fmt::Display for Buildpack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Git { url, reference: None } | Self::Archive { url } => f.write_str(url),
            Self::Git { url, reference: Some(reference) } => write!(f, "{url}#{reference}"),
            Self::Inline { folder } => write!(f, "./{folder}"),
        }
    }
}

/// Reads one source; the error says what to write instead.
pub(crate) fn named(source: &str) -> Result<Named, String> {
    let source = source.trim();
    let shown = excerpt(source);
    if source.is_empty() || source.len() > SOURCE_BYTES_MAX || source.chars().any(|c| is_invisible(c) || c == ' ') {
        return Err(format!("`{shown}` is no buildpack: write an https address, or `./FOLDER` for one inside the app"));
    }
    if let Some(rest) = source.strip_prefix("https://") {
        return remote(source, rest).map(Named::Buildpack);
    }
    if source == "." || source.starts_with("./") {
        return inline(source).map(Named::Buildpack);
    }
    if source.contains("://") || source.starts_with("git@") {
        return Err(format!("`{shown}` is not fetched: buildpacks come by https alone, write `https://…`"));
    }
    by_name(source)
}

fn remote(source: &str, rest: &str) -> Result<Buildpack, String> {
    let shown = excerpt(source);
    let (place, reference) = match rest.split_once('#') {
        Some((place, reference)) => (place, Some(reference)),
        None => (rest, None),
    };
    let (host, path) = place.split_once('/').unwrap_or((place, ""));
    let is_host_char = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
    if host.is_empty() || path.is_empty() || !host.chars().all(is_host_char) {
        return Err(format!(
            "`{shown}` is no address of a buildpack: write it like https://HOST/PATH, without a user or a password"
        ));
    }
    if !path.chars().all(|c| c.is_ascii_graphic() && !"\"'<>\\^`{|}".contains(c)) {
        return Err(format!("`{shown}` holds a character that an address cannot have: write it as %XX"));
    }
    let url = format!("https://{place}");
    let path = path.split('?').next().unwrap_or_default();
    if ending(path) == "tgz" || path.ends_with(".tar.gz") {
        return match reference {
            None => Ok(Buildpack::Archive { url }),
            Some(_) => Err(format!("`{shown}` is an archive, which has no branches: remove `#` and what follows")),
        };
    }
    match reference {
        None => Ok(Buildpack::Git { url, reference: None }),
        Some(reference) if is_reference(reference) => Ok(Buildpack::Git { url, reference: Some(reference.to_owned()) }),
        Some(_) => Err(format!("`{shown}`: write a branch, a tag or a commit's whole id behind `#`")),
    }
}

/// What git takes for the name of a branch or tag, as far as it matters here.
fn is_reference(text: &str) -> bool {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || "._/-+".contains(c);
    !text.is_empty() && text.len() <= 200 && text.chars().all(is_fine) && !text.contains("..") && !text.starts_with('-')
}

fn inline(source: &str) -> Result<Buildpack, String> {
    let folder = source.trim_start_matches('.').trim_matches('/');
    let is_plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.starts_with('-');
    let is_fine = |c: char| c.is_ascii_alphanumeric() || "._/-+@".contains(c);
    let stays_inside = folder.split('/').all(is_plain) && folder.chars().all(is_fine);
    if !(folder.is_empty() || stays_inside) {
        return Err(format!("`{}` is no folder of the app: write it like ./buildpack", excerpt(source)));
    }
    Ok(Buildpack::Inline { folder: folder.to_owned() })
}

/// Heroku's short names. A name that we do not stand for is never guessed at.
fn by_name(source: &str) -> Result<Named, String> {
    let shown = excerpt(source);
    let name = source.strip_prefix("heroku/").or_else(|| source.strip_prefix("heroku-community/")).unwrap_or(source);
    if name == "inline" {
        return Ok(Named::Buildpack(Buildpack::Inline { folder: String::new() }));
    }
    if let Some(language) = classic::stands_for(name).filter(|_| !source.starts_with("heroku-community/")) {
        return Ok(Named::Ours(language));
    }
    let known: Vec<String> = classic::names().map(|name| format!("heroku/{name}")).collect();
    Err(format!(
        "`{shown}` is a name of Heroku's registry, which is not asked here: write the buildpack's https address (built without one: {})",
        known.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(url: &str, reference: Option<&str>) -> Named {
        Named::Buildpack(Buildpack::Git { url: url.to_owned(), reference: reference.map(str::to_owned) })
    }

    #[test]
    fn sources_are_told_apart() {
        assert_eq!(named("https://a.example/b.git").unwrap(), git("https://a.example/b.git", None));
        assert_eq!(named(" https://a.example/b#v1/x ").unwrap(), git("https://a.example/b", Some("v1/x")));
        let archive = Buildpack::Archive { url: "https://a.example:8443/b.tgz?x=1".to_owned() };
        assert_eq!(named("https://a.example:8443/b.tgz?x=1").unwrap(), Named::Buildpack(archive));
        for (source, folder) in [(".", ""), ("./", ""), ("./a/b/", "a/b"), ("heroku-community/inline", "")] {
            assert_eq!(named(source).unwrap(), Named::Buildpack(Buildpack::Inline { folder: folder.to_owned() }));
        }
        assert_eq!(named("heroku/nodejs").unwrap(), Named::Ours(Language::Node));
    }

    #[test]
    fn what_is_no_source_is_told_what_to_write() {
        for (source, words) in [
            ("", "is no buildpack"),
            ("a b", "is no buildpack"),
            ("http://a.example/b", "by https alone"),
            ("git@a.example:b", "by https alone"),
            ("https://u:p@a.example/b", "without a user or a password"),
            ("https://a.example", "no address"),
            ("https://a.example/b#a..b", "a branch, a tag"),
            ("https://a.example/b.tgz#v1", "has no branches"),
            ("https://a.example/b\"", "write it as %XX"),
            ("./../b", "no folder of the app"),
            ("./a//b", "no folder of the app"),
            ("heroku/clojure", "write the buildpack's https address (built without one: heroku/go, "),
            ("heroku-community/nodejs", "write the buildpack's https address"),
        ] {
            let shown = named(source).unwrap_err();
            assert!(shown.contains(words), "{source}: {shown}");
        }
    }
}
