//! Stack images: built when an app first needs them, shared by all apps.
use super::context::{Extra, stream_extras};
use super::image::Show;
use super::queue::Cancel;
use super::{Workshop, base};
use crate::domain::{App, BuildId, Failure};
use crate::engine::{BuildSpec, StepCache, label};
use buildpacks::{Builds, StackImage};
use std::collections::BTreeMap;

impl Workshop {
    /// Makes what is missing of the images that a plan stands on.
    pub(super) async fn ensure_stack(
        &self,
        app: &App,
        build: BuildId,
        stack: &[StackImage],
        cancel: &Cancel,
    ) -> Result<(), Failure> {
        for image in stack {
            let reference = image.reference();
            let known = self.tools.engine.image(&reference).await;
            if known.map_err(|error| Failure::Platform { reason: error.to_string() })?.is_some() {
                continue;
            }
            if image.base.is_none() {
                self.ensure_base(app, build, cancel).await?;
            }
            self.tell(app, build, [format!("-----> Preparing {} (once)", image.name)]);
            self.build_stack(app, build, image, cancel).await?;
        }
        Ok(())
    }

    pub(super) async fn ensure_base(&self, app: &App, build: BuildId, cancel: &Cancel) -> Result<(), Failure> {
        let say = |line: &str| self.tell(app, build, [line.to_owned()]);
        let made = tokio::select! {
            made = base::ensure(&*self.tools.engine, &say) => made,
            () = cancel.token.cancelled() => return Err(cancel.failure()),
            () = tokio::time::sleep(self.tools.build_limit) => {
                return Err(Failure::BuildTimedOut { limit_secs: self.tools.build_limit.as_secs() });
            }
        };
        made.map_err(|error| Failure::Platform { reason: format!("{error:#}") })
    }

    async fn build_stack(&self, app: &App, build: BuildId, image: &StackImage, cancel: &Cancel) -> Result<(), Failure> {
        let recipe =
            Extra { path: "Dockerfile".to_owned(), contents: image.dockerfile.clone().into_bytes(), executable: false };
        // The recipe binds the folder `meta`, so it is there even when there is no certificate to give.
        let mut extras = vec![
            recipe,
            Extra { path: "meta/stack".to_owned(), contents: image.name.clone().into_bytes(), executable: false },
        ];
        if let Some(bundle) = &self.tools.ca_bundle {
            extras.push(Extra { path: "meta/ca.crt".to_owned(), contents: bundle.clone(), executable: false });
        }
        let spec = BuildSpec {
            reference: image.reference(),
            dockerfile: "Dockerfile".to_owned(),
            target: None,
            args: BTreeMap::new(),
            labels: BTreeMap::from([(label::STACK.to_owned(), image.name.clone())]),
            cache: StepCache::Used,
            context: stream_extras(extras, self.now_secs()),
        };
        match self.run_build(app, build, spec, Show::WhenItFails, Builds::Language, cancel).await {
            Ok(_) => Ok(()),
            // Packages are the app's wish.
            Err(Failure::BuildStep { advice: Some(advice), .. }) if image.has_wishes() => {
                Err(Failure::Plan { reason: advice })
            }
            // What a recipe says itself is for the pusher.
            Err(Failure::BuildStep { reason, .. }) if reason.contains(": paas: ") => {
                let sentence = reason.split_once(": paas: ").map_or(reason.as_str(), |(_, sentence)| sentence);
                Err(Failure::Plan { reason: sentence.to_owned() })
            }
            // The recipe is ours: the pusher cannot mend it.
            Err(Failure::BuildStep { step, reason, advice }) => {
                let advice = advice.map(|advice| format!("; {advice}")).unwrap_or_default();
                Err(Failure::Platform { reason: format!("cannot prepare {} (`{step}`: {reason}){advice}", image.name) })
            }
            Err(other) => Err(other),
        }
    }
}
