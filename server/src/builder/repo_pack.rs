//! A repository as two things that travel: where its refs point, and one pack of everything they reach.
use super::Repos;
use super::repos::{git_oid, kept_name, our_oid};
use super::whole_tree::FETCHED;
use crate::domain::{AppKey, Oid};
use anyhow::{Context, bail};
use git2::{Indexer, Repository};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::io::Read;

/// Pins of builds: a build does not outlive its server.
const PINS: &str = "refs/paas/builds/";

/// Where a repository's refs point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refs {
    /// What a clone checks out (`refs/heads/main`).
    pub head: Option<String>,
    pub refs: BTreeMap<String, Oid>,
    /// Commits of a shallow push, whose parents are not there.
    pub shallow: Vec<Oid>,
}

impl Repos {
    /// The refs as they are now. Commits of `kept` which are there get a ref of their own.
    pub fn refs(&self, app: &AppKey, kept: &[Oid]) -> anyhow::Result<Refs> {
        let repo = self.open(app)?;
        let head = repo.find_reference("HEAD").ok();
        let head = head.and_then(|head| head.symbolic_target().ok().flatten().map(str::to_owned));
        let mut refs = BTreeMap::new();
        for reference in repo.references()? {
            let reference = reference?;
            let (Ok(name), Some(target)) = (reference.name(), reference.target()) else { continue };
            // What was fetched can be fetched again.
            if !name.starts_with(PINS) && !name.starts_with(FETCHED) {
                refs.insert(name.to_owned(), our_oid(target)?);
            }
        }
        for commit in kept {
            if repo.find_commit(git_oid(commit)?).is_ok() {
                refs.insert(kept_name(commit), commit.clone());
            }
        }
        Ok(Refs { head, refs, shallow: self.shallow_roots(app)? })
    }

    fn shallow_roots(&self, app: &AppKey) -> anyhow::Result<Vec<Oid>> {
        match std::fs::read_to_string(self.path(app).join("shallow")) {
            Ok(text) => text.lines().map(|line| line.parse().map_err(anyhow::Error::msg)).collect(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error).context("read the roots of a shallow push"),
        }
    }

    /// Hands a pack of everything that `refs` reach to `take`, piece by piece, until it returns `false`.
    pub fn pack(&self, app: &AppKey, refs: &Refs, take: &mut dyn FnMut(&[u8]) -> bool) -> anyhow::Result<()> {
        let repo = self.open(app)?;
        let mut pack = repo.packbuilder()?;
        if refs.shallow.is_empty() {
            let mut walk = repo.revwalk()?;
            for (name, oid) in &refs.refs {
                walk.push(git_oid(oid)?).with_context(|| format!("walk from {name}"))?;
            }
            pack.insert_walk(&mut walk).context("gather the objects")?;
        } else {
            // libgit2's walk does not stop at the roots of a shallow push.
            for commit in history(&repo, refs.refs.values(), &refs.shallow)? {
                pack.insert_commit(commit).with_context(|| format!("gather the objects of {commit}"))?;
            }
        }
        pack.foreach(|bytes| take(bytes)).context("pack the objects")
    }

    /// Makes a repository out of its refs and its pack, and checks that every ref leads to a commit that is there.
    pub fn unpack(&self, app: &AppKey, refs: &Refs, pack: &mut dyn Read) -> anyhow::Result<()> {
        let path = self.ensure(app)?;
        if !refs.refs.is_empty() {
            if !refs.shallow.is_empty() {
                let roots: Vec<&str> = refs.shallow.iter().map(Oid::as_str).collect();
                std::fs::write(path.join("shallow"), roots.join("\n") + "\n")
                    .context("write the roots of a shallow push")?;
            }
            let repo = self.open(app)?;
            let odb = repo.odb()?;
            // Objects that are missing in between show below, where each ref is walked.
            let mut indexer = Indexer::new(Some(&odb), &path.join("objects/pack"), 0o444, false)?;
            std::io::copy(pack, &mut indexer).context("take the objects in")?;
            indexer.commit().context("index the objects")?;
        }
        let repo = self.open(app)?;
        for (name, oid) in &refs.refs {
            check_whole(&repo, oid, &refs.shallow).with_context(|| format!("{name} of the repository {app}"))?;
            repo.reference(name, git_oid(oid)?, true, "restored")?;
        }
        if let Some(head) = &refs.head {
            repo.set_head(head)?;
        }
        Ok(())
    }
}

/// Every commit from here back, down to the roots of shallow pushes.
fn history<'a>(
    repo: &Repository,
    from: impl IntoIterator<Item = &'a Oid>,
    shallow: &[Oid],
) -> anyhow::Result<HashSet<git2::Oid>> {
    let roots: HashSet<git2::Oid> = shallow.iter().map(git_oid).collect::<anyhow::Result<_>>()?;
    let mut waiting: Vec<git2::Oid> = from.into_iter().map(git_oid).collect::<anyhow::Result<_>>()?;
    let mut known = HashSet::new();
    while let Some(next) = waiting.pop() {
        if known.insert(next) && !roots.contains(&next) {
            let commit = repo.find_commit(next).with_context(|| format!("find the commit {next}"))?;
            waiting.extend(commit.parent_ids());
        }
    }
    Ok(known)
}

/// Every commit from here back is there, and the newest tree in full.
fn check_whole(repo: &Repository, oid: &Oid, shallow: &[Oid]) -> anyhow::Result<()> {
    history(repo, [oid], shallow)?;
    let mut missing = None;
    let odb = repo.odb()?;
    repo.find_commit(git_oid(oid)?)?.tree()?.walk(git2::TreeWalkMode::PreOrder, |_, entry| {
        let is_elsewhere = entry.kind() == Some(git2::ObjectType::Commit);
        if is_elsewhere || odb.exists(entry.id()) {
            return git2::TreeWalkResult::Ok;
        }
        missing = Some(entry.id());
        git2::TreeWalkResult::Abort
    })?;
    match missing {
        Some(id) => bail!("object {id} is missing"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn committed(repos: &Repos, app: &AppKey) -> Oid {
        let repo = Repository::open_bare(repos.ensure(app).unwrap()).unwrap();
        let blob = repo.blob(b"hello").unwrap();
        let mut tree = repo.treebuilder(None).unwrap();
        tree.insert("a", blob, 0o100_644).unwrap();
        let tree = repo.find_tree(tree.write().unwrap()).unwrap();
        let me = git2::Signature::new("me", "me@localhost", &git2::Time::new(0, 0)).unwrap();
        let first = repo.commit(Some("refs/heads/main"), &me, &me, "one", &tree, &[]).unwrap();
        let parent = repo.find_commit(first).unwrap();
        our_oid(repo.commit(Some("refs/heads/main"), &me, &me, "two", &tree, &[&parent]).unwrap()).unwrap()
    }

    fn packed(repos: &Repos, app: &AppKey, refs: &Refs) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut take = |some: &[u8]| {
            bytes.extend_from_slice(some);
            true
        };
        repos.pack(app, refs, &mut take).unwrap();
        bytes
    }

    #[test]
    fn a_repository_travels_with_its_branches_and_what_no_branch_holds() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (repos, app) = (Repos::new(from.path().to_owned()), AppKey::new("a"));
        let head = committed(&repos, &app);
        let repo = repos.open(&app).unwrap();
        let first = our_oid(repo.find_commit(git_oid(&head).unwrap()).unwrap().parent_id(0).unwrap()).unwrap();
        // After a forced push the first commit is on no branch.
        repos.pin(&app, crate::domain::BuildId(1), &head).unwrap();
        let refs = repos.refs(&app, std::slice::from_ref(&first)).unwrap();
        assert_eq!(refs.head.as_deref(), Some("refs/heads/main"));
        assert_eq!(refs.refs.len(), 2, "{refs:?}");
        let pack = packed(&repos, &app, &refs);
        let other = Repos::new(to.path().to_owned());
        other.unpack(&app, &refs, &mut pack.as_slice()).unwrap();
        assert_eq!(other.branch(&app, "main").unwrap(), head);
        assert_eq!(other.refs(&app, &[]).unwrap().refs, refs.refs);
        let damaged = Repos::new(to.path().join("damaged"));
        assert!(damaged.unpack(&app, &refs, &mut &pack[..pack.len() / 2]).is_err());
    }

    #[test]
    fn an_empty_repository_travels_too() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (repos, app) = (Repos::new(from.path().to_owned()), AppKey::new("a"));
        repos.ensure(&app).unwrap();
        let refs = repos.refs(&app, &[]).unwrap();
        let other = Repos::new(to.path().to_owned());
        other.unpack(&app, &refs, &mut packed(&repos, &app, &refs).as_slice()).unwrap();
        assert!(other.path(&app).exists());
    }

    #[test]
    fn a_shallow_push_travels_with_its_roots() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (repos, app) = (Repos::new(from.path().to_owned()), AppKey::new("a"));
        let head = committed(&repos, &app);
        std::fs::write(repos.path(&app).join("shallow"), format!("{head}\n")).unwrap();
        let there = repos.open(&app).unwrap();
        let parent = there.find_commit(git_oid(&head).unwrap()).unwrap().parent_id(0).unwrap().to_string();
        std::fs::remove_file(repos.path(&app).join("objects").join(&parent[..2]).join(&parent[2..])).unwrap();
        let refs = repos.refs(&app, &[]).unwrap();
        assert_eq!(refs.shallow.first(), Some(&head));
        let other = Repos::new(to.path().to_owned());
        other.unpack(&app, &refs, &mut packed(&repos, &app, &refs).as_slice()).unwrap();
        assert_eq!(other.branch(&app, "main").unwrap(), head);
        assert_eq!(other.refs(&app, &[]).unwrap(), refs);
    }
}
