//! Elixir with Mix: dependencies compiled from the manifests, a release where mix.exs describes one, Phoenix and its assets.

mod mix;
mod version;

use std::sync::LazyLock;

use mix::Mix;
use serde::Deserialize;

use crate::PlanError;
use crate::language::{About, App, Rules, table};
use crate::plan::{BuildPlan, Start};
use crate::recipe::{Mount, Sharing, Stage, Step};
use crate::stack::{self, StackImage};
use crate::tree::{SourceTree, has, has_folder};

/// Hex and rebar live outside of the app's files, in the image too: `mix` looks for them when it starts an app.
const HOME: &str = "/opt/mix";
/// Phoenix before 1.6 has its assets built by npm.
const NPM_ASSETS: &str = "assets/package.json";
const RELEASES: &str = "/app/_build/prod/rel";

static TABLE: LazyLock<Table> = LazyLock::new(|| table(include_str!("elixir.toml")));

#[derive(Debug, Deserialize)]
struct Table {
    language: About,
    debian: Debian,
}

#[derive(Debug, Deserialize)]
struct Debian {
    version: String,
    erlang: String,
    run: Vec<String>,
    build: Vec<String>,
    release: Vec<String>,
    assets: Vec<String>,
}

pub(crate) struct Elixir;

impl Rules for Elixir {
    fn about(&self) -> &'static About {
        &TABLE.language
    }

    fn plan(&self, app: &App<'_>) -> Result<BuildPlan, PlanError> {
        let mut plan = BuildPlan::new(app.detection);
        plan.versions.insert("elixir".to_owned(), TABLE.debian.version.clone());
        let mix = Mix::read(app.tree)?;
        let chosen = version::choose(app.tree)?;
        plan.warnings.extend(chosen.warning);
        let install = if mix.has_dependencies { "mix deps.get" } else { "no dependencies" };
        plan.notes.push(format!("{}, {install}", chosen.note));
        if mix.has_dependencies && !has(app.tree, "mix.lock") {
            plan.warnings.push(
                "no mix.lock: every build may take other versions; run `mix deps.get` and commit mix.lock".to_owned(),
            );
        }
        if let Some(procfile) = app.procfile {
            plan.set_processes(procfile);
        } else {
            let (command, why) = web(app.tree, &mix);
            plan.notes.push(format!("web: {command} ({why})"));
            plan.set_web(&command);
        }
        warn_of_secret(&mut plan, app);
        lay_out(&mut plan, app, &mix);
        Ok(plan)
    }

    fn builds_by_itself(&self) -> bool {
        true
    }
}

fn web(tree: &dyn SourceTree, mix: &Mix) -> (String, &'static str) {
    match &mix.release {
        // What `mix phx.gen.release` writes: it sets PHX_SERVER.
        Some(name) if has(tree, "rel/overlays/bin/server") => {
            (format!("_build/prod/rel/{name}/bin/server"), "a release with bin/server")
        }
        Some(name) => (format!("_build/prod/rel/{name}/bin/{name} start"), "mix.exs describes a release"),
        None if mix.is_phoenix => ("mix phx.server".to_owned(), "a Phoenix app"),
        None => ("mix run --no-halt".to_owned(), "mix.exs is here"),
    }
}

/// Phoenix raises at its start without it, which looks like a crash of the app.
fn warn_of_secret(plan: &mut BuildPlan, app: &App<'_>) {
    let runtime = app.tree.read("config/runtime.exs").unwrap_or_default();
    if String::from_utf8_lossy(&runtime).contains("SECRET_KEY_BASE") && !app.env.contains_key("SECRET_KEY_BASE") {
        plan.warnings.push(
            "config/runtime.exs reads SECRET_KEY_BASE, which is no config var: `paas config:set SECRET_KEY_BASE=$(openssl rand -base64 48)`"
                .to_owned(),
        );
    }
}

fn lay_out(plan: &mut BuildPlan, app: &App<'_>, mix: &Mix) {
    let base = stack::base();
    let elixir = image("elixir", &base, &TABLE.debian.run, "USER app");
    let plain = image("elixir-build", &elixir, &TABLE.debian.build, "USER root");
    let assets = TABLE.debian.assets.iter().filter(|_| has(app.tree, NPM_ASSETS)).map(String::as_str).collect();
    let build = plain.with_packages(&assets);
    let calls_mix = plan.processes.values().any(|start| matches!(start, Start::Command(line) if needs_mix(line)))
        || app.once.iter().any(|line| needs_mix(line));
    let mut last = Vec::new();
    let run = if mix.release.is_some() && !calls_mix {
        last.push(Step::copy("build", RELEASES));
        image("erlang-release", &base, &TABLE.debian.release, "USER app")
    } else {
        last.extend([Step::copy("build", HOME), Step::copy("build", "/app")]);
        elixir.clone()
    };
    let mut steps = Vec::new();
    if mix.has_dependencies && !mix.needs_source {
        let dependencies = dependencies(plan, app, &build);
        let from = dependencies.name.clone();
        plan.stages.push(dependencies);
        steps.extend([Step::CopySource, Step::run(command(app, mix), hex_cache())]);
        plan.stages.push(Stage::new("build", &from, steps));
    } else {
        let fetch = if mix.has_dependencies { format!("{} && ", fetch(app.tree)) } else { String::new() };
        steps.extend([Step::CopySource, Step::run(format!("{fetch}{}", command(app, mix)), hex_cache())]);
        plan.stages.push(Stage::new("build", &build.reference(), steps));
    }
    plan.stages.push(Stage::new("app", &run.reference(), last));
    plan.add_stack([base, elixir, plain, build, run]);
}

/// The packages, fetched and compiled from the manifests and the configuration alone.
fn dependencies(plan: &mut BuildPlan, app: &App<'_>, build: &StackImage) -> Stage {
    let is_config = |path: &str| path.starts_with("config/") && !path.ends_with("runtime.exs");
    let paths = app.tree.files().iter().map(|file| file.path.as_str());
    let files: Vec<String> =
        paths.filter(|path| ["mix.exs", "mix.lock"].contains(path) || is_config(path)).map(str::to_owned).collect();
    let mounts = files.iter().map(|file| Mount::file(file)).chain(hex_cache()).collect();
    plan.needs.extend(files);
    Stage::new("dependencies", &build.reference(), vec![Step::install(fetch(app.tree), mounts)])
}

fn hex_cache() -> Vec<Mount> {
    vec![Mount::cache("hex", "/root/.hex", Sharing::Shared)]
}

fn fetch(tree: &dyn SourceTree) -> String {
    let check = if has(tree, "mix.lock") { " --check-locked" } else { "" };
    format!(
        "mix local.hex --force --if-missing && mix local.rebar rebar3 /usr/bin/rebar3 --force && mix deps.get --only prod{check} && mix deps.compile"
    )
}

fn command(app: &App<'_>, mix: &Mix) -> String {
    let mut parts = vec![format!("mkdir -p {HOME}")];
    if has(app.tree, NPM_ASSETS) {
        parts.push("npm install --prefix assets --no-audit --no-fund".to_owned());
    }
    if let Some(task) = mix.assets {
        parts.push(format!("mix {task}"));
    }
    parts.push(app.build_or("mix compile".to_owned()));
    if let Some(name) = &mix.release {
        parts.push(format!("mix release {name} --overwrite"));
    }
    parts.join(" && ")
}

fn needs_mix(line: &str) -> bool {
    line.split_whitespace().any(|word| ["mix", "elixir", "iex"].contains(&word))
}

fn image(name: &str, base: &StackImage, packages: &[String], user: &str) -> StackImage {
    let packages: Vec<&str> = packages.iter().map(String::as_str).collect();
    let line = TABLE.debian.version.rsplit_once('.').map_or("", |(line, _)| line);
    let name = name.replacen("elixir", &format!("elixir{line}"), 1);
    StackImage::new(
        &name,
        Some(base),
        &[
            "USER root".to_owned(),
            stack::run(&stack::apt_install(&packages)),
            // Erlang takes file names and output for Latin-1 otherwise.
            format!("ENV LANG=C.UTF-8 MIX_ENV=prod MIX_HOME={HOME} HEX_HOME=/root/.hex PHX_SERVER=true"),
            user.to_owned(),
        ],
    )
}

/// Whether a folder holds an app of an umbrella.
fn is_umbrella(tree: &dyn SourceTree) -> bool {
    has_folder(tree, "apps") && tree.files().iter().any(|file| is_app_manifest(&file.path))
}

fn is_app_manifest(path: &str) -> bool {
    let mut parts = path.split('/');
    parts.next() == Some("apps") && parts.nth(1) == Some("mix.exs") && parts.next().is_none()
}
