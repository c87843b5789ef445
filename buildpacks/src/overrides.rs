//! paas.toml: what the app's author decides instead of us. Every key stands in one table, which PAAS_TOML.md shows; what
//! is not in it is refused with its line and the nearest name.

mod apply;
mod parse;
mod table;

use std::collections::BTreeMap;

pub(crate) use parse::FILE;

use crate::PlanError;
use crate::aptfile::{self, Packages};
use crate::language::Language;
use crate::plan::BuildPlan;
use crate::procfile::Procfile;
use crate::tree::{SourceTree, config_text};

/// A value, and the line that it stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Set<T> {
    pub(crate) value: T,
    pub(crate) line: usize,
}

/// What paas.toml says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Overrides {
    pub(crate) language: Option<Set<Language>>,
    pub(crate) dockerfile: Option<Set<String>>,
    pub(crate) install: Option<Set<String>>,
    pub(crate) command: Option<Set<String>>,
    /// Config vars that the build of a Dockerfile is given, by name.
    pub(crate) args: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) versions: BTreeMap<String, Set<String>>,
    pub(crate) processes: BTreeMap<String, Set<String>>,
    pub(crate) packages: Packages,
    pub(crate) root: Option<Set<String>>,
    pub(crate) pushstate: Option<bool>,
    /// Every key that is set, as `build.command`, with its line: for the pusher.
    set: Vec<(String, usize)>,
}

impl Overrides {
    pub(crate) fn read(tree: &dyn SourceTree) -> Result<Self, PlanError> {
        config_text(tree, FILE)?.map_or_else(|| Ok(Self::default()), |text| parse::parse(&text))
    }

    /// The exact version of a package manager that is asked for.
    pub(crate) fn version_of(&self, tool: &str) -> Option<&str> {
        self.versions.get(tool).map(|set| set.value.as_str())
    }

    /// The Procfile with the lines that stand here; none when neither has any.
    pub(crate) fn over(&self, written: Option<Procfile>) -> Option<Procfile> {
        if self.processes.is_empty() {
            return written;
        }
        let lines = self.processes.iter().map(|(name, set)| (name.clone(), set.value.clone()));
        Some(written.unwrap_or_default().with(lines))
    }

    /// Changes a plan in what its language did not ask about itself.
    pub(crate) fn apply(&self, plan: &mut BuildPlan, aptfile: &[String]) -> Result<(), PlanError> {
        apply::add_steps(plan, self)?;
        let origin = match (aptfile.is_empty(), self.packages.is_empty()) {
            (false, true) => aptfile::FILE.to_owned(),
            (false, false) => format!("{}, {FILE}", aptfile::FILE),
            (true, _) => FILE.to_owned(),
        };
        let mut packages = self.packages.clone();
        packages.both.extend_from_slice(aptfile);
        apply::add_packages(plan, &packages, &origin);
        plan.build_env.clone_from(&self.env);
        plan.notes.extend(self.note());
        Ok(())
    }

    fn note(&self) -> Option<String> {
        let keys: Vec<String> = self.set.iter().map(|(key, line)| format!("{key} (line {line})")).collect();
        (!keys.is_empty()).then(|| format!("{FILE} decides {}", keys.join(", ")))
    }

    /// The line that asks for a Dockerfile.
    pub(crate) fn line_of_dockerfile(&self) -> usize {
        let named = self.dockerfile.as_ref().map(|set| set.line);
        named.or(self.language.as_ref().map(|set| set.line)).unwrap_or_default()
    }

    /// Whether a process type's command stands here and not in the Procfile.
    pub(crate) fn starts(&self, process: &str) -> bool {
        self.processes.contains_key(process)
    }
}
