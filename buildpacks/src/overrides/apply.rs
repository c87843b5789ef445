//! What paas.toml and the Aptfile change about a plan whatever its language: packages of Debian, and commands that the
//! language has no step of its own for.

use std::collections::BTreeSet;

use super::{FILE, Overrides};
use crate::PlanError;
use crate::aptfile::Packages;
use crate::language::Language;
use crate::plan::{BuildPlan, DockerfileSource};
use crate::recipe::{Mount, Stage, Step};

/// What the stage is called that runs `build.command` where the language builds nothing.
const STAGE: &str = "command";

/// Adds the steps of `build.install` and `build.command` which the language does not take into its own.
pub(super) fn add_steps(plan: &mut BuildPlan, overrides: &Overrides) -> Result<(), PlanError> {
    let rules = plan.language.rules();
    let install = overrides.install.as_ref().filter(|_| !rules.installs_by_itself());
    let command = overrides.command.as_ref().filter(|_| !rules.builds_by_itself());
    if let (DockerfileSource::Users { path }, Some(set)) = (&plan.dockerfile, install.or(command)) {
        return Err(PlanError::Manifest {
            file: FILE.to_owned(),
            line: set.line,
            reason: format!(
                "build.install and build.command are for languages, and {path} says how it is built: write a RUN line there"
            ),
        });
    }
    match (install, command) {
        (Some(install), None) if rules.builds_by_itself() => add_before_build(plan, &install.value),
        (None, None) => {}
        (install, command) => {
            let both = install.into_iter().chain(command).map(|set| set.value.clone());
            add_stage(plan, both.collect::<Vec<_>>().join(" && "));
        }
    }
    Ok(())
}

/// Languages that install and build at once: what is to be installed comes first, and finds the same caches.
fn add_before_build(plan: &mut BuildPlan, command: &str) {
    let Some(stage) = plan.stages.iter_mut().find(|stage| stage.name == "build") else { return };
    let is_run = |step: &Step| matches!(step, Step::Run { .. });
    let Some(at) = stage.steps.iter().position(is_run) else { return };
    let mounts: Vec<Mount> = match &stage.steps[at] {
        Step::Run { mounts, .. } => mounts.clone(),
        Step::CopySource | Step::CopyFolder { .. } => Vec::new(),
    };
    stage.steps.insert(at, Step::run(command.to_owned(), mounts));
}

/// A stage that is as the app will be, with the tools of the build: what the command leaves in /app is taken from there.
fn add_stage(plan: &mut BuildPlan, command: String) {
    let builder = plan.stages.iter().find(|stage| stage.name == "dependencies").map(|stage| stage.from.clone());
    let Some(app) = plan.stages.last_mut() else { return };
    let mut steps = app.steps.clone();
    steps.push(Step::run(command, Vec::new()));
    let stage = Stage::new(STAGE, builder.as_deref().unwrap_or(&app.from), steps);
    let is_app = |step: &Step| match step {
        Step::CopySource => true,
        Step::CopyFolder { path, .. } => path == "/app",
        Step::Run { .. } => false,
    };
    app.steps.retain(|step| !is_app(step));
    app.steps.push(Step::copy(STAGE, "/app"));
    let last = plan.stages.len() - 1;
    plan.stages.insert(last, stage);
}

/// Puts packages of Debian into the images that the stages stand on.
pub(super) fn add_packages(plan: &mut BuildPlan, packages: &Packages, origin: &str) {
    if packages.is_empty() {
        return;
    }
    if plan.language == Language::Dockerfile {
        plan.warnings.push(format!("{origin} is not used: the Dockerfile says what is installed"));
        return;
    }
    let both = || packages.both.iter();
    let build: BTreeSet<&str> = both().chain(&packages.build).map(String::as_str).collect();
    let run: BTreeSet<&str> = both().chain(&packages.run).map(String::as_str).collect();
    let last = plan.stages.len().saturating_sub(1);
    for at in 0..plan.stages.len() {
        let wanted = if at == last { &run } else { &build };
        let from = &plan.stages[at].from;
        let Some(image) = plan.stack.iter().find(|image| image.reference() == *from) else { continue };
        let image = image.with_packages(wanted);
        plan.stages[at].from = image.reference();
        plan.add_stack([image]);
    }
    let listed: Vec<&str> = build.union(&run).copied().collect();
    plan.notes.push(format!("Debian packages: {} ({origin})", listed.join(", ")));
}
