//! From the text of paas.toml to what it says, or the sentence that names the line.

use toml::de::{DeTable, DeValue};

use super::table;
use super::{Overrides, Set};
use crate::PlanError;
use crate::aptfile;
use crate::language::Language;
use crate::languages::{node, python};
use crate::plan::is_env_name;
use crate::procfile::{COMMAND_BYTES_MAX, is_process_name};
use crate::text::{excerpt, is_invisible, nearest};
use crate::versions::toml_refused;

pub(crate) const FILE: &str = "paas.toml";

/// A value that is no table, with its path and its line.
struct Leaf<'a> {
    path: String,
    line: usize,
    value: &'a DeValue<'a>,
}

pub(super) fn parse(text: &str) -> Result<Overrides, PlanError> {
    let parsed = DeTable::parse(text).map_err(|error| toml_refused(FILE, text, &error))?;
    let mut leaves = Vec::new();
    collect(text, "", parsed.get_ref(), &mut leaves)?;
    let mut overrides = Overrides::default();
    for leaf in &leaves {
        overrides.take(leaf)?;
        overrides.set.push((leaf.path.clone(), leaf.line));
    }
    Ok(overrides)
}

/// Lists the values, and refuses the names that nobody knows.
fn collect<'a>(text: &str, section: &str, table: &'a DeTable<'a>, leaves: &mut Vec<Leaf<'a>>) -> Result<(), PlanError> {
    for (name, value) in table {
        let line = line_at(text, name.span().start);
        let name: &str = name.get_ref();
        let path = if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") };
        match value.get_ref() {
            DeValue::Table(inner) if table::is_section(&path) => collect(text, &path, inner, leaves)?,
            value if table::find(&path).is_some() => leaves.push(Leaf { path, line, value }),
            _ if table::is_section(&path) => {
                return Err(refused(line, format!("{path} is a section: write its keys below a line `[{path}]`")));
            }
            _unknown => return Err(unknown(line, section, name)),
        }
    }
    Ok(())
}

fn unknown(line: usize, section: &str, name: &str) -> PlanError {
    let known = table::below(section);
    let path = if section.is_empty() { excerpt(name) } else { format!("{section}.{}", excerpt(name)) };
    let listed = known.join(", ");
    let place = if section.is_empty() { "the sections are".to_owned() } else { format!("[{section}] has") };
    refused(
        line,
        match nearest(name, known.iter().map(String::as_str)) {
            Some(near) => {
                let key = table::find(&format!("{section}.{near}"));
                let about = key.map(|key| format!(" ({})", key.about)).unwrap_or_default();
                format!("{path} is unknown: did you mean `{near}`{about}? {place} {listed}")
            }
            None => format!("{path} is unknown: {place} {listed}"),
        },
    )
}

fn line_at(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
}

fn refused(line: usize, reason: String) -> PlanError {
    PlanError::Manifest { file: FILE.to_owned(), line, reason }
}

impl Leaf<'_> {
    fn wrong(&self, wanted: &str) -> PlanError {
        let example = table::find(&self.path).map_or("", |key| key.example);
        refused(self.line, format!("{} must be {wanted}; for example {example}", excerpt(&self.path)))
    }

    /// One line of text that a command, a version or a value may be.
    fn text(&self) -> Result<Set<String>, PlanError> {
        let text = self.value.as_str().ok_or_else(|| self.wrong("a text in quotes"))?.trim();
        if text.is_empty() || text.len() > COMMAND_BYTES_MAX {
            return Err(self.wrong(&format!("1 to {COMMAND_BYTES_MAX} bytes long")));
        }
        if text.chars().any(is_invisible) {
            return Err(self.wrong("one line without invisible characters; more belongs into a script"));
        }
        Ok(Set { value: text.to_owned(), line: self.line })
    }

    fn texts(&self) -> Result<Vec<String>, PlanError> {
        let wrong = || self.wrong("a list of texts");
        let list = self.value.as_array().ok_or_else(wrong)?;
        list.iter().map(|one| one.get_ref().as_str().map(str::to_owned).ok_or_else(wrong)).collect()
    }

    fn truth(&self) -> Result<bool, PlanError> {
        self.value.as_bool().ok_or_else(|| self.wrong("true or false"))
    }

    /// A path inside of the repository.
    fn path(&self) -> Result<Set<String>, PlanError> {
        let mut set = self.text()?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./@+".contains(c);
        let path = set.value.trim_start_matches("./").trim_end_matches('/').to_owned();
        let path = if path == "." { String::new() } else { path };
        if path.starts_with('/') || path.split('/').any(|part| part == "..") || !path.chars().all(is_plain) {
            return Err(self.wrong("a path inside of the repository, of letters, digits, `-`, `_`, `.` and `/`"));
        }
        set.value = path;
        Ok(set)
    }

    fn packages(&self) -> Result<Vec<String>, PlanError> {
        let names = self.texts()?;
        match names.iter().find(|name| !aptfile::is_package(name)) {
            Some(name) => Err(self.wrong(&format!("names of Debian's packages, and {:?} is none", excerpt(name)))),
            None => Ok(names),
        }
    }
}

impl Overrides {
    fn take(&mut self, leaf: &Leaf<'_>) -> Result<(), PlanError> {
        let name = leaf.path.rsplit_once('.').map_or(leaf.path.as_str(), |(_, name)| name).to_owned();
        match leaf.path.as_str() {
            "build.language" => self.language = Some(language(leaf)?),
            // Read before the planning begins: it says which tree is planned.
            "build.root" => drop(leaf.text()?),
            "build.dockerfile" => self.dockerfile = Some(leaf.path()?),
            "build.args" => self.args = names(leaf)?,
            "build.install" => self.install = Some(leaf.text()?),
            "build.command" => self.command = Some(leaf.text()?),
            "apt.packages" => self.packages.both = leaf.packages()?,
            "apt.build" => self.packages.build = leaf.packages()?,
            "apt.run" => self.packages.run = leaf.packages()?,
            "pages.root" => self.root = Some(leaf.path()?),
            "pages.pushstate" => self.pushstate = Some(leaf.truth()?),
            path if path.starts_with("build.env.") => {
                if !is_env_name(&name) {
                    return Err(leaf.wrong("named as a variable can be: letters, digits and `_`, and not PATH or HOME"));
                }
                self.env.insert(name, leaf.text()?.value);
            }
            path if path.starts_with("versions.") => {
                check_tool(leaf, &name)?;
                self.versions.insert(name, leaf.text()?);
            }
            // What is left of the table.
            _processes => {
                if !is_process_name(&name) {
                    return Err(leaf.wrong("named as a process can be: letters, digits, `-` and `_`, a letter first"));
                }
                self.processes.insert(name, leaf.text()?);
            }
        }
        Ok(())
    }
}

fn language(leaf: &Leaf<'_>) -> Result<Set<Language>, PlanError> {
    let Set { value, line } = leaf.text()?;
    let id = value.to_ascii_lowercase();
    if let Some(language) = Language::ALL.iter().find(|language| language.id() == id) {
        return Ok(Set { value: *language, line });
    }
    let ids: Vec<&str> = Language::ALL.iter().map(|language| language.id()).collect();
    let near = nearest(&id, ids.iter().copied()).map(|near| format!(", perhaps `{near}`")).unwrap_or_default();
    Err(leaf.wrong(&format!("one of {}{near}", ids.join(", "))))
}

fn names(leaf: &Leaf<'_>) -> Result<Vec<String>, PlanError> {
    let names = leaf.texts()?;
    match names.iter().find(|name| !is_env_name(name)) {
        Some(name) => Err(leaf.wrong(&format!("names of variables, and {:?} is none", excerpt(name)))),
        None => Ok(names),
    }
}

/// `versions.` names a language or a manager; an exact version is wanted of the latter.
fn check_tool(leaf: &Leaf<'_>, name: &str) -> Result<(), PlanError> {
    let with_versions = Language::ALL.iter().map(|language| language.rules().about());
    let languages = with_versions.filter(|about| !about.versions.is_empty()).map(|about| about.id.as_str());
    let managers = || node::VERSIONED_MANAGERS.into_iter().chain(python::VERSIONED_MANAGERS);
    let known: Vec<&str> = languages.chain(managers()).collect();
    if !known.contains(&name) {
        let near = nearest(name, known.iter().copied()).map(|near| format!("did you mean `{near}`? "));
        let reason = format!(
            "versions.{} is unknown: {}versions can be given for {}",
            excerpt(name),
            near.unwrap_or_default(),
            known.join(", ")
        );
        return Err(refused(leaf.line, reason));
    }
    let version = leaf.text()?.value;
    let is_exact = version.starts_with(|c: char| c.is_ascii_digit())
        && version.contains('.')
        && version.chars().all(|c| c.is_ascii_alphanumeric() || ".-".contains(c));
    if managers().any(|manager| manager == name) && !is_exact {
        return Err(leaf.wrong("an exact version of the manager, such as \"9.15.9\""));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_read() {
        let overrides = parse(
            "[build]\nlanguage = 'Node'\ninstall = \"npm ci\"\ncommand = \"npm run b\"\nargs = [\"TOKEN\"]\ndockerfile = \"./a/Dockerfile\"\n\
             [build.env]\nA = 'b c'\n[versions]\nnode = '22'\npnpm = '9.1.0'\n[processes]\nweb = 'node x'\n\
             [apt]\npackages = ['a1']\nbuild = ['libb-dev']\nrun = ['c2=1.0']\n[pages]\nroot = 'dist/'\npushstate = true\n",
        )
        .unwrap();
        assert_eq!(overrides.language, Some(Set { value: Language::Node, line: 2 }));
        assert_eq!(overrides.dockerfile.as_ref().unwrap().value, "a/Dockerfile");
        assert_eq!(overrides.command, Some(Set { value: "npm run b".to_owned(), line: 4 }));
        assert_eq!((overrides.args.as_slice(), &overrides.env["A"]), (&["TOKEN".to_owned()][..], &"b c".to_owned()));
        assert_eq!(overrides.version_of("pnpm"), Some("9.1.0"));
        assert_eq!(overrides.processes["web"], Set { value: "node x".to_owned(), line: 13 });
        assert_eq!(overrides.packages.run, ["c2=1.0"]);
        assert_eq!((overrides.root.as_ref().unwrap().value.as_str(), overrides.pushstate), ("dist", Some(true)));
        assert!(overrides.note().unwrap().contains("build.command (line 4), "));
        assert_eq!(parse("").unwrap(), Overrides::default());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line_and_the_nearest_name() {
        for (text, words) in [
            (
                "[build]\ncomand = 'x'\n",
                "line 2: build.comand is unknown: did you mean `command` (the command that builds the app",
            ),
            ("[bild]\ncommand = 'x'\n", "line 1: bild is unknown: did you mean `build`? the sections are build,"),
            ("[checks]\npath = '/'\n", "line 1: checks is unknown: the sections are build, versions,"),
            ("build = 3\n", "line 1: build is a section"),
            (
                "[build]\n\ncommand = 3\n",
                "line 3: build.command must be a text in quotes; for example \"npm run build:prod\"",
            ),
            ("[build]\ncommand = ''\n", "must be 1 to 4096 bytes long"),
            ("[build]\ncommand = \"a\\nb\"\n", "must be one line"),
            ("[build]\nlanguage = 'nod'\n", "must be one of dockerfile, go, "),
            ("[build]\nlanguage = 'pyton'\n", "perhaps `python`"),
            ("[build]\nargs = 'x'\n", "build.args must be a list of texts"),
            ("[build]\nargs = ['a b']\n", "\"a b\" is none"),
            ("[build]\ndockerfile = '../x'\n", "must be a path inside"),
            ("[build.env]\nPATH = 'x'\n", "line 2: build.env.PATH must be named"),
            ("[versions]\nnodejs = '22'\n", "did you mean `node`?"),
            ("[versions]\nnode = 22\n", "line 2: versions.node must be a text"),
            ("[versions]\npnpm = '9'\n", "an exact version of the manager"),
            ("[processes]\n'a b' = 'x'\n", "must be named as a process"),
            ("[apt]\npackages = ['a;b']\n", "\"a;b\" is none"),
            ("[pages]\npushstate = 'yes'\n", "must be true or false"),
            ("[build\n", "line 1: "),
            ("[build]\ncommand = 'a'\ncommand = 'b'\n", "line 3: "),
        ] {
            let shown = parse(text).unwrap_err().to_string();
            assert!(shown.starts_with("paas.toml line ") && shown.contains(words), "{text}: {shown}");
        }
    }
}
