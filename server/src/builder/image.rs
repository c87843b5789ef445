//! From a pushed commit to an image: plan, look for an image of the same inputs, build.
use super::context::{Beside, extras, stream};
use super::fetch::Pinned;
use super::last_lines::Last;
use super::queue::Cancel;
use super::repos::git_oid;
use super::setup::VarsSet;
use super::source::GitTree;
use super::{Workshop, base, foreign, jobs, registries};
use crate::domain::build_cache::{CacheMark, cache_namespace};
use crate::domain::release::Config;
use crate::domain::{App, Build, BuildId, Failure, ImageId, Jobs, Oid, ProcessType, Reads};
use crate::engine::{BuildError, BuildEvent, BuildSpec, EngineError, StepCache, label};
use crate::logs::Mask;
use buildpacks::{
    BuildEnv, BuildPlan, BuildRoot, Builds, CACHE_COMMENT, DockerfileSource, RenderContext, SourceTree, Versions,
    render,
};
use std::collections::BTreeMap;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// What BuildKit puts before the id of every cache mount of a build: it makes those of the app's own Dockerfile, which may
/// say no id at all, the app's own too.
const CACHE_NAMESPACE_ARG: &str = "BUILDKIT_CACHE_MOUNT_NS";
/// A build that says more is stopped.
const TRANSCRIPT_BYTES_MAX: u64 = 32 << 20;
const EVENT_QUEUE: usize = 256;
/// Characters of a step's name that a line shows.
const STEP_CHARS_MAX: usize = 100;
/// Characters of a step's last words that its failure carries.
const REASON_CHARS_MAX: usize = 600;

/// An image, and how the plan says it is run.
pub(super) struct Made {
    pub(super) image: ImageId,
    /// Of process types that run in another one.
    pub(super) images: BTreeMap<ProcessType, ImageId>,
    pub(super) plan: BuildPlan,
    pub(super) jobs: Jobs,
}

/// Which lines of a build reach the transcript.
#[derive(Clone, Copy)]
pub(super) enum Show<'a> {
    /// All of them as they come, without the values that the mask knows.
    Live(&'a Mask),
    /// The last ones, when it fails: for images that are ours and not the pusher's.
    WhenItFails,
}

impl Show<'_> {
    /// A text fit for the database, the audit log and git's answer: without known values, and cut.
    fn hide(self, text: &str) -> String {
        let masked = match self {
            Self::Live(mask) => mask.apply(text).into_owned(),
            Self::WhenItFails => text.to_owned(),
        };
        masked.chars().take(REASON_CHARS_MAX).collect()
    }
}

/// What goes into the images of a push.
struct Inputs<'a> {
    tree: GitTree,
    config: &'a Config,
    env: &'a BuildEnv,
    /// Of the plan's buildpacks; taken by the image that is built by them.
    pinned: Vec<Pinned>,
}

impl Workshop {
    pub(super) async fn make_image(&self, app: &App, build: &Build, cancel: &Cancel) -> Result<Made, Failure> {
        let whole = self.whole_tree(app, build, cancel).await?;
        let (config, env, tree, mut plan) = self.settled_plan(app, build.id, &whole).await?;
        let jobs = jobs::jobs_of(&plan)?;
        self.note_reads(build.id, &plan).await?;
        let pinned = self.pin_buildpacks(app, build.id, &mut plan, cancel).await?;
        let mut inputs = Inputs { tree, config: &config, env: &env, pinned };
        let mut made = Vec::new();
        for (at, one) in plan.of_images().iter().enumerate() {
            made.push(self.find_or_build(app, build, (at, one), &mut inputs, cancel).await?);
        }
        let images = other_images(&plan, &made)?;
        let none = || Failure::Platform { reason: "the plan names no image".to_owned() };
        let image = made.into_iter().next().ok_or_else(none)?;
        self.hear_image(app, build.id, &image, &mut plan).await?;
        Ok(Made { image, images, plan, jobs })
    }

    async fn note_reads(&self, build: BuildId, plan: &BuildPlan) -> Result<(), Failure> {
        let reads = Reads { names: plan.reads_env.clone(), everything: plan.gives_everything() };
        let noted = self.tools.store.note_reads(build, &reads).await;
        noted.map_err(|error| Failure::Platform { reason: error.to_string() })
    }

    async fn find_or_build(
        &self,
        app: &App,
        build: &Build,
        (at, plan): (usize, &BuildPlan),
        inputs: &mut Inputs<'_>,
        cancel: &Cancel,
    ) -> Result<ImageId, Failure> {
        let platform = |reason: String| Failure::Platform { reason };
        let fingerprint = buildpacks::fingerprint(plan, &inputs.tree.tree_oid, inputs.env);
        if let Some(image) = self.find_made(app, build.id, &fingerprint).await? {
            self.remember_versions(app, &image, plan).await?;
            self.tell(app, build.id, ["-----> Same tree, same settings: no build needed".to_owned()]);
            return Ok(image);
        }
        self.tools.scheduler.make_room().await?;
        let image = self.build_image(app, build, (at, plan), inputs, cancel).await?;
        let kept = self.tools.store.remember_image(app.id, &fingerprint, &image, self.tools.clock.now()).await;
        kept.map_err(|error| platform(error.to_string()))?;
        self.remember_versions(app, &image, plan).await?;
        Ok(image)
    }

    /// What the release that serves was built with: a tree that asks for no version goes on with it.
    async fn versions_before(&self, app: &App) -> Result<Versions, crate::store::StoreError> {
        match self.tools.store.live_release(app.id).await? {
            Some(live) => self.tools.store.versions_of_image(app.id, &live.image).await,
            None => Ok(Versions::new()),
        }
    }

    async fn remember_versions(&self, app: &App, image: &ImageId, plan: &BuildPlan) -> Result<(), Failure> {
        let kept = self.tools.store.remember_versions(app.id, image, &plan.versions).await;
        kept.map_err(|error| Failure::Platform { reason: error.to_string() })
    }

    /// The plan, with the config vars that it is made with. What a first deploy sets is set then, and counts already.
    async fn settled_plan(
        &self,
        app: &App,
        build: BuildId,
        whole: &Oid,
    ) -> Result<(Config, BuildEnv, GitTree, BuildPlan), Failure> {
        let mut is_told = false;
        loop {
            let config = self.tools.store.config(app.id).await;
            let config = config.map_err(|error| Failure::Platform { reason: error.to_string() })?;
            let env: BuildEnv = config.iter().map(|(name, value)| (name.to_string(), value.reveal().clone())).collect();
            let (tree, plan) = self.plan(app, whole, &env).await?;
            if !is_told {
                self.tell(app, build, told(&plan));
                is_told = true;
            }
            // The second time nothing is left to set.
            if self.set_vars(app, build, &plan, &config).await? == VarsSet::None {
                return Ok((config, env, tree, plan));
            }
        }
    }

    async fn plan(&self, app: &App, whole: &Oid, env: &BuildEnv) -> Result<(GitTree, BuildPlan), Failure> {
        let platform = |error: crate::store::StoreError| Failure::Platform { reason: error.to_string() };
        let before = self.versions_before(app).await.map_err(platform)?;
        let set = self.tools.store.buildpacks(app.id).await.map_err(platform)?;
        let (repos, key, whole, env) = (self.tools.repos.clone(), app.key.clone(), whole.clone(), env.clone());
        let set_root = self.tools.store.build_root(app.id).await;
        let set_root = set_root.map_err(|error| Failure::Platform { reason: error.to_string() })?;
        let planning = tokio::task::spawn_blocking(move || {
            let tree = match rooted(GitTree::of(repos.open(&key)?, git_oid(&whole)?)?, set_root)? {
                Ok(tree) => tree,
                Err(reason) => return Ok(Err(Failure::Plan { reason })),
            };
            let planned = buildpacks::plan_with(&tree, &env, &before, &set);
            anyhow::Ok(planned.map(|plan| (tree, plan)).map_err(|error| Failure::Plan { reason: error.to_string() }))
        });
        let planned = planning.await.map_err(anyhow::Error::from).and_then(|planned| planned);
        planned.unwrap_or_else(|error| Err(Failure::Platform { reason: format!("{error:#}") }))
    }

    async fn find_made(&self, app: &App, build: BuildId, fingerprint: &str) -> Result<Option<ImageId>, Failure> {
        if self.queue.is_fresh(build) {
            return Ok(None);
        }
        let platform = |reason: String| Failure::Platform { reason };
        let known =
            self.tools.store.known_image(app.id, fingerprint).await.map_err(|error| platform(error.to_string()))?;
        let Some(image) = known else { return Ok(None) };
        let there = self.tools.engine.image(image.as_str()).await.map_err(|error| platform(error.to_string()))?;
        Ok(there.map(|info| info.id))
    }

    async fn build_image(
        &self,
        app: &App,
        build: &Build,
        (at, plan): (usize, &BuildPlan),
        inputs: &mut Inputs<'_>,
        cancel: &Cancel,
    ) -> Result<ImageId, Failure> {
        let of_several = plan.docker_builds.first();
        let folder = of_several.map_or("", |of| of.folder.as_str());
        let tree = inputs.tree.folder(folder).map_err(|error| Failure::Platform { reason: format!("{error:#}") })?;
        let mut args = plan.arguments(inputs.env);
        args.extend(plan.docker_args.clone());
        if let DockerfileSource::Users { path } = &plan.dockerfile {
            let text = String::from_utf8_lossy(&tree.read(path).unwrap_or_default()).into_owned();
            let text = foreign::with_args(&text, &args);
            self.refuse_foreign(app, build.id, path, &text, cancel).await?;
        }
        self.ensure_stack(app, build.id, &plan.stack, cancel).await?;
        let fetched = self.fetch_buildpacks(plan, std::mem::take(&mut inputs.pinned), cancel).await?;
        let what = of_several.map(|of| format!(" {}", of.processes.join(", "))).unwrap_or_default();
        self.tell(app, build.id, [format!("-----> Building{what}")]);
        let labels = labels(app, build);
        let generation = self.tools.store.cache_generation(app.id).await;
        let generation = generation.map_err(|error| Failure::Platform { reason: error.to_string() })?;
        let rendered = render(
            plan,
            &RenderContext {
                cache_id: app.key.as_str(),
                cache_mark: &CacheMark::new(&app.key, generation).to_string(),
                git_rev: build.moves.new.as_str(),
                env: inputs.env,
                ca_bundle: self.tools.ca_bundle.as_deref(),
                labels: &labels,
            },
        );
        let (dockerfile, extras) = extras(plan, rendered);
        args.insert("GIT_REV".to_owned(), build.moves.new.to_string());
        args.insert(CACHE_NAMESPACE_ARG.to_owned(), cache_namespace(&app.key, generation));
        let another = if at == 0 { String::new() } else { format!("-{at}") };
        let spec = BuildSpec {
            reference: format!("paas/{}:b{}{another}", app.key, build.id.0),
            dockerfile,
            target: of_several.and_then(|of| of.target.clone()),
            args,
            labels,
            cache: if self.queue.is_fresh(build.id) { StepCache::Ignored } else { StepCache::Used },
            context: stream(tree, plan.clone(), Beside { extras, buildpacks: fetched }, self.now_secs()),
        };
        let builds = match &plan.dockerfile {
            DockerfileSource::Users { .. } => Builds::Dockerfile,
            DockerfileSource::Generated => Builds::Language,
        };
        self.run_build(app, build.id, spec, Show::Live(&Mask::of(inputs.config)), builds, cancel).await
    }

    /// A user's own Dockerfile: makes sure of the base that it may name, refuses images of other apps.
    async fn refuse_foreign(
        &self,
        app: &App,
        build: BuildId,
        path: &str,
        text: &str,
        cancel: &Cancel,
    ) -> Result<(), Failure> {
        if foreign::references(text).iter().any(|reference| reference == base::BASE) {
            self.ensure_base(app, build, cancel).await?;
        }
        let platform = |error: EngineError| Failure::Platform { reason: error.to_string() };
        if let Some(reference) = foreign::find(&*self.tools.engine, text, &app.key).await.map_err(platform)? {
            let reason =
                format!("{path} builds on `{reference}`, which is another app's image; build on a public image");
            return Err(Failure::Plan { reason });
        }
        let refused = registries::find_refused(&*self.tools.engine, text, &self.tools.fetch_allow).await;
        match refused.map_err(platform)? {
            None => Ok(()),
            Some((reference, refusal)) => Err(Failure::Plan {
                reason: format!(
                    "{path} names `{reference}`: {refusal}; name a public one, or have \"{}\" written into `fetch_allow` in the server's configuration",
                    refusal.to_allow()
                ),
            }),
        }
    }

    /// Runs one build in the engine within its limits, and tells the transcript about it.
    pub(super) async fn run_build(
        &self,
        app: &App,
        build: BuildId,
        spec: BuildSpec,
        show: Show<'_>,
        builds: Builds,
        cancel: &Cancel,
    ) -> Result<ImageId, Failure> {
        let (to, events) = mpsc::channel(EVENT_QUEUE);
        let stop = cancel.token.child_token();
        let building = tokio::time::timeout(self.tools.build_limit, self.tools.engine.build(spec, to, stop.clone()));
        let mut last = Last::default();
        let tell = |line: String| {
            if let Show::Live(mask) = show {
                self.tell_masked(app, build, mask, &line);
            }
            last.push(line);
        };
        let listening = listen(events, &stop, tell);
        let (built, is_flooded) = tokio::join!(building, listening);
        if let (Show::WhenItFails, false) = (show, matches!(built, Ok(Ok(_)))) {
            self.tell(app, build, last.told());
        }
        match built {
            _ if is_flooded => Err(Failure::BuildFlood { limit_bytes: TRANSCRIPT_BYTES_MAX }),
            Ok(Ok(image)) => Ok(image),
            Ok(Err(BuildError::Step { step, reason })) => {
                let advice = last.advice(builds, (&step, &reason)).map(|advice| show.hide(&advice));
                let reason = self.with_full_disk(show.hide(&reason)).await;
                Err(Failure::BuildStep { step: show.hide(&shortened(&step)), reason, advice })
            }
            Ok(Err(BuildError::Cancelled)) => Err(cancel.failure()),
            Ok(Err(BuildError::Engine(error))) => {
                Err(Failure::Platform { reason: self.with_full_disk(error.to_string()).await })
            }
            Err(_elapsed) => Err(Failure::BuildTimedOut { limit_secs: self.tools.build_limit.as_secs() }),
        }
    }

    /// Says which disk it was that had no space left: a step and the engine name none.
    async fn with_full_disk(&self, reason: String) -> String {
        if !reason.to_lowercase().contains("no space left on device") {
            return reason;
        }
        match self.tools.scheduler.engine_disk().await {
            Some(disk) => format!("{reason}; that is {disk}: free some, nothing needs a restart"),
            None => reason,
        }
    }

    pub(super) fn now_secs(&self) -> u64 {
        u64::try_from(self.tools.clock.now().unix_ms() / 1000).unwrap_or(0)
    }
}

fn labels(app: &App, build: &Build) -> BTreeMap<String, String> {
    BTreeMap::from([
        (label::APP.to_owned(), app.id.0.to_string()),
        (label::APP_KEY.to_owned(), app.key.to_string()),
        (label::BUILD.to_owned(), build.id.0.to_string()),
        (label::COMMIT.to_owned(), build.moves.new.to_string()),
    ])
}

/// Which process types run in an image beside the first.
fn other_images(plan: &BuildPlan, made: &[ImageId]) -> Result<BTreeMap<ProcessType, ImageId>, Failure> {
    let mut images = BTreeMap::new();
    for (build, image) in plan.docker_builds.iter().zip(made).skip(1) {
        for process in &build.processes {
            let process = process
                .parse()
                .map_err(|error: crate::domain::name::NameError| Failure::Plan { reason: error.to_string() })?;
            images.insert(process, image.clone());
        }
    }
    Ok(images)
}

/// Tells what a build says, until it is over. `true`: it said more than it may, and was stopped.
async fn listen(
    mut events: mpsc::Receiver<BuildEvent>,
    stop: &CancellationToken,
    mut tell: impl FnMut(String),
) -> bool {
    let mut said_bytes = 0;
    while let Some(event) = events.recv().await {
        // What still comes is read away, so that the engine's side can end.
        if said_bytes > TRANSCRIPT_BYTES_MAX {
            continue;
        }
        let line = line_of(event);
        said_bytes += line.len() as u64;
        tell(line);
        if said_bytes > TRANSCRIPT_BYTES_MAX {
            stop.cancel();
        }
    }
    said_bytes > TRANSCRIPT_BYTES_MAX
}

fn line_of(event: BuildEvent) -> String {
    match event {
        BuildEvent::Step { name, cached: true } => format!("       {} (cached)", shortened(&name)),
        BuildEvent::Step { name, cached: false } => format!("       {}", shortened(&name)),
        BuildEvent::Line(text) => format!("         {text}"),
    }
}

/// A step without its mounts, and cut to what fits a line: the rest of a long script tells nobody anything.
fn shortened(step: &str) -> String {
    let step = step.rsplit_once(CACHE_COMMENT).map_or(step, |(step, _)| step);
    let words: Vec<&str> = step.split_whitespace().filter(|word| !word.starts_with("--mount=")).collect();
    let line = words.join(" ");
    if line.chars().count() <= STEP_CHARS_MAX {
        return line;
    }
    line.chars().take(STEP_CHARS_MAX).chain(['…']).collect()
}

/// The part of a commit that is the app: the folder that was set for it, else the one that the commit names. The inner error
/// is for its author.
pub(super) fn rooted(tree: GitTree, set: Option<BuildRoot>) -> anyhow::Result<Result<GitTree, String>> {
    let (root, whence) = match set {
        Some(root) => (root, "`paas builds:root`"),
        None => match BuildRoot::of_tree(&tree) {
            Ok(Some(root)) => (root, "build.root in paas.toml"),
            Ok(None) => return Ok(Ok(tree)),
            Err(error) => return Ok(Err(error.to_string())),
        },
    };
    let Some(inner) = tree.below(&root)? else {
        return Ok(Err(format!("{whence} names {root}, and there is no such folder in the commit")));
    };
    Ok(match root.check_inside(&inner) {
        Ok(()) => Ok(inner),
        Err(error) => Err(error.to_string()),
    })
}

/// What the planner decided, in the shape of a push.
pub(super) fn told(plan: &BuildPlan) -> Vec<String> {
    let mut lines = vec![format!("-----> {} app detected ({})", plan.language.name(), plan.because.join(", "))];
    lines.extend(plan.notes.iter().map(|note| format!("       {note}")));
    lines.extend(jobs::told(plan));
    lines.extend(plan.warnings.iter().map(|warning| format!(" !     {warning}")));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_build_that_says_too_much_is_stopped_and_the_rest_is_not_told() {
        let (to, events) = mpsc::channel(EVENT_QUEUE);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let talking = async move {
            let mut said = 0;
            while !stopped.is_cancelled() {
                to.send(BuildEvent::Line("x".repeat(16 << 10))).await.unwrap();
                said += 1;
            }
            // The engine takes a moment to end it.
            for _ in 0..1000 {
                to.send(BuildEvent::Line("late".to_owned())).await.unwrap();
            }
            said
        };
        let mut told_bytes = 0;
        let listening = listen(events, &stop, |line| told_bytes += line.len() as u64);
        let (said, is_flooded) = tokio::join!(talking, listening);
        assert!((TRANSCRIPT_BYTES_MAX..TRANSCRIPT_BYTES_MAX + (17 << 10)).contains(&told_bytes), "{told_bytes}");
        assert!(is_flooded && said > 2000, "{said}");
    }

    #[tokio::test]
    async fn a_build_that_says_little_is_told_whole() {
        let (to, events) = mpsc::channel(EVENT_QUEUE);
        for n in 0..3 {
            to.send(BuildEvent::Line(n.to_string())).await.unwrap();
        }
        drop(to);
        let (stop, mut told) = (CancellationToken::new(), Vec::new());
        assert!(!listen(events, &stop, |line| told.push(line)).await);
        assert_eq!(told, ["         0", "         1", "         2"]);
        assert!(!stop.is_cancelled());
    }
}
