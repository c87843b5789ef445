//! What happens to one-off instances whose owner has gone: they are ended, or followed to their end, by this server or
//! by the next one.
use super::House;
use super::collect::{self, Begin};
use super::one_off::{GRACE, OneOff};
use crate::domain::instance::Slot;
use crate::domain::release::Release;
use crate::domain::{App, ContainerId, Moment, Protocol};
use crate::engine::{Keep, Observed, ObservedState, OneOffSeen};
use crate::logs::Mask;
use std::sync::Arc;
use std::time::Duration;

/// Before an engine that cannot end one is asked again.
const RETRY: Duration = Duration::from_secs(2);
/// How long the last lines of one that has ended may take to arrive.
const LAST_LINES: Duration = Duration::from_secs(5);
/// Kept ones that nobody has taken up by then have no owner any more.
const TAKE_UP_TIME: Duration = Duration::from_mins(1);
/// The kind of one-offs that this room owns itself.
const DETACHED: &str = "run";
/// The kind that `cron` takes up, however late the engine comes back.
const CRON: &str = "cron";

impl House {
    /// Ends and removes a one-off, however often that must be tried. When the server stops there is no time for a grace;
    /// what is left even so, the next server's sweep removes.
    pub(super) async fn put_away(&self, id: &ContainerId, name: &Slot) {
        loop {
            let ended = tokio::select! {
                ended = self.tools.engine.stop(id, GRACE) => ended,
                () = self.tools.stop.cancelled() => match self.tools.engine.remove(id).await {
                    Ok(()) => return,
                    Err(error) => return tracing::warn!("cannot remove {name}, the next start will: {error}"),
                },
            };
            match ended {
                Ok(()) => return,
                Err(error) => tracing::warn!("cannot end {name}, trying again: {error}"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Follows a one-off to its end in the background.
    pub(super) fn attend(self: &Arc<Self>, app: &App, release: &Release, one_off: OneOff, mask: Mask, begin: Begin) {
        let watch = self.tools.stop.child_token();
        // As old as can be: whatever the log holds of this name was said before.
        let seen = Observed {
            id: one_off.id.clone(),
            app: app.id,
            release: release.no,
            slot: one_off.name().clone(),
            epoch: 0,
            protocol: Protocol::Http1,
            created_at: Moment::default(),
            state: ObservedState::Created,
        };
        let collecting = collect::spawn(self, app, &seen, mask, begin, watch.clone());
        let (house, app) = (Arc::clone(self), app.clone());
        self.tools.tracker.spawn(async move {
            let ended = tokio::select! {
                ended = one_off.wait() => ended,
                // It goes on, and the next server takes it up.
                () = house.tools.stop.cancelled() => return,
            };
            // Its log is gone with it.
            drop(tokio::time::timeout(LAST_LINES, collecting).await);
            watch.cancel();
            match ended {
                Ok(exit) => house.say(&app, &format!("{} {exit}", one_off.name())),
                Err(error) => house.say(&app, &format!("{} is gone: {error}", one_off.name())),
            }
        });
    }

    /// Puts away what an earlier server has left, and takes up what is to go on.
    pub(super) async fn sweep_one_offs(self: &Arc<Self>, all: &[OneOffSeen]) {
        let elders = self.tools.proxy.elders();
        let is_strange = |seen: &&OneOffSeen| !self.one_offs.has(seen.app, &seen.name);
        for seen in all.iter().filter(is_strange).filter(|seen| !elders.hold_one_off(seen.app, &seen.name)) {
            if let Err(error) = self.sweep_one_off(seen).await {
                tracing::warn!("cannot take care of {}: {error:#}", seen.name);
            }
        }
    }

    async fn sweep_one_off(self: &Arc<Self>, seen: &OneOffSeen) -> anyhow::Result<()> {
        let is_wanted = seen.keep == Keep::Always && seen.state != ObservedState::Created;
        if is_wanted && seen.name.process.as_str() == DETACHED {
            let store = &self.tools.store;
            // Of an app that is gone nothing is taken up.
            if let Ok(app) = store.app_by_id(seen.app).await {
                let release = store.release(seen.app, seen.release).await?;
                let Some(one_off) = self.take_up(seen) else { return Ok(()) };
                self.attend(&app, &release, one_off, Mask::of(&release.config), Begin::WhereTheLogEnds);
                return Ok(());
            }
        } else if is_wanted {
            let waits_for_cron = seen.name.process.as_str() == CRON && !self.has_adopted_runs();
            if waits_for_cron || self.tools.clock.now().since(self.started_at) < TAKE_UP_TIME {
                return Ok(());
            }
        }
        tracing::info!("removing {}, which nobody looks after ({})", seen.name, seen.id.short());
        // Nothing waits for it any more, but it may be in the middle of something: it is asked to end, in the background.
        drop(self.take_up(seen));
        Ok(())
    }
}
