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

use install::{Install, Wishes};
use package::Package;
use pages::Pages;
use stages::Runs;

use crate::PlanError;
use crate::command;
use crate::language::{About, App, Rules};
use crate::languages::static_site;
use crate::plan::{BuildPlan, Start};
use crate::tree::{SourceTree, config_text};

/// The managers of which paas.toml may ask for a version; npm goes with Node.js.
pub(crate) const VERSIONED_MANAGERS: [&str; 3] = ["pnpm", "yarn", "bun"];

pub(crate) struct Node;

impl Rules for Node {
    fn about(&self) -> &'static About {
        &version::AVAILABLE.language
    }

    fn plan(&self, app: &App<'_>) -> Result<BuildPlan, PlanError> {
        plan(app)
    }

    fn installs_by_itself(&self) -> bool {
        true
    }

    fn builds_by_itself(&self) -> bool {
        true
    }
}

fn plan(app: &App<'_>) -> Result<BuildPlan, PlanError> {
    let tree = app.tree;
    let text = config_text(tree, "package.json")?.unwrap_or_default();
    let mut package = Package::parse(&text)?;
    let asked = VERSIONED_MANAGERS.iter().find_map(|tool| Some((tool, app.overrides.version_of(tool)?)));
    if let Some((tool, version)) = asked {
        package.manager = Some(format!("{tool}@{version}"));
    }
    let mut plan = BuildPlan::new(app.detection);
    let (node, node_note) = version::choose(app)?;
    plan.versions.insert("node".to_owned(), node.version().to_owned());
    let wishes =
        Wishes { install: app.install_command(), build: app.overrides.command.as_ref().map(|set| set.value.as_str()) };
    let install = Install::decide(tree, &package, wishes, &mut plan)?;
    plan.notes.push(format!("{node_note}, {}", install.summary()));
    plan.notes.extend(install.build.clone());
    let runs = set_processes(&mut plan, app, &package, &install)?;
    stages::lay_out(&mut plan, &install, node, &runs);
    Ok(plan)
}

/// Builds the assets of an app in another language, when package.json has a `build` script for them.
pub(crate) fn build_assets(plan: &mut BuildPlan, app: &App<'_>) -> Result<bool, PlanError> {
    let tree = app.tree;
    let text = config_text(tree, "package.json")?.unwrap_or_default();
    let package = Package::parse(&text)?;
    if package.script("build").is_none() {
        return Ok(false);
    }
    let (node, note) = version::choose(app)?;
    plan.versions.insert("node".to_owned(), node.version().to_owned());
    let install = Install::decide(tree, &package, Wishes::default(), plan)?;
    let Some(command) = &install.build else { return Ok(false) };
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
fn set_processes(plan: &mut BuildPlan, app: &App<'_>, package: &Package, install: &Install) -> Result<Runs, PlanError> {
    let lines: Vec<(String, String)> = if let Some(procfile) = app.procfile {
        let spelled = |(name, line): (&str, &str)| {
            let line = start::spell_out_all(app.tree, package, line)?;
            Ok((name.to_owned(), if name == "web" { start::told_where(package, line) } else { line }))
        };
        procfile.iter().map(spelled).collect::<Result<_, PlanError>>()?
    } else {
        // Whoever names the folder wants its files served, and no server.
        let started = start::web(app.tree, package);
        match started {
            Ok((command, origin)) if app.overrides.root.is_none() => {
                let command = start::told_where(package, command);
                plan.notes.push(format!("web: {command} ({origin})"));
                vec![("web".to_owned(), command)]
            }
            other => {
                let Some(Pages { settings, why }) = pages::find(app, package, install)? else {
                    return Err(other
                        .err()
                        .filter(|_| app.overrides.root.is_none())
                        .unwrap_or_else(|| pages::no_build(app)));
                };
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
