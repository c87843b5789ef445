//! Python with pip and requirements.txt.
//!
//! Packages go into /opt/venv from the requirements alone, so that a change of the app's own code
//! rebuilds one COPY; pip itself stays behind in the build image.

mod requirements;
mod start;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use requirements::{REQUIREMENTS, Requirements};
use serde::Deserialize;

use crate::PlanError;
use crate::detect::{Detection, present};
use crate::language::{About, App, Rules, table};
use crate::plan::{BuildPlan, Start};
use crate::recipe::{EnvScope, Mount, Sharing, Stage, Step};
use crate::stack::{self, StackImage};
use crate::text::excerpt;
use crate::tree::{SourceTree, config_text, has};

const VENV: &str = "/opt/venv";

static AVAILABLE: LazyLock<Available> = LazyLock::new(|| table(include_str!("python.toml")));

#[derive(Debug, Deserialize)]
struct Available {
    language: About,
    debian: Debian,
    /// From a project that needs a compiler to one that does not.
    wheels: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct Debian {
    version: String,
}

pub(crate) struct Python;

impl Rules for Python {
    fn about(&self) -> &'static About {
        &AVAILABLE.language
    }

    /// A pyproject.toml often holds nothing but the settings of a linter: then it says nothing about the app.
    fn detect(&self, tree: &dyn SourceTree) -> Vec<String> {
        if has(tree, REQUIREMENTS) {
            return vec![REQUIREMENTS.to_owned()];
        }
        let mut found = present(tree, &self.about().triggers);
        let project = tree.read("pyproject.toml").unwrap_or_default();
        let project = String::from_utf8_lossy(&project);
        if !["[project]", "[tool.poetry]"].iter().any(|table| project.contains(table)) {
            found.retain(|file| file != "pyproject.toml");
        }
        found
    }

    fn plan(&self, app: &App<'_>) -> Result<BuildPlan, PlanError> {
        plan(app)
    }
}

fn plan(app: &App<'_>) -> Result<BuildPlan, PlanError> {
    let tree = app.tree;
    if !has(tree, REQUIREMENTS) {
        return Err(other_manager(app.detection));
    }
    let mut plan = BuildPlan::new(app.detection);
    let requirements = Requirements::read(tree)?;
    let version_note = check_version(tree, &mut plan)?;
    let action = match (requirements.is_empty(), requirements.needs_source) {
        (true, _) => "no requirements",
        (false, false) => "pip install -r requirements.txt",
        (false, true) => "pip install -r requirements.txt at every change (it installs a folder of the app)",
    };
    plan.notes.push(format!("{version_note}, {action}"));
    if let Some(procfile) = app.procfile {
        plan.set_processes(procfile);
    } else {
        let (command, origin) = start::web(tree, &requirements)?;
        plan.notes.push(format!("web: {command} ({origin})"));
        plan.set_web(&command);
    }
    warn(&mut plan, tree, &requirements);
    lay_out(&mut plan, &requirements);
    Ok(plan)
}

/// pyproject.toml and its kin without requirements.txt: how to get one.
fn other_manager(detection: &Detection) -> PlanError {
    let exports = [
        ("poetry.lock", "poetry export -o requirements.txt"),
        ("uv.lock", "uv export --no-emit-project -o requirements.txt"),
        ("Pipfile", "pipenv requirements > requirements.txt"),
        ("pyproject.toml", "uv pip compile pyproject.toml -o requirements.txt"),
        ("setup.py", "echo . > requirements.txt"),
    ];
    let is_here = |(file, _): &(&str, &str)| detection.because.iter().any(|have| have == file);
    let (file, export) = exports.into_iter().find(is_here).unwrap_or(("the project", "pip freeze > requirements.txt"));
    PlanError::PythonManager { file, export }
}

/// .python-version, then runtime.txt. There is one Python; a request for it or none is fine.
fn check_version(tree: &dyn SourceTree, plan: &mut BuildPlan) -> Result<String, PlanError> {
    let available = AVAILABLE.debian.version.as_str();
    for file in [".python-version", "runtime.txt"] {
        let text = config_text(tree, file)?.unwrap_or_default();
        let mut lines = text.lines().map(str::trim);
        let Some(request) = lines.find(|line| !line.is_empty() && !line.starts_with('#')) else {
            continue;
        };
        let number = match file {
            "runtime.txt" => request.strip_prefix("python-").unwrap_or(request),
            _ => request,
        };
        let minor = available.rsplit_once('.').map_or(available, |(minor, _)| minor);
        let is_minor = number == minor || number.strip_prefix(minor).is_some_and(is_patch);
        if !is_minor && !["3", "3.x", minor].contains(&number) {
            return Err(PlanError::PythonVersion {
                request: excerpt(request),
                file,
                available: available.to_owned(),
                suggestion: if file == "runtime.txt" { format!("python-{available}") } else { minor.to_owned() },
            });
        }
        if is_minor && number != minor && number != available && !number.ends_with(['x', '*']) {
            plan.warnings.push(format!(
                "{file} asks for Python {number}, Debian's {available} is used: write `{minor}` to take whatever Debian keeps safe"
            ));
        }
        return Ok(format!("python {available} (Debian's python3 satisfies {file} \"{request}\")"));
    }
    Ok(format!("python {available} (Debian's python3; no .python-version)"))
}

/// `.5`, `.x`, `.*`
fn is_patch(rest: &str) -> bool {
    rest.strip_prefix('.').is_some_and(|patch| {
        ["x", "*"].contains(&patch) || (!patch.is_empty() && patch.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

fn warn(plan: &mut BuildPlan, tree: &dyn SourceTree, requirements: &Requirements) {
    for (source, wheel) in &AVAILABLE.wheels {
        if requirements.asks_for(source) {
            plan.warnings.push(format!(
                "{source} is built by a C compiler, which this stack does not have: write {wheel} in requirements.txt, or add a Dockerfile"
            ));
        }
    }
    let runs_gunicorn =
        plan.processes.values().any(|start| matches!(start, Start::Command(line) if line.contains("gunicorn ")));
    if runs_gunicorn && !requirements.asks_for("gunicorn") && !requirements.needs_source {
        plan.warnings
            .push("Procfile starts gunicorn, and requirements.txt does not name it: add a line `gunicorn`".to_owned());
    }
    if has(tree, "Pipfile") || has(tree, "poetry.lock") || has(tree, "uv.lock") {
        plan.warnings
            .push("requirements.txt is installed; the lockfile beside it is not read: keep the two in step".to_owned());
    }
}

fn lay_out(plan: &mut BuildPlan, requirements: &Requirements) {
    let base = stack::base();
    let run = run_image(&base);
    let build = build_image(&run);
    plan.install_env.extend(requirements.named_vars.iter().cloned());
    let mut app = Vec::new();
    let mut stages = Vec::new();
    if !requirements.is_empty() {
        plan.needs.clone_from(&requirements.files);
        stages.push(dependencies(requirements, &build));
        app.push(Step::CopyFolder { stage: "dependencies".to_owned(), path: VENV.to_owned() });
    }
    // What pip builds in place (`-e .`) stands among the app's files.
    app.push(if requirements.needs_source {
        Step::CopyFolder { stage: "dependencies".to_owned(), path: "/app".to_owned() }
    } else {
        Step::CopySource
    });
    stages.push(Stage { name: "app".to_owned(), from: run.reference(), steps: app });
    plan.stages = stages;
    plan.stack = vec![base, run];
    if !requirements.is_empty() {
        plan.stack.push(build);
    }
}

fn dependencies(requirements: &Requirements, build: &StackImage) -> Stage {
    let cache = Mount::Cache { name: "pip".to_owned(), path: "/root/.cache/pip".to_owned(), sharing: Sharing::Shared };
    let install = |mounts: Vec<Mount>, env| Step::Run {
        command: format!(
            "python3 -m venv --without-pip {VENV} && pip --python {VENV}/bin/python install -r {REQUIREMENTS}"
        ),
        mounts,
        env,
    };
    let steps = if requirements.needs_source {
        vec![Step::CopySource, install(vec![cache], EnvScope::Everything)]
    } else {
        let files = requirements.files.iter().map(|path| Mount::SourceFile { path: path.clone() });
        vec![install(files.chain([cache]).collect(), EnvScope::Install)]
    };
    Stage { name: "dependencies".to_owned(), from: build.reference(), steps }
}

fn run_image(base: &StackImage) -> StackImage {
    StackImage::new(
        "python3.13",
        Some(base),
        &[
            "USER root".to_owned(),
            stack::run(&stack::apt_install(&["python3"])),
            format!(
                "ENV PYTHONUNBUFFERED=1 VIRTUAL_ENV={VENV} PATH={VENV}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
            ),
            "USER app".to_owned(),
        ],
    )
}

/// pip lives in a place of its own, outside of the packages it installs.
fn build_image(run: &StackImage) -> StackImage {
    let mut commands = stack::apt_install(&["python3-venv"]);
    commands.extend(
        ["python3 -m venv /opt/pip", "ln -s /opt/pip/bin/pip /usr/local/bin/pip", "pip --version"].map(str::to_owned),
    );
    StackImage::new(
        "python3.13-build",
        Some(run),
        &[
            "USER root".to_owned(),
            stack::run(&commands),
            "ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_NO_INPUT=1".to_owned(),
        ],
    )
}
