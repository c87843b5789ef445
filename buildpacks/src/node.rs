//! Node.js with npm.
//!
//! Dependencies are installed from the manifests alone, so that a change of the app's own code rebuilds
//! one COPY. A build script sees them through a mount. Where an installer wants to see the code (its
//! own hooks, workspaces, local packages), everything happens in one stage instead.

mod images;
mod package;
mod range;
mod start;
mod version;

use package::Package;
use version::Node;

use crate::PlanError;
use crate::command;
use crate::detect::Detection;
use crate::plan::{BuildPlan, Start};
use crate::procfile::Procfile;
use crate::recipe::{EnvScope, Mount, Stage, Step};
use crate::stack;
use crate::tree::{SourceTree, config_file, config_text, has, has_folder};

const MODULES: &str = "/app/node_modules";

pub(crate) fn plan(
    detection: &Detection,
    tree: &dyn SourceTree,
    procfile: Option<&Procfile>,
) -> Result<BuildPlan, PlanError> {
    let text = config_text(tree, "package.json")?.unwrap_or_default();
    let package = Package::parse(&text)?;
    let mut plan = BuildPlan::new(detection);
    let (node, node_note) = version::choose(tree, &package)?;
    let install = Install::decide(tree, &package, &mut plan)?;
    plan.notes
        .push(format!("{node_note}, {}", install.summary()));
    if let Some((name, _)) = &install.build {
        plan.notes.push(format!("npm run {name}"));
    }
    let uses_npm = set_processes(&mut plan, tree, &package, procfile)?;
    lay_out(&mut plan, &install, node, uses_npm);
    Ok(plan)
}

/// Whether the app could be started without a Procfile.
pub(crate) fn looks_startable(tree: &dyn SourceTree) -> bool {
    let text = tree.read("package.json").unwrap_or_default();
    Package::parse(&String::from_utf8_lossy(&text))
        .is_ok_and(|package| start::web(tree, &package).is_ok())
}

/// Sets what runs; true when some of it calls npm.
fn set_processes(
    plan: &mut BuildPlan,
    tree: &dyn SourceTree,
    package: &Package,
    procfile: Option<&Procfile>,
) -> Result<bool, PlanError> {
    let lines: Vec<(String, String)> = if let Some(procfile) = procfile {
        let spelled =
            |(name, line): (&str, &str)| (name.to_owned(), start::spell_out(line, package));
        procfile.iter().map(spelled).collect()
    } else {
        let (command, origin) = start::web(tree, package)?;
        plan.notes.push(format!("web: {command} ({origin})"));
        vec![("web".to_owned(), command)]
    };
    let calls_npm = lines.iter().find(|(_, line)| start::needs_npm(line));
    if let Some((name, line)) = calls_npm {
        plan.warnings.push(format!(
            "`{name}` is started through npm (`{line}`), which costs memory and delays SIGTERM: name the program itself in the Procfile"
        ));
    }
    let uses_npm = calls_npm.is_some();
    for (name, line) in lines {
        let start = Start::Command(command::executable(&line));
        plan.processes.insert(name, start);
    }
    Ok(uses_npm)
}

/// What npm has to do.
#[derive(Debug)]
struct Install {
    lockfile: Option<&'static str>,
    /// Files npm reads, all at the root.
    manifests: Vec<String>,
    /// Whether any package is installed at all, and what is left of them when the app runs.
    packages: Packages,
    /// Name and text of the build script.
    build: Option<(&'static str, String)>,
    /// npm has to see the app's own files.
    needs_source: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packages {
    None,
    /// Without the development ones.
    Production,
    /// All, and the development ones are removed after the build.
    AllThenProduction,
    /// All, and none is left when the app runs.
    BuildOnly,
}

impl Install {
    fn decide(
        tree: &dyn SourceTree,
        package: &Package,
        plan: &mut BuildPlan,
    ) -> Result<Self, PlanError> {
        let lockfile = find_lockfile(tree, plan)?;
        let build = ["heroku-postbuild", "build"]
            .into_iter()
            .find_map(|name| Some((name, package.script(name)?.to_owned())));
        let mut install = Self {
            lockfile,
            manifests: vec!["package.json".to_owned()],
            packages: packages(package, build.is_some()),
            build,
            needs_source: needs_source(package),
        };
        if install.packages == Packages::None && install.needs_source.is_some() {
            install.packages = Packages::AllThenProduction;
        }
        install.manifests.extend(lockfile.map(str::to_owned));
        if let Some(settings) = config_text(tree, ".npmrc")? {
            install.manifests.push(".npmrc".to_owned());
            plan.install_env.extend(named_vars(&settings));
        }
        plan.needs.clone_from(&install.manifests);
        if install.packages != Packages::None {
            install.warn(tree, package, plan);
        }
        Ok(install)
    }

    fn warn(&self, tree: &dyn SourceTree, package: &Package, plan: &mut BuildPlan) {
        if self.lockfile.is_none() {
            plan.warnings.push(
                "no package-lock.json: every build may install other versions; run `npm install` and commit package-lock.json".to_owned(),
            );
        }
        if has_folder(tree, "node_modules") {
            plan.warnings.push(
                "node_modules is committed and may hide what npm installs: `git rm -r --cached node_modules`, add `node_modules/` to .gitignore and commit".to_owned(),
            );
        }
        if let Some(name) = package.dev_dependencies.keys().find(|name| {
            let words = package
                .script("start")
                .unwrap_or_default()
                .split_whitespace();
            words.into_iter().next() == Some(name.as_str())
        }) {
            plan.warnings.push(format!(
                "scripts.start runs {name}, a devDependency, and those are removed before the app runs: `npm install --save-prod {name}`"
            ));
        }
    }

    fn summary(&self) -> String {
        if self.packages == Packages::None {
            return "no dependencies".to_owned();
        }
        let tool = if self.lockfile.is_some() {
            "npm ci"
        } else {
            "npm install"
        };
        match self.needs_source {
            Some(reason) => format!("{tool} at every change ({reason})"),
            None => tool.to_owned(),
        }
    }

    fn command(&self) -> String {
        let tool = match self.lockfile {
            Some(_) => "npm ci",
            // The manifests are mounted and cannot be written.
            None => "npm install --no-save --no-package-lock",
        };
        let include = match self.packages {
            Packages::None | Packages::Production => "--omit=dev",
            Packages::AllThenProduction | Packages::BuildOnly => "--include=dev",
        };
        format!("{tool} {include}")
    }
}

/// What is installed, as the manifest tells.
fn packages(package: &Package, builds: bool) -> Packages {
    let has_any = !package.dependencies.is_empty();
    let has_dev = !package.dev_dependencies.is_empty();
    // Hooks such as `prepare` are often development tools themselves: without those npm would fail.
    let wants_dev = has_dev && (builds || install_hook(package).is_some());
    match (has_any, wants_dev) {
        (false, false) => Packages::None,
        (true, false) => Packages::Production,
        (true, true) => Packages::AllThenProduction,
        (false, true) => Packages::BuildOnly,
    }
}

/// A script that npm runs when it installs.
fn install_hook(package: &Package) -> Option<&'static str> {
    let hooks = ["preinstall", "install", "postinstall", "prepare"];
    hooks
        .into_iter()
        .find(|hook| package.script(hook).is_some())
}

fn needs_source(package: &Package) -> Option<&'static str> {
    if package.has_workspaces {
        return Some("workspaces");
    }
    if package.has_local_dependencies() {
        return Some("a dependency is a folder of the app");
    }
    if package.dependencies.contains_key("@prisma/client") {
        return Some("prisma generates into node_modules");
    }
    let hooks = ["preinstall", "install", "postinstall", "prepare"];
    let reads_source = |hook: &&str| {
        // husky wants a git checkout, finds none and is content.
        package
            .script(hook)
            .is_some_and(|script| !script.contains("husky"))
    };
    hooks
        .into_iter()
        .find(reads_source)
        .map(|_| "package.json has an install script")
}

fn find_lockfile(
    tree: &dyn SourceTree,
    plan: &mut BuildPlan,
) -> Result<Option<&'static str>, PlanError> {
    let mut found = None;
    for lockfile in ["npm-shrinkwrap.json", "package-lock.json"] {
        if found.is_none() && lock_is_regular(tree, lockfile)? {
            found = Some(lockfile);
        }
    }
    let others = [
        ("yarn.lock", "Yarn"),
        ("pnpm-lock.yaml", "pnpm"),
        ("bun.lock", "Bun"),
        ("bun.lockb", "Bun"),
    ];
    for (lockfile, manager) in others.into_iter().filter(|(name, _)| has(tree, name)) {
        match found {
            Some(ours) => plan.warnings.push(format!(
                "both {ours} and {lockfile} are here and npm installs from {ours}: remove {lockfile}"
            )),
            None => return Err(PlanError::OtherPackageManager { lockfile, manager }),
        }
    }
    Ok(found)
}

/// Lockfiles are npm's to read, and longer than what we would.
fn lock_is_regular(tree: &dyn SourceTree, path: &str) -> Result<bool, PlanError> {
    match config_file(tree, path) {
        Ok(found) => Ok(found.is_some()),
        Err(PlanError::ConfigTooLarge { .. }) => Ok(true),
        Err(other) => Err(other),
    }
}

/// The variables that .npmrc names: `${NPM_TOKEN}`.
fn named_vars(settings: &str) -> Vec<String> {
    let parts = settings.split("${").skip(1);
    let names = parts.filter_map(|part| part.split_once('}'));
    names
        .map(|(name, _)| name.trim_end_matches('?').to_owned())
        .collect()
}

/// Writes the stages, and lists the images they stand on.
fn lay_out(plan: &mut BuildPlan, install: &Install, node: Node, uses_npm: bool) {
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
    Stage {
        name: name.to_owned(),
        from: from.to_owned(),
        steps,
    }
}

fn copy_folder(stage: &str, path: &str) -> Step {
    Step::CopyFolder {
        stage: stage.to_owned(),
        path: path.to_owned(),
    }
}

fn cache() -> Mount {
    Mount::Cache {
        name: "npm".to_owned(),
        path: "/root/.npm".to_owned(),
    }
}

/// Adds the stages that install, and returns the step that takes the packages into the image.
fn install_stages(stages: &mut Vec<Stage>, install: &Install, builder: &str) -> Option<Step> {
    if install.packages == Packages::None {
        return None;
    }
    let manifests = install
        .manifests
        .iter()
        .map(|path| Mount::SourceFile { path: path.clone() });
    let mounts: Vec<Mount> = manifests.chain([cache()]).collect();
    let step = |command: String| Step::Run {
        command,
        mounts: mounts.clone(),
        env: EnvScope::Install,
    };
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
            vec![Mount::StageFolder {
                stage: "dependencies".to_owned(),
                path: MODULES.to_owned(),
            }]
        }
    };
    let run = Step::Run {
        command: format!("npm run {script}"),
        mounts,
        env: EnvScope::Everything,
    };
    stage("build", builder, vec![Step::CopySource, run])
}

fn all_in_one(install: &Install, builder: &str) -> Stage {
    let mut commands = vec![install.command()];
    commands.extend(
        install
            .build
            .iter()
            .map(|(name, _)| format!("npm run {name}")),
    );
    if matches!(
        install.packages,
        Packages::AllThenProduction | Packages::BuildOnly
    ) {
        commands.push(prune_command());
    }
    let run = Step::Run {
        command: commands.join(" && "),
        mounts: vec![cache()],
        env: EnvScope::Everything,
    };
    stage("build", builder, vec![Step::CopySource, run])
}
