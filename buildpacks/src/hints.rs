//! Names that are nearly right. `requirement.txt` is not read by anything, and says nothing about it.

use crate::command;
use crate::detect::detect;
use crate::language::Language;
use crate::languages::shell;
use crate::text::visible;
use crate::tree::{SourceTree, TreeEntry, has};

/// What steers a push whatever the language.
const COMMON: &[&str] = &["Procfile", ".dockerignore", ".slugignore", "app.json", "heroku.yml", "paas.toml", "Aptfile"];

/// Enough to help; a tree of a thousand near misses is not a list to read.
const HINTS_MAX: usize = 5;
/// So many folders are looked into for an app, and no more: each may take reads from git.
const FOLDERS_MAX: usize = 50;

/// Files at the root which look like a known name that is absent.
pub(crate) fn misspelt(tree: &dyn SourceTree) -> Vec<String> {
    let known = known_names();
    let is_known = |name: &str| known.contains(&name);
    let roots = tree.files().iter().filter(|file| !file.path.contains('/'));
    let near = roots.filter_map(|file| {
        let known = known.iter().find(|known| is_near(&file.path, known))?;
        (!is_known(&file.path) && !has(tree, known))
            .then(|| format!("{} is not read: did you mean {known}? rename it: `git mv {0} {known}`", file.path))
    });
    near.take(HINTS_MAX).collect()
}

/// The names we look for at the root of a tree.
fn known_names() -> Vec<&'static str> {
    let abouts = Language::ALL.iter().map(|language| language.rules().about());
    let of_languages =
        abouts.flat_map(|about| about.triggers.iter().chain(&about.reads).chain(&about.asked_by)).map(String::as_str);
    of_languages.chain(COMMON.iter().copied()).collect()
}

/// Every language with the files that would have given it away.
pub(crate) fn sought() -> Vec<String> {
    let abouts = Language::ALL.iter().map(|language| language.rules().about());
    abouts.map(|about| format!("{} ({})", about.sought(), about.name)).collect()
}

/// What to say when no language was found.
pub(crate) fn for_nothing_detected(tree: &dyn SourceTree) -> Vec<String> {
    let mut hints: Vec<String> = shell::foreign(tree).into_iter().chain(misspelt(tree)).collect();
    for folder in ["dist", "build", "site"] {
        if has(tree, &format!("{folder}/index.html")) {
            hints.push(format!(
                "{folder}/index.html is here: to serve {folder}, commit a file named Staticfile with the line `root: {folder}`"
            ));
        }
    }
    if let Some((folder, name)) = nested_app(tree) {
        hints.push(format!(
            "{folder}/{name} is here: to deploy that folder, run `paas builds:root {}`, or commit a paas.toml with the line `build.root = \"{folder}\"`, and push",
            command::quote(&folder)
        ));
    }
    hints.truncate(HINTS_MAX);
    hints.iter().map(|hint| visible(hint.chars())).collect()
}

/// The first app one folder down, and the file that gives it away. A page may be anything's.
fn nested_app(tree: &dyn SourceTree) -> Option<(String, String)> {
    let mut folders: Vec<&str> = tree.files().iter().filter_map(|file| Some(file.path.split_once('/')?.0)).collect();
    folders.dedup();
    folders.into_iter().take(FOLDERS_MAX).find_map(|name| {
        let found = detect(&Folder::new(tree, name));
        let app = found.into_iter().find(|detection| detection.language != Language::Static)?;
        Some((name.to_owned(), app.because.into_iter().next()?))
    })
}

/// A folder as a tree of its own.
struct Folder<'a> {
    tree: &'a dyn SourceTree,
    prefix: String,
    files: Vec<TreeEntry>,
}

impl<'a> Folder<'a> {
    fn new(tree: &'a dyn SourceTree, name: &str) -> Self {
        let prefix = format!("{name}/");
        let inner = |file: &TreeEntry| {
            let path = file.path.strip_prefix(&prefix)?.to_owned();
            Some(TreeEntry { path, ..file.clone() })
        };
        let files = tree.files().iter().filter_map(inner).collect();
        Self { tree, prefix, files }
    }
}

impl SourceTree for Folder<'_> {
    fn files(&self) -> &[TreeEntry] {
        &self.files
    }

    fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.tree.read(&format!("{}{path}", self.prefix))
    }
}

/// Another case, an ending that an editor added, or one slip of the finger: a letter lost, added, changed or swapped.
fn is_near(name: &str, known: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let known = known.to_ascii_lowercase();
    name == known || name.strip_suffix(".txt") == Some(&known) || distance_is_one(name.as_bytes(), known.as_bytes())
}

fn distance_is_one(a: &[u8], b: &[u8]) -> bool {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let start = short.iter().zip(long).take_while(|(x, y)| x == y).count();
    match long.len() - short.len() {
        0 => {
            let changed = short[start..].get(1..) == long[start..].get(1..);
            let swapped = short.len() >= start + 2
                && short[start] == long[start + 1]
                && short[start + 1] == long[start]
                && short[start + 2..] == long[start + 2..];
            changed || swapped
        }
        1 => short[start..] == long[start + 1..],
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryTree;

    #[test]
    fn near_misses_are_named_and_good_names_are_not() {
        for (name, known) in [
            ("requirement.txt", "requirements.txt"),
            ("package.jsn", "package.json"),
            ("pakcage.json", "package.json"),
            ("procfile", "Procfile"),
            ("dockerfile", "Dockerfile"),
            ("Dockerfile.txt", "Dockerfile"),
            ("Procfile.txt", "Procfile"),
            ("aptfile", "Aptfile"),
            ("pass.toml", "paas.toml"),
            ("go.mood", "go.mod"),
            ("index.htm", "index.html"),
        ] {
            let hints = misspelt(&MemoryTree::new().file(name, ""));
            assert_eq!(hints.len(), 1, "{name}");
            assert!(hints[0].contains(&format!("git mv {name} {known}")));
        }
        let tree = MemoryTree::new()
            .file("Dockerfile.dev", "")
            .file("requirements-dev.txt", "")
            .file("src/procfile", "")
            .file("package.json", "")
            .file("packages.json", "");
        assert_eq!(misspelt(&tree), Vec::<String>::new());
    }

    #[test]
    fn an_app_one_folder_down_is_told_how_it_is_deployed() {
        let tree = MemoryTree::new().file("README.md", "").file("docs/index.html", "");
        for (file, contents) in [
            ("web/app.csproj", ""),
            ("web/main.ts", "Deno.serve(hello)"),
            ("web/package.json", ""),
            ("web/main.py", ""),
        ] {
            let hints = for_nothing_detected(&tree.clone().file(file, contents));
            let [hint] = hints.as_slice() else { panic!("{file}: {hints:?}") };
            assert!(hint.starts_with(&format!("{file} is here")) && hint.contains("`paas builds:root web`"), "{hint}");
            assert!(hint.contains("`build.root = \"web\"`"), "{hint}");
        }
        let odd = for_nothing_detected(&tree.clone().file("the web/go.mod", ""));
        assert!(odd[0].contains("`paas builds:root 'the web'`"), "{odd:?}");
        assert_eq!(for_nothing_detected(&tree.file("web/lib/go.mod", "")), Vec::<String>::new());
    }
}
