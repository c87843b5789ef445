//! The app brings its own Dockerfile: it is built as it is.

use std::sync::LazyLock;

use serde::Deserialize;

use crate::PlanError;
use crate::ignore;
use crate::language::{About, App, Rules, table};
use crate::overrides::FILE;
use crate::plan::{BuildEnv, BuildPlan, DockerfileSource, Start};
use crate::tree::{config_file, config_text};

const PATH: &str = "Dockerfile";

static TABLE: LazyLock<Table> = LazyLock::new(|| table(include_str!("dockerfile.toml")));

#[derive(Debug, Deserialize)]
struct Table {
    language: About,
}

pub(crate) struct Dockerfile;

impl Rules for Dockerfile {
    fn about(&self) -> &'static About {
        &TABLE.language
    }

    fn plan(&self, app: &App<'_>) -> Result<BuildPlan, PlanError> {
        plan(app)
    }
}

fn plan(app: &App<'_>) -> Result<BuildPlan, PlanError> {
    if let Some(heroku_yml) = app.heroku_yml {
        return heroku_yml.plan(app);
    }
    let path = app.overrides.dockerfile.as_ref().map_or(PATH, |set| set.value.as_str());
    let Some(text) = config_text(app.tree, path)? else {
        let line = app.overrides.line_of_dockerfile();
        let reason = format!("{path} is not in the commit: `git add {path}` and commit, or correct the line");
        return Err(PlanError::Manifest { file: FILE.to_owned(), line, reason });
    };
    config_file(app.tree, &ignore::own_file(path))?;
    let mut plan = BuildPlan::new(app.detection);
    plan.dockerfile = DockerfileSource::Users { path: path.to_owned() };
    plan.needs = vec![path.to_owned(), ".dockerignore".to_owned()];
    plan.build_args.clone_from(&app.overrides.args);
    if let Some(procfile) = app.procfile {
        plan.set_processes(procfile);
        plan.notes.push("process types from Procfile".to_owned());
    } else {
        plan.processes.insert("web".to_owned(), Start::Image);
        plan.notes.push("web runs the image's own command".to_owned());
    }
    let is_given = |name: &str| app.overrides.args.iter().any(|listed| listed == name);
    plan.warnings.extend(warnings(&text, path, app.env, is_given));
    Ok(plan)
}

/// What works now and may surprise. `is_given` tells the build arguments that it gets beside GIT_REV.
pub(crate) fn warnings(text: &str, path: &str, env: &BuildEnv, is_given: impl Fn(&str) -> bool) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(frontend) = text.lines().next().and_then(frontend) {
        warnings.push(format!(
            "{path} line 1 has the builder {frontend} fetched from a registry at every build: remove the line unless the Dockerfile needs it"
        ));
    }
    for name in declared_args(text) {
        if env.contains_key(&name) && name != "GIT_REV" && !is_given(&name) {
            warnings.push(format!(
                "{path} declares `ARG {name}`, and a config var has that name: config vars are not given to the build of a Dockerfile, since its history would show them; {name} is set when the app runs; what may be seen can be listed in paas.toml, `build.args`"
            ));
        }
    }
    warnings
}

/// The image that `# syntax=IMAGE` names.
fn frontend(line: &str) -> Option<&str> {
    let directive = line.strip_prefix('#')?.trim_start();
    let image = directive.strip_prefix("syntax")?.trim_start().strip_prefix('=')?.trim();
    (!image.is_empty()).then_some(image)
}

/// The names that ARG lines declare.
fn declared_args(text: &str) -> Vec<String> {
    let lines = instructions(text).into_iter();
    let args = lines.filter(|(keyword, _)| keyword == "ARG");
    let mut names: Vec<String> = args
        .flat_map(|(_, rest)| {
            rest.split_whitespace().map(|word| word.split('=').next().unwrap_or(word).to_owned()).collect::<Vec<_>>()
        })
        .collect();
    names.sort();
    names.dedup();
    names
}

/// The instructions of a Dockerfile, with continued lines joined and comments left out.
fn instructions(text: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut current = String::new();
    for line in text.lines() {
        let line = line.trim();
        if line.starts_with('#') || line.is_empty() {
            continue;
        }
        let continued = line.strip_suffix('\\');
        current.push_str(continued.unwrap_or(line));
        current.push(' ');
        if continued.is_none() {
            all.push(std::mem::take(&mut current));
        }
    }
    all.push(current);
    all.iter()
        .filter_map(|line| line.trim().split_once(char::is_whitespace))
        .map(|(keyword, rest)| (keyword.to_ascii_uppercase(), rest.trim().to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn args_are_found_in_any_case_and_over_several_lines() {
        let text = "arg A\nFROM x\nARG B=1 \\\n  # why\n  C\nRUN ARG D\n";
        assert_eq!(declared_args(text), ["A", "B", "C"]);
    }
}
