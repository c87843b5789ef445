//! Which files stay out of the build context: .dockerignore as Docker reads it, and .slugignore.
//!
//! Docker's rules: every line is a pattern over the whole path, `**` crosses folders, a pattern that
//! matches a folder takes all that is in it, `!` brings back, and the last line that matches wins.
//! A .slugignore line without a slash in front matches at any depth, as on Heroku. A file is kept when
//! both keep it.

mod pattern;

use pattern::Pattern;

use crate::tree::SourceTree;

pub(crate) const DOCKERIGNORE: &str = ".dockerignore";

/// More lines than this are not read: matching is lines times files.
const LINES_MAX: usize = 2000;

#[derive(Debug, Clone, Default)]
pub struct IgnoreRules {
    /// One list per ignore file.
    lists: Vec<Vec<Line>>,
    /// What Docker needs whatever the lines say.
    always: Vec<String>,
}

#[derive(Debug, Clone)]
struct Line {
    pattern: Pattern,
    verdict: Verdict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Keep,
    LeaveOut,
}

impl IgnoreRules {
    pub fn from_tree(tree: &dyn SourceTree) -> Self {
        Self::of_dockerfile(tree, "Dockerfile")
    }

    /// Those of a build by the Dockerfile at that path. Docker prefers the file that is named after it, wherever it lies.
    pub fn of_dockerfile(tree: &dyn SourceTree, dockerfile: &str) -> Self {
        let read = |path: &str| tree.read(path).map(|bytes| as_text(&bytes));
        let docker = read(&own_file(dockerfile)).or_else(|| read(DOCKERIGNORE));
        let has_dockerfile = tree.read(dockerfile).is_some();
        let lists = [docker.map(|text| docker_lines(&text)), read(".slugignore").map(|text| slug_lines(&text))];
        Self {
            lists: lists.into_iter().flatten().collect(),
            always: if has_dockerfile { vec![dockerfile.to_owned(), DOCKERIGNORE.to_owned()] } else { Vec::new() },
        }
    }

    /// Whether the file belongs into the build context.
    pub fn keeps(&self, path: &str) -> bool {
        self.always.iter().any(|needed| needed == path) || self.lists.iter().all(|lines| list_keeps(lines, path))
    }
}

/// The ignore file that counts for one Dockerfile alone.
pub(crate) fn own_file(dockerfile: &str) -> String {
    format!("{dockerfile}{DOCKERIGNORE}")
}

fn list_keeps(lines: &[Line], path: &str) -> bool {
    let last = lines.iter().rev().find(|line| line.pattern.covers(path));
    last.is_none_or(|line| line.verdict == Verdict::Keep)
}

fn as_text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned()
}

fn docker_lines(text: &str) -> Vec<Line> {
    let lines = text.lines().take(LINES_MAX);
    // Only a `#` in the first column begins a comment.
    let lines = lines.filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| docker_line(line.trim())).collect()
}

fn docker_line(line: &str) -> Option<Line> {
    let (verdict, text) = match line.strip_prefix('!') {
        Some(rest) => (Verdict::Keep, rest.trim()),
        None => (Verdict::LeaveOut, line),
    };
    let text = clean(text)?;
    Some(Line { pattern: Pattern::new(&text), verdict })
}

/// Heroku knows no `!` and takes a leading slash for the root.
fn slug_lines(text: &str) -> Vec<Line> {
    let lines = text.lines().take(LINES_MAX).map(str::trim);
    let lines = lines.filter(|line| !line.starts_with('#') && !line.starts_with('!'));
    let lines = lines.filter_map(|line| {
        let text = clean(line)?;
        let text = if line.starts_with('/') { text } else { format!("**/{text}") };
        Some(Line { pattern: Pattern::new(&text), verdict: Verdict::LeaveOut })
    });
    lines.collect()
}

/// Go's `filepath.Clean`, then no slash at the front: `./a//b/../c/` is `a/c`. What cleans to nothing
/// is no pattern; `.` alone would mean everything and Docker ignores it.
fn clean(text: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryTree;

    fn docker(lines: &str) -> IgnoreRules {
        IgnoreRules::from_tree(&MemoryTree::new().file(".dockerignore", lines))
    }

    #[test]
    fn the_table_of_docker() {
        for (lines, path, kept) in [
            ("node_modules", "node_modules/a/b.js", false),
            ("node_modules", "lib/node_modules/b.js", true),
            ("/node_modules/", "node_modules/b.js", false),
            ("**/node_modules", "lib/node_modules/b.js", false),
            ("**/node_modules", "node_modules/b.js", false),
            ("*.md", "README.md", false),
            ("*.md", "docs/README.md", true),
            ("*/*.md", "docs/README.md", false),
            ("**/*.md", "a/b/c.md", false),
            ("**/*.md", "c.md", false),
            ("a/**", "a/b/c", false),
            ("a/**/c", "a/c", false),
            ("a/**/c", "a/x/y/c", false),
            ("a/**/c", "ab/c", true),
            ("**", "anything", false),
            ("*\n!keep", "keep", true),
            ("*\n!keep", "keep/inside", true),
            ("*\n!keep\nkeep/secret", "keep/secret", false),
            ("!a\na", "a", false),
            ("#a", "#a", true),
            (" #a", "#a", false),
            ("\\#a", "#a", false),
            ("te?t", "test", false),
            ("te?t", "te/t", true),
            ("[a-c]x", "bx", false),
            ("[^a-c]x", "bx", true),
            ("[^a-c]x", "dx", false),
            ("a\\*b", "a*b", false),
            ("a\\*b", "axb", true),
            ("./a/../b", "b", false),
            ("  a  ", "a", false),
            ("a\r\n", "a", false),
            (".", "a", true),
            ("temp?", "tempä", false),
            ("[", "x", true),
        ] {
            assert_eq!(docker(lines).keeps(path), kept, "{lines:?} over {path}");
        }
    }

    #[test]
    fn both_files_must_keep_and_slugignore_matches_at_any_depth() {
        let tree = MemoryTree::new().file(".dockerignore", "a\n").file(".slugignore", "*.psd\n/docs\n!b.psd\n");
        let rules = IgnoreRules::from_tree(&tree);
        for (path, kept) in [("a", false), ("x/y.psd", false), ("b.psd", false), ("docs/x", false), ("x/docs", true)] {
            assert_eq!(rules.keeps(path), kept, "{path}");
        }
    }

    #[test]
    fn a_dockerfile_and_its_ignore_file_are_always_kept() {
        let tree = MemoryTree::new().file("Dockerfile", "FROM x").file(".dockerignore", "*\n");
        let rules = IgnoreRules::from_tree(&tree);
        assert!(rules.keeps("Dockerfile") && rules.keeps(".dockerignore"));
        assert!(!rules.keeps("src/Dockerfile"));
    }

    /// <https://docs.docker.com/build/concepts/context/#filename-and-location>
    #[test]
    fn a_dockerfile_elsewhere_has_its_own_ignore_file_beside_it() {
        let tree = MemoryTree::new()
            .file("deploy/Dockerfile", "FROM x")
            .file("deploy/Dockerfile.dockerignore", "secret\n*/Dockerfile\n")
            .file("Dockerfile.dockerignore", "of-the-other\n")
            .file(".dockerignore", "of-all\n");
        let kept = |dockerfile: &str| {
            let rules = IgnoreRules::of_dockerfile(&tree, dockerfile);
            ["secret", "of-the-other", "of-all", "deploy/Dockerfile"].map(|path| rules.keeps(path))
        };
        assert_eq!(kept("deploy/Dockerfile"), [false, true, true, true]);
        assert_eq!(kept("Dockerfile"), [true, false, true, true]);
        assert_eq!(kept("web.docker"), [true, true, false, true]);
    }

    #[test]
    fn a_pattern_made_to_be_slow_is_not() {
        let rules = docker(&"**/*a*a*a*a*a*a*a*a*b\n".repeat(50));
        let path = "a".repeat(200);
        assert!(rules.keeps(&path));
    }
}
