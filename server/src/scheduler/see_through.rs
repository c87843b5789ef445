//! Waits with a person for a release: until it is live or has failed, and through its first moments.
use super::{House, Scheduler};
use crate::domain::instance::Traffic;
use crate::domain::plan::HOLD_BUDGET;
use crate::domain::release::Release;
use crate::domain::route::Backends;
use crate::domain::{App, Failure, ReleaseNo, Rollout};
use crate::store;
use std::sync::PoisonError;
use std::time::Duration;

/// How long a new release is watched before its push returns.
const PROBATION: Duration = Duration::from_secs(2);
const PROBATION_STEP: Duration = Duration::from_millis(50);

/// How a release settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    Live,
    Failed(Failure),
}

impl Scheduler {
    /// Waits until a release has settled. When one has failed that may not run beside the live one, that one is back by
    /// then, or the time for it is over.
    pub async fn settled(&self, app: &App, no: ReleaseNo) -> store::Result<Settled> {
        let settled = self.verdict(app, no).await?;
        if matches!(settled, Settled::Failed(_)) {
            self.until_back(app).await?;
        }
        Ok(settled)
    }

    async fn until_back(&self, app: &App) -> store::Result<()> {
        let (_, exclusive) = self.0.volumes_of(app.id).await?;
        let is_wanted = self.0.tools.store.live_release(app.id).await?.is_some();
        let mut waited = Duration::ZERO;
        while exclusive && is_wanted && waited < HOLD_BUDGET {
            match self.routes().apps.get(&app.id).map(|route| &route.backends) {
                Some(Backends::Held) => {}
                Some(Backends::Ready(_) | Backends::Starting | Backends::Crashed | Backends::Off) | None => break,
            }
            tokio::time::sleep(PROBATION_STEP).await;
            waited += PROBATION_STEP;
        }
        Ok(())
    }

    async fn verdict(&self, app: &App, no: ReleaseNo) -> store::Result<Settled> {
        let mut changes = self.0.tools.store.changes();
        loop {
            match self.0.tools.store.release(app.id, no).await?.rollout {
                Rollout::Starting { .. } => {}
                Rollout::Live { .. } | Rollout::Replaced { .. } => return Ok(Settled::Live),
                Rollout::Failed { failure, .. } => return Ok(Settled::Failed(failure)),
            }
            if changes.changed().await.is_err() {
                return Ok(Settled::Failed(Failure::Interrupted));
            }
        }
    }

    /// Tells the first two seconds of a release that went live: what the old one drained, and whether the new one stays.
    pub async fn probation(&self, app: &App, no: ReleaseNo, replaced: Option<ReleaseNo>) -> store::Result<()> {
        let house = &self.0;
        let release = house.tools.store.release(app.id, no).await?;
        self.until_routed(app, no).await;
        let hold = house.hold_of(app, replaced).await;
        house.tell_live(app, &release, hold);
        let mut drain_told = replaced.is_none();
        let mut waited = Duration::ZERO;
        while waited < PROBATION {
            if !drain_told && house.is_drained(app, replaced) {
                house.tell_drain_of(app, &release, replaced);
                drain_told = true;
            }
            if house.crashed_since_live(app, no) {
                let line =
                    " !     it ended again right after going live; `paas logs` says why, `paas rollback` goes back";
                house.transcribe(app, &release, [line.to_owned()]);
                return Ok(());
            }
            tokio::time::sleep(PROBATION_STEP).await;
            waited += PROBATION_STEP;
        }
        if let (false, Some(old)) = (drain_told, replaced) {
            house.transcribe(
                app,
                &release,
                [format!("       {old} still finishes what it began; that goes on by itself")],
            );
        }
        Ok(())
    }

    /// Promotion comes before the route: waits for the route, which follows at once when there is any web.
    async fn until_routed(&self, app: &App, no: ReleaseNo) {
        for _ in 0..100 {
            let routes = self.routes();
            let is_routed = match routes.apps.get(&app.id).map(|route| &route.backends) {
                Some(Backends::Ready(backends)) => backends.iter().any(|b| b.release == no),
                Some(Backends::Off) => true,
                Some(Backends::Starting | Backends::Held | Backends::Crashed) | None => false,
            };
            if is_routed {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl House {
    /// Whether every instance of the replaced release is out of the route, carries nothing any more and is told to end.
    fn is_drained(&self, app: &App, replaced: Option<ReleaseNo>) -> bool {
        let memory = self.memory(app.id);
        let memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
        let mut old = memory.instances.iter().filter(|(_, known)| Some(known.release) == replaced);
        old.all(|(id, _)| memory.stopping.contains(id) && self.tools.proxy.traffic(id) == Traffic::Quiet)
    }

    fn tell_drain_of(&self, app: &App, release: &Release, replaced: Option<ReleaseNo>) {
        let memory = self.memory(app.id);
        let drained = replaced
            .and_then(|old| Some((old, *memory.lock().unwrap_or_else(PoisonError::into_inner).drained.get(&old)?)));
        if let Some((old, drained)) = drained {
            self.tell_drained(app, release, old, drained);
        }
    }

    fn crashed_since_live(&self, app: &App, no: ReleaseNo) -> bool {
        let memory = self.memory(app.id);
        let memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.crashes.iter().any(|((release, _), crashes)| *release == no && crashes.count > 0)
    }
}
