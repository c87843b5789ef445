//! Python with pip, uv, Poetry, Pipenv or PDM.
//!
//! Packages go into /opt/venv from the manifests alone, so that a change of the app's own code rebuilds one COPY; what
//! installs them stays behind in the build image.

mod django;
mod images;
mod manager;
mod requirements;
mod start;
mod version;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use manager::{Install, Kind};
use requirements::REQUIREMENTS;
use serde::Deserialize;
use version::Python as Interpreter;

use crate::PlanError;
use crate::detect::present;
use crate::language::{About, App, Rules, table};
use crate::plan::{BuildPlan, Start};
use crate::recipe::{EnvScope, Mount, Sharing, Stage, Step};
use crate::stack;
use crate::tree::{SourceTree, has};

const VENV: &str = "/opt/venv";

static TABLE: LazyLock<Table> = LazyLock::new(|| table(include_str!("python.toml")));

#[derive(Debug, Deserialize)]
struct Table {
    language: About,
    debian: Debian,
    suites: Vec<Suite>,
    uv_pythons: UvPythons,
    tools: Tools,
    native: BTreeMap<String, Native>,
}

#[derive(Debug, Deserialize)]
struct Debian {
    version: String,
}

#[derive(Debug, Deserialize)]
struct Suite {
    name: String,
    version: String,
    /// Debian mends it no more.
    #[serde(default)]
    is_outdated: bool,
    /// Parts of Python which are packages that want the suite's default Python too: taken without that.
    #[serde(default)]
    apart: Vec<String>,
}

impl PartialEq for Suite {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Suite {}

#[derive(Debug, Deserialize)]
struct UvPythons {
    minors: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Tools {
    uv: Vec<String>,
    poetry: Vec<String>,
    pipenv: Vec<String>,
    pdm: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Native {
    build: Vec<String>,
    run: Vec<String>,
}

/// The managers of which paas.toml may ask for a version.
pub(crate) const VERSIONED_MANAGERS: [&str; 4] = ["uv", "poetry", "pipenv", "pdm"];

/// Exact versions of managers that were asked for.
type Pins<'a> = BTreeMap<&'static str, &'a str>;

pub(crate) struct Python;

impl Rules for Python {
    fn about(&self) -> &'static About {
        &TABLE.language
    }

    /// A pyproject.toml often holds nothing but the settings of a linter: then it says nothing about the app. A script
    /// alone is an app where a Procfile runs it, or nothing else is there to serve.
    fn detect(&self, tree: &dyn SourceTree) -> Vec<String> {
        if has(tree, REQUIREMENTS) {
            return vec![REQUIREMENTS.to_owned()];
        }
        let mut found = present(tree, &self.about().triggers);
        let project = tree.read("pyproject.toml").unwrap_or_default();
        let project = String::from_utf8_lossy(&project);
        if !["[project]", "[tool.poetry]", "[tool.poetry.dependencies]"].iter().any(|table| project.contains(table)) {
            found.retain(|file| file != "pyproject.toml");
        }
        let is_other = ["package.json", "index.html", "Staticfile"].iter().any(|file| has(tree, file));
        if found.is_empty() && !is_other {
            let script = start::script(tree).map(str::to_owned);
            found.extend(script.or_else(|| script_of_procfile(tree)));
        }
        found
    }

    fn plan(&self, app: &App<'_>) -> Result<BuildPlan, PlanError> {
        let tree = app.tree;
        let mut plan = BuildPlan::new(app.detection);
        let install = Install::decide(tree)?.with_command(app.install_command());
        let chosen = version::choose(app)?;
        plan.versions.insert("python".to_owned(), chosen.python.version().to_owned());
        plan.notes.push(format!("{}, {}", chosen.note, install.summary()));
        plan.warnings.extend(chosen.warning);
        if let Some(procfile) = app.procfile {
            plan.set_processes(procfile);
        } else {
            let (command, origin) = start::web(tree, &install)?;
            plan.notes.push(format!("web: {command} ({origin})"));
            plan.set_web(&command);
        }
        warn(&mut plan, tree, &install);
        let collects = django::collects_static(app, &install);
        if collects {
            plan.notes.push("python manage.py collectstatic".to_owned());
        }
        let pins = VERSIONED_MANAGERS.into_iter().filter_map(|tool| Some((tool, app.overrides.version_of(tool)?)));
        lay_out(&mut plan, &install, &chosen.python, collects, &pins.collect());
        Ok(plan)
    }

    fn installs_by_itself(&self) -> bool {
        true
    }
}

/// The script of a line such as `web: python serve.py`, where it is here.
fn script_of_procfile(tree: &dyn SourceTree) -> Option<String> {
    let procfile = crate::procfile::parse(&tree.read("Procfile")?).ok()?;
    let mut lines = procfile.iter().map(|(_, line)| line.split_whitespace());
    lines.find_map(|mut words| {
        words.next().filter(|program| program.starts_with("python"))?;
        // `python3 -u serve.py`
        let script = words.find(|word| !word.starts_with('-'))?;
        has(tree, script).then(|| script.to_owned())
    })
}

fn warn(plan: &mut BuildPlan, tree: &dyn SourceTree, install: &Install) {
    if let Some((lockfile, command)) = install.lock_command() {
        plan.warnings.push(format!(
            "no {lockfile}: every build may install other versions; run `{command}` and commit {lockfile}"
        ));
    }
    let runs_gunicorn =
        plan.processes.values().any(|start| matches!(start, Start::Command(line) if line.contains("gunicorn ")));
    if runs_gunicorn && !install.asks_for("gunicorn") && install.needs_source.is_none() {
        let fix = match install.kind {
            Kind::Requirements | Kind::Setup | Kind::Bare => "add a line `gunicorn`",
            Kind::Uv | Kind::Project => "`uv add gunicorn`",
            Kind::Poetry => "`poetry add gunicorn`",
            Kind::Pipenv => "`pipenv install gunicorn`",
            Kind::Pdm => "`pdm add gunicorn`",
        };
        plan.warnings.push(format!("Procfile starts gunicorn, and {} does not name it: {fix}", install.file));
    }
    let locks = ["Pipfile", "poetry.lock", "uv.lock", "pdm.lock"];
    if install.file == REQUIREMENTS && locks.iter().any(|lock| has(tree, lock)) {
        plan.warnings
            .push("requirements.txt is installed; the lockfile beside it is not read: keep the two in step".to_owned());
    }
}

fn lay_out(plan: &mut BuildPlan, install: &Install, python: &Interpreter, collects: bool, pins: &Pins<'_>) {
    let base = stack::base();
    let native = || TABLE.native.iter().filter(|(name, _)| install.asks_for(name)).map(|(_, native)| native);
    let run_packages: BTreeSet<&str> = native().flat_map(|native| &native.run).map(String::as_str).collect();
    let headers = format!("python{}-dev", python.minor());
    let mut build_packages: BTreeSet<&str> = native().flat_map(|native| &native.build).map(String::as_str).collect();
    // uv's Python brings its own.
    if !build_packages.is_empty() && !matches!(python, Interpreter::Uv(_)) {
        build_packages.insert(&headers);
    }
    let run = images::run(&base, python);
    let run_with = run.with_packages(&run_packages);
    let mut builds = images::build(&run, python, install.kind, pins);
    let with_packages = builds.last().unwrap_or(&run).with_packages(&build_packages);
    let builder = with_packages.reference();
    builds.push(with_packages);
    plan.install_env.extend(install.named_vars.iter().cloned());
    let copy = |stage: &str, path: &str| Step::CopyFolder { stage: stage.to_owned(), path: path.to_owned() };
    let mut app = Vec::new();
    let mut packages = Vec::new();
    plan.add_stack([base, run, run_with.clone()]);
    if let Some(command) = install.command() {
        plan.needs.extend(install.files.iter().cloned());
        plan.stages.push(Stage {
            name: "dependencies".to_owned(),
            from: builder,
            steps: install_steps(install, command),
        });
        app.push(copy("dependencies", VENV));
        packages.push(Mount::StageFolder { stage: "dependencies".to_owned(), path: VENV.to_owned() });
        plan.add_stack(builds);
    }
    // What is built in place stands among the app's files.
    let source = if install.needs_source.is_some() { copy("dependencies", "/app") } else { Step::CopySource };
    if collects {
        let command = "python3 manage.py collectstatic --noinput".to_owned();
        let collect = Step::Run { command, mounts: packages, env: EnvScope::Everything };
        let steps = vec![source, collect];
        plan.stages.push(Stage { name: "static".to_owned(), from: run_with.reference(), steps });
        app.push(copy("static", "/app"));
    } else {
        app.push(source);
    }
    plan.stages.push(Stage { name: "app".to_owned(), from: run_with.reference(), steps: app });
}

fn install_steps(install: &Install, command: String) -> Vec<Step> {
    // pip, uv, Poetry, Pipenv and PDM all cache below it.
    let cache = Mount::Cache { name: "pip".to_owned(), path: "/root/.cache".to_owned(), sharing: Sharing::Shared };
    if install.needs_source.is_some() {
        return vec![Step::CopySource, Step::Run { command, mounts: vec![cache], env: EnvScope::Everything }];
    }
    let files = install.files.iter().map(|path| Mount::SourceFile { path: path.clone() });
    vec![Step::Run { command, mounts: files.chain([cache]).collect(), env: EnvScope::Install }]
}
