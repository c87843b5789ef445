//! Which modules a tree has, and which of their packages become programs.

use crate::PlanError;
use crate::tree::{SourceTree, config_text, ending, has};

/// So many folders are looked into for a main package where the usual places have none.
const FOLDERS_MAX: usize = 100;

/// What a program is called that nothing names.
const BARE: &str = "app";

pub(super) struct Module {
    /// From the root of the tree; empty for the root itself.
    folder: String,
    /// The module's path, as its `module` line has it.
    pub(super) name: String,
    pub(super) requires: Vec<String>,
    /// Some module is replaced by a folder, and needs no sum.
    pub(super) has_replacements: bool,
    /// Heroku's `// +heroku install`: the packages to build.
    install: Vec<String>,
}

/// A package that becomes a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Main {
    pub(super) name: String,
    pub(super) folder: String,
    /// It stands at the root of its module.
    pub(super) is_root: bool,
}

impl Module {
    pub(super) fn path_of(&self, file: &str) -> String {
        joined(&self.folder, file)
    }
}

/// The module at the root, or those that go.work uses.
pub(super) fn modules(tree: &dyn SourceTree) -> Result<Vec<Module>, PlanError> {
    let Some(work) = config_text(tree, "go.work")? else {
        let is_bare = !has(tree, "go.mod");
        return Ok(vec![if is_bare { bare(tree)? } else { module(tree, String::new(), None)? }]);
    };
    let mut found = Vec::new();
    for (line, words) in directives(&work, "use") {
        let Some(path) = words.first() else { continue };
        let path = path.trim_matches('"').trim_start_matches("./").trim_matches('/');
        let folder = if path == "." { String::new() } else { path.to_owned() };
        found.push(module(tree, folder, Some(line))?);
    }
    if found.is_empty() {
        let reason = "no module is used: add a line such as `use ./server`".to_owned();
        return Err(PlanError::Manifest { file: "go.work".to_owned(), line: 1, reason });
    }
    Ok(found)
}

fn module(tree: &dyn SourceTree, folder: String, used_on: Option<usize>) -> Result<Module, PlanError> {
    let file = joined(&folder, "go.mod");
    let Some(text) = config_text(tree, &file)? else {
        let reason = format!("{file} is not in the commit: add it (`git add {file}`) or remove the line");
        return Err(PlanError::Manifest { file: "go.work".to_owned(), line: used_on.unwrap_or(1), reason });
    };
    let name = directives(&text, "module").into_iter().next().and_then(|(_, words)| words.into_iter().next());
    let Some(name) = name else {
        let reason = "there is no `module` line: write one, for example `module example.com/app`".to_owned();
        return Err(PlanError::Manifest { file, line: 1, reason });
    };
    let requires = directives(&text, "require").into_iter().filter_map(|(_, words)| words.into_iter().next());
    let replaced = directives(&text, "replace").into_iter();
    let install = text.lines().filter_map(|line| line.trim().strip_prefix("// +heroku install"));
    Ok(Module {
        name: name.trim_matches('"').to_owned(),
        requires: requires.collect(),
        has_replacements: replaced.map(|(_, words)| words).any(|words| words.iter().any(|word| word.starts_with('.'))),
        install: install.flat_map(str::split_whitespace).map(str::to_owned).collect(),
        folder,
    })
}

/// Files without a go.mod, from the days before modules or of a first try: they build as long as they import nothing.
fn bare(tree: &dyn SourceTree) -> Result<Module, PlanError> {
    for file in tree.files().iter().filter(|file| !file.path.contains('/') && ending(&file.path) == "go") {
        let text = config_text(tree, &file.path)?.unwrap_or_default();
        let imported = directives(&text, "import").into_iter();
        let paths = imported.filter_map(|(line, words)| Some((line, words.last()?.trim_matches('"').to_owned())));
        // What is not Go's own begins with a host: `github.com/…`.
        let is_foreign = |path: &str| path.split('/').next().is_some_and(|host| host.contains('.'));
        if let Some((line, path)) = paths.into_iter().find(|(_, path)| is_foreign(path)) {
            let reason = format!(
                "{} is imported, and there is no go.mod to say which version: run `go mod init example.com/app`, then `go mod tidy`, `git add go.mod go.sum` and commit",
                crate::text::excerpt(&path)
            );
            return Err(PlanError::Manifest { file: file.path.clone(), line, reason });
        }
    }
    // godep's file with the package's path.
    let godir = config_text(tree, ".godir")?.unwrap_or_default();
    let is_plain =
        |name: &&str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    let name = godir.trim().rsplit('/').next().filter(is_plain).unwrap_or(BARE);
    Ok(Module {
        name: name.to_owned(),
        requires: Vec::new(),
        has_replacements: false,
        install: Vec::new(),
        folder: String::new(),
    })
}

/// Whether a program stands at the root without a go.mod, and the file that says so.
pub(super) fn bare_program(tree: &dyn SourceTree) -> Option<String> {
    if !is_main(tree, "") {
        return None;
    }
    let roots = tree.files().iter().filter(|file| !file.path.contains('/') && ending(&file.path) == "go");
    roots.map(|file| file.path.clone()).next()
}

/// The lines of a directive, alone or in a block of parentheses, as words without the directive.
fn directives(text: &str, directive: &str) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    let mut is_inside = false;
    for (at, line) in text.lines().enumerate() {
        let line = line.split("//").next().unwrap_or_default().trim();
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        if is_inside {
            is_inside = line != ")";
            if is_inside && !line.is_empty() {
                found.push((at + 1, words(line)));
            }
        } else if let Some(rest) = line.strip_prefix(directive)
            && rest.starts_with([' ', '\t', '('])
        {
            is_inside = rest.trim() == "(";
            if !is_inside {
                found.push((at + 1, words(rest)));
            }
        }
    }
    found
}

/// Every main package of the usual places: a module's root and what lies in its `cmd`; else anywhere near the root.
pub(super) fn find(tree: &dyn SourceTree, modules: &[Module]) -> Result<Vec<Main>, PlanError> {
    let mut found = Vec::new();
    for module in modules {
        found.extend(usual(tree, module));
    }
    if found.is_empty() {
        found = elsewhere(tree);
    }
    let mut names: Vec<&str> = found.iter().map(|main| main.name.as_str()).collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        let folders = found.iter().filter(|main| main.name == twice[0]).map(|main| shown(&main.folder));
        return Err(PlanError::Unclear(format!(
            "two programs would be called bin/{}: {}; rename one of the folders",
            twice[0],
            folders.collect::<Vec<_>>().join(" and ")
        )));
    }
    if found.is_empty() {
        return Err(PlanError::Unclear(
            "no `package main` was found at the root, in cmd/* or in a folder near the root: move the program to cmd/NAME/main.go, or add a Dockerfile".to_owned(),
        ));
    }
    Ok(found)
}

fn usual(tree: &dyn SourceTree, module: &Module) -> Vec<Main> {
    let mut found = Vec::new();
    if is_main(tree, &module.folder) {
        let parts = module.name.split('/').rev();
        let is_version = |part: &&str| {
            part.strip_prefix('v').is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
        };
        let name = parts.into_iter().find(|part| !is_version(part)).unwrap_or("app").to_owned();
        found.push(Main { name, folder: module.folder.clone(), is_root: true });
    }
    let cmd = module.path_of("cmd");
    let below = folders(tree).into_iter().filter(|folder| {
        folder.strip_prefix(&format!("{cmd}/")).is_some_and(|name| !name.contains('/')) && is_main(tree, folder)
    });
    found.extend(below.map(|folder| main_in(&folder)));
    if !module.install.is_empty() {
        found.retain(|main| module.install.iter().any(|pattern| matches(pattern, &main.folder)));
    }
    found
}

/// Go's package patterns, as Heroku's comment has them: `.`, `./cmd/web`, `./cmd/...`.
fn matches(pattern: &str, folder: &str) -> bool {
    let pattern = pattern.trim_start_matches("./");
    match pattern.strip_suffix("...") {
        Some(prefix) => folder.starts_with(prefix.trim_end_matches('/')),
        None => folder == pattern || (folder.is_empty() && pattern == "."),
    }
}

fn elsewhere(tree: &dyn SourceTree) -> Vec<Main> {
    let is_aside = |folder: &String| {
        let aside = ["vendor", "testdata", "examples", "example", "internal", "tools", "scripts"];
        let is_hidden = |part: &str| part.starts_with(['.', '_']) || aside.contains(&part);
        folder.split('/').any(is_hidden) || folder.matches('/').count() > 2
    };
    let near = folders(tree).into_iter().filter(|folder| !is_aside(folder) && has(tree, &joined(folder, "main.go")));
    near.take(FOLDERS_MAX).filter(|folder| is_main(tree, folder)).map(|folder| main_in(&folder)).collect()
}

fn main_in(folder: &str) -> Main {
    let name = folder.rsplit('/').next().unwrap_or(folder).to_owned();
    Main { name, folder: folder.to_owned(), is_root: false }
}

/// The folders that hold Go files, in order.
fn folders(tree: &dyn SourceTree) -> Vec<String> {
    let files = tree.files().iter().filter(|file| ending(&file.path) == "go");
    let mut all: Vec<String> = files.filter_map(|file| Some(file.path.rsplit_once('/')?.0.to_owned())).collect();
    all.dedup();
    all.sort();
    all.dedup();
    all
}

/// Whether the Go files right in a folder are a program's. The first that is built says so for all of them.
fn is_main(tree: &dyn SourceTree, folder: &str) -> bool {
    let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let files = tree.files();
    let from = files.partition_point(|file| file.path.as_str() < prefix.as_str());
    let below = files[from..].iter().take_while(|file| file.path.starts_with(&prefix));
    let mut sources = below.filter(|file| {
        let name = &file.path[prefix.len()..];
        !name.contains('/') && ending(name) == "go" && !name.ends_with("_test.go") && !name.starts_with(['_', '.'])
    });
    sources.find_map(|file| package_of(&tree.read(&file.path)?)).is_some_and(|package| package == "main")
}

/// The package clause of a file, unless the file is left out of every build.
fn package_of(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    for line in text.lines() {
        if line.starts_with("//go:build ignore") || line.starts_with("// +build ignore") {
            return None;
        }
        if let Some(name) = line.strip_prefix("package ") {
            return Some(name.split_whitespace().next().unwrap_or_default().to_owned());
        }
    }
    None
}

fn joined(folder: &str, file: &str) -> String {
    if folder.is_empty() { file.to_owned() } else { format!("{folder}/{file}") }
}

fn shown(folder: &str) -> &str {
    if folder.is_empty() { "the root" } else { folder }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_read_alone_and_in_blocks() {
        let text = "module x // y\nrequire a v1\nrequire (\n\tb v2 // indirect\n\n\tc v3\n)\nrequirex d\n";
        let names: Vec<(usize, String)> =
            directives(text, "require").into_iter().map(|(line, words)| (line, words[0].clone())).collect();
        assert_eq!(names, [(2, "a".to_owned()), (4, "b".to_owned()), (6, "c".to_owned())]);
    }

    #[test]
    fn a_package_clause_counts_only_where_the_file_is_built() {
        assert_eq!(package_of(b"// x\n\npackage main\n").as_deref(), Some("main"));
        assert_eq!(package_of(b"//go:build ignore\n\npackage main\n"), None);
        assert_eq!(package_of(b"package shop // import\n").as_deref(), Some("shop"));
    }
}
