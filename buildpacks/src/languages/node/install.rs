//! What npm has to do, decided from package.json and the lockfile.

use super::package::Package;
use crate::PlanError;
use crate::plan::BuildPlan;
use crate::tree::{SourceTree, config_file, config_text, has, has_folder};

/// The scripts that npm runs when it installs.
const INSTALL_HOOKS: [&str; 4] = ["preinstall", "install", "postinstall", "prepare"];

/// What npm has to do.
#[derive(Debug)]
pub(super) struct Install {
    pub(super) lockfile: Option<&'static str>,
    /// Files npm reads, all at the root.
    pub(super) manifests: Vec<String>,
    /// Whether any package is installed at all, and what is left of them when the app runs.
    pub(super) packages: Packages,
    /// Name and text of the build script.
    pub(super) build: Option<(&'static str, String)>,
    /// npm has to see the app's own files.
    pub(super) needs_source: Option<&'static str>,
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
    pub(super) fn decide(tree: &dyn SourceTree, package: &Package, plan: &mut BuildPlan) -> Result<Self, PlanError> {
        let lockfile = find_lockfile(tree, plan)?;
        let build =
            ["heroku-postbuild", "build"].into_iter().find_map(|name| Some((name, package.script(name)?.to_owned())));
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
            let words = package.script("start").unwrap_or_default().split_whitespace();
            words.into_iter().next() == Some(name.as_str())
        }) {
            plan.warnings.push(format!(
                "scripts.start runs {name}, a devDependency, and those are removed before the app runs: `npm install --save-prod {name}`"
            ));
        }
    }

    pub(super) fn summary(&self) -> String {
        if self.packages == Packages::None {
            return "no dependencies".to_owned();
        }
        let tool = if self.lockfile.is_some() { "npm ci" } else { "npm install" };
        match self.needs_source {
            Some(reason) => format!("{tool} at every change ({reason})"),
            None => tool.to_owned(),
        }
    }

    pub(super) fn command(&self) -> String {
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
    INSTALL_HOOKS.into_iter().find(|hook| package.script(hook).is_some())
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

fn find_lockfile(tree: &dyn SourceTree, plan: &mut BuildPlan) -> Result<Option<&'static str>, PlanError> {
    let mut found = None;
    for lockfile in ["npm-shrinkwrap.json", "package-lock.json"] {
        if found.is_none() && lock_is_regular(tree, lockfile)? {
            found = Some(lockfile);
        }
    }
    let others = [("yarn.lock", "Yarn"), ("pnpm-lock.yaml", "pnpm"), ("bun.lock", "Bun"), ("bun.lockb", "Bun")];
    for (lockfile, manager) in others.into_iter().filter(|(name, _)| has(tree, name)) {
        match found {
            Some(ours) => plan
                .warnings
                .push(format!("both {ours} and {lockfile} are here and npm installs from {ours}: remove {lockfile}")),
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
    names.map(|(name, _)| name.trim_end_matches('?').to_owned()).collect()
}
