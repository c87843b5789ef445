//! A Procfile or a start.sh, and nothing else that we know: the files on plain Debian, started as it says.

use std::sync::LazyLock;

use serde::Deserialize;

use crate::PlanError;
use crate::language::{About, App, Rules, table};
use crate::plan::BuildPlan;
use crate::procfile::Procfile;
use crate::recipe::{Stage, Step};
use crate::stack;
use crate::text::excerpt;
use crate::tree::{SourceTree, config_text, has};

const SCRIPT: &str = "start.sh";

static TABLE: LazyLock<Table> = LazyLock::new(|| table(include_str!("shell.toml")));

#[derive(Debug, Deserialize)]
struct Table {
    language: About,
    shells: Vec<String>,
    foreign: Vec<Foreign>,
}

/// A language that is not built here, and what gives it away.
#[derive(Debug, Deserialize)]
struct Foreign {
    name: String,
    files: Vec<String>,
}

pub(crate) struct Shell;

impl Rules for Shell {
    fn about(&self) -> &'static About {
        &TABLE.language
    }

    fn plan(&self, app: &App<'_>) -> Result<BuildPlan, PlanError> {
        let mut plan = BuildPlan::new(app.detection);
        if let Some(procfile) = app.procfile {
            refuse_foreign(app.tree, procfile)?;
            plan.set_processes(procfile);
        } else if has(app.tree, SCRIPT) {
            let line = format!("{} {SCRIPT}", shell(app.tree)?);
            plan.notes.push(format!("web: {line} ({SCRIPT} is here)"));
            plan.set_web(&line);
        }
        let base = stack::base();
        plan.notes.push("no language files: your files on Debian 13 with sh and perl, nothing is installed".to_owned());
        plan.stages = vec![Stage { name: "app".to_owned(), from: base.reference(), steps: vec![Step::CopySource] }];
        plan.stack = vec![base];
        Ok(plan)
    }
}

/// The shell that start.sh asks for in its first line.
fn shell(tree: &dyn SourceTree) -> Result<String, PlanError> {
    let text = config_text(tree, SCRIPT)?.unwrap_or_default();
    let Some(asked) = text.lines().next().and_then(|line| line.strip_prefix("#!")) else {
        return Ok("sh".to_owned());
    };
    // `/bin/bash -e`, `/usr/bin/env bash`
    let words = asked.split_whitespace().map(|word| word.rsplit('/').next().unwrap_or(word));
    let name = words.into_iter().find(|word| *word != "env" && !word.starts_with('-')).unwrap_or("sh");
    if TABLE.shells.iter().any(|shell| shell == name) {
        return Ok(name.to_owned());
    }
    Err(PlanError::Unclear(format!(
        "{SCRIPT} line 1 asks for {}, and there are {}: write `#!/bin/bash`, or add a Dockerfile",
        excerpt(name),
        TABLE.shells.join(" and ")
    )))
}

/// What to say of a tree in a language that is not built here.
pub(crate) fn foreign(tree: &dyn SourceTree) -> Option<String> {
    let found = TABLE.foreign.iter().find_map(|one| Some((one, one.files.iter().find(|file| has(tree, file))?)));
    found.map(|(one, file)| {
        format!(
            "{file} is here: {} is not built by this version, so add a Dockerfile that builds and starts it",
            one.name
        )
    })
}

/// A Procfile tells how to start what nobody would have built, unless its programs are in the commit.
fn refuse_foreign(tree: &dyn SourceTree, procfile: &Procfile) -> Result<(), PlanError> {
    let is_here = |line: &str| {
        let program = line.split_whitespace().next().unwrap_or_default();
        has(tree, program.trim_start_matches("./"))
    };
    match foreign(tree) {
        Some(sentence) if !procfile.iter().any(|(_, line)| is_here(line)) => Err(PlanError::Unclear(sentence)),
        Some(_) | None => Ok(()),
    }
}
