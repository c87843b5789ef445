//! Deno: the binary from the npm registry, the app's modules cached into the image.

use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Value;

use crate::PlanError;
use crate::language::{About, App, Rules, table};
use crate::plan::BuildPlan;
use crate::range::{Range, Version};
use crate::recipe::{Stage, Step};
use crate::stack::{self, StackImage};
use crate::tree::{SourceTree, config_text, has};
use crate::versions;

const TARBALL: &str = "/tmp/deno.tgz";
/// Where modules stand, in the build and in the image.
const MODULES: &str = "/opt/deno";
const ENTRIES: [&str; 8] =
    ["main.ts", "main.js", "server.ts", "server.js", "mod.ts", "index.ts", "app.ts", "src/main.ts"];

static TABLE: LazyLock<Table> = LazyLock::new(|| table(include_str!("deno.toml")));

#[derive(Debug, Deserialize)]
struct Table {
    language: About,
    registry: Registry,
}

#[derive(Debug, Deserialize)]
struct Registry {
    version: String,
    x64: String,
    arm64: String,
}

pub(crate) struct Deno;

impl Rules for Deno {
    fn about(&self) -> &'static About {
        &TABLE.language
    }

    fn plan(&self, app: &App<'_>) -> Result<BuildPlan, PlanError> {
        let mut plan = BuildPlan::new(app.detection);
        plan.versions.insert("deno".to_owned(), TABLE.registry.version.clone());
        plan.notes.push(version_note(app.tree)?);
        let tasks = tasks(app.tree)?;
        let entry = ENTRIES.into_iter().find(|file| has(app.tree, file));
        if let Some(procfile) = app.procfile {
            plan.set_processes(procfile);
        } else {
            let (command, why) = match (tasks.contains(&"start".to_owned()), entry) {
                (true, _) => ("deno task start".to_owned(), "tasks.start".to_owned()),
                (false, Some(file)) => (format!("deno run --allow-all {file}"), format!("{file} is here")),
                (false, None) => {
                    return Err(PlanError::NoStartCommand {
                        fix: "add a task to deno.json, `\"tasks\": { \"start\": \"deno run --allow-net --allow-env server.ts\" }`, or a Procfile with a `web:` line".to_owned(),
                    });
                }
            };
            plan.notes.push(format!("web: {command} ({why})"));
            plan.set_web(&command);
        }
        let usual = tasks.contains(&"build".to_owned()).then(|| "deno task build".to_owned());
        let build = app.overrides.command.as_ref().map(|set| set.value.clone()).or(usual);
        plan.notes.extend(build.clone());
        lay_out(&mut plan, entry, build);
        Ok(plan)
    }

    fn builds_by_itself(&self) -> bool {
        true
    }
}

fn version_note(tree: &dyn SourceTree) -> Result<String, PlanError> {
    let ours = TABLE.registry.version.as_str();
    let Some(request) = versions::find(tree, &TABLE.language)? else {
        return Ok(format!("deno {ours} (the npm registry's deno; no .deno-version)"));
    };
    let range = Range::parse(if request.text == "latest" { "*" } else { &request.text });
    if range.zip(Version::parse(ours)).is_none_or(|(range, ours)| !range.holds(ours)) {
        return Err(request.refused("Deno", format!("and there is {ours}: write `2`, or add a Dockerfile")));
    }
    Ok(format!("deno {ours} (the npm registry's deno satisfies {} \"{}\")", request.place, request.text))
}

/// The names of the tasks. Comments of a .jsonc are Deno's to read: there the line that names a task is looked for.
fn tasks(tree: &dyn SourceTree) -> Result<Vec<String>, PlanError> {
    if let Some(text) = config_text(tree, "deno.jsonc")? {
        let named = |task: &&str| text.lines().any(|line| line.trim_start().starts_with(&format!("\"{task}\":")));
        return Ok(["start", "build"].into_iter().filter(named).map(str::to_owned).collect());
    }
    let Some(text) = config_text(tree, "deno.json")? else { return Ok(Vec::new()) };
    let json: Value = serde_json::from_str(&text).map_err(|error| PlanError::Manifest {
        file: "deno.json".to_owned(),
        line: error.line(),
        reason: "this is no valid JSON: correct it, or call it deno.jsonc if it has comments".to_owned(),
    })?;
    let tasks = json.get("tasks").and_then(Value::as_object);
    Ok(tasks.into_iter().flat_map(|tasks| tasks.keys().cloned()).collect())
}

fn lay_out(plan: &mut BuildPlan, entry: Option<&str>, build: Option<String>) {
    let base = stack::base();
    let run = image(&base);
    let mut commands = vec![format!("mkdir -p {MODULES}")];
    commands.push(match entry {
        Some(file) => format!("deno install --entrypoint {file}"),
        None => "deno install".to_owned(),
    });
    commands.extend(build);
    let steps = vec![Step::CopySource, Step::run(commands.join(" && "), Vec::new())];
    plan.stages = vec![
        Stage::new("build", &run.reference(), steps),
        Stage::new("app", &run.reference(), vec![Step::copy("build", MODULES), Step::copy("build", "/app")]),
    ];
    plan.add_stack([base, run]);
}

fn image(base: &StackImage) -> StackImage {
    let Registry { version, x64, arm64 } = &TABLE.registry;
    let mut commands = vec![format!(
        "case $(dpkg --print-architecture) in amd64) arch=x64 hash={x64};; arm64) arch=arm64 hash={arm64};; *) exit 1;; esac"
    )];
    let url = format!("https://registry.npmjs.org/@deno/linux-$arch-glibc/-/linux-$arch-glibc-{version}.tgz");
    commands.extend(stack::download(&url, "$hash", TARBALL));
    commands.extend([
        format!("tar -xzf {TARBALL} -C /usr/local/bin --strip-components=1 --no-same-owner package/deno"),
        format!("rm {TARBALL}"),
        format!("install -d -o app -g app {MODULES}"),
        "deno --version".to_owned(),
    ]);
    StackImage::new(
        &format!("deno{version}"),
        Some(base),
        &[
            "USER root".to_owned(),
            stack::run(&commands),
            format!("ENV DENO_DIR={MODULES} DENO_NO_UPDATE_CHECK=1 DENO_NO_PROMPT=1"),
            "USER app".to_owned(),
        ],
    )
}
