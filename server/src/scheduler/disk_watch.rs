//! Ends instances that write too much to their own disks (security rule R15: the engine has no quota for that).
//!
//! Asking what an instance has written makes the engine walk through it. So it is asked when the engine's disk has lost
//! room since the last round, and else once a minute: who fills the disk shows in its free space first.
use super::House;
use crate::domain::failure::Exit;
use crate::domain::{AppId, ContainerId, Size};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How often the free space is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const ROUND_EVERY: Duration = Duration::from_mins(1);
/// A loss of room that makes a round due; an eighth of an instance's limit where that is less.
const LOSS_BYTES: u64 = 64 << 20;
/// Who wrote less than this since the last round is not the one that fills the disk.
const GROWTH_BYTES_MIN: u64 = 8 << 20;
/// A round takes at most this part of the time: the engine's walks cost processor time.
const PAUSE_PER_WALK: u32 = 4;

/// What was found in the last round.
struct Watch {
    begun: Instant,
    free_bytes: u64,
    written: HashMap<ContainerId, u64>,
}

/// A running instance that was measured.
struct Measured {
    app: AppId,
    id: ContainerId,
    bytes: u64,
    growth_bytes: u64,
}

impl House {
    pub(super) async fn watch_disk(self: Arc<Self>) {
        let mut last: Option<Watch> = None;
        loop {
            tokio::select! {
                () = self.tools.stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let Some(free_bytes) = self.tools.disk.engine_free_bytes().await else { continue };
            let is_short = free_bytes < self.tools.disk.reserve().0;
            let loss_max = LOSS_BYTES.min(self.tools.disk.instance_max().0 / 8);
            let is_due = last.as_ref().is_none_or(|last| {
                is_short
                    || last.begun.elapsed() >= ROUND_EVERY
                    || last.free_bytes.saturating_sub(free_bytes) >= loss_max
            });
            if !is_due {
                continue;
            }
            let begun = Instant::now();
            let before = last.map(|last| last.written);
            let measured = self.measure_instances(before.as_ref()).await;
            self.judge(&measured, is_short).await;
            let written = measured.into_iter().map(|one| (one.id, one.bytes)).collect();
            last = Some(Watch { begun, free_bytes, written });
        }
    }

    async fn measure_instances(&self, before: Option<&HashMap<ContainerId, u64>>) -> Vec<Measured> {
        let mut found = Vec::new();
        for (app, id) in self.running() {
            let begun = Instant::now();
            // One that is gone meanwhile, or an engine that is away: the next round sees.
            let Ok(bytes) = self.tools.engine.written_bytes(&id).await else { continue };
            // One that is new since the last round has written all of it since then; in the first round nobody knows.
            let then = before.map_or(bytes, |before| before.get(&id).copied().unwrap_or(0));
            let growth_bytes = bytes.saturating_sub(then);
            found.push(Measured { app, id, bytes, growth_bytes });
            tokio::select! {
                () = self.tools.stop.cancelled() => return found,
                () = tokio::time::sleep(begun.elapsed() * PAUSE_PER_WALK) => {}
            }
        }
        found
    }

    fn running(&self) -> Vec<(AppId, ContainerId)> {
        let memories: Vec<_> = {
            let memories = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
            memories.iter().map(|(app, memory)| (*app, Arc::clone(memory))).collect()
        };
        memories
            .into_iter()
            .flat_map(|(app, memory)| {
                let memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
                memory.instances.keys().map(|id| (app, id.clone())).collect::<Vec<_>>()
            })
            .collect()
    }

    /// Ends who is over the limit; below the reserve also who wrote most since the last round.
    async fn judge(&self, measured: &[Measured], is_short: bool) {
        let limit = self.tools.disk.instance_max();
        for one in measured.iter().filter(|one| one.bytes > limit.0) {
            self.end_writer(one, Exit::OverDisk { limit_bytes: limit.0 }).await;
        }
        let fastest = measured.iter().filter(|one| one.bytes <= limit.0).max_by_key(|one| one.growth_bytes);
        if let Some(fastest) = fastest.filter(|one| is_short && one.growth_bytes >= GROWTH_BYTES_MIN) {
            self.end_writer(fastest, Exit::FilledDisk).await;
        }
    }

    /// Its end counts as a crash, with this cause: it is started again, ever later.
    async fn end_writer(&self, one: &Measured, exit: Exit) {
        tracing::warn!("ending {} of app {}, which holds {}: it {exit}", one.id.short(), one.app.0, Size(one.bytes));
        let memory = self.memory(one.app);
        memory.lock().unwrap_or_else(PoisonError::into_inner).ended_by_us.insert(one.id.clone(), exit);
        if let Err(error) = self.tools.engine.end_by_force(&one.id).await {
            tracing::warn!("cannot end {}, trying again: {error}", one.id.short());
        }
        self.wake(one.app);
    }
}
