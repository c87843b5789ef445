//! A Procfile and nothing else that we know: the files on plain Debian, started as it says.

use std::sync::LazyLock;

use serde::Deserialize;

use crate::PlanError;
use crate::language::{About, App, Rules, table};
use crate::plan::BuildPlan;
use crate::recipe::{Stage, Step};
use crate::stack;

static TABLE: LazyLock<Table> = LazyLock::new(|| table(include_str!("shell.toml")));

#[derive(Debug, Deserialize)]
struct Table {
    language: About,
}

pub(crate) struct Shell;

impl Rules for Shell {
    fn about(&self) -> &'static About {
        &TABLE.language
    }

    fn plan(&self, app: &App<'_>) -> Result<BuildPlan, PlanError> {
        let mut plan = BuildPlan::new(app.detection);
        if let Some(procfile) = app.procfile {
            plan.set_processes(procfile);
        }
        let base = stack::base();
        plan.notes.push("no language files: your files on Debian 13 with sh and perl, nothing is installed".to_owned());
        plan.stages = vec![Stage { name: "app".to_owned(), from: base.reference(), steps: vec![Step::CopySource] }];
        plan.stack = vec![base];
        Ok(plan)
    }
}
