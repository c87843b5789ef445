//! The folder of a repository that is the app, where that is not all of it: `build.root` in the paas.toml at the top.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use crate::PlanError;
use crate::tree::{SourceTree, config_text};

const FILE: &str = "paas.toml";
const LENGTH_MAX: usize = 512;

/// A folder below the top of a repository: `apps/web`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildRoot(String);

impl BuildRoot {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the paas.toml at the top of a repository says. Everything else in it is the planner's matter.
    pub fn of_tree(tree: &dyn SourceTree) -> Result<Option<Self>, PlanError> {
        let Some(text) = config_text(tree, FILE)? else { return Ok(None) };
        // What cannot be read is told by who reads all of it.
        let Ok(said) = toml::from_str::<Said>(&text) else { return Ok(None) };
        let Some(root) = said.build.and_then(|build| build.root) else { return Ok(None) };
        root.parse().map(Some).map_err(|reason| PlanError::Unclear(format!("{FILE}: build.root: {reason}")))
    }

    /// Refuses a paas.toml in this folder that names another one: a folder of a folder would be a riddle to who reads it.
    pub fn check_inside(&self, inner: &dyn SourceTree) -> Result<(), PlanError> {
        match Self::of_tree(inner) {
            Ok(None) => Ok(()),
            Ok(Some(named)) => Err(PlanError::Unclear(format!(
                "{self}/{FILE}: build.root is read in the paas.toml at the top of the repository alone, and the app is \
                 {self} already; remove the line, or name `{self}/{named}` where {self} is chosen"
            ))),
            Err(error) => Err(PlanError::Unclear(format!("{self}/{error}"))),
        }
    }
}

#[derive(Deserialize)]
struct Said {
    build: Option<Build>,
}

#[derive(Deserialize)]
struct Build {
    root: Option<String>,
}

impl FromStr for BuildRoot {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        let is_good = !parts.is_empty()
            && text.len() <= LENGTH_MAX
            && !text.starts_with('/')
            && !parts.contains(&"..")
            && !text.chars().any(char::is_control);
        if !is_good {
            let shown: String = text.escape_debug().take(LENGTH_MAX).collect();
            return Err(format!("`{shown}` is no folder of the repository; write it like apps/web"));
        }
        Ok(Self(parts.join("/")))
    }
}

impl fmt::Display for BuildRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryTree;

    #[test]
    fn a_root_is_a_folder_below_the_top() {
        for (text, root) in [("apps/web", "apps/web"), ("./apps//web/", "apps/web"), ("a b", "a b")] {
            assert_eq!(text.parse::<BuildRoot>().unwrap().as_str(), root);
        }
        for wrong in ["", ".", "/", "/apps", "..", "a/../..", "a/..", "a\nb"] {
            assert!(wrong.parse::<BuildRoot>().unwrap_err().contains("write it like apps/web"), "{wrong:?}");
        }
    }

    #[test]
    fn paas_toml_at_the_top_names_it() {
        let root = |text: &str| BuildRoot::of_tree(&MemoryTree::new().file("paas.toml", text));
        assert_eq!(root("[build]\nroot = \"apps/web\"\nother = 1\n").unwrap().unwrap().as_str(), "apps/web");
        assert_eq!(root("[versions]\nnode = \"20\"\n").unwrap(), None);
        assert_eq!(BuildRoot::of_tree(&MemoryTree::new()).unwrap(), None);
        assert!(root("[build]\nroot = \"../x\"\n").unwrap_err().to_string().contains("paas.toml: build.root: `../x`"));
    }

    #[test]
    fn a_root_inside_of_the_root_is_refused_with_its_file_and_the_way_out() {
        let chosen: BuildRoot = "apps/web".parse().unwrap();
        let inside = |text: &str| chosen.check_inside(&MemoryTree::new().file("paas.toml", text));
        assert!(inside("[build]\ncommand = \"make\"\n").is_ok());
        assert!(chosen.check_inside(&MemoryTree::new()).is_ok());
        let refused = inside("[build]\nroot = \"site\"\n").unwrap_err().to_string();
        assert!(refused.starts_with("apps/web/paas.toml: build.root is read in the paas.toml at the top"), "{refused}");
        assert!(refused.ends_with("name `apps/web/site` where apps/web is chosen"), "{refused}");
        let odd = inside("[build]\nroot = \"../x\"\n").unwrap_err().to_string();
        assert!(odd.starts_with("apps/web/paas.toml: build.root: `../x`"), "{odd}");
    }
}
