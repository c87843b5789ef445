//! Which languages a tree is written in, told by the files at its root.

use serde::{Deserialize, Serialize};

use crate::node::{looks_runnable, looks_startable};
use crate::procfile;
use crate::tree::{SourceTree, has};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    Dockerfile,
    Static,
    Node,
    Python,
    Shell,
}

impl Language {
    pub fn id(self) -> &'static str {
        match self {
            Self::Dockerfile => "dockerfile",
            Self::Static => "static",
            Self::Node => "node",
            Self::Python => "python",
            Self::Shell => "shell",
        }
    }

    /// How it is called in sentences: `Node.js app detected`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dockerfile => "Dockerfile",
            Self::Static => "Static site",
            Self::Node => "Node.js",
            Self::Python => "Python",
            Self::Shell => "Procfile",
        }
    }
}

/// A language, and the files that gave it away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detection {
    pub language: Language,
    pub because: Vec<String>,
}

/// Every language found, the one to build with first.
pub fn detect(tree: &dyn SourceTree) -> Vec<Detection> {
    let mut languages = [
        (Language::Dockerfile, present(tree, &["Dockerfile"])),
        (Language::Node, present(tree, &["package.json"])),
        (Language::Python, python_files(tree)),
        (Language::Static, present(tree, &["Staticfile", "index.html"])),
        (Language::Shell, present(tree, &["Procfile"])),
    ];
    if python_serves(tree) {
        languages.swap(1, 2);
    } else if has(tree, "Staticfile") && node_only_assists(tree) {
        languages[1..=3].rotate_right(1);
    }
    let found = languages.into_iter().filter(|(_, because)| !because.is_empty());
    found.map(|(language, because)| Detection { language, because }).collect()
}

fn present(tree: &dyn SourceTree, names: &[&str]) -> Vec<String> {
    names.iter().filter(|name| has(tree, name)).map(|name| (*name).to_owned()).collect()
}

/// The files of Python's package managers. A pyproject.toml often holds nothing but the settings of a
/// linter: then it says nothing about the app.
fn python_files(tree: &dyn SourceTree) -> Vec<String> {
    let requirements = present(tree, &["requirements.txt"]);
    if !requirements.is_empty() {
        return requirements;
    }
    let mut others = present(tree, &["Pipfile", "poetry.lock", "uv.lock", "setup.py"]);
    let project = tree.read("pyproject.toml").unwrap_or_default();
    let project = String::from_utf8_lossy(&project);
    if ["[project]", "[tool.poetry]"].iter().any(|table| project.contains(table)) {
        others.insert(0, "pyproject.toml".to_owned());
    }
    others
}

/// A package.json that neither starts nor builds anything holds tools for the desk.
fn node_only_assists(tree: &dyn SourceTree) -> bool {
    has(tree, "package.json") && !has(tree, "requirements.txt") && !has(tree, "Procfile") && !looks_runnable(tree)
}

/// Python before Node.js when both are here and Python does the serving: many a Python app carries a
/// package.json for its styles.
fn python_serves(tree: &dyn SourceTree) -> bool {
    if !has(tree, "requirements.txt") || !has(tree, "package.json") {
        return false;
    }
    let procfile = tree.read("Procfile").and_then(|bytes| procfile::parse(&bytes).ok());
    match procfile.as_ref().and_then(|procfile| procfile.get("web")) {
        Some(web) => ["python", "gunicorn", "uvicorn", "flask", "waitress", "hypercorn", "daphne"]
            .iter()
            .any(|tool| web.contains(tool)),
        None => !looks_startable(tree),
    }
}
