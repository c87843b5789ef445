//! What the package manager has to do, decided from package.json and the lockfile.

use super::manager::{Kind, Manager};
use super::package::Package;
use super::workspaces::{self, Found};
use super::{lock, pages, start};
use crate::PlanError;
use crate::command;
use crate::plan::BuildPlan;
use crate::tree::{SourceTree, config_text, has, has_folder};

/// The scripts that managers run when they install.
const INSTALL_HOOKS: [&str; 4] = ["preinstall", "install", "postinstall", "prepare"];

/// What the package manager has to do.
#[derive(Debug)]
pub(super) struct Install {
    pub(super) manager: Manager,
    /// Files it reads, all at the root.
    pub(super) manifests: Vec<String>,
    /// Whether any package is installed at all, and what is left of them when the app runs.
    pub(super) packages: Packages,
    /// The command that builds.
    pub(super) build: Option<String>,
    /// The command that installs, where paas.toml has one.
    pub(super) command: Option<String>,
    /// It has to see the app's own files.
    pub(super) needs_source: Option<&'static str>,
    /// Packages of the workspace have folders of packages of their own, which not every manager can prune.
    pub(super) has_workspaces: bool,
}

/// The script that builds the app.
#[derive(Debug)]
struct Build {
    script: &'static str,
    /// The package of the workspace that has it; empty for the root.
    folder: String,
    env: Option<&'static str>,
}

/// What paas.toml wants of it.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Wishes<'a> {
    pub(super) install: Option<&'a str>,
    pub(super) build: Option<&'a str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packages {
    None,
    /// Without the development ones.
    Production,
    /// All, and the development ones are removed after the build.
    AllThenProduction,
    /// All, and none is left when the app runs.
    BuildOnly,
}

impl Install {
    pub(super) fn decide(
        tree: &dyn SourceTree,
        package: &Package,
        wishes: Wishes<'_>,
        plan: &mut BuildPlan,
    ) -> Result<Self, PlanError> {
        let manager = Manager::decide(tree, package)?;
        lock::check(tree, package, &manager)?;
        let build = match wishes.build {
            Some(command) => Some(command.to_owned()),
            None => Build::find(tree, package)?.map(|build| build.command(&manager)),
        };
        let has_workspaces = package.has_workspaces || has(tree, "pnpm-workspace.yaml");
        let mut install = Self {
            manifests: vec!["package.json".to_owned()],
            packages: packages(package, build.is_some()),
            build,
            needs_source: needs_source(tree, package, &manager),
            manager,
            has_workspaces,
            command: wishes.install.map(str::to_owned),
        };
        if install.command.is_some() {
            // What it leaves is what was wanted: nothing is pruned.
            install.packages = Packages::Production;
            install.needs_source = Some("paas.toml says how");
        }
        if install.packages == Packages::None && install.needs_source.is_some() {
            install.packages = Packages::AllThenProduction;
        }
        install.manifests.extend(install.manager.lockfile.clone());
        for file in [".npmrc", ".yarnrc", ".yarnrc.yml", "pnpm-workspace.yaml", "bunfig.toml"] {
            if let Some(settings) = config_text(tree, file)? {
                install.manifests.push(file.to_owned());
                plan.install_env.extend(named_vars(&settings));
            }
        }
        plan.needs.extend(install.manifests.iter().cloned());
        if install.packages != Packages::None {
            install.warn(tree, package, plan);
        }
        Ok(install)
    }

    fn warn(&self, tree: &dyn SourceTree, package: &Package, plan: &mut BuildPlan) {
        if self.manager.lockfile.is_none() {
            let tool = self.manager.kind.tool();
            let lockfile = match self.manager.kind {
                Kind::Npm => "package-lock.json",
                Kind::Pnpm | Kind::Yarn | Kind::Berry | Kind::Bun => &self.manager.kind.facts().lockfiles[0],
            };
            plan.warnings.push(format!(
                "no {lockfile}: every build may install other versions; run `{tool} install` and commit {lockfile}"
            ));
        }
        if has_folder(tree, "node_modules") {
            plan.warnings.push(
                "node_modules is committed and may hide what is installed: `git rm -r --cached node_modules`, add `node_modules/` to .gitignore and commit".to_owned(),
            );
        }
        let start = package.script("start").filter(|script| !pages::is_for_the_desk(tree, script, package));
        let program = start.and_then(|script| script.split_whitespace().next()).unwrap_or_default();
        if package.dev_dependencies.contains_key(program) {
            plan.warnings.push(format!(
                "scripts.start runs {program}, a devDependency, and those are removed before the app runs: `npm install --save-prod {program}`"
            ));
        }
    }

    pub(super) fn summary(&self) -> String {
        if self.packages == Packages::None {
            return "no dependencies".to_owned();
        }
        let tool = self.command.clone().unwrap_or_else(|| self.manager.summary());
        match self.needs_source {
            Some(reason) => format!("{tool} at every change ({reason})"),
            None => tool,
        }
    }
}

impl Build {
    fn command(&self, manager: &Manager) -> String {
        let run = manager.run(self.script);
        let run = self.env.map_or(run.clone(), |env| format!("{env} {run}"));
        if self.folder.is_empty() { run } else { format!("(cd {} && {run})", command::quote(&self.folder)) }
    }

    /// The root's script; where it has none, that of the one package which is the app.
    fn find(tree: &dyn SourceTree, package: &Package) -> Result<Option<Self>, PlanError> {
        let script = ["heroku-postbuild", "build"].into_iter().find(|name| package.script(name).is_some());
        if let Some(script) = script {
            return Ok(Some(Self { script, folder: String::new(), env: start::build_env(package) }));
        }
        if package.script("start").is_some() {
            return Ok(None);
        }
        Ok(match workspaces::find(tree, package)? {
            Found::One(member) if member.has_build() => {
                Some(Self { script: "build", folder: member.folder, env: None })
            }
            Found::One(_) | Found::Several(_) | Found::Nothing => None,
        })
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
    INSTALL_HOOKS.into_iter().find(|hook| package.script(hook).is_some())
}

fn needs_source(tree: &dyn SourceTree, package: &Package, manager: &Manager) -> Option<&'static str> {
    if package.has_workspaces || (manager.kind == Kind::Pnpm && has(tree, "pnpm-workspace.yaml")) {
        return Some("workspaces");
    }
    if manager.kind == Kind::Berry && [".yarn/plugins", ".yarn/patches"].iter().any(|f| has_folder(tree, f)) {
        return Some("yarn reads files in .yarn");
    }
    if has_folder(tree, "patches") || has(tree, ".pnpmfile.cjs") {
        return Some("dependencies are patched");
    }
    if package.has_local_dependencies() {
        return Some("a dependency is a folder of the app");
    }
    if package.asks_for("@sveltejs/adapter-auto") {
        return Some("SvelteKit's adapter is installed when it builds");
    }
    if package.dependencies.contains_key("@prisma/client") {
        return Some("prisma generates into node_modules");
    }
    let reads_source = |hook: &&str| {
        let script = package.script(hook);
        script.is_some_and(|script| !is_husky_alone(script))
    };
    INSTALL_HOOKS.into_iter().find(reads_source).map(|_| "package.json has an install script")
}

/// husky wants a git checkout, finds none and is content.
fn is_husky_alone(script: &str) -> bool {
    script.contains("husky") && !script.contains(['&', ';'])
}

/// The variables that a file of settings names: `${NPM_TOKEN}`, `${NPM_TOKEN:-none}`.
fn named_vars(settings: &str) -> Vec<String> {
    let parts = settings.split("${").skip(1);
    let names = parts.filter_map(|part| part.split_once('}'));
    names.map(|(name, _)| name.split([':', '-']).next().unwrap_or(name).trim_end_matches('?').to_owned()).collect()
}
