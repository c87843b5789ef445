//! What a classic buildpack's `bin/release` says once the app is built: process types for what no Procfile names.

use crate::PlanError;
use crate::app_json::addons_warning;
use crate::command;
use crate::languages::classic::STARTER;
use crate::plan::{BuildPlan, Start};
use crate::procfile::{self, COMMAND_BYTES_MAX, is_process_name};
use crate::text::{excerpt, is_invisible};
use crate::yaml::{self, Node, Value, YamlError};

/// Where the image of an app that buildpacks have built holds them.
pub const RELEASE_YAML: &str = "/app/.paas/release.yml";
pub const BUILT_PROCFILE: &str = "/app/Procfile";

impl BuildPlan {
    /// Whether what runs is known in part only when the image is there.
    pub fn asks_the_image(&self) -> bool {
        !self.buildpacks.is_empty()
    }

    /// The program inside the image that commands are handed to.
    pub fn starter(&self) -> Option<&'static str> {
        self.asks_the_image().then_some(STARTER)
    }

    /// Adds what the built image says: a Procfile that the build has written, then `bin/release`'s process types. What
    /// the tree says stays as it is.
    pub fn hear_image(&mut self, release_yaml: Option<&[u8]>, procfile: Option<&[u8]>) -> Result<(), PlanError> {
        if let Some(built) = procfile.filter(|_| self.processes.is_empty()) {
            self.set_processes(&procfile::parse(built)?);
        }
        let text = release_yaml.map(String::from_utf8_lossy).unwrap_or_default();
        let said = read(&text).map_err(|YamlError { line, reason }| {
            PlanError::Unclear(format!(
                "what bin/release of the last buildpack printed is not understood: line {line}: {reason}"
            ))
        })?;
        for (name, line) in said.processes {
            self.processes.entry(name).or_insert_with(|| Start::Command(command::executable(&line)));
        }
        self.warnings.extend(said.warnings);
        if self.processes.is_empty() {
            let fix = "neither a Procfile nor the buildpack names a process: add a Procfile with a line such as `web: ./server`";
            return Err(PlanError::NoStartCommand { fix: fix.to_owned() });
        }
        Ok(())
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    processes: Vec<(String, String)>,
    warnings: Vec<String>,
}

fn read(text: &str) -> Result<Said, YamlError> {
    let mut said = Said::default();
    let root = yaml::parse(text)?;
    for member in root.members("what it printed")? {
        match member.name.as_str() {
            "default_process_types" => said.processes = processes(&member.node)?,
            "addons" => said.warnings.extend(addons_warning("bin/release", &names(&member.node))),
            "config_vars" if !member.node.members("config_vars")?.is_empty() => {
                let names: Vec<String> =
                    member.node.members("config_vars")?.iter().map(|var| excerpt(&var.name)).collect();
                let names = names.join(", ");
                said.warnings.push(format!("bin/release: config_vars are not set ({names}): use `paas config:set`"));
            }
            _deprecated => {}
        }
    }
    Ok(said)
}

fn processes(node: &Node) -> Result<Vec<(String, String)>, YamlError> {
    let process = |member: &yaml::Member| {
        let line = member.node.text(&member.name)?.trim();
        let is_command = !line.is_empty() && line.len() <= COMMAND_BYTES_MAX && !line.chars().any(is_invisible);
        if !is_process_name(&member.name) || !is_command {
            let reason = format!("`{}` is no process type with a command of one line", excerpt(&member.name));
            return Err(YamlError::new(member.line, reason));
        }
        Ok((member.name.clone(), line.to_owned()))
    };
    node.members("default_process_types")?.iter().map(process).collect()
}

fn names(node: &Node) -> Vec<String> {
    match &node.value {
        Value::Text(name) => vec![excerpt(name)],
        Value::List(items) => items.iter().flat_map(names).collect(),
        Value::Nothing | Value::Members(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::BuildEnv;
    use crate::{MemoryTree, plan};

    fn planned(procfile: Option<&str>) -> BuildPlan {
        let tree = MemoryTree::new().executable("bin/detect", "").executable("bin/compile", "");
        let tree = procfile.map_or(tree.clone(), |text| tree.file("Procfile", text));
        plan(&tree, &BuildEnv::new()).unwrap()
    }

    fn command<'a>(plan: &'a BuildPlan, name: &str) -> &'a str {
        match &plan.processes[name] {
            Start::Command(line) => line,
            Start::Image => "",
        }
    }

    #[test]
    fn the_tree_goes_before_a_built_procfile_and_both_before_bin_release() {
        let yaml = b"---\naddons: []\ndefault_process_types:\n  web: ./by-release\n  console: a && b\n";
        let mut plan = planned(Some("web: ./by-tree\n"));
        plan.hear_image(Some(yaml), Some(b"worker: ./built\n")).unwrap();
        assert_eq!((command(&plan, "web"), command(&plan, "console")), ("./by-tree", "sh -c 'a && exec b'"));
        assert!(!plan.processes.contains_key("worker"));
        let mut plan = planned(None);
        plan.hear_image(Some(yaml), Some(b"web: ./built\n")).unwrap();
        assert_eq!((command(&plan, "web"), command(&plan, "console")), ("./built", "sh -c 'a && exec b'"));
        assert!(plan.warnings.is_empty(), "{:?}", plan.warnings);
    }

    #[test]
    fn what_is_not_done_is_told_and_what_is_not_understood_is_refused() {
        let mut plan = planned(None);
        let yaml = "addons:\n  - heroku-postgresql\nconfig_vars:\n  A: b\ndefault_process_types: {web: x}\n";
        plan.hear_image(Some(yaml.as_bytes()), None).unwrap();
        assert!(plan.warnings[0].contains("heroku-postgresql") && plan.warnings[1].contains("(A)"));
        for (yaml, words) in [
            ("", "neither a Procfile nor the buildpack names a process"),
            ("default_process_types:\n  'a b': x\n", "line 2: `a b` is no process type"),
            ("default_process_types:\n  web: []\n", "line 2: web must be a text"),
            ("web: [", "is not understood: line "),
            ("text", "line 1: what it printed must be names with values"),
        ] {
            let shown = planned(None).hear_image(Some(yaml.as_bytes()), None).unwrap_err().to_string();
            assert!(shown.contains(words), "{yaml}: {shown}");
        }
    }
}
