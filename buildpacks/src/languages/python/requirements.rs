//! requirements.txt: not to install it, but to know which files it reads and what it asks for.

use std::collections::BTreeSet;

use super::manager::names_of;
use crate::PlanError;
use crate::text::excerpt;
use crate::tree::{SourceTree, config_text};

pub(super) const REQUIREMENTS: &str = "requirements.txt";

/// Files that include files that include files.
const FILES_MAX: usize = 50;

#[derive(Debug, Default)]
pub(super) struct Requirements {
    /// Every file that pip reads, requirements.txt first.
    pub(super) files: Vec<String>,
    /// Normalised project names.
    projects: BTreeSet<String>,
    /// A line installs a folder of the app itself.
    pub(super) needs_source: bool,
    /// The variables that lines name: `${TOKEN}`.
    pub(super) named_vars: BTreeSet<String>,
}

impl Requirements {
    pub(super) fn read(tree: &dyn SourceTree) -> Result<Self, PlanError> {
        let mut found = Self { files: vec![REQUIREMENTS.to_owned()], ..Self::default() };
        let mut at = 0;
        while let Some(file) = found.files.get(at).cloned() {
            let text = config_text(tree, &file)?.unwrap_or_default();
            for (number, line) in text.lines().enumerate() {
                found.read_line(tree, &file, number + 1, line)?;
            }
            at += 1;
        }
        Ok(found)
    }

    pub(super) fn projects(&self) -> impl Iterator<Item = &str> {
        self.projects.iter().map(String::as_str)
    }

    /// Nothing to install at all.
    pub(super) fn is_empty(&self) -> bool {
        self.projects.is_empty() && !self.needs_source
    }

    fn read_line(&mut self, tree: &dyn SourceTree, file: &str, number: usize, line: &str) -> Result<(), PlanError> {
        let line = without_comment(line).trim();
        self.named_vars.extend(vars(line));
        if line.is_empty() {
            return Ok(());
        }
        if let Some(path) = included(line) {
            return self.include(tree, file, number, path);
        }
        if is_local(line) {
            self.needs_source = true;
        } else if !line.starts_with('-') {
            self.projects.extend(names_of(line));
        }
        Ok(())
    }

    fn include(&mut self, tree: &dyn SourceTree, file: &str, number: usize, path: &str) -> Result<(), PlanError> {
        if path.contains("://") {
            return Ok(());
        }
        let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
        let whole = joined(folder, path);
        let missing =
            || PlanError::RequirementsInclude { file: file.to_owned(), line: number, included: excerpt(path) };
        let whole = whole.ok_or_else(missing)?;
        config_text(tree, &whole)?.ok_or_else(missing)?;
        // A name that a mount could misread: pip gets the whole tree instead.
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        if !whole.chars().all(is_plain) || self.files.len() == FILES_MAX {
            self.needs_source = true;
        } else if !self.files.contains(&whole) {
            self.files.push(whole);
        }
        Ok(())
    }
}

/// pip's comments begin at the line's start or behind a space.
fn without_comment(line: &str) -> &str {
    if line.starts_with('#') {
        return "";
    }
    line.find(" #").map_or(line, |at| &line[..at])
}

fn included(line: &str) -> Option<&str> {
    ["--requirement", "--constraint", "-r", "-c"]
        .into_iter()
        .find_map(|option| line.strip_prefix(option))
        .map(|rest| rest.trim_start_matches(['=', ' ', '\t']))
        .filter(|path| !path.is_empty())
}

/// A path, or something editable: it may well be the app itself.
fn is_local(line: &str) -> bool {
    ["-e", "--editable", ".", "/", "file:"].iter().any(|start| line.starts_with(start))
        || line.contains("@ file:")
        || line.contains(".whl")
}

/// `Flask[async]>=3` is `flask`, as PEP 503 has it.
pub(super) fn project_name(line: &str) -> String {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let end = line.find(|c| !is_name(c)).unwrap_or(line.len());
    line[..end].to_ascii_lowercase().replace(['_', '.'], "-")
}

fn vars(line: &str) -> Vec<String> {
    let parts = line.split("${").skip(1);
    let names = parts.filter_map(|part| part.split_once('}'));
    names.map(|(name, _)| name.to_owned()).collect()
}

/// A path below `folder`, or nothing when it leaves the tree.
fn joined(folder: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    if path.starts_with('/') {
        return None;
    }
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryTree;

    #[test]
    fn projects_and_included_files_are_found() {
        let tree = MemoryTree::new()
            .file(
                REQUIREMENTS,
                "# ours\nFlask[async]>=3 # web\n-r more/base.txt\n--index-url https://u:${PIP_TOKEN}@x/\nmy_Pkg.x==1\n",
            )
            .file("more/base.txt", "-c ../constraints.txt\r\ngunicorn\r\n")
            .file("constraints.txt", "a<1\n");
        let found = Requirements::read(&tree).unwrap();
        assert_eq!(found.files, [REQUIREMENTS, "more/base.txt", "constraints.txt"]);
        for project in ["flask", "gunicorn", "my-pkg-x"] {
            assert!(found.projects().any(|other| other == project), "{project}");
        }
        assert!(!found.needs_source);
        assert!(found.named_vars.contains("PIP_TOKEN"));
    }

    #[test]
    fn an_included_file_that_is_absent_is_named_with_its_line() {
        for path in ["absent.txt", "../outside.txt", "/etc/passwd"] {
            let tree = MemoryTree::new().file(REQUIREMENTS, format!("a\n-r {path}\n"));
            let shown = Requirements::read(&tree).unwrap_err().to_string();
            assert!(shown.starts_with(&format!("requirements.txt line 2: {path}")), "{shown}");
        }
    }

    #[test]
    fn a_local_package_needs_the_source() {
        for line in ["-e .", ".", "./lib", "a @ file:lib", "wheels/a.whl"] {
            let tree = MemoryTree::new().file(REQUIREMENTS, line);
            assert!(Requirements::read(&tree).unwrap().needs_source, "{line}");
        }
    }
}
