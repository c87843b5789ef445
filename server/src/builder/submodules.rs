//! Submodules of what is pushed: fetched by https at the commits that its tree names, and put into it, before anything is
//! planned. Every limit of a pushed tree holds for what comes of it.
use super::queue::Cancel;
use super::tree_check::{Submodule, TreeLimits, inspect};
use super::whole_tree::{self, Places};
use super::{Workshop, repos};
use crate::domain::submodule::{SUBMODULE_DEPTH_MAX, SUBMODULES_MAX, SubmoduleUrl, submodule_complaint};
use crate::domain::{App, Build, BuildId, Failure, Oid};
use git2::Repository;
use std::collections::{HashMap, VecDeque};

/// Digits of a commit that a line shows.
const SHORT_DIGITS: usize = 12;

/// A tree that may have submodules.
struct Holder {
    /// Empty for the pushed tree itself.
    place: String,
    tree: git2::Oid,
    /// Where it was fetched from.
    url: Option<SubmoduleUrl>,
    depth: usize,
}

#[derive(Default)]
struct Gathered {
    places: Places,
    /// Commit → tree.
    used: HashMap<git2::Oid, git2::Oid>,
}

impl Workshop {
    /// The tree that is built: the pushed commit's, with the files of its submodules.
    pub(super) async fn whole_tree(&self, app: &App, build: &Build, cancel: &Cancel) -> Result<Oid, Failure> {
        let commit = build.moves.new.clone();
        let (top, has_submodules) = self.in_repo(app, move |repo| whole_tree::top_of(repo, &commit)).await?;
        let whole = if has_submodules {
            self.tools.scheduler.make_room_at(self.tools.repos.dir()).await?;
            let too_long = Failure::BuildTimedOut { limit_secs: self.tools.build_limit.as_secs() };
            let gathering = tokio::time::timeout(self.tools.build_limit, self.gather(app, build.id, top));
            tokio::select! {
                gathered = gathering => gathered.unwrap_or(Err(too_long))?,
                () = cancel.token.cancelled() => return Err(cancel.failure()),
            }
        } else {
            top
        };
        repos::our_oid(whole).map_err(|error| Failure::Platform { reason: format!("{error:#}") })
    }

    async fn gather(&self, app: &App, build: BuildId, top: git2::Oid) -> Result<git2::Oid, Failure> {
        let mut gathered = Gathered::default();
        let mut waiting = VecDeque::from([Holder { place: String::new(), tree: top, url: None, depth: 0 }]);
        while let Some(holder) = waiting.pop_front() {
            for submodule in self.submodules_of(app, &holder).await? {
                check_bounds(&holder, &submodule, &gathered)?;
                if gathered.places.is_empty() {
                    self.tell(app, build, ["-----> Fetching submodules".to_owned()]);
                }
                let url = self.address(&holder, &submodule)?;
                let tree = self.tree_of(app, build, &submodule, &url, &gathered).await?;
                gathered.used.insert(submodule.commit, tree);
                gathered.places.insert(submodule.path.clone(), tree);
                waiting.push_back(Holder { place: submodule.path, tree, url: Some(url), depth: holder.depth + 1 });
            }
        }
        let Gathered { places, used } = gathered;
        let composed = self.in_repo(app, move |repo| {
            let whole = whole_tree::compose(repo, top, &places)?;
            let found = inspect(repo, &repo.find_tree(whole)?, "", &TreeLimits::default())?;
            if found.sentences.is_empty() {
                whole_tree::keep_fetched(repo, &used)?;
            }
            Ok((whole, found.sentences))
        });
        let (whole, sentences) = composed.await?;
        refuse(&sentences)?;
        Ok(whole)
    }

    /// What is wrong with a fetched tree is found here, before anything goes through it without limits.
    async fn submodules_of(&self, app: &App, holder: &Holder) -> Result<Vec<Submodule>, Failure> {
        let (tree, place, is_fetched) = (holder.tree, holder.place.clone(), holder.url.is_some());
        let looked = self.in_repo(app, move |repo| {
            let tree = repo.find_tree(tree)?;
            inspect(repo, &tree, &place, &TreeLimits::default())
        });
        let found = looked.await.map_err(|failure| match failure {
            Failure::Platform { reason } if is_fetched => {
                Failure::Plan { reason: format!("the submodule `{}` was not fetched whole: {reason}", holder.place) }
            }
            other => other,
        })?;
        refuse(&found.sentences)?;
        Ok(found.submodules)
    }

    /// Again, for a pushed tree's own: the server's setting may have changed since.
    fn address(&self, holder: &Holder, submodule: &Submodule) -> Result<SubmoduleUrl, Failure> {
        let declared = submodule.declared.as_deref();
        SubmoduleUrl::of(declared, holder.url.as_ref(), &self.tools.fetch_allow)
            .map_err(|error| Failure::Plan { reason: submodule_complaint(&submodule.path, declared, &error) })
    }

    /// The tree of a submodule's commit; nothing is fetched twice.
    async fn tree_of(
        &self,
        app: &App,
        build: BuildId,
        submodule: &Submodule,
        url: &SubmoduleUrl,
        gathered: &Gathered,
    ) -> Result<git2::Oid, Failure> {
        let Submodule { path, commit, .. } = submodule;
        let commit = *commit;
        let short: String = commit.to_string().chars().take(SHORT_DIGITS).collect();
        let tell = |how: &str| self.tell(app, build, [format!("       {path} is {short} of {url}{how}")]);
        if let Some(tree) = gathered.used.get(&commit) {
            tell("");
            return Ok(*tree);
        }
        if let Some(tree) = self.in_repo(app, move |repo| whole_tree::fetched(repo, commit)).await? {
            tell(" (kept from an earlier build)");
            return Ok(tree);
        }
        tell("");
        let refused = |why: &dyn std::fmt::Display| Failure::Plan {
            reason: format!("cannot fetch the submodule `{path}`, commit {commit} of {url}: {why}"),
        };
        let pack = self.tools.fetcher.pack_of(url.as_str(), &commit.to_string()).await;
        let pack = pack.map_err(|error| refused(&error))?;
        self.in_repo(app, move |repo| whole_tree::take_in(repo, &pack, commit)).await.map_err(|error| refused(&error))
    }

    /// Does something with the app's repository where waiting for a disk holds nobody up.
    async fn in_repo<T: Send + 'static>(
        &self,
        app: &App,
        work: impl FnOnce(&Repository) -> anyhow::Result<T> + Send + 'static,
    ) -> Result<T, Failure> {
        let (repos, key) = (self.tools.repos.clone(), app.key.clone());
        let done = tokio::task::spawn_blocking(move || work(&repos.open(&key)?)).await;
        let done = done.map_err(anyhow::Error::from).and_then(|done| done);
        done.map_err(|error| Failure::Platform { reason: format!("{error:#}") })
    }
}

fn check_bounds(holder: &Holder, submodule: &Submodule, gathered: &Gathered) -> Result<(), Failure> {
    let path = &submodule.path;
    let reason = if holder.depth >= SUBMODULE_DEPTH_MAX {
        format!(
            "`{path}` is a submodule inside {SUBMODULE_DEPTH_MAX} others, which is the most; commit its files instead"
        )
    } else if gathered.places.len() >= SUBMODULES_MAX {
        format!("`{path}` is one submodule too many, with those inside others: {SUBMODULES_MAX} is the most")
    } else {
        return Ok(());
    };
    Err(Failure::Plan { reason })
}

fn refuse(sentences: &[String]) -> Result<(), Failure> {
    if sentences.is_empty() { Ok(()) } else { Err(Failure::Plan { reason: sentences.join("; ") }) }
}
