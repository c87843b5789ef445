//! Deno: the binary from the npm registry, the app's modules cached into the image.

use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Value;

use crate::PlanError;
use crate::detect::present;
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
/// What only Deno reads in a source file.
const DENO_ALONE: [&str; 4] = ["https://deno.land/", "Deno.serve(", "from \"jsr:", "from \"npm:"];

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
    /// Every other, between spaces, oldest first: their hash is the registry's own word.
    versions: String,
}

pub(crate) struct Deno;

impl Rules for Deno {
    fn about(&self) -> &'static About {
        &TABLE.language
    }

    /// A script needs no configuration: what it imports or calls says whose it is.
    fn detect(&self, tree: &dyn SourceTree) -> Vec<String> {
        let found = present(tree, &self.about().triggers);
        if !found.is_empty() || has(tree, "package.json") {
            return found;
        }
        let is_deno = |file: &&String| {
            let text = tree.read(file).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            DENO_ALONE.iter().any(|mark| text.contains(mark))
        };
        self.about().scripts.iter().find(is_deno).cloned().into_iter().collect()
    }

    fn plan(&self, app: &App<'_>) -> Result<BuildPlan, PlanError> {
        let mut plan = BuildPlan::new(app.detection);
        let (version, note) = choose(app.tree)?;
        plan.versions.insert("deno".to_owned(), version.to_owned());
        plan.notes.push(note);
        let tasks = tasks(app.tree)?;
        let entry = self.about().scripts.iter().map(String::as_str).find(|file| has(app.tree, file));
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
        lay_out(&mut plan, version, entry, build);
        Ok(plan)
    }

    fn builds_by_itself(&self) -> bool {
        true
    }
}

/// The pinned one where it will do, else the newest of the registry's that is asked for.
fn choose(tree: &dyn SourceTree) -> Result<(&'static str, String), PlanError> {
    let ours = TABLE.registry.version.as_str();
    let Some(request) = versions::find(tree, &TABLE.language)? else {
        return Ok((ours, format!("deno {ours} (the npm registry's deno; no .deno-version)")));
    };
    let range = Range::parse(if request.text == "latest" { "*" } else { &request.text });
    let holds =
        |version: &&str| range.as_ref().zip(Version::parse(version)).is_some_and(|(range, one)| range.holds(one));
    let others = TABLE.registry.versions.split_whitespace().rev();
    let Some(version) = std::iter::once(ours).chain(others).find(holds) else {
        return Err(request.refused("Deno", format!("and there are 2.0.0 to {ours}: write `2`, or add a Dockerfile")));
    };
    let note = format!("deno {version} (the npm registry's deno satisfies {} \"{}\")", request.place, request.text);
    Ok((version, note))
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

fn lay_out(plan: &mut BuildPlan, version: &str, entry: Option<&str>, build: Option<String>) {
    let base = stack::base();
    let run = image(&base, version);
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

fn image(base: &StackImage, version: &str) -> StackImage {
    let Registry { version: pinned, x64, arm64, .. } = &TABLE.registry;
    let mut commands = if version == pinned {
        stack::npm_hash_pinned(x64, arm64)
    } else {
        stack::npm_hash("@deno/linux-$arch-glibc", version)
    };
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
