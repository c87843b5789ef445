//! Which languages a tree is written in, told by the files at its root.

use serde::{Deserialize, Serialize};

use crate::language::Language;
use crate::languages::node::{looks_runnable, looks_startable};
use crate::procfile;
use crate::tree::{SourceTree, ending, has};

/// A language, and the files that gave it away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detection {
    pub language: Language,
    pub because: Vec<String>,
}

/// Every language found, the one to build with first.
pub fn detect(tree: &dyn SourceTree) -> Vec<Detection> {
    let all =
        Language::ALL.iter().map(|language| Detection { language: *language, because: language.rules().detect(tree) });
    let mut found: Vec<Detection> = all.filter(|detection| !detection.because.is_empty()).collect();
    if let Some(first) = leader(tree, &found) {
        // Whoever brings a Dockerfile has said how it is built.
        let from = usize::from(has(tree, "Dockerfile"));
        if let Some(at) = found.iter().position(|detection| detection.language == first).filter(|at| *at > from) {
            found[from..=at].rotate_right(1);
        }
    }
    found
}

/// The language that goes before the order of the list, where the tree says so.
fn leader(tree: &dyn SourceTree, found: &[Detection]) -> Option<Language> {
    let is_here = |language| found.iter().any(|detection| detection.language == language);
    let procfile = tree.read("Procfile").and_then(|bytes| procfile::parse(&bytes).ok());
    if let Some(web) = procfile.as_ref().and_then(|procfile| procfile.get("web")) {
        let serving = |detection: &&Detection| starts_program_of(web, detection.language);
        return found.iter().find(serving).map(|detection| detection.language);
    }
    // Many a Python app carries a package.json for its styles.
    if is_here(Language::Node) && is_here(Language::Python) && !looks_startable(tree) {
        return Some(Language::Python);
    }
    // A package.json that neither starts nor builds anything holds tools for the desk.
    let node_only_assists = found.len() == 2 && is_here(Language::Node) && procfile.is_none() && !looks_runnable(tree);
    (node_only_assists && has(tree, "Staticfile")).then_some(Language::Static)
}

fn starts_program_of(line: &str, language: Language) -> bool {
    let programs = &language.rules().about().programs;
    let mut words = line.split(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c)));
    words.any(|word| programs.iter().any(|program| program == word))
}

/// Those of the names that stand at the root.
pub(crate) fn present(tree: &dyn SourceTree, names: &[String]) -> Vec<String> {
    names.iter().filter(|name| has(tree, name)).cloned().collect()
}

/// The files at the root whose names end in one of these ways.
pub(crate) fn with_endings(tree: &dyn SourceTree, endings: &[String]) -> Vec<String> {
    let names = tree.files().iter().map(|file| file.path.as_str()).filter(|path| !path.contains('/'));
    names.filter(|name| endings.iter().any(|known| known == ending(name))).map(str::to_owned).collect()
}
