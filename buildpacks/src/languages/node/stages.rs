//! The stages of a Node.js image, and the stack images they stand on.

use super::commands::Include;
use super::images;
use super::install::{Install, Packages};
use super::manager::Kind;
use super::version::Node;
use crate::languages::static_site::{self, Settings};
use crate::plan::BuildPlan;
use crate::recipe::{EnvScope, Mount, Sharing, Stage, Step};
use crate::stack;

const MODULES: &str = "/app/node_modules";

/// What the stages that install and build are called.
#[derive(Clone, Copy)]
struct Names {
    packages: &'static str,
    build: &'static str,
}

const APP: Names = Names { packages: "dependencies", build: "build" };
const ASSETS: Names = Names { packages: "node-packages", build: "assets" };

/// What the last stage is.
pub(super) enum Runs {
    /// Node alone starts everything.
    Node,
    /// Some command needs the package manager.
    Manager,
    /// No program at all: these files.
    Pages(Settings),
}

/// Writes the stages, and lists the images they stand on.
pub(super) fn lay_out(plan: &mut BuildPlan, install: &Install, node: Node, runs: &Runs) {
    let base = stack::base();
    let run = images::run(&base, node);
    let builds = images::build(&run, node, &install.manager);
    let builder = builds.last().unwrap_or(&run).reference();
    let with = Builder { install, image: builder, npm_major: major(&node.npm().version), names: APP };
    let mut stages = Vec::new();
    let mut app = Vec::new();
    if install.packages != Packages::None && install.needs_source.is_some() {
        stages.push(with.all_in_one());
        app.push(copy_folder(APP.build, "/app"));
    } else {
        app.extend(with.install_stages(&mut stages));
        app.push(match install.build {
            Some(ref command) => {
                stages.push(with.build_stage(command));
                copy_folder(APP.build, "/app")
            }
            None => Step::CopySource,
        });
    }
    let is_built = install.packages != Packages::None || install.build.is_some();
    let (runtime, needs_builder) = match runs {
        Runs::Node => (run.reference(), is_built),
        Runs::Manager => (with.image.clone(), true),
        Runs::Pages(settings) => {
            let nginx = static_site::nginx(&base);
            let reference = nginx.reference();
            plan.add_stack([base.clone(), nginx]);
            let folder = if settings.root.is_empty() { "/app".to_owned() } else { format!("/app/{}", settings.root) };
            app = vec![copy_folder(APP.build, &folder)];
            (reference, true)
        }
    };
    stages.push(stage("app", &runtime, app));
    plan.stages = stages;
    plan.add_stack([base, run]);
    if needs_builder {
        plan.add_stack(builds);
    }
}

/// Puts the build of another language's assets first: what that language takes from the tree, it takes from there.
pub(super) fn lay_out_assets(plan: &mut BuildPlan, install: &Install, node: Node, command: &str) {
    let base = stack::base();
    let run = images::run(&base, node);
    let builds = images::build(&run, node, &install.manager);
    let image = builds.last().unwrap_or(&run).reference();
    let with = Builder { install, image, npm_major: major(&node.npm().version), names: ASSETS };
    let mut stages = Vec::new();
    if install.packages != Packages::None && install.needs_source.is_some() {
        stages.push(with.all_in_one());
    } else {
        if install.packages != Packages::None {
            stages.push(with.packages_stage());
        }
        stages.push(with.build_stage(command));
    }
    let steps = plan.stages.iter_mut().flat_map(|stage| &mut stage.steps);
    for step in steps.filter(|step| **step == Step::CopySource) {
        *step = copy_folder(ASSETS.build, "/app");
    }
    stages.append(&mut plan.stages);
    plan.stages = stages;
    plan.add_stack([base, run]);
    plan.add_stack(builds);
}

fn major(version: &str) -> u64 {
    version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or_default()
}

fn stage(name: &str, from: &str, steps: Vec<Step>) -> Stage {
    Stage { name: name.to_owned(), from: from.to_owned(), steps }
}

fn copy_folder(stage: &str, path: &str) -> Step {
    Step::CopyFolder { stage: stage.to_owned(), path: path.to_owned() }
}

/// What the stages that install and build have in common.
struct Builder<'a> {
    install: &'a Install,
    /// The image to build in.
    image: String,
    npm_major: u64,
    names: Names,
}

impl Builder<'_> {
    /// Adds the stages that install, and returns the step that takes the packages into the image.
    fn install_stages(&self, stages: &mut Vec<Stage>) -> Option<Step> {
        if self.install.packages == Packages::None {
            return None;
        }
        stages.push(self.packages_stage());
        match self.install.packages {
            Packages::None | Packages::BuildOnly => None,
            Packages::Production => Some(copy_folder(self.names.packages, MODULES)),
            Packages::AllThenProduction => match self.prune_command() {
                Some(prune) => {
                    stages.push(stage("production", self.names.packages, vec![self.by_manifests(prune)]));
                    Some(copy_folder("production", MODULES))
                }
                None => Some(copy_folder(self.names.packages, MODULES)),
            },
        }
    }

    fn packages_stage(&self) -> Stage {
        // npm makes no folder when there is nothing to put into it, and the COPY would fail.
        let all = format!("{} && mkdir -p {MODULES}", self.install_command());
        stage(self.names.packages, &self.image, vec![self.by_manifests(all)])
    }

    /// A step that sees the manifests alone, so that a change of the code does not run it again.
    fn by_manifests(&self, command: String) -> Step {
        let manifests = self.install.manifests.iter().map(|path| Mount::SourceFile { path: path.clone() });
        Step::Run { command, mounts: manifests.chain([self.cache()]).collect(), env: EnvScope::Install }
    }

    /// The build script, with the packages mounted: what it writes is the app, what it reads is not.
    fn build_stage(&self, command: &str) -> Stage {
        let mounts = match self.install.packages {
            Packages::None => Vec::new(),
            Packages::Production | Packages::AllThenProduction | Packages::BuildOnly => {
                vec![Mount::StageFolder { stage: self.names.packages.to_owned(), path: MODULES.to_owned() }]
            }
        };
        let run = Step::Run { command: command.to_owned(), mounts, env: EnvScope::Everything };
        stage(self.names.build, &self.image, vec![Step::CopySource, run])
    }

    fn all_in_one(&self) -> Stage {
        let mut commands = vec![self.install_command()];
        commands.extend(self.install.build.clone());
        if matches!(self.install.packages, Packages::AllThenProduction | Packages::BuildOnly) {
            commands.extend(self.prune_command());
        }
        let command = commands.join(" && ");
        let run = Step::Run { command, mounts: vec![self.cache()], env: EnvScope::Everything };
        stage(self.names.build, &self.image, vec![Step::CopySource, run])
    }

    fn cache(&self) -> Mount {
        let facts = self.install.manager.kind.facts();
        let name = self.install.manager.kind.tool().to_owned();
        Mount::Cache { name, path: facts.cache.clone(), sharing: Sharing::Shared }
    }

    fn install_command(&self) -> String {
        if let Some(command) = &self.install.command {
            return command.clone();
        }
        let include = match self.install.packages {
            Packages::None | Packages::Production => Include::Production,
            Packages::AllThenProduction | Packages::BuildOnly => Include::All,
        };
        self.install.manager.install(include, self.npm_major)
    }

    fn prune_command(&self) -> Option<String> {
        // pnpm prunes one package, not those of a workspace.
        let can = !(self.install.has_workspaces && self.install.manager.kind == Kind::Pnpm);
        can.then(|| self.install.manager.prune(self.npm_major)).flatten()
    }
}
