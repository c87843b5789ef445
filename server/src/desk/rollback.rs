//! Going back to an earlier release, and seeing a release that no push made through to its end.
use super::{Desk, Refusal};
use crate::domain::release::Release;
use crate::domain::{App, ReleaseNo, Rollout};
use crate::logs::TranscriptOf;
use crate::scheduler::Settled;

/// A release that was just made.
#[derive(Clone, Copy, Debug)]
pub struct Made {
    pub no: ReleaseNo,
    /// What was live then.
    pub replaced: Option<ReleaseNo>,
}

impl Desk {
    /// The release that a rollback goes to: the one that is named, or the one that was live before. It can be gone back to.
    pub async fn rollback_target(&self, app: &App, no: Option<ReleaseNo>) -> Result<Release, Refusal> {
        let target = match no {
            Some(no) => self.store.release(app.id, no).await?,
            None => self.store.previous_live_release(app.id).await?.ok_or_else(|| {
                Refusal::new(format!("{} has no earlier release that was live", app.name))
                    .next("run `paas releases -a APP` to see all")
            })?,
        };
        match target.rollout {
            Rollout::Replaced { .. } => {}
            Rollout::Live { .. } => return Err(Refusal::new(format!("{} is live already", target.no))),
            Rollout::Starting { .. } | Rollout::Failed { .. } => {
                return Err(Refusal::new(format!("{} was never live, so it is no way back", target.no))
                    .next("`paas releases:retry` tries the newest release again"));
            }
        }
        self.check_image(&target).await?;
        Ok(target)
    }

    /// Makes a release that is `target` again. [`Desk::see_through`] comes next.
    pub async fn roll_back(&self, app: &App, target: &Release, by: &str) -> Result<Made, Refusal> {
        // Between this look and the new release nobody may collect the image.
        let _turn = self.scheduler.image_turn().await;
        self.check_image(target).await?;
        let replaced = self.store.live_release(app.id).await?.map(|live| live.no);
        let no = self.store.create_rollback(target, by, self.clock.now()).await?;
        self.scheduler.wake(app.id);
        Ok(Made { no, replaced })
    }

    async fn check_image(&self, target: &Release) -> Result<(), Refusal> {
        if self.engine.image(target.image.as_str()).await?.is_some() {
            return Ok(());
        }
        let what = format!("the image of {} was removed: those of the newest 5 releases are kept", target.no);
        Err(Refusal::new(what).next(match &target.source {
            Some(source) => format!("release it again: `paas releases:from-image`, of {source}"),
            None => format!("push that commit again: {}", target.commit),
        }))
    }

    /// Waits until a release that no push made has settled and stood its first moments; then its transcript is complete.
    pub async fn see_through(&self, app: &App, made: Made) -> anyhow::Result<Settled> {
        let transcript = self.logs.transcript(&app.key, TranscriptOf::Release(made.no))?;
        let settled = self.scheduler.settled(app, made.no).await;
        if matches!(settled, Ok(Settled::Live)) {
            // It is live whatever can be told about its first seconds.
            let _ = self.scheduler.probation(app, made.no, made.replaced).await;
        }
        transcript.close();
        Ok(settled?)
    }
}
