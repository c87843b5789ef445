//! Looks through a tree for what cannot be built or must not be unpacked, without reading more than it must: a pushed one
//! before it is taken in, and what is fetched for it.
use super::source::MODE_SUBMODULE;
use crate::domain::submodule::{SUBMODULES_MAX, SubmoduleUrl, declared_submodules, submodule_complaint};
use crate::domain::{FetchAllow, Oid};
use crate::logs::printable;
use anyhow::Context;
use git2::{ObjectType, Odb, Repository, Tree, TreeEntry};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Sentences about one tree; more are counted.
pub const FINDINGS_MAX: usize = 10;

const MODE_TYPE: i32 = 0o170_000;
const MODE_LINK: i32 = 0o120_000;
/// LFS pointers are below this size by their specification.
const LFS_POINTER_BYTES: std::ops::Range<usize> = 60..1024;
const LFS_FIRST_LINE: &[u8] = b"version https://git-lfs.github.com/spec/v1\n";
/// The longest target that a link may have on Linux.
const LINK_BYTES_MAX: usize = 4096;
/// A longer `.gitmodules` is not read.
const GITMODULES_BYTES_MAX: usize = 256 << 10;

/// Bounds of the tree that is to be built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeLimits {
    /// Files, links and folders together.
    pub entries: u64,
    /// Folders inside each other.
    pub depth: usize,
    /// One path, in bytes.
    pub path_bytes: usize,
    /// All files together, unpacked.
    pub unpacked_bytes: u64,
}

impl Default for TreeLimits {
    fn default() -> Self {
        Self { entries: 200_000, depth: 64, path_bytes: 1024, unpacked_bytes: 4 << 30 }
    }
}

/// A place in a tree where another repository belongs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Submodule {
    /// From the top of the whole tree.
    pub(super) path: String,
    pub(super) commit: git2::Oid,
    /// Its address, as `.gitmodules` of the tree that holds it says.
    pub(super) declared: Option<String>,
}

/// What a look through a tree found.
pub(super) struct Inspection {
    /// One for everything wrong.
    pub(super) sentences: Vec<String>,
    /// Whose files are not in it.
    pub(super) submodules: Vec<Submodule>,
}

/// A sentence for everything wrong with the commit's tree; none when it may be built. Submodules are not wrong when
/// `allow` names the host that they come from.
pub fn check_pushed(
    repo: &Repository,
    commit: &Oid,
    limits: &TreeLimits,
    allow: &FetchAllow,
) -> anyhow::Result<Vec<String>> {
    let id = git2::Oid::from_str(commit.as_str())?;
    let object = repo.find_object(id, None).with_context(|| format!("read the pushed object {commit}"))?;
    let Some(commit) = object.as_commit() else {
        let kind = object.kind().map_or("unknown object", |kind| kind.str());
        return Ok(vec![format!(
            "{} is a {kind} and no commit; push the commit it stands for: `git push paas NAME^{{commit}}:main`",
            commit.short()
        )]);
    };
    let mut walk = Walk::of(repo, limits)?;
    walk.whole(&commit.tree().context("read the pushed tree")?, "")?;
    if walk.submodules.len() > SUBMODULES_MAX {
        walk.findings
            .add(format!("the tree has more than {SUBMODULES_MAX} submodules; commit the files of some instead"));
    }
    for submodule in walk.submodules.iter().take(SUBMODULES_MAX) {
        let declared = submodule.declared.as_deref();
        if let Err(error) = SubmoduleUrl::of(declared, None, allow) {
            walk.findings.add(submodule_complaint(&submodule.path, declared, &error));
        }
    }
    Ok(walk.findings.sentences())
}

/// Looks through the tree that belongs at `place`, which is empty for the top.
pub(super) fn inspect(repo: &Repository, tree: &Tree, place: &str, limits: &TreeLimits) -> anyhow::Result<Inspection> {
    let mut walk = Walk::of(repo, limits)?;
    walk.whole(tree, place)?;
    Ok(Inspection { sentences: walk.findings.sentences(), submodules: walk.submodules })
}

/// Path of each submodule → its address.
fn addresses(repo: &Repository, tree: &Tree) -> HashMap<String, String> {
    let Some(entry) = tree.get_name(".gitmodules") else { return HashMap::new() };
    match repo.find_blob(entry.id()) {
        Ok(blob) if blob.size() <= GITMODULES_BYTES_MAX => {
            declared_submodules(&String::from_utf8_lossy(blob.content()))
        }
        Ok(_) | Err(_) => HashMap::new(),
    }
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
    submodules: Vec<Submodule>,
    entries: u64,
    files: u64,
    unpacked_bytes: u64,
    findings: Findings,
}

impl<'a> Walk<'a> {
    fn of(repo: &'a Repository, limits: &'a TreeLimits) -> anyhow::Result<Self> {
        Ok(Self {
            repo,
            odb: repo.odb()?,
            limits,
            submodules: Vec::new(),
            entries: 0,
            files: 0,
            unpacked_bytes: 0,
            findings: Findings::default(),
        })
    }

    fn whole(&mut self, tree: &Tree, place: &str) -> anyhow::Result<()> {
        if self.folder(tree, place, 0)? == Go::On && self.files == 0 && self.submodules.is_empty() {
            self.findings.add(match place {
                "" => "the commit holds no files; add some, commit and push again".to_owned(),
                place => format!("there are no files in the submodule `{place}`"),
            });
        }
        let declared = addresses(self.repo, tree);
        for submodule in &mut self.submodules {
            let inside = submodule.path.strip_prefix(place).unwrap_or(&submodule.path).trim_start_matches('/');
            submodule.declared = declared.get(inside).cloned();
        }
        Ok(())
    }

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
            self.submodules.push(Submodule { path: path.to_owned(), commit: entry.id(), declared: None });
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
            let allow = FetchAllow::parse(&["git.example".to_owned()]).unwrap();
            check_pushed(&self.repo, &commit.to_string().parse().unwrap(), limits, &allow).unwrap()
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
    fn a_submodule_that_may_be_fetched_is_no_complaint_and_another_names_address_and_fix() {
        let bench = Bench::new();
        let commit = git2::Oid::from_str(&"1".repeat(40)).unwrap();
        let vendor = bench.tree(&[("lib", MODE_SUBMODULE, commit)]);
        let told = |url: &str| {
            let modules = bench.blob(&format!("[submodule \"x\"]\n\tpath = vendor/lib\n\turl = {url}\n"));
            bench.complaint(&[(".gitmodules", 0o100_644, modules), ("vendor", 0o040_000, vendor)])
        };
        assert_eq!(told("https://git.example/lib.git"), "");
        let elsewhere = told("https://example.com/lib.git");
        assert!(elsewhere.starts_with("`vendor/lib` is a submodule of https://example.com/lib.git: "), "{elsewhere}");
        assert!(
            elsewhere.contains("`fetch_allow`") && elsewhere.contains("`git rm --cached vendor/lib"),
            "{elsewhere}"
        );
        assert!(told("ssh://git@git.example/lib.git").contains("by https alone"));
        assert!(told("../lib.git").contains("the push has no origin"));
        assert!(!told("https://u:s3cret@git.example/lib.git").contains("s3cret"));
        assert!(bench.complaint(&[("vendor", 0o040_000, vendor)]).contains(".gitmodules has no address for it"));
    }

    #[test]
    fn more_submodules_than_are_fetched_are_refused() {
        let bench = Bench::new();
        let commit = git2::Oid::from_str(&"1".repeat(40)).unwrap();
        let names: Vec<String> = (0..=SUBMODULES_MAX).map(|n| format!("m{n:02}")).collect();
        let section = |name: &String| format!("[submodule]\npath = {name}\nurl = https://git.example/{name}\n");
        let modules = bench.blob(&names.iter().map(section).collect::<String>());
        let told = |names: &[String]| {
            let mut entries = vec![(".gitmodules", 0o100_644, modules)];
            entries.extend(names.iter().map(|name| (name.as_str(), MODE_SUBMODULE, commit)));
            bench.complaint(&entries)
        };
        assert_eq!(told(&names[1..]), "");
        assert!(told(&names).contains("more than 50 submodules"));
    }

    #[test]
    fn submodules_of_a_fetched_tree_are_told_from_the_top_with_their_addresses() {
        let bench = Bench::new();
        let commit = git2::Oid::from_str(&"1".repeat(40)).unwrap();
        let modules = bench.blob("[submodule]\npath = in/ner\nurl = ../inner.git\n");
        let folder = bench.tree(&[("ner", MODE_SUBMODULE, commit)]);
        let link = bench.blob("../../../etc");
        let tree =
            bench.tree(&[(".gitmodules", 0o100_644, modules), ("in", 0o040_000, folder), ("l", MODE_LINK, link)]);
        let tree = bench.repo.find_tree(tree).unwrap();
        let found = inspect(&bench.repo, &tree, "vendor/lib", &TreeLimits::default()).unwrap();
        let declared = Some("../inner.git".to_owned());
        assert_eq!(found.submodules, [Submodule { path: "vendor/lib/in/ner".to_owned(), commit, declared }]);
        assert!(
            found.sentences[0].contains("the link `vendor/lib/l` points to `../../../etc`"),
            "{:?}",
            found.sentences
        );
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
        let told = check_pushed(&bench.repo, &blob, &TreeLimits::default(), &FetchAllow::default()).unwrap();
        assert!(told[0].contains("is a blob and no commit"), "{told:?}");
    }
}
