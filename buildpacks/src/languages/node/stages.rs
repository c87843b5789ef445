//! The stages of a Node.js image, and the stack images they stand on.

use super::images;
use super::install::{Install, Packages};
use super::version::Node;
use crate::plan::BuildPlan;
use crate::recipe::{EnvScope, Mount, Sharing, Stage, Step};
use crate::stack;

const MODULES: &str = "/app/node_modules";

/// Writes the stages, and lists the images they stand on.
pub(super) fn lay_out(plan: &mut BuildPlan, install: &Install, node: Node, uses_npm: bool) {
    let base = stack::base();
    let run = images::run(&base, node);
    let build = images::build(&run, node);
    let (builder, runtime) = (build.reference(), run.reference());
    let builds = install.packages != Packages::None || install.build.is_some();
    let runtime = if uses_npm { builder.clone() } else { runtime };
    let mut stages = Vec::new();
    let mut app = Vec::new();
    if install.packages != Packages::None && install.needs_source.is_some() {
        stages.push(all_in_one(install, &builder));
        app.push(copy_folder("build", "/app"));
    } else {
        app.extend(install_stages(&mut stages, install, &builder));
        app.push(match install.build {
            Some((name, _)) => {
                stages.push(build_stage(name, install, &builder));
                copy_folder("build", "/app")
            }
            None => Step::CopySource,
        });
    }
    stages.push(stage("app", &runtime, app));
    plan.stages = stages;
    plan.stack = vec![base, run];
    if builds || uses_npm {
        plan.stack.push(build);
    }
}

fn stage(name: &str, from: &str, steps: Vec<Step>) -> Stage {
    Stage { name: name.to_owned(), from: from.to_owned(), steps }
}

fn copy_folder(stage: &str, path: &str) -> Step {
    Step::CopyFolder { stage: stage.to_owned(), path: path.to_owned() }
}

fn cache() -> Mount {
    Mount::Cache { name: "npm".to_owned(), path: "/root/.npm".to_owned(), sharing: Sharing::Shared }
}

/// Adds the stages that install, and returns the step that takes the packages into the image.
fn install_stages(stages: &mut Vec<Stage>, install: &Install, builder: &str) -> Option<Step> {
    if install.packages == Packages::None {
        return None;
    }
    let manifests = install.manifests.iter().map(|path| Mount::SourceFile { path: path.clone() });
    let mounts: Vec<Mount> = manifests.chain([cache()]).collect();
    let step = |command: String| Step::Run { command, mounts: mounts.clone(), env: EnvScope::Install };
    // npm makes no folder when there is nothing to put into it, and the COPY would fail.
    let all = format!("{} && mkdir -p {MODULES}", install.command());
    stages.push(stage("dependencies", builder, vec![step(all)]));
    match install.packages {
        Packages::None | Packages::BuildOnly => None,
        Packages::Production => Some(copy_folder("dependencies", MODULES)),
        Packages::AllThenProduction => {
            let prune = step(prune_command());
            stages.push(stage("production", "dependencies", vec![prune]));
            Some(copy_folder("production", MODULES))
        }
    }
}

fn prune_command() -> String {
    "npm prune --omit=dev --no-save --ignore-scripts".to_owned()
}

/// The build script, with the packages mounted: what it writes is the app, what it reads is not.
fn build_stage(script: &str, install: &Install, builder: &str) -> Stage {
    let mounts = match install.packages {
        Packages::None => Vec::new(),
        Packages::Production | Packages::AllThenProduction | Packages::BuildOnly => {
            vec![Mount::StageFolder { stage: "dependencies".to_owned(), path: MODULES.to_owned() }]
        }
    };
    let run = Step::Run { command: format!("npm run {script}"), mounts, env: EnvScope::Everything };
    stage("build", builder, vec![Step::CopySource, run])
}

fn all_in_one(install: &Install, builder: &str) -> Stage {
    let mut commands = vec![install.command()];
    commands.extend(install.build.iter().map(|(name, _)| format!("npm run {name}")));
    if matches!(install.packages, Packages::AllThenProduction | Packages::BuildOnly) {
        commands.push(prune_command());
    }
    let run = Step::Run { command: commands.join(" && "), mounts: vec![cache()], env: EnvScope::Everything };
    stage("build", builder, vec![Step::CopySource, run])
}
