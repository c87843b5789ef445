//! Classic buildpacks around a build: pinned before it, fetched for it, and asked after it what runs.
use super::Workshop;
use super::fetch::{FetchError, FetchedFile, Pinned};
use super::queue::Cancel;
use crate::domain::{App, BuildId, Failure, ImageId};
use buildpacks::{BUILT_PROCFILE, BuildPlan, Buildpack, RELEASE_YAML};

impl Workshop {
    /// Finds out what each of a plan's buildpacks is now, and writes it into the plan.
    pub(super) async fn pin_buildpacks(
        &self,
        app: &App,
        build: BuildId,
        plan: &mut BuildPlan,
        cancel: &Cancel,
    ) -> Result<Vec<Pinned>, Failure> {
        let mut all = Vec::with_capacity(plan.buildpacks.len());
        for used in &mut plan.buildpacks {
            let pinned = tokio::select! {
                pinned = self.tools.fetcher.pin(&used.buildpack) => pinned,
                () = cancel.token.cancelled() => return Err(cancel.failure()),
            };
            let pinned = pinned.map_err(|error| not_fetched(&used.buildpack, &error))?;
            if let Some(pin) = &pinned.pin {
                let short: String = pin.chars().take(12).collect();
                self.tell(app, build, [format!("       {} is {short}", used.buildpack)]);
            }
            used.pin.clone_from(&pinned.pin);
            all.push(pinned);
        }
        Ok(all)
    }

    /// The files of pinned ones, for the context.
    pub(super) async fn fetch_buildpacks(
        &self,
        plan: &BuildPlan,
        pinned: Vec<Pinned>,
        cancel: &Cancel,
    ) -> Result<Vec<Vec<FetchedFile>>, Failure> {
        let mut all = Vec::with_capacity(pinned.len());
        for (used, pinned) in plan.buildpacks.iter().zip(pinned) {
            let files = tokio::select! {
                files = self.tools.fetcher.files(pinned) => files,
                () = cancel.token.cancelled() => return Err(cancel.failure()),
            };
            all.push(files.map_err(|error| not_fetched(&used.buildpack, &error))?);
        }
        Ok(all)
    }

    /// Completes a plan by what the built image says of itself.
    pub(super) async fn hear_image(
        &self,
        app: &App,
        build: BuildId,
        image: &ImageId,
        plan: &mut BuildPlan,
    ) -> Result<(), Failure> {
        if !plan.asks_the_image() {
            return Ok(());
        }
        let files = self.tools.engine.read_files(image, &[RELEASE_YAML, BUILT_PROCFILE]).await;
        let files = files.map_err(|error| Failure::Platform { reason: error.to_string() })?;
        let file = |at: usize| files.get(at).and_then(Option::as_deref);
        let told = plan.warnings.len();
        plan.hear_image(file(0), file(1)).map_err(|error| Failure::Plan { reason: error.to_string() })?;
        self.tell(app, build, plan.warnings.iter().skip(told).map(|warning| format!(" !     {warning}")));
        let names: Vec<&str> = plan.processes.keys().map(String::as_str).collect();
        self.tell(app, build, [format!("       process types: {}", names.join(", "))]);
        Ok(())
    }
}

/// Not allowed is the server's matter, the rest the world's: a push says which, and whose buildpack it was.
fn not_fetched(buildpack: &Buildpack, error: &FetchError) -> Failure {
    let reason = format!("cannot fetch the buildpack {buildpack}: {error}");
    Failure::Plan { reason }
}
