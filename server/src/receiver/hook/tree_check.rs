//! Looks through a pushed tree for what cannot be built or must not be unpacked, without reading more than it must.
use super::git_modules;
use crate::domain::Oid;
use crate::logs::printable;
use crate::receiver::limits::{FINDINGS_MAX, TreeLimits};
use anyhow::Context;
use git2::{ObjectType, Odb, Repository, Tree, TreeEntry};
use std::collections::HashMap;

const MODE_TYPE: i32 = 0o170_000;
const MODE_LINK: i32 = 0o120_000;
const MODE_SUBMODULE: i32 = 0o160_000;
/// LFS pointers are below this size by their specification.
const LFS_POINTER_BYTES: std::ops::Range<usize> = 60..1024;
const LFS_FIRST_LINE: &[u8] = b"version https://git-lfs.github.com/spec/v1\n";
/// The longest target that a link may have on Linux.
const LINK_BYTES_MAX: usize = 4096;

/// A sentence for everything wrong with the commit's tree; none when it may be built.
pub(super) fn check(repo: &Repository, commit: &Oid, limits: &TreeLimits) -> anyhow::Result<Vec<String>> {
    let id = git2::Oid::from_str(commit.as_str())?;
    let object = repo.find_object(id, None).with_context(|| format!("read the pushed object {commit}"))?;
    let Some(commit) = object.as_commit() else {
        let kind = object.kind().map_or("unknown object", |kind| kind.str());
        return Ok(vec![format!(
            "{} is a {kind} and no commit; push the commit it stands for: `git push paas NAME^{{commit}}:main`",
            commit.short()
        )]);
    };
    let tree = commit.tree().context("read the pushed tree")?;
    let mut walk = Walk {
        repo,
        odb: repo.odb()?,
        limits,
        submodules: git_modules::addresses(repo, &tree),
        entries: 0,
        files: 0,
        unpacked_bytes: 0,
        findings: Findings::default(),
    };
    if walk.folder(&tree, "", 0)? == Go::On && walk.files == 0 {
        walk.findings.add("the commit holds no files; add some, commit and push again");
    }
    Ok(walk.findings.sentences())
}

/// Whether the walk goes on: past a limit there is nothing more to learn.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Go {
    On,
    Stop,
}

struct Walk<'a> {
    repo: &'a Repository,
    odb: Odb<'a>,
    limits: &'a TreeLimits,
    /// Path → where it comes from.
    submodules: HashMap<String, String>,
    entries: u64,
    files: u64,
    unpacked_bytes: u64,
    findings: Findings,
}

impl Walk<'_> {
    fn folder(&mut self, tree: &Tree, path: &str, depth: usize) -> anyhow::Result<Go> {
        if depth > self.limits.depth {
            self.findings.add(format!("`{path}` is more than {} folders deep", self.limits.depth));
            return Ok(Go::Stop);
        }
        let mut seen = HashMap::new();
        for entry in tree {
            let name = String::from_utf8_lossy(entry.name_bytes()).into_owned();
            let inner = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
            if std::str::from_utf8(entry.name_bytes()).is_err() {
                self.findings.add(format!("the name `{inner}` is not UTF-8; rename it"));
            }
            if let Some(complaint) = name_complaint(&name, &inner) {
                self.findings.add(complaint);
            }
            if let Some(twin) = seen.insert(name.to_lowercase(), name.clone()) {
                self.findings.add(format!("`{inner}` and `{twin}` in the same folder differ only in case; rename one"));
            }
            if self.entry(&entry, &inner, depth)? == Go::Stop {
                return Ok(Go::Stop);
            }
        }
        Ok(Go::On)
    }

    fn entry(&mut self, entry: &TreeEntry, path: &str, depth: usize) -> anyhow::Result<Go> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            self.findings.add(format!("the tree holds more than {} files and folders", self.limits.entries));
            return Ok(Go::Stop);
        }
        if path.len() > self.limits.path_bytes {
            self.findings.add(format!("a path is longer than {} bytes: `{path}`", self.limits.path_bytes));
            return Ok(Go::Stop);
        }
        if entry.filemode() & MODE_TYPE == MODE_SUBMODULE {
            let from = self.submodules.get(path).map(|url| format!(" (of {url})")).unwrap_or_default();
            self.findings.add(format!(
                "`{path}` is a submodule{from}, and submodules are not fetched; commit its files instead: \
                 `git rm --cached {path} && rm -rf {path}/.git && git add {path}`"
            ));
            return Ok(Go::On);
        }
        match entry.kind() {
            Some(ObjectType::Tree) => {
                let tree = self.repo.find_tree(entry.id()).with_context(|| format!("read the folder {path}"))?;
                self.folder(&tree, path, depth + 1)
            }
            Some(ObjectType::Blob) if entry.filemode() & MODE_TYPE == MODE_LINK => self.link(entry.id(), path),
            _ => self.file(entry.id(), path),
        }
    }

    fn file(&mut self, id: git2::Oid, path: &str) -> anyhow::Result<Go> {
        self.files += 1;
        let (bytes, _) = self.odb.read_header(id).with_context(|| format!("look at the file {path}"))?;
        self.unpacked_bytes = self.unpacked_bytes.saturating_add(bytes as u64);
        if self.unpacked_bytes > self.limits.unpacked_bytes {
            let mib = self.limits.unpacked_bytes >> 20;
            self.findings
                .add(format!("the files are more than {mib} MiB together; leave out what the app does not need"));
            return Ok(Go::Stop);
        }
        if LFS_POINTER_BYTES.contains(&bytes) && self.odb.read(id)?.data().starts_with(LFS_FIRST_LINE) {
            self.findings.add(format!(
                "`{path}` is only a Git LFS pointer, and LFS is not supported; commit the file itself: `git lfs migrate export --include='{path}'`"
            ));
        }
        Ok(Go::On)
    }

    fn link(&mut self, id: git2::Oid, path: &str) -> anyhow::Result<Go> {
        self.files += 1;
        let (bytes, _) = self.odb.read_header(id).with_context(|| format!("look at the link {path}"))?;
        if bytes > LINK_BYTES_MAX {
            self.findings.add(format!("the link `{path}` has a target of {bytes} bytes; {LINK_BYTES_MAX} is the most"));
            return Ok(Go::On);
        }
        let object = self.odb.read(id)?;
        let target = String::from_utf8_lossy(object.data());
        if leaves_the_tree(path, &target) {
            self.findings.add(format!(
                "the link `{path}` points to `{target}`, outside the tree; link to a file of the app, by a relative path"
            ));
        }
        Ok(Go::On)
    }
}

/// Names that some file system or tool takes for something else (security rule R6). git's own check refuses most of
/// them before; this one does not depend on its configuration.
fn name_complaint(name: &str, path: &str) -> Option<String> {
    let plain = name.to_lowercase();
    let is_bad =
        plain.is_empty() || plain == "." || plain == ".." || plain == ".git" || plain == "git~1" || name.contains('/');
    is_bad.then(|| format!("`{path}` has a name that a tree must not hold; rename it"))
}

/// Whether a link at `path` points outside the tree, by its text alone.
fn leaves_the_tree(path: &str, target: &str) -> bool {
    let mut depth = path.matches('/').count();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." if depth == 0 => return true,
            ".." => depth -= 1,
            _ => depth += 1,
        }
    }
    target.starts_with('/')
}

/// Sentences up to a number that a person still reads.
#[derive(Default)]
struct Findings {
    first: Vec<String>,
    more: usize,
}

impl Findings {
    fn add(&mut self, sentence: impl AsRef<str>) {
        if self.first.len() < FINDINGS_MAX {
            self.first.push(shortened(sentence.as_ref()));
        } else {
            self.more += 1;
        }
    }

    fn sentences(mut self) -> Vec<String> {
        if self.more > 0 {
            self.first.push(format!("and {} more of this kind", self.more));
        }
        self.first
    }
}

fn shortened(sentence: &str) -> String {
    let safe = printable(sentence);
    match safe.char_indices().nth(600) {
        Some((end, _)) => format!("{}…", &safe[..end]),
        None => safe.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use git2::{Signature, Time};

    /// A repository whose one commit holds these entries: (path below the root, mode, content).
    struct Bench {
        repo: Repository,
        _dir: tempfile::TempDir,
    }

    impl Bench {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            Self { repo: Repository::init_bare(dir.path()).unwrap(), _dir: dir }
        }

        fn tree(&self, entries: &[(&str, i32, git2::Oid)]) -> git2::Oid {
            // Written raw: the library's tree builder refuses the names that are to be tested.
            let mut bytes = Vec::new();
            for (name, mode, id) in entries {
                bytes.extend_from_slice(format!("{mode:o} {name}\0").as_bytes());
                bytes.extend_from_slice(id.as_bytes());
            }
            self.repo.odb().unwrap().write(ObjectType::Tree, &bytes).unwrap()
        }

        fn blob(&self, content: &str) -> git2::Oid {
            self.repo.blob(content.as_bytes()).unwrap()
        }

        fn check(&self, tree: git2::Oid, limits: &TreeLimits) -> Vec<String> {
            git2::opts::strict_object_creation(false);
            let who = Signature::new("a", "a@b", &Time::new(0, 0)).unwrap();
            let tree = self.repo.find_tree(tree).unwrap();
            let commit = self.repo.commit(None, &who, &who, "x", &tree, &[]).unwrap();
            check(&self.repo, &commit.to_string().parse().unwrap(), limits).unwrap()
        }

        fn complaint(&self, entries: &[(&str, i32, git2::Oid)]) -> String {
            self.check(self.tree(entries), &TreeLimits::default()).join(" | ")
        }
    }

    #[test]
    fn an_ordinary_tree_has_no_complaints() {
        let bench = Bench::new();
        let file = bench.blob("hello");
        let inner = bench.tree(&[("link", MODE_LINK, bench.blob("../b.sh"))]);
        assert_eq!(bench.complaint(&[("a", 0o100_644, file), ("b.sh", 0o100_755, file), ("c", 0o040_000, inner)]), "");
    }

    #[test]
    fn what_cannot_be_built_is_named() {
        let bench = Bench::new();
        let file = bench.blob("hello");
        assert!(bench.complaint(&[]).contains("no files"));
        let empty = bench.tree(&[]);
        assert!(bench.complaint(&[("only-folder", 0o040_000, empty)]).contains("no files"));
        let commit = git2::Oid::from_str(&"1".repeat(40)).unwrap();
        assert!(bench.complaint(&[("lib", MODE_SUBMODULE, commit)]).contains("`lib` is a submodule"));
        let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n";
        assert!(bench.complaint(&[("big.bin", 0o100_644, bench.blob(pointer))]).contains("LFS pointer"));
        assert!(bench.complaint(&[("A", 0o100_644, file), ("a", 0o100_644, file)]).contains("only in case"));
        for bad in [".git", ".GIT", "..", "git~1"] {
            assert!(bench.complaint(&[(bad, 0o100_644, file)]).contains("must not hold"), "{bad}");
        }
    }

    #[test]
    fn a_submodule_is_named_with_its_address_and_the_way_out() {
        let bench = Bench::new();
        let commit = git2::Oid::from_str(&"1".repeat(40)).unwrap();
        let modules = bench.blob("[submodule \"x\"]\n\tpath = vendor/lib\n\turl = https://example.com/lib.git\n");
        let vendor = bench.tree(&[("lib", MODE_SUBMODULE, commit)]);
        let told = bench.complaint(&[(".gitmodules", 0o100_644, modules), ("vendor", 0o040_000, vendor)]);
        assert!(told.contains("`vendor/lib` is a submodule (of https://example.com/lib.git)"), "{told}");
        assert!(told.contains("`git rm --cached vendor/lib"), "{told}");
    }

    #[test]
    fn a_name_that_is_not_utf_8_is_refused() {
        let bench = Bench::new();
        let bytes = [b"100644 caf\xe9\0".as_slice(), bench.blob("x").as_bytes()].concat();
        let tree = bench.repo.odb().unwrap().write(ObjectType::Tree, &bytes).unwrap();
        let told = bench.check(tree, &TreeLimits::default()).join(" | ");
        assert!(told.contains("is not UTF-8; rename it"), "{told}");
    }

    #[test]
    fn a_link_that_leaves_the_tree_is_named_with_its_target() {
        let bench = Bench::new();
        let complaint = bench.complaint(&[("l", MODE_LINK, bench.blob("/etc/passwd"))]);
        assert!(complaint.contains("`l` points to `/etc/passwd`"), "{complaint}");
        for (path, target, leaves) in [
            ("a/b", "../c", false),
            ("a/b", "../../c", true),
            ("a", "..", true),
            ("a", "b/../../c", true),
            ("a", "./b/../c", false),
            ("a/b/c", "/", true),
        ] {
            assert_eq!(leaves_the_tree(path, target), leaves, "{path} -> {target}");
        }
    }

    #[test]
    fn trees_past_a_limit_are_refused() {
        let bench = Bench::new();
        let file = bench.blob("hello");
        let mut deep = bench.tree(&[("f", 0o100_644, file)]);
        for _ in 0..5 {
            deep = bench.tree(&[("d", 0o040_000, deep)]);
        }
        let limits = |limits: TreeLimits| bench.check(deep, &limits).join(" ");
        assert!(limits(TreeLimits { depth: 4, ..TreeLimits::default() }).contains("4 folders deep"));
        assert!(limits(TreeLimits { entries: 5, ..TreeLimits::default() }).contains("more than 5 files"));
        assert!(limits(TreeLimits { path_bytes: 6, ..TreeLimits::default() }).contains("longer than 6 bytes"));
        assert!(limits(TreeLimits { unpacked_bytes: 4, ..TreeLimits::default() }).contains("MiB together"));
        assert_eq!(limits(TreeLimits { depth: 5, ..TreeLimits::default() }), "");
    }

    #[test]
    fn only_the_first_findings_are_told() {
        let bench = Bench::new();
        let out = bench.blob("/etc");
        let names: Vec<String> = (0..30).map(|n| format!("l{n:02}")).collect();
        let entries: Vec<_> = names.iter().map(|name| (name.as_str(), MODE_LINK, out)).collect();
        let told = bench.check(bench.tree(&entries), &TreeLimits::default());
        assert_eq!(told.len(), FINDINGS_MAX + 1);
        assert_eq!(told.last().unwrap(), "and 20 more of this kind");
    }

    #[test]
    fn a_branch_must_point_at_a_commit() {
        let bench = Bench::new();
        let blob = bench.blob("hello").to_string().parse().unwrap();
        let told = check(&bench.repo, &blob, &TreeLimits::default()).unwrap();
        assert!(told[0].contains("is a blob and no commit"), "{told:?}");
    }
}
