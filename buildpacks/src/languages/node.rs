//! Node.js with npm, pnpm, Yarn or Bun.
//!
//! Dependencies are installed from the manifests alone, so that a change of the app's own code rebuilds
//! one COPY. A build script sees them through a mount. Where an installer wants to see the code (its
//! own hooks, workspaces, local packages), everything happens in one stage instead.

mod commands;
mod images;
mod install;
mod lock;
mod manager;
mod package;
mod pages;
mod stages;
mod start;
mod version;
mod workspaces;

use install::Install;
use package::Package;
use pages::Pages;
use stages::Runs;

use crate::PlanError;
use crate::command;
use crate::language::{About, App, Rules};
use crate::languages::static_site;
use crate::plan::{BuildPlan, Start};
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
    let (node, node_note) = version::choose(tree)?;
    let install = Install::decide(tree, &package, &mut plan)?;
    plan.notes.push(format!("{node_note}, {}", install.summary()));
    plan.notes.extend(install.build_command());
    let runs = set_processes(&mut plan, app, &package)?;
    stages::lay_out(&mut plan, &install, node, &runs);
    Ok(plan)
}

/// Builds the assets of an app in another language, when package.json has a `build` script for them.
pub(crate) fn build_assets(plan: &mut BuildPlan, tree: &dyn SourceTree) -> Result<bool, PlanError> {
    let text = config_text(tree, "package.json")?.unwrap_or_default();
    let package = Package::parse(&text)?;
    if package.script("build").is_none() {
        return Ok(false);
    }
    let (node, note) = version::choose(tree)?;
    let install = Install::decide(tree, &package, plan)?;
    let Some(command) = install.build_command() else { return Ok(false) };
    plan.notes.push(format!("assets: {note}, {}, {command}", install.summary()));
    stages::lay_out_assets(plan, &install, node, command);
    Ok(true)
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

/// Sets what runs, and says what that needs.
fn set_processes(plan: &mut BuildPlan, app: &App<'_>, package: &Package) -> Result<Runs, PlanError> {
    let lines: Vec<(String, String)> = if let Some(procfile) = app.procfile {
        let spelled = |(name, line): (&str, &str)| {
            let line = start::spell_out_all(app.tree, package, line)?;
            Ok((name.to_owned(), if name == "web" { start::told_where(package, line) } else { line }))
        };
        procfile.iter().map(spelled).collect::<Result<_, PlanError>>()?
    } else {
        match start::web(app.tree, package) {
            Ok((command, origin)) => {
                let command = start::told_where(package, command);
                plan.notes.push(format!("web: {command} ({origin})"));
                vec![("web".to_owned(), command)]
            }
            Err(nothing) => {
                let Some(Pages { settings, why }) = pages::find(app.tree, package)? else { return Err(nothing) };
                plan.notes.push(format!("{} ({why})", static_site::note(&settings)));
                plan.set_web(&static_site::serve_command(&settings));
                return Ok(Runs::Pages(settings));
            }
        }
    };
    let calls_manager = lines.iter().find(|(_, line)| start::needs_manager(line));
    if let Some((name, line)) = calls_manager.filter(|(_, line)| !start::runs_by_bun(line)) {
        let tool = line.split_whitespace().find(|word| start::needs_manager(word)).unwrap_or("npm");
        plan.warnings.push(format!(
            "`{name}` is started through {tool} (`{line}`), which costs memory and delays SIGTERM: name the program itself in the Procfile"
        ));
    }
    let needs_manager = calls_manager.is_some() || app.once.iter().any(|line| start::needs_manager(line));
    for (name, line) in lines {
        let start = Start::Command(command::executable(&line));
        plan.processes.insert(name, start);
    }
    Ok(if needs_manager { Runs::Manager } else { Runs::Node })
}
