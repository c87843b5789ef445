//! Carries out one action of a plan. Every action can be carried out twice without harm.
use super::House;
use super::hold::HOLD_GRACE;
use super::publish::{backends, ready_backends};
use super::reconcile::{Sheet, Terms};
use crate::crash_point;
use crate::domain::failure::{Exit, Listening};
use crate::domain::instance::{Seen, Slot};
use crate::domain::limits::Cpu;
use crate::domain::plan::Action;
use crate::domain::release::{Command, Release};
use crate::domain::{App, ContainerId, Failure, ReleaseNo};
use crate::engine::{EngineError, InstanceSpec};
use anyhow::Context;
use futures_util::future::try_join_all;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// From SIGTERM to SIGKILL.
const STOP_GRACE: Duration = Duration::from_secs(30);
/// Instances of one app that are started at the same time.
const STARTS_AT_ONCE: usize = 4;

impl House {
    /// Carries out a plan in its order; neighbouring starts at the same time. A start that fails holds up nothing:
    /// what follows does not need it, and the next plan asks for it again.
    pub(super) async fn carry_out(
        self: &Arc<Self>,
        sheet: &Sheet,
        seen: &[Seen],
        plan: &[Action],
    ) -> anyhow::Result<()> {
        let is_start = |action: &Action| matches!(action, Action::Make { .. } | Action::Start { .. });
        let mut starts = Ok(());
        for group in plan.chunk_by(|a, b| is_start(a) && is_start(b)) {
            for some in group.chunks(STARTS_AT_ONCE) {
                let done = try_join_all(some.iter().map(|action| self.act(sheet, seen, action))).await.map(drop);
                if some.iter().all(is_start) {
                    starts = starts.and(done);
                } else {
                    done?;
                }
            }
        }
        starts
    }

    async fn act(self: &Arc<Self>, sheet: &Sheet, seen: &[Seen], action: &Action) -> anyhow::Result<()> {
        match action {
            Action::Fail { release, failure } => self.fail(sheet, seen, *release, failure.clone()).await,
            Action::Promote { release } => self.promote(sheet, seen, *release).await,
            Action::RunCommand { release } => {
                self.run_command(sheet, *release);
                Ok(())
            }
            Action::EndCommand { release } => {
                self.end_command(sheet, *release);
                Ok(())
            }
            Action::Make { release, slot, epoch } => self.make_instance(sheet, *release, slot, *epoch).await,
            Action::Start { release, slot, epoch } => self.start_instance(sheet, seen, (*release, slot, *epoch)).await,
            Action::Route { to } => {
                self.route(sheet, seen, to).await;
                Ok(())
            }
            Action::Stop { id } => {
                self.stop_instance(sheet, seen, id);
                Ok(())
            }
            Action::Reap { id } => {
                self.tools.proxy.forget(id);
                if let Some(s) = seen.iter().find(|s| s.id == *id) {
                    self.collect_last_words(sheet, s).await;
                }
                self.tools.engine.remove(id).await.with_context(|| format!("remove {}", id.short()))
            }
        }
    }

    async fn fail(&self, sheet: &Sheet, seen: &[Seen], release: ReleaseNo, failure: Failure) -> anyhow::Result<()> {
        let culprit = culprit(seen, release, &failure);
        let failure = match (failure, culprit) {
            (Failure::TimedOut { process, port, limit_secs, .. }, Some(s)) => {
                let listening = self.tools.engine.listening(&s.id, port).await;
                Failure::TimedOut { process, port, limit_secs, listening }
            }
            (Failure::TimedOut { process, port, limit_secs, .. }, None) => {
                Failure::TimedOut { process, port, limit_secs, listening: Listening::Unknown }
            }
            (Failure::Crashed { process, exit: Exit::OutOfMemory }, Some(s)) => {
                Failure::OutOfMemory { process, limit_bytes: sheet.limits_of(&s.slot.process).memory().bytes() }
            }
            (other, _) => other,
        };
        self.tell_failure(sheet, release, culprit, &failure).await;
        self.tools.store.fail_release(sheet.app.id, release, failure, self.tools.clock.now()).await?;
        crash_point!("release-failed");
        self.settled.notify_one();
        Ok(())
    }

    async fn promote(&self, sheet: &Sheet, seen: &[Seen], release: ReleaseNo) -> anyhow::Result<()> {
        self.tell_ready(sheet, seen, release);
        crash_point!("before-promotion");
        self.tools.store.promote_release(sheet.app.id, release, self.tools.clock.now()).await?;
        crash_point!("after-promotion");
        self.settled.notify_one();
        tracing::info!(app.name = %sheet.app.name, release.no = release.0, "promoted {} {release}", sheet.app.name);
        Ok(())
    }

    async fn start_instance(
        self: &Arc<Self>,
        sheet: &Sheet,
        seen: &[Seen],
        (no, slot, epoch): (ReleaseNo, &Slot, u64),
    ) -> anyhow::Result<()> {
        if let Some(made) = seen.iter().find(|s| s.is_made_for(no, slot, epoch)) {
            return self.start_made(sheet, no, slot, &made.id).await;
        }
        let release = sheet.release(no).with_context(|| format!("find {no} of {}", sheet.app.name))?;
        let spec = match self.spec(&sheet.app, release, (slot, epoch), sheet.terms_of(&slot.process)).await {
            Ok(spec) => spec,
            Err(error) => return self.not_started(sheet, no, slot, error).await,
        };
        crash_point!("before-start");
        match self.tools.engine.start(&spec).await {
            Ok((id, _address)) => {
                crash_point!("instance-started");
                tracing::info!(app.name = %sheet.app.name, "started {slot} of {} {no} as {}", sheet.app.name, id.short());
                self.note_mounted(&spec).await;
                self.wake(sheet.app.id);
                Ok(())
            }
            Err(error) => self.not_started(sheet, no, slot, error.into()).await,
        }
    }

    /// What an instance of a release is made of, one-off ones too; its network is made if need be.
    pub(super) async fn spec(
        &self,
        app: &App,
        release: &Release,
        (slot, epoch): (&Slot, u64),
        Terms { limits, protocol }: Terms,
    ) -> anyhow::Result<InstanceSpec> {
        Ok(InstanceSpec {
            app: app.id,
            app_key: app.key.clone(),
            release: release.no,
            slot: slot.clone(),
            epoch,
            protocol,
            image: release.makeup.image_of(&slot.process, &release.image).clone(),
            starter: release.makeup.starter.clone(),
            shell_command: match release.processes.get(&slot.process) {
                Some(Command::Shell(line)) => Some(line.clone()),
                Some(Command::ImageDefault) | None => None,
            },
            env: environment(app, release, slot),
            network: self.network(app).await?,
            memory_bytes: limits.memory().bytes(),
            cpu_millis: limits.cpu.map(Cpu::millis),
            mounts: self.mounts(app.id).await?,
        })
    }

    /// A candidate that cannot be started fails with the cause; what serves is tried again, ever later. An engine that is
    /// away for a moment is no cause: the pass is tried again until the candidate's time is over.
    pub(super) async fn not_started(
        &self,
        sheet: &Sheet,
        no: ReleaseNo,
        slot: &Slot,
        error: anyhow::Error,
    ) -> anyhow::Result<()> {
        if let Some(EngineError::Unreachable(_)) = error.downcast_ref() {
            return Err(error.context(format!("start {slot}")));
        }
        if sheet.starting.as_ref().is_some_and(|release| release.no == no) {
            let failure = Failure::Platform { reason: format!("cannot start {slot}: {error:#}{}", way_out(&error)) };
            self.tell_failure(sheet, no, None, &failure).await;
            self.tools.store.fail_release(sheet.app.id, no, failure, self.tools.clock.now()).await?;
            self.wake(sheet.app.id);
            return Ok(());
        }
        let memory = self.memory(sheet.app.id);
        memory.lock().unwrap_or_else(PoisonError::into_inner).count_crash(no, slot, self.tools.clock.now(), None);
        self.say(&sheet.app, &format!("cannot start {slot} of {no}: {error:#}{}", way_out(&error)));
        Ok(())
    }

    async fn route(&self, sheet: &Sheet, seen: &[Seen], to: &[ContainerId]) {
        let ready = ready_backends(to, seen, |s| self.door_of(sheet, s));
        let now = self.tools.clock.now();
        let crashes = self.memory(sheet.app.id).lock().unwrap_or_else(PoisonError::into_inner).crashes.clone();
        self.publish(sheet, backends(ready, &sheet.wanted, seen, &crashes, now)).await;
        if sheet.wanted.exclusive && sheet.starting.is_some() && to.is_empty() {
            crash_point!("hold-begun");
        }
        crash_point!("after-route");
        // What left the table drains from now on, and may be quiet at once.
        self.wake(sheet.app.id);
    }

    /// Ends an instance in the background: it may take its whole grace.
    fn stop_instance(self: &Arc<Self>, sheet: &Sheet, seen: &[Seen], id: &ContainerId) {
        let memory = self.memory(sheet.app.id);
        {
            let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
            if !memory.stopping.insert(id.clone()) {
                return;
            }
            let release = seen.iter().find(|s| s.id == *id).map(|s| s.release);
            if let (Some(report), Some(release)) = (self.tools.proxy.drained(id), release) {
                memory.add_drained(release, &report);
            }
        }
        let (house, id, app) = (Arc::clone(self), id.clone(), sheet.app.id);
        let grace = if sheet.wanted.exclusive { HOLD_GRACE } else { STOP_GRACE };
        let is_hold = sheet.wanted.exclusive && sheet.starting.is_some();
        self.tools.tracker.spawn(async move {
            crash_point!("before-stop");
            let stopped = tokio::select! {
                stopped = house.tools.engine.stop(&id, grace) => stopped,
                // The server goes and the instance stays: the next server ends it.
                () = house.tools.stop.cancelled() => return,
            };
            crash_point!("instance-stopped");
            match stopped {
                Ok(()) => {
                    if is_hold {
                        crash_point!("hold-old-stopped");
                    }
                    house.tools.proxy.forget(&id);
                }
                Err(error) => {
                    tracing::warn!("cannot stop {}, trying again: {error}", id.short());
                    house.memory(app).lock().unwrap_or_else(PoisonError::into_inner).stopping.remove(&id);
                }
            }
            house.wake(app);
        });
    }
}

/// What to do about a start that failed, where we know it: somebody removed what the engine had of ours.
fn way_out(error: &anyhow::Error) -> &'static str {
    match error.downcast_ref() {
        Some(EngineError::Missing("image")) => "; push again to build it anew",
        Some(
            EngineError::Missing(_) | EngineError::Unreachable(_) | EngineError::Refused(_) | EngineError::Other(_),
        )
        | None => "",
    }
}

/// The instance that a failure is about.
fn culprit<'a>(seen: &'a [Seen], release: ReleaseNo, failure: &Failure) -> Option<&'a Seen> {
    let (Failure::Crashed { process, .. } | Failure::TimedOut { process, .. } | Failure::Unhealthy { process, .. }) =
        failure
    else {
        return None;
    };
    seen.iter().find(|s| s.release == release && s.slot.to_string() == *process)
}

fn environment(app: &App, release: &Release, slot: &Slot) -> BTreeMap<String, String> {
    let mut env: BTreeMap<String, String> = BTreeMap::from([("PORT".to_owned(), release.port.to_string())]);
    env.extend(release.config.iter().map(|(name, value)| (name.to_string(), value.reveal().clone())));
    env.extend([
        ("PAAS_APP".to_owned(), app.name.to_string()),
        ("PAAS_RELEASE".to_owned(), release.no.to_string()),
        ("PAAS_PROCESS".to_owned(), slot.to_string()),
    ]);
    if !release.commit.is_zero() {
        env.insert("GIT_REV".to_owned(), release.commit.to_string());
    }
    env
}
