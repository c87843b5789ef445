//! One push, from its turn in the queue to git's answer.
use super::image::Made;
use super::queue::Cancel;
use super::{Standing, Verdict, Workshop};
use crate::crash_point;
use crate::domain::card::one_line;
use crate::domain::health::{Health, ReadyTimeout};
use crate::domain::{
    App, Build, Command, Failure, Makeup, Moment, Oid, Origin, ProcessType, ReleaseNo, UsedBuildpack, release,
};
use crate::scheduler::Settled;
use crate::store::{ConfigChange, NewRelease, NewReleaseError};
use buildpacks::Start;
use std::collections::BTreeMap;
use tokio::sync::OwnedSemaphorePermit;

/// When the phases of a push began, for its last line.
struct Times {
    begun: Moment,
    built: Moment,
}

/// A release that went live.
struct Landed {
    no: ReleaseNo,
    replaced: Option<ReleaseNo>,
    moved_from: Oid,
}

impl Workshop {
    /// `bench` is given back as soon as the image is made: the rollout needs none.
    pub(super) async fn run(&self, build: Build, bench: OwnedSemaphorePermit) {
        let app = match self.tools.store.app_by_id(build.app).await {
            Ok(app) => app,
            Err(error) => return tracing::error!("cannot run build {}: {error}", build.id),
        };
        let _in_use = self.tools.repos.in_use(&app.key).await;
        let cancel = self.queue.cancel_of(build.id).unwrap_or_default();
        let begun = self.tools.clock.now();
        match self.tools.store.begin_build(build.id, begun).await {
            Ok(true) => {}
            // Cancelled or superseded between being chosen and now; its pusher was told.
            Ok(false) => return,
            Err(error) => return self.fail(&app, build.id, Failure::Platform { reason: error.to_string() }).await,
        }
        crash_point!("build-begun");
        self.tools.scheduler.prepare(&app);
        let made = self.try_make(&app, &build, &cancel).await;
        drop(bench);
        match made {
            Ok((made, moved_from)) => {
                crash_point!("image-made");
                let times = Times { begun, built: self.tools.clock.now() };
                self.roll_out(&app, &build, &cancel, made, moved_from, times).await;
            }
            Err(failure) => self.fail(&app, build.id, failure).await,
        }
    }

    async fn try_make(&self, app: &App, build: &Build, cancel: &Cancel) -> Result<(Made, Oid), Failure> {
        self.check_branch(app, build)?;
        let made = self.make_image(app, build, cancel).await?;
        if cancel.token.is_cancelled() {
            return Err(cancel.failure());
        }
        // Again: the build took its time.
        let moved_from = self.check_branch(app, build)?;
        Ok((made, moved_from))
    }

    /// The branch must be where the pusher saw it, or behind what is pushed now.
    fn check_branch(&self, app: &App, build: &Build) -> Result<Oid, Failure> {
        let moves = &build.moves;
        match self.tools.repos.standing(&app.key, &moves.branch, &moves.old, &moves.new) {
            // Two first pushes to different branches: the one that went live first made its branch the deploy branch.
            Ok(Standing::MayMove { .. })
                if app.deploy_branch.as_ref().is_some_and(|branch| *branch != moves.branch) =>
            {
                let branch = app.deploy_branch.as_deref().unwrap_or_default();
                let reason =
                    format!("{branch} is this app's deploy branch; run `git push paas {}:{branch}`", moves.branch);
                Err(Failure::Plan { reason })
            }
            Ok(Standing::MayMove { from }) => Ok(from),
            Ok(Standing::Stale) => Err(Failure::StaleRef),
            Err(error) => Err(Failure::Platform { reason: format!("{error:#}") }),
        }
    }

    async fn roll_out(&self, app: &App, build: &Build, cancel: &Cancel, made: Made, moved_from: Oid, times: Times) {
        let replaced = match self.tools.store.live_release(app.id).await {
            Ok(live) => live.map(|release| release.no),
            Err(error) => return self.fail(app, build.id, Failure::Platform { reason: error.to_string() }).await,
        };
        let postdeploy = made.plan.setup.postdeploy.clone();
        let no = match self.release(app, build, cancel, made).await {
            Ok(no) => no,
            Err(failure) => return self.fail(app, build.id, failure).await,
        };
        if let Some(line) = postdeploy
            && let Err(failure) = self.expect_postdeploy(app, build.id, no, &line).await
        {
            tracing::error!("cannot note what is to run behind {no} of {}: {failure}", app.name);
        }
        self.tools.scheduler.wake(app.id);
        match self.settled(app, no, cancel).await {
            Ok(Settled::Live) => {
                self.complete(app, build, Landed { no, replaced, moved_from }, cancel, &times).await;
            }
            Ok(Settled::Failed(failure)) => {
                self.unpin(app, build.id);
                let reason = one_line(&failure, replaced);
                self.answer(app, build.id, Verdict::Refused { reason }).await;
            }
            Err(failure) => self.fail(app, build.id, failure).await,
        }
    }

    /// How the release settles. It never goes live behind the back of a pusher who was told that it did not.
    async fn settled(&self, app: &App, no: ReleaseNo, cancel: &Cancel) -> Result<Settled, Failure> {
        let scheduler = &self.tools.scheduler;
        let first = tokio::select! {
            biased;
            settled = scheduler.settled(app, no) => settled,
            () = cancel.token.cancelled() => {
                // Promotion may have come first; then nothing is undone.
                scheduler.overtake(app.id, no, cancel.failure()).await.map(|_| ())
                    .and(scheduler.settled(app, no).await)
            }
        };
        let Err(error) = first else { return first.map_err(|error| Failure::Platform { reason: error.to_string() }) };
        let failure = Failure::Platform { reason: error.to_string() };
        match scheduler.overtake(app.id, no, failure.clone()).await {
            Ok(_) => scheduler.settled(app, no).await.map_err(|_| failure),
            Err(_) => Err(failure),
        }
    }

    /// Makes the release and ends the build; waits while another release of the app is starting.
    async fn release(&self, app: &App, build: &Build, cancel: &Cancel, made: Made) -> Result<ReleaseNo, Failure> {
        let platform = |error: &dyn std::fmt::Display| Failure::Platform { reason: error.to_string() };
        self.set_formation(app, build.id, &made.plan).await?;
        let port = self.port(app, &made).await?;
        let what = if self.queue.is_fresh(build.id) { "New build of" } else { "Push" };
        let new = NewRelease {
            app: app.id,
            origin: Origin::Push { build: build.id },
            image: made.image.clone(),
            commit: build.moves.new.clone(),
            source: None,
            processes: processes(&made)?,
            port,
            jobs: made.jobs.clone(),
            makeup: makeup(&made)?,
            description: format!("{what} {}", build.moves.new.short()),
            created_by: build.pusher.to_string(),
            change: ConfigChange::new(),
        };
        let mut changes = self.tools.store.changes();
        let no = loop {
            match self.tools.store.create_release(&new, self.tools.clock.now()).await {
                Ok(no) => break no,
                Err(NewReleaseError::Busy(_)) => tokio::select! {
                    changed = changes.changed() => changed.map_err(|error| platform(&error))?,
                    () = cancel.token.cancelled() => return Err(cancel.failure()),
                },
                Err(NewReleaseError::Store(error)) => return Err(platform(&error)),
            }
        };
        crash_point!("release-made");
        Ok(no)
    }

    async fn port(&self, app: &App, made: &Made) -> Result<u16, Failure> {
        let platform = |error: &dyn std::fmt::Display| Failure::Platform { reason: error.to_string() };
        let config = self.tools.store.config(app.id).await.map_err(|error| platform(&error))?;
        let info = self.tools.engine.image(made.image.as_str()).await.map_err(|error| platform(&error))?;
        let exposed = info.map(|info| info.exposed_ports).unwrap_or_default();
        release::port(&config, &exposed).map_err(|error| Failure::Plan { reason: error.to_string() })
    }

    /// The commit point is behind us: route, branch, probation, answer.
    async fn complete(
        &self,
        app: &App,
        build: &Build,
        Landed { no, replaced, moved_from }: Landed,
        cancel: &Cancel,
        times: &Times,
    ) {
        crash_point!("before-branch");
        let live = self.tools.clock.now();
        self.move_branch(app, build.id, &build.moves);
        crash_point!("branch-moved");
        if let Err(error) = self.tools.scheduler.probation(app, no, replaced).await {
            tracing::warn!("cannot watch {no} of {}: {error}", app.name);
        }
        let line = format!(
            "       build {:.1}s · start {:.1}s · total {:.1}s",
            times.built.since(times.begun).as_secs_f64(),
            live.since(times.built).as_secs_f64(),
            live.since(build.queued_at).as_secs_f64()
        );
        self.tell(app, build.id, [line]);
        self.run_postdeploy(app, no, &cancel.token).await;
        crash_point!("before-verdict");
        self.answer(app, build.id, Verdict::Accepted { moved_from }).await;
    }
}

/// What the plan says of a release beside its image and processes.
fn makeup(Made { plan, images, .. }: &Made) -> Result<Makeup, Failure> {
    let used = plan.buildpacks.iter();
    let used = used.map(|used| UsedBuildpack { source: used.buildpack.to_string(), pin: used.pin.clone() });
    let mut health = Health::default();
    if let Some(wish) = &plan.health {
        let refuse =
            |reason: String| Failure::Plan { reason: format!("app.json line {}: healthchecks: {reason}", wish.line) };
        health.path = wish.path.as_deref().map(str::parse).transpose().map_err(refuse)?;
        health.timeout = wish.timeout_secs.map(ReadyTimeout::try_from).transpose().map_err(refuse)?;
    }
    Ok(Makeup {
        starter: plan.starter().map(str::to_owned),
        images: images.clone(),
        buildpacks: used.collect(),
        health,
    })
}

fn processes(made: &Made) -> Result<BTreeMap<ProcessType, Command>, Failure> {
    made.plan
        .processes
        .iter()
        .map(|(name, start)| {
            let process: ProcessType = name
                .parse()
                .map_err(|error: crate::domain::name::NameError| Failure::Plan { reason: error.to_string() })?;
            let command = match start {
                Start::Image => Command::ImageDefault,
                Start::Command(line) => Command::Shell(line.clone()),
            };
            Ok((process, command))
        })
        .collect()
}
