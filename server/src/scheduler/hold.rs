//! What volumes ask of the scheduler: mounts for instances, instances made ahead and started later, and the account of the
//! time in between, when requests wait.
use super::House;
use super::reconcile::Sheet;
use super::tell::seconds;
use crate::crash_point;
use crate::domain::instance::Slot;
use crate::domain::route::Backends;
use crate::domain::volume::Stage;
use crate::domain::{App, AppId, ContainerId, MountPath, ReleaseNo, Volume};
use crate::engine::{InstanceSpec, Mount, MountRoot};
use crate::proxy::HoldReport;
use crate::store::StoreError;
use anyhow::{Context, bail};
use std::sync::PoisonError;
use std::time::Duration;

/// From SIGTERM to SIGKILL while requests wait for it.
pub(super) const HOLD_GRACE: Duration = Duration::from_secs(10);

impl House {
    /// Whether the app's releases may not run side by side, because they share a volume.
    pub(super) async fn is_exclusive(&self, app: AppId) -> Result<bool, StoreError> {
        let is_mounted = self.tools.store.volumes(app).await?.iter().any(|volume| volume.path.is_some());
        Ok(is_mounted && !self.tools.store.overlaps(app).await?)
    }

    /// The mounts of a new instance. A volume that held data and is gone is not made anew: an app that finds its folder
    /// empty would begin from nothing, and nobody would notice that its data is lost.
    pub(super) async fn mounts(&self, app: AppId) -> anyhow::Result<Vec<Mount>> {
        let volumes = self.tools.store.volumes(app).await?;
        let mounted: Vec<(&Volume, &MountPath)> =
            volumes.iter().filter_map(|volume| Some((volume, volume.path.as_ref()?))).collect();
        if mounted.is_empty() {
            return Ok(Vec::new());
        }
        let there = self.tools.engine.volumes().await.context("ask the engine for its volumes")?;
        let mut mounts = Vec::new();
        for (volume, path) in mounted {
            let root = match volume.stage {
                Stage::Fresh => {
                    self.tools.engine.ensure_volume(&volume.key).await?;
                    MountRoot::GivenToUser
                }
                Stage::Used if there.contains(&volume.key) => MountRoot::Kept,
                Stage::Used => bail!(
                    "volume `{}` is no longer in the engine (it was called {}); bring it back there, or give it up with \
                     `paas volumes:unmount {0}`",
                    volume.name,
                    volume.key
                ),
            };
            mounts.push(Mount { volume: volume.key.clone(), path: path.clone(), root });
        }
        Ok(mounts)
    }

    /// From now on the owners of these volumes' roots are left alone.
    pub(super) async fn note_mounted(&self, spec: &InstanceSpec) {
        for mount in spec.mounts.iter().filter(|mount| mount.root == MountRoot::GivenToUser) {
            if let Err(error) = self.tools.store.set_volume_used(&mount.volume).await {
                tracing::warn!("cannot note that volume {} was mounted: {error}", mount.volume);
            }
        }
    }

    /// Makes an instance ahead of the time when it may run.
    pub(super) async fn make_instance(
        &self,
        sheet: &Sheet,
        no: ReleaseNo,
        slot: &Slot,
        epoch: u64,
    ) -> anyhow::Result<()> {
        let made = async {
            let release = sheet.release(no).with_context(|| format!("find {no} of {}", sheet.app.name))?;
            let spec = self.spec(&sheet.app, release, (slot, epoch), sheet.terms_of(&slot.process)).await?;
            let id = self.tools.engine.make(&spec).await?;
            self.note_mounted(&spec).await;
            anyhow::Ok(id)
        };
        match made.await {
            Ok(id) => {
                tracing::info!(app.name = %sheet.app.name, "made {slot} of {} {no} as {}", sheet.app.name, id.short());
                self.wake(sheet.app.id);
                Ok(())
            }
            Err(error) => self.not_started(sheet, no, slot, error).await,
        }
    }

    /// Starts an instance that was made ahead. One that cannot be started is made anew by the next plan.
    pub(super) async fn start_made(
        &self,
        sheet: &Sheet,
        no: ReleaseNo,
        slot: &Slot,
        id: &ContainerId,
    ) -> anyhow::Result<()> {
        if let Err(error) = self.tools.engine.start_made(id).await {
            self.tools.engine.remove(id).await.with_context(|| format!("remove {}", id.short()))?;
            return self.not_started(sheet, no, slot, error.into()).await;
        }
        tracing::info!(app.name = %sheet.app.name, "started {slot} of {} {no} as {}", sheet.app.name, id.short());
        if sheet.starting.is_some() {
            crash_point!("hold-new-started");
        }
        self.wake(sheet.app.id);
        Ok(())
    }

    /// Keeps the time since when the app's requests wait for instances that may not run yet.
    pub(super) fn note_hold(&self, sheet: &Sheet, backends: &Backends) {
        let memory = self.memory(sheet.app.id);
        let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.held_since = match backends {
            Backends::Held => memory.held_since.or(Some(self.tools.clock.now())),
            Backends::Ready(_) | Backends::Starting | Backends::Crashed | Backends::Off => None,
        };
    }

    /// How the hold of a release that replaced another one went; `None` where there was none.
    pub(super) async fn hold_of(&self, app: &App, replaced: Option<ReleaseNo>) -> Option<HoldReport> {
        replaced?;
        let exclusive = self.is_exclusive(app.id).await.ok()?;
        self.tools.proxy.last_hold(app.id).filter(|_| exclusive)
    }
}

/// `; held 14 requests for 1.2s`, as it follows upon `v7 serves`.
pub(super) fn held(report: HoldReport) -> String {
    let requests = if report.requests == 1 { "1 request".to_owned() } else { format!("{} requests", report.requests) };
    let lost = if report.lost > 0 { format!(", {} of them in vain", report.lost) } else { String::new() };
    format!("; held {requests} for {}{lost}", seconds(report.took))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_is_told_with_what_it_cost() {
        let told = |requests, lost| held(HoldReport { requests, lost, took: Duration::from_millis(1234) });
        assert_eq!(told(14, 0), "; held 14 requests for 1.2s");
        assert_eq!(told(1, 1), "; held 1 request for 1.2s, 1 of them in vain");
    }
}
