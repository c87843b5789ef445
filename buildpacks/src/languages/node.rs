//! Node.js with npm.
//!
//! Dependencies are installed from the manifests alone, so that a change of the app's own code rebuilds
//! one COPY. A build script sees them through a mount. Where an installer wants to see the code (its
//! own hooks, workspaces, local packages), everything happens in one stage instead.

mod images;
mod install;
mod package;

mod stages;
mod start;
mod version;

use install::Install;
use package::Package;

use crate::PlanError;
use crate::command;
use crate::language::{About, App, Rules};
use crate::plan::{BuildPlan, Start};
use crate::procfile::Procfile;
use crate::tree::{SourceTree, config_text};

pub(crate) struct Node;

impl Rules for Node {
    fn about(&self) -> &'static About {
        &version::AVAILABLE.language
    }

    fn plan(&self, app: &App<'_>) -> Result<BuildPlan, PlanError> {
        plan(app)
    }
}

fn plan(app: &App<'_>) -> Result<BuildPlan, PlanError> {
    let tree = app.tree;
    let text = config_text(tree, "package.json")?.unwrap_or_default();
    let package = Package::parse(&text)?;
    let mut plan = BuildPlan::new(app.detection);
    let (node, node_note) = version::choose(tree, &package)?;
    let install = Install::decide(tree, &package, &mut plan)?;
    plan.notes.push(format!("{node_note}, {}", install.summary()));
    if let Some((name, _)) = &install.build {
        plan.notes.push(format!("npm run {name}"));
    }
    let uses_npm =
        set_processes(&mut plan, tree, &package, app.procfile)? || app.once.iter().any(|line| start::needs_npm(line));
    stages::lay_out(&mut plan, &install, node, uses_npm);
    Ok(plan)
}

/// Whether the app could be started without a Procfile.
pub(crate) fn looks_startable(tree: &dyn SourceTree) -> bool {
    let text = tree.read("package.json").unwrap_or_default();
    Package::parse(&String::from_utf8_lossy(&text)).is_ok_and(|package| start::web(tree, &package).is_ok())
}

/// Whether there is anything to do with it: to start, or to build first.
pub(crate) fn looks_runnable(tree: &dyn SourceTree) -> bool {
    let text = tree.read("package.json").unwrap_or_default();
    let builds = Package::parse(&String::from_utf8_lossy(&text)).is_ok_and(|package| package.script("build").is_some());
    builds || looks_startable(tree)
}

/// Sets what runs; true when some of it calls npm.
fn set_processes(
    plan: &mut BuildPlan,
    tree: &dyn SourceTree,
    package: &Package,
    procfile: Option<&Procfile>,
) -> Result<bool, PlanError> {
    let lines: Vec<(String, String)> = if let Some(procfile) = procfile {
        let spelled = |(name, line): (&str, &str)| (name.to_owned(), start::spell_out(line, package));
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
