//! Which programs a package or workspace has, read from its Cargo.toml files as cargo reads them.

use toml::{Table, Value};

use crate::PlanError;
use crate::members::matches_folder;
use crate::tree::{SourceTree, config_text, has};
use crate::versions::parse_toml;

const MANIFEST: &str = "Cargo.toml";

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) name: String,
    /// The package it is built from.
    pub(super) package: String,
    /// Where that stands; empty for the root.
    pub(super) folder: String,
}

#[derive(Debug)]
pub(super) struct Found {
    pub(super) programs: Vec<Program>,
    /// `default-run` of the package that has one.
    pub(super) default_run: Option<String>,
    /// One of the packages depends on Rocket by name.
    pub(super) names_rocket: bool,
}

/// The programs of the root package; where it has none, those of the workspace's (default) members.
pub(super) fn find(tree: &dyn SourceTree) -> Result<Found, PlanError> {
    let root = read(tree, MANIFEST)?.unwrap_or_default();
    let mut found = Found { programs: Vec::new(), default_run: None, names_rocket: false };
    if let Some(package) = root.get("package") {
        found.add(tree, "", &root, package)?;
    }
    let Some(Value::Table(workspace)) = root.get("workspace").filter(|_| found.programs.is_empty()) else {
        return found.checked();
    };
    let key = if workspace.contains_key("default-members") { "default-members" } else { "members" };
    let (members, left_out) = (texts(workspace, key), texts(workspace, "exclude"));
    for folder in packages(tree) {
        let is_named = |patterns: &[&str]| patterns.iter().any(|pattern| matches_folder(pattern, &folder));
        if !is_named(&members) || is_named(&left_out) {
            continue;
        }
        let manifest = read(tree, &format!("{folder}/{MANIFEST}"))?.unwrap_or_default();
        if let Some(package) = manifest.get("package") {
            found.add(tree, &folder, &manifest, package)?;
        }
    }
    found.checked()
}

impl Found {
    fn add(&mut self, tree: &dyn SourceTree, folder: &str, manifest: &Table, package: &Value) -> Result<(), PlanError> {
        let file = joined(folder, MANIFEST);
        let Some(name) = package.get("name").and_then(Value::as_str) else {
            let reason = "[package] has no name: add `name = \"app\"`".to_owned();
            return Err(PlanError::Manifest { file, line: 1, reason });
        };
        if let Some(program) = package.get("default-run").and_then(Value::as_str) {
            self.default_run.get_or_insert_with(|| program.to_owned());
        }
        let dependencies = manifest.get("dependencies").and_then(Value::as_table);
        self.names_rocket |= dependencies.is_some_and(|all| all.contains_key("rocket"));
        let finds_itself = package.get("autobins").and_then(Value::as_bool) != Some(false);
        for program in programs_of(tree, folder, manifest, name, finds_itself) {
            self.programs.push(Program { name: program, package: name.to_owned(), folder: folder.to_owned() });
        }
        Ok(())
    }

    fn checked(self) -> Result<Self, PlanError> {
        if self.programs.is_empty() {
            return Err(PlanError::Unclear(
                "Cargo.toml builds no program: there is no src/main.rs, no src/bin and no [[bin]], here or in a member of the workspace; add src/main.rs, or a Dockerfile".to_owned(),
            ));
        }
        let missing = self.default_run.as_ref().filter(|name| !self.programs.iter().any(|one| one.name == **name));
        match missing {
            Some(name) => Err(PlanError::Unclear(format!(
                "Cargo.toml has `default-run = \"{}\"`, and there is no program of that name: correct it, or add src/bin/{0}.rs",
                crate::text::excerpt(name)
            ))),
            None => Ok(self),
        }
    }
}

/// Declared programs, then those cargo finds by itself.
fn programs_of(
    tree: &dyn SourceTree,
    folder: &str,
    manifest: &Table,
    package: &str,
    finds_itself: bool,
) -> Vec<String> {
    let declared: Vec<&Table> = match manifest.get("bin") {
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_table).collect(),
        Some(_) | None => Vec::new(),
    };
    let text = |table: &Table, key: &str| table.get(key).and_then(Value::as_str).map(str::to_owned);
    let is_plain = |table: &&&Table| !table.contains_key("required-features");
    let mut names: Vec<String> = declared.iter().filter(is_plain).filter_map(|table| text(table, "name")).collect();
    if !finds_itself {
        return names;
    }
    let taken: Vec<String> = declared.iter().filter_map(|table| text(table, "path")).collect();
    let is_free = |path: &str| !taken.iter().any(|other| other.trim_start_matches("./") == path);
    let mut found = Vec::new();
    if has(tree, &joined(folder, "src/main.rs")) && is_free("src/main.rs") {
        found.push(package.to_owned());
    }
    let below = joined(folder, "src/bin/");
    let files = tree.files().iter().filter_map(|file| file.path.strip_prefix(&below));
    let in_bin = files.filter(|path| is_free(&format!("src/bin/{path}")));
    found.extend(in_bin.filter_map(|path| {
        let name = path.strip_suffix("/main.rs").or_else(|| path.strip_suffix(".rs"))?;
        (!name.contains('/')).then(|| name.to_owned())
    }));
    let all_declared: Vec<String> = declared.iter().filter_map(|table| text(table, "name")).collect();
    names.extend(found.into_iter().filter(|name| !all_declared.contains(name)));
    names
}

fn read(tree: &dyn SourceTree, path: &str) -> Result<Option<Table>, PlanError> {
    config_text(tree, path)?.map(|text| parse_toml(path, &text)).transpose()
}

fn texts<'a>(table: &'a Table, key: &str) -> Vec<&'a str> {
    let list = table.get(key).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The folders below the root that hold a Cargo.toml.
fn packages(tree: &dyn SourceTree) -> Vec<String> {
    let folders = tree.files().iter().filter_map(|file| file.path.strip_suffix("/Cargo.toml"));
    folders.map(str::to_owned).collect()
}

fn joined(folder: &str, file: &str) -> String {
    if folder.is_empty() { file.to_owned() } else { format!("{folder}/{file}") }
}
