//! Which manager installs an app's packages, what it reads, and its command.

use std::collections::BTreeSet;

use toml::{Table, Value};

use super::VENV;
use super::requirements::{REQUIREMENTS, Requirements, project_name};
use crate::PlanError;
use crate::command;
use crate::tree::{SourceTree, config_file, config_text, entry, has, has_folder};
use crate::versions::parse_toml;

const PROJECT: &str = "pyproject.toml";

/// A longer lockfile is not searched for the names of packages.
const LOCK_BYTES_MAX: u64 = 8 * 1024 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// requirements.txt, by pip.
    Requirements,
    Uv,
    Poetry,
    Pipenv,
    Pdm,
    /// pyproject.toml without a lockfile, by uv.
    Project,
    /// setup.py alone.
    Setup,
    /// Nothing to install.
    Bare,
}

const LOCKS: [(&str, Kind); 4] =
    [("uv.lock", Kind::Uv), ("poetry.lock", Kind::Poetry), ("Pipfile.lock", Kind::Pipenv), ("pdm.lock", Kind::Pdm)];

#[derive(Debug)]
pub(super) struct Install {
    pub(super) kind: Kind,
    /// The file that decided, for sentences.
    pub(super) file: &'static str,
    /// Every file that the manager reads.
    pub(super) files: Vec<String>,
    /// Why it has to see the app's own files, when it has to.
    pub(super) needs_source: Option<&'static str>,
    pub(super) is_locked: bool,
    /// The command that installs, where paas.toml has one.
    custom: Option<String>,
    pub(super) named_vars: BTreeSet<String>,
    /// What the project calls itself.
    pub(super) project: Option<String>,
    /// The one program that the app installs of itself.
    pub(super) program: Option<String>,
    /// Normalised names of the projects that are installed, as far as they are told.
    projects: BTreeSet<String>,
}

impl Install {
    pub(super) fn decide(tree: &dyn SourceTree) -> Result<Self, PlanError> {
        if has(tree, REQUIREMENTS) {
            return Self::from_requirements(tree);
        }
        let project = config_text(tree, PROJECT)?.map(|text| parse_toml(PROJECT, &text)).transpose()?;
        let project = project.unwrap_or_default();
        let locks: Vec<(&str, Kind)> = LOCKS.into_iter().filter(|(file, _)| has(tree, file)).collect();
        match locks.as_slice() {
            [(file, kind)] => Self::locked(tree, file, *kind, &project).map(|install| install.of(&project)),
            [] => Self::unlocked(tree, &project).map(|install| install.of(&project)),
            [(first, _), rest @ ..] => {
                let others: Vec<&str> = rest.iter().map(|(file, _)| *file).collect();
                Err(PlanError::Unclear(format!(
                    "{first} and {} are lockfiles of different package managers, and only one of them is right: keep it and remove the other, for example `git rm {}`",
                    others.join(", "),
                    others.join(" ")
                )))
            }
        }
    }

    fn new(kind: Kind, file: &'static str) -> Self {
        Self {
            kind,
            file,
            files: vec![file.to_owned()],
            needs_source: None,
            is_locked: false,
            custom: None,
            named_vars: BTreeSet::new(),
            project: None,
            program: None,
            projects: BTreeSet::new(),
        }
    }

    /// Adds what the project says of itself. Its programs are there only where the app is installed as a package.
    fn of(self, project: &Table) -> Self {
        let poetry = project.get("tool").and_then(|tool| tool.get("poetry"));
        let tables = [project.get("project"), poetry];
        let name = tables.into_iter().flatten().find_map(|table| table.get("name")).and_then(Value::as_str);
        let scripts = tables.into_iter().flatten().find_map(|table| table.get("scripts")).and_then(Value::as_table);
        let programs: Vec<&String> = scripts.into_iter().flat_map(Table::keys).collect();
        let program = match programs.as_slice() {
            [only] => Some(*only),
            all => all.iter().copied().find(|program| Some(program.as_str()) == name),
        };
        let program = program.filter(|_| self.needs_source.is_some()).map(|program| command::quote(program));
        Self { project: name.map(str::to_owned), program, ..self }
    }

    fn from_requirements(tree: &dyn SourceTree) -> Result<Self, PlanError> {
        let requirements = Requirements::read(tree)?;
        let kind = if requirements.is_empty() { Kind::Bare } else { Kind::Requirements };
        let needs_source = requirements.needs_source.then_some("it installs a folder of the app");
        let files = requirements.files.clone();
        let named_vars = requirements.named_vars.clone();
        let projects = requirements.projects().map(str::to_owned).collect();
        Ok(Self { files, needs_source, is_locked: true, named_vars, projects, ..Self::new(kind, REQUIREMENTS) })
    }

    fn locked(tree: &dyn SourceTree, file: &str, kind: Kind, project: &Table) -> Result<Self, PlanError> {
        let manifest = if kind == Kind::Pipenv { "Pipfile" } else { PROJECT };
        let file = LOCKS.iter().find(|(lock, _)| *lock == file).map_or("uv.lock", |(lock, _)| lock);
        if config_file(tree, manifest)?.is_none() {
            return Err(PlanError::Unclear(format!(
                "{file} is here without {manifest}, which it was made from: `git add {manifest}` and commit"
            )));
        }
        let is_short = |entry: &crate::TreeEntry| entry.size_bytes <= LOCK_BYTES_MAX;
        let bytes = entry(tree, file).filter(|entry| is_short(entry)).and_then(|_| tree.read(file)).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let projects = if kind == Kind::Pipenv { pipfile_lock(&text)? } else { names_in_toml(&text) };
        Ok(Self {
            files: vec![manifest.to_owned(), file.to_owned()],
            needs_source: if kind == Kind::Pipenv { None } else { is_package(tree, kind, project) },
            is_locked: true,
            projects,
            ..Self::new(kind, file)
        })
    }

    fn unlocked(tree: &dyn SourceTree, project: &Table) -> Result<Self, PlanError> {
        if let Some(text) = config_text(tree, "Pipfile")? {
            let table = parse_toml("Pipfile", &text)?;
            let projects = keys(&table, &["packages"]);
            return Ok(Self { projects, ..Self::new(Kind::Pipenv, "Pipfile") });
        }
        let poetry = keys(project, &["tool", "poetry", "dependencies"]);
        let listed = project.get("project").and_then(|project| project.get("dependencies")).and_then(Value::as_array);
        let projects: BTreeSet<String> =
            listed.into_iter().flatten().filter_map(Value::as_str).flat_map(names_of).chain(poetry).collect();
        if project.contains_key("project") {
            let needs_source = is_package(tree, Kind::Project, project);
            return Ok(Self { needs_source, projects, ..Self::new(Kind::Project, PROJECT) });
        }
        if project.get("tool").and_then(|tool| tool.get("poetry")).is_some() {
            let needs_source = is_package(tree, Kind::Poetry, project);
            return Ok(Self { needs_source, projects, ..Self::new(Kind::Poetry, PROJECT) });
        }
        if has(tree, "setup.py") {
            let needs_source = Some("it installs the app itself");
            return Ok(Self { needs_source, ..Self::new(Kind::Setup, "setup.py") });
        }
        Ok(Self { files: Vec::new(), is_locked: true, ..Self::new(Kind::Bare, "the app") })
    }

    /// The same with the command of paas.toml, which may look at every file.
    pub(super) fn with_command(mut self, command: Option<&str>) -> Self {
        if let Some(command) = command {
            self.custom = Some(command.to_owned());
            self.needs_source = Some("paas.toml says how");
            self.is_locked = true;
        }
        self
    }

    pub(super) fn asks_for(&self, project: &str) -> bool {
        self.projects.contains(project)
    }

    /// The command, behind the making of the place for its packages.
    pub(super) fn command(&self) -> Option<String> {
        let venv = format!("python3 -m venv --without-pip {VENV}");
        if let Some(custom) = &self.custom {
            // `pip` alone installs there too.
            return Some(format!("{venv} && export PIP_PYTHON={VENV}/bin/python && {custom}"));
        }
        let whole = self.needs_source.is_some();
        let install = match self.kind {
            Kind::Bare => return None,
            Kind::Requirements => format!("pip --python {VENV}/bin/python install -r {REQUIREMENTS}"),
            Kind::Setup => format!("pip --python {VENV}/bin/python install ."),
            Kind::Uv | Kind::Project => {
                let lock = if self.is_locked { " --locked" } else { "" };
                let part = if whole { "" } else { " --no-install-project" };
                format!("uv sync{lock} --no-dev{part}")
            }
            Kind::Poetry => {
                let part = if whole { "" } else { " --no-root" };
                format!("poetry install --only main{part}")
            }
            Kind::Pipenv => {
                let check = if self.is_locked { "pipenv verify" } else { "pipenv lock" };
                format!(
                    "{check} && pipenv requirements --hash > /tmp/requirements.txt && pip --python {VENV}/bin/python install --no-deps -r /tmp/requirements.txt"
                )
            }
            Kind::Pdm => {
                let part = if whole { "" } else { " --no-self" };
                format!("pdm lock --check && pdm sync --prod{part}")
            }
        };
        Some(format!("{venv} && {install}"))
    }

    /// What the push says of it.
    pub(super) fn summary(&self) -> String {
        let action = match self.kind {
            _ if self.custom.is_some() => self.custom.as_deref().unwrap_or_default(),
            Kind::Bare if self.file == REQUIREMENTS => return "no requirements".to_owned(),
            Kind::Bare => return "nothing to install".to_owned(),
            Kind::Requirements => "pip install -r requirements.txt",
            Kind::Setup => "pip install .",
            Kind::Uv | Kind::Project => "uv sync",
            Kind::Poetry => "poetry install",
            Kind::Pipenv => "pipenv install",
            Kind::Pdm => "pdm sync",
        };
        match self.needs_source {
            Some(why) => format!("{action} at every change ({why})"),
            None => action.to_owned(),
        }
    }

    /// How to write the lockfile that is missing.
    pub(super) fn lock_command(&self) -> Option<(&'static str, &'static str)> {
        match self.kind {
            _ if self.is_locked => None,
            Kind::Uv | Kind::Project => Some(("uv.lock", "uv lock")),
            Kind::Poetry => Some(("poetry.lock", "poetry lock")),
            Kind::Pipenv => Some(("Pipfile.lock", "pipenv lock")),
            Kind::Pdm => Some(("pdm.lock", "pdm lock")),
            Kind::Requirements | Kind::Setup | Kind::Bare => None,
        }
    }
}

/// Whether the app is a package itself, which is installed with the others, and why.
fn is_package(tree: &dyn SourceTree, kind: Kind, project: &Table) -> Option<&'static str> {
    let tool = |name: &str| project.get("tool").and_then(|tool| tool.get(name));
    let truth = |name: &str, key: &str| tool(name).and_then(|table| table.get(key)).and_then(Value::as_bool);
    let has_scripts = project.get("project").is_some_and(|project| project.get("scripts").is_some())
        || tool("poetry").is_some_and(|poetry| poetry.get("scripts").is_some() || poetry.get("packages").is_some());
    let is_built = project.contains_key("build-system") && (has_folder(tree, "src") || has_scripts);
    let is_told_not = truth("uv", "package") == Some(false) || truth("poetry", "package-mode") == Some(false);
    if tool("uv").is_some_and(|uv| uv.get("workspace").is_some() || uv.get("sources").is_some()) && kind == Kind::Uv {
        return Some("workspace or sources of uv");
    }
    (!is_told_not && (is_built || truth("uv", "package") == Some(true))).then_some("the app is a package itself")
}

/// The names of `[[package]]` tables, line by line: lockfiles are long.
fn names_in_toml(text: &str) -> BTreeSet<String> {
    let names = text.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
    names.map(project_name).collect()
}

fn pipfile_lock(text: &str) -> Result<BTreeSet<String>, PlanError> {
    let json: serde_json::Value = serde_json::from_str(text).map_err(|error| PlanError::Manifest {
        file: "Pipfile.lock".to_owned(),
        line: error.line(),
        reason: "this is no valid JSON, which a merge may have left: run `pipenv lock` and commit it".to_owned(),
    })?;
    let default = json.get("default").and_then(serde_json::Value::as_object);
    Ok(default.into_iter().flat_map(|all| all.keys()).map(|name| project_name(name)).collect())
}

fn keys(table: &Table, path: &[&str]) -> BTreeSet<String> {
    let (first, rest) = path.split_first().map_or(("", path), |(first, rest)| (*first, rest));
    let start = table.get(first);
    let found = rest.iter().try_fold(start, |value, part| value.map(|value| value.get(*part)));
    let table = found.flatten().and_then(Value::as_table);
    table.into_iter().flat_map(Table::keys).map(|name| project_name(name)).collect()
}

/// `fastapi[standard]>=0.115` and FastHTML bring uvicorn too.
pub(super) fn names_of(line: &str) -> Vec<String> {
    let name = project_name(line);
    let is_whole = line.contains("[standard") || line.contains("[all");
    let brings_server = name == "python-fasthtml" || (name == "fastapi" && is_whole);
    let server = brings_server.then(|| "uvicorn".to_owned());
    [name].into_iter().chain(server).collect()
}
