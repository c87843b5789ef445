//! A pushed tree as the planner sees it: git objects, never a checkout (security rule R6).
use super::repos::git_oid;
use crate::domain::Oid;
use anyhow::Context;
use buildpacks::{BuildRoot, EntryKind, SourceTree, TreeEntry};
use git2::{ObjectType, Repository, TreeWalkMode, TreeWalkResult};
use std::collections::HashMap;
use std::path::Path;

const MODE_EXECUTABLE: i32 = 0o100_755;
const MODE_SYMLINK: i32 = 0o120_000;
pub(super) const MODE_SUBMODULE: i32 = 0o160_000;

pub(super) struct GitTree {
    repo: Repository,
    /// Id of the tree object: the same content has the same id, whoever committed it.
    pub(super) tree_oid: String,
    entries: Vec<TreeEntry>,
    blobs: HashMap<String, git2::Oid>,
}

impl GitTree {
    /// The tree of a commit.
    pub(super) fn open(repo: Repository, commit: &Oid) -> anyhow::Result<Self> {
        let found = repo.find_commit(git_oid(commit)?).map(|commit| commit.tree_id());
        let tree = found.with_context(|| format!("read the tree of {commit}"))?;
        Self::of(repo, tree)
    }

    pub(super) fn of(repo: Repository, tree: git2::Oid) -> anyhow::Result<Self> {
        // The pack was checked when it came in; hashing every blob again doubles the time of a large tree.
        git2::opts::strict_hash_verification(false);
        let (entries, blobs) = list(&repo, tree).with_context(|| format!("read the tree {tree}"))?;
        Ok(Self { repo, tree_oid: tree.to_string(), entries, blobs })
    }

    /// The same without what lies outside of one folder, which becomes its top; `None` when there is no such folder.
    pub(super) fn below(self, root: &BuildRoot) -> anyhow::Result<Option<Self>> {
        let top = self.repo.find_tree(git2::Oid::from_str(&self.tree_oid)?)?;
        let tree_oid = match top.get_path(Path::new(root.as_str())) {
            Ok(entry) if entry.kind() == Some(ObjectType::Tree) => entry.id().to_string(),
            Ok(_) => return Ok(None),
            Err(error) if error.code() == git2::ErrorCode::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("find the folder {root}")),
        };
        drop(top);
        let prefix = format!("{root}/");
        let inner = |path: &str| path.strip_prefix(&prefix).map(str::to_owned);
        let entries =
            self.entries.into_iter().filter_map(|entry| Some(TreeEntry { path: inner(&entry.path)?, ..entry }));
        let blobs = self.blobs.into_iter().filter_map(|(path, oid)| Some((inner(&path)?, oid)));
        Ok(Some(Self { repo: self.repo, tree_oid, entries: entries.collect(), blobs: blobs.collect() }))
    }

    /// The bytes of any blob: of a symlink, its target.
    pub(super) fn blob(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        let oid = self.blobs.get(path).with_context(|| format!("find {path} in the tree"))?;
        let blob = self.repo.find_blob(*oid).with_context(|| format!("read {path} from the tree"))?;
        Ok(blob.content().to_vec())
    }
}

impl GitTree {
    /// A folder as a tree of its own; the whole tree once more for no folder.
    pub(super) fn folder(&self, folder: &str) -> anyhow::Result<Self> {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let inside = |path: &str| path.strip_prefix(prefix.as_str()).map(str::to_owned);
        let entry = |entry: &TreeEntry| Some(TreeEntry { path: inside(&entry.path)?, ..entry.clone() });
        let blob = |(path, oid): (&String, &git2::Oid)| Some((inside(path)?, *oid));
        Ok(Self {
            repo: Repository::open_bare(self.repo.path()).context("open the repository once more")?,
            tree_oid: self.tree_oid.clone(),
            entries: self.entries.iter().filter_map(entry).collect(),
            blobs: self.blobs.iter().filter_map(blob).collect(),
        })
    }
}

impl SourceTree for GitTree {
    fn files(&self) -> &[TreeEntry] {
        &self.entries
    }

    fn read(&self, path: &str) -> Option<Vec<u8>> {
        let at = self.entries.binary_search_by(|entry| entry.path.as_str().cmp(path)).ok()?;
        match self.entries[at].kind {
            EntryKind::File | EntryKind::Executable => self.blob(path).ok(),
            EntryKind::Symlink | EntryKind::Submodule => None,
        }
    }
}

type Listing = (Vec<TreeEntry>, HashMap<String, git2::Oid>);

fn list(repo: &Repository, tree: git2::Oid) -> anyhow::Result<Listing> {
    let tree = repo.find_tree(tree)?;
    let odb = repo.odb()?;
    let (mut entries, mut blobs) = (Vec::new(), HashMap::new());
    let mut failure = None;
    let walked = tree.walk(TreeWalkMode::PreOrder, |folder, entry| {
        let mut visit = || -> anyhow::Result<()> {
            if entry.kind() == Some(ObjectType::Tree) {
                return Ok(());
            }
            let name = entry.name().context("read a file name that is not UTF-8")?;
            let path = format!("{folder}{name}");
            let kind = match entry.filemode() {
                MODE_EXECUTABLE => EntryKind::Executable,
                MODE_SYMLINK => EntryKind::Symlink,
                MODE_SUBMODULE => EntryKind::Submodule,
                _ => EntryKind::File,
            };
            let size_bytes = if kind == EntryKind::Submodule { 0 } else { odb.read_header(entry.id())?.0 as u64 };
            blobs.insert(path.clone(), entry.id());
            entries.push(TreeEntry { path, kind, size_bytes });
            Ok(())
        };
        match visit() {
            Ok(()) => TreeWalkResult::Ok,
            Err(error) => {
                failure = Some(error);
                TreeWalkResult::Abort
            }
        }
    });
    if let Some(error) = failure {
        return Err(error);
    }
    walked?;
    entries.sort_by(|a: &TreeEntry, b: &TreeEntry| a.path.cmp(&b.path));
    Ok((entries, blobs))
}
