//! Tree → image → release. A durable serial queue: one image is made at a time, a newer push supersedes a queued one,
//! every line goes to the build's transcript as it comes, and the verdict waits until the release has settled.

mod base;
mod buildpacks;
mod caches;
mod cancel;
mod context;
mod destroy;
mod fetch;
mod foreign;
mod from_image;
mod heal;
mod history;
mod image;
mod image_archive;
mod job;
mod jobs;
mod last_lines;
mod later;
mod missing;
mod postdeploy;
mod preview;
mod queue;
mod rebuild;
mod registries;
mod registry_logins;
mod repo_pack;
mod repos;
mod setup;
mod source;
mod stack;
mod submodules;
mod transcript;
mod tree_check;
mod turns;
mod whole_tree;

pub use fetch::Fetcher;
pub use from_image::{Brought, ImageRefusal};
pub use heal::heal;
pub use history::Said;
pub use preview::{plan_text, preview_commit, preview_folder};
pub use rebuild::Rebuild;
pub use registries::RegistryRefusal;
pub use repo_pack::Refs;
pub use repos::{Repos, Standing};
pub use tree_check::{FINDINGS_MAX, TreeLimits, check_pushed};
pub use turns::{Alone, InUse};

use crate::clock::Clock;
use crate::crash_point;
use crate::domain::{App, Build, BuildId, BuildState, Failure, FetchAllow, Oid, Pusher, RefMove};
use crate::engine::Engine;
use crate::logs::{Journal, Logs, TranscriptOf};
use crate::scheduler::Scheduler;
use crate::store::{Store, StoreError};
use destroy::Destructions;
use queue::Queue;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How a push ended, for git's answer to the pusher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Promoted, and the branch moved. `moved_from` differs from the pusher's old id when another push was in between.
    Accepted { moved_from: Oid },
    /// Nothing changed; the reason stands in git's `! [remote rejected]` line.
    Refused { reason: String },
}

/// A push that was taken in: follow its transcript, then ask for the verdict.
pub struct Ticket {
    pub build: BuildId,
    /// Closed without a word when the server stops.
    pub verdict: oneshot::Receiver<Verdict>,
}

/// Whether a build may take over what an earlier one made of the same inputs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inputs {
    MayBeKnown,
    AreNew,
}

/// What the builder works with.
pub struct Tools {
    pub store: Store,
    pub engine: Arc<dyn Engine>,
    pub scheduler: Scheduler,
    pub logs: Logs,
    pub repos: Repos,
    pub clock: Arc<dyn Clock>,
    /// Extra certificate authorities (PEM) that build steps trust.
    pub ca_bundle: Option<Vec<u8>>,
    /// Gets what builds need from elsewhere.
    pub fetcher: Fetcher,
    /// How long the making of one image may take.
    pub build_limit: Duration,
    /// Hosts that are fetched from for an app.
    pub fetch_allow: FetchAllow,
    /// Logins of registries, as `docker login` writes them.
    pub registry_auth_file: Option<PathBuf>,
    pub tracker: TaskTracker,
    pub stop: CancellationToken,
}

/// The handle: verbs only, cheap to clone.
#[derive(Clone)]
pub struct Builder(Arc<Workshop>);

pub(crate) struct Workshop {
    tools: Tools,
    queue: Queue,
    destructions: Destructions,
}

impl Builder {
    /// Starts to work off the queue. [`heal`] comes first.
    pub fn start(tools: Tools) -> Self {
        let tracker = tools.tracker.clone();
        let workshop = Arc::new(Workshop { tools, queue: Queue::new(), destructions: Destructions::default() });
        tracker.spawn(Arc::clone(&workshop).work());
        tracker.spawn(Arc::clone(&workshop).resume_destructions());
        tracker.spawn(Arc::clone(&workshop).resume_postdeploys());
        tracker.spawn({
            let workshop = Arc::clone(&workshop);
            async move { workshop.see_off_all().await }
        });
        let builder = Self(workshop);
        tracker.spawn(builder.clone().build_missing());
        builder
    }

    /// Takes a push in, durably; a queued build of the same app is superseded by it.
    pub async fn enqueue(&self, app: &App, moves: RefMove, pusher: &Pusher) -> anyhow::Result<Ticket> {
        self.take_in(app, moves, pusher, Inputs::MayBeKnown).await
    }

    /// Refuses what would be received with too little room below `place`.
    pub async fn make_room(&self, place: &Path) -> Result<(), Failure> {
        self.0.tools.scheduler.make_room_at(place).await
    }

    async fn take_in(&self, app: &App, moves: RefMove, pusher: &Pusher, inputs: Inputs) -> anyhow::Result<Ticket> {
        let tools = &self.0.tools;
        crash_point!("ref-received");
        let _in_use = tools.repos.in_use(&app.key).await;
        let (build, superseded) = tools.store.enqueue_build(app.id, &moves, pusher, tools.clock.now()).await?;
        crash_point!("build-queued");
        for old in superseded {
            self.0.give_way(app, old, &moves.new).await;
        }
        let transcript = match self.0.make_ready(app, build, &moves) {
            Ok(transcript) => transcript,
            Err(error) => {
                let failure = Failure::Platform { reason: format!("{error:#}") };
                tools.store.end_build(build, &BuildState::Failed { failure }, tools.clock.now()).await?;
                return Err(error);
            }
        };
        crash_point!("pin-written");
        if inputs == Inputs::AreNew {
            self.0.queue.make_fresh(build);
        }
        let verdict = self.0.queue.expect(build, transcript, (pusher.clone(), moves.new.clone()), &tools.stop);
        self.0.refuse_ended(app, build).await?;
        tracing::info!(app.name = %app.name, "build {build} of {} queued for {} by {pusher}", app.name, moves.new.short());
        self.0.queue.wake();
        Ok(Ticket { build, verdict })
    }
}

impl Workshop {
    /// A build may be ended by somebody who found its row before its pusher could be told: the app is destroyed, say.
    async fn refuse_ended(&self, app: &App, build: BuildId) -> anyhow::Result<()> {
        let reason = match self.tools.store.build(app.id, build).await {
            Ok(Build { state: BuildState::Failed { failure }, started_at: None, .. }) => failure.to_string(),
            Err(StoreError::Missing { .. }) => format!("{} is gone", app.name),
            // What cannot be looked up takes its turn; what has begun is answered by who runs it.
            Ok(_) | Err(_) => return Ok(()),
        };
        match self.queue.take(build) {
            Some(_) => {
                // Whoever ended it found no pin yet.
                self.unpin(app, build);
                anyhow::bail!(reason)
            }
            None => Ok(()),
        }
    }

    /// What a queued build needs on disk.
    fn make_ready(&self, app: &App, build: BuildId, moves: &RefMove) -> anyhow::Result<Arc<Journal>> {
        // The objects are in the repository and nothing points at them yet: a git gc would take them.
        self.tools.repos.pin(&app.key, build, &moves.new)?;
        // Opened here, so that whoever follows it now and whoever writes it later share one journal.
        self.tools.logs.transcript(&app.key, TranscriptOf::Build(build))
    }
}
