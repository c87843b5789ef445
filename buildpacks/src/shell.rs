//! A Procfile and nothing else that we know: the files on plain Debian, started as it says.

use crate::detect::Detection;
use crate::plan::BuildPlan;
use crate::procfile::Procfile;
use crate::recipe::{Stage, Step};
use crate::stack;

pub(crate) fn plan(detection: &Detection, procfile: Option<&Procfile>) -> BuildPlan {
    let mut plan = BuildPlan::new(detection);
    if let Some(procfile) = procfile {
        plan.set_processes(procfile);
    }
    let base = stack::base();
    plan.notes.push("no language files: your files on Debian 13 with sh and perl, nothing is installed".to_owned());
    plan.stages = vec![Stage { name: "app".to_owned(), from: base.reference(), steps: vec![Step::CopySource] }];
    plan.stack = vec![base];
    plan
}
