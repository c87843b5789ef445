//! The git side of submodules: what is fetched goes into the app's own repository, where a tree is made that holds its files
//! in their places. From there on it is a tree as any other.
use super::repos::git_oid;
use super::source::MODE_SUBMODULE;
use crate::domain::Oid;
use anyhow::Context;
use git2::{ErrorCode, ObjectType, Repository};
use std::collections::{BTreeMap, HashMap};
use std::io::Write;

/// Holds the trees of fetched commits, out of clients' sight (`transfer.hideRefs`). A name ends with the commit's id.
pub(super) const FETCHED: &str = "refs/paas/submodules/";

const MODE_FOLDER: i32 = 0o040_000;

/// Path of each submodule, from the top → its tree.
pub(super) type Places = BTreeMap<String, git2::Oid>;

/// The tree of a commit, and whether it may have submodules: none is accepted without its `.gitmodules`.
pub(super) fn top_of(repo: &Repository, commit: &Oid) -> anyhow::Result<(git2::Oid, bool)> {
    let tree = repo.find_commit(git_oid(commit)?)?.tree()?;
    let has_submodules = tree.get_name(".gitmodules").is_some();
    Ok((tree.id(), has_submodules))
}

/// The tree of a commit that was fetched for an earlier build.
pub(super) fn fetched(repo: &Repository, commit: git2::Oid) -> anyhow::Result<Option<git2::Oid>> {
    match repo.find_reference(&format!("{FETCHED}{commit}")) {
        Ok(reference) => Ok(reference.target()),
        Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("look for the fetched commit {commit}")),
    }
}

/// Takes a pack in, and gives the tree of the commit that has to be in it. Ids are counted anew while it is indexed.
pub(super) fn take_in(repo: &Repository, pack: &[u8], commit: git2::Oid) -> anyhow::Result<git2::Oid> {
    let odb = repo.odb()?;
    let mut writer = odb.packwriter()?;
    writer.write_all(pack).context("read what was fetched")?;
    writer.commit().context("read what was fetched")?;
    let commit = repo.find_commit(commit).with_context(|| format!("find the commit {commit} in what was fetched"))?;
    Ok(commit.tree_id())
}

/// The tree with a folder in each of the places.
pub(super) fn compose(repo: &Repository, tree: git2::Oid, places: &Places) -> anyhow::Result<git2::Oid> {
    composed_folder(repo, tree, "", places)
}

/// Keeps these fetched trees (by their commits) for later builds, and no others.
pub(super) fn keep_fetched(repo: &Repository, used: &HashMap<git2::Oid, git2::Oid>) -> anyhow::Result<()> {
    for (commit, tree) in used {
        repo.reference(&format!("{FETCHED}{commit}"), *tree, true, "fetched for a build")
            .with_context(|| format!("keep the fetched commit {commit}"))?;
    }
    let is_used = |name: &str| {
        let commit = name.strip_prefix(FETCHED).and_then(|id| git2::Oid::from_str(id).ok());
        commit.is_some_and(|commit| used.contains_key(&commit))
    };
    for reference in repo.references_glob(&format!("{FETCHED}*"))? {
        let mut reference = reference?;
        if !reference.name().is_ok_and(is_used) {
            reference.delete().context("let go of a fetched commit")?;
        }
    }
    Ok(())
}

/// Looks only into folders that have a submodule below.
fn composed_folder(repo: &Repository, tree: git2::Oid, at: &str, places: &Places) -> anyhow::Result<git2::Oid> {
    let tree = repo.find_tree(tree).with_context(|| format!("read the folder `{at}`"))?;
    let mut made = repo.treebuilder(Some(&tree))?;
    for entry in &tree {
        let name = entry.name().context("read a name that is not UTF-8")?;
        let path = if at.is_empty() { name.to_owned() } else { format!("{at}/{name}") };
        let below = format!("{path}/");
        let has_below = || places.range(below.clone()..).next().is_some_and(|(place, _)| place.starts_with(&below));
        let folder = match (entry.kind(), places.get(&path)) {
            (_, Some(fetched)) if entry.filemode() == MODE_SUBMODULE => *fetched,
            (Some(ObjectType::Tree), None) if has_below() => entry.id(),
            _ => continue,
        };
        made.insert(name, composed_folder(repo, folder, &path, places)?, MODE_FOLDER)?;
    }
    made.write().with_context(|| format!("write the folder `{at}`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::source::GitTree;
    use buildpacks::SourceTree;
    use git2::{Buf, Signature, Time};

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
            git2::opts::strict_object_creation(false);
            let mut made = self.repo.treebuilder(None).unwrap();
            for (name, mode, id) in entries {
                made.insert(name, *id, *mode).unwrap();
            }
            made.write().unwrap()
        }

        fn file(&self, text: &str) -> git2::Oid {
            self.repo.blob(text.as_bytes()).unwrap()
        }

        fn commit(&self, tree: git2::Oid) -> git2::Oid {
            let who = Signature::new("a", "a@b", &Time::new(0, 0)).unwrap();
            self.repo.commit(None, &who, &who, "x", &self.repo.find_tree(tree).unwrap(), &[]).unwrap()
        }

        fn pack(&self, commit: git2::Oid) -> Vec<u8> {
            let (mut pack, mut bytes) = (self.repo.packbuilder().unwrap(), Buf::new());
            pack.insert_commit(commit).unwrap();
            pack.write_buf(&mut bytes).unwrap();
            bytes.to_vec()
        }
    }

    #[test]
    fn what_is_fetched_stands_in_its_place_also_inside_of_another() {
        let bench = Bench::new();
        let inner = bench.tree(&[("deep.txt", 0o100_644, bench.file("deep"))]);
        let commit = git2::Oid::from_str(&"1".repeat(40)).unwrap();
        let run = ("run", 0o100_755, bench.file("#!"));
        let outer = bench.tree(&[run, ("in", MODE_SUBMODULE, commit)]);
        let vendor = bench.tree(&[("lib", MODE_SUBMODULE, commit), ("lib-b", 0o100_644, bench.file("b"))]);
        let top = bench.tree(&[("vendor", MODE_FOLDER, vendor), ("a", 0o100_644, bench.file("a"))]);
        let places = Places::from([("vendor/lib".to_owned(), outer), ("vendor/lib/in".to_owned(), inner)]);
        let whole = compose(&bench.repo, top, &places).unwrap();
        let tree = GitTree::of(Repository::open_bare(bench.repo.path()).unwrap(), whole).unwrap();
        let paths: Vec<&str> = tree.files().iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["a", "vendor/lib-b", "vendor/lib/in/deep.txt", "vendor/lib/run"]);
        assert_eq!(tree.read("vendor/lib/in/deep.txt").unwrap(), b"deep");
        assert_eq!(tree.tree_oid, whole.to_string(), "another tree for the search of known images");
        assert_eq!(compose(&bench.repo, top, &Places::new()).unwrap(), top, "without submodules it is the same");
    }

    #[test]
    fn a_pack_is_taken_in_once_and_its_tree_is_kept_as_long_as_it_is_used() {
        let (from, to) = (Bench::new(), Bench::new());
        let tree = from.tree(&[("x", 0o100_644, from.file("x"))]);
        let commit = from.commit(tree);
        assert_eq!(fetched(&to.repo, commit).unwrap(), None);
        assert_eq!(take_in(&to.repo, &from.pack(commit), commit).unwrap(), tree);
        keep_fetched(&to.repo, &HashMap::from([(commit, tree)])).unwrap();
        assert_eq!(fetched(&to.repo, commit).unwrap(), Some(tree));
        keep_fetched(&to.repo, &HashMap::new()).unwrap();
        assert_eq!(fetched(&to.repo, commit).unwrap(), None);
    }

    #[test]
    fn a_pack_without_the_commit_or_that_is_none_is_refused() {
        let (from, to) = (Bench::new(), Bench::new());
        let commit = from.commit(from.tree(&[("x", 0o100_644, from.file("x"))]));
        let other = git2::Oid::from_str(&"2".repeat(40)).unwrap();
        let refused = take_in(&to.repo, &from.pack(commit), other).unwrap_err();
        assert!(refused.to_string().contains("in what was fetched"), "{refused:#}");
        assert!(take_in(&to.repo, b"PACK", commit).is_err());
    }
}
