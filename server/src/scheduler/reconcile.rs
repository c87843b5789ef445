//! One pass for one app: load what is wanted, look at what is there, plan, act.
use super::House;
use super::memory::Clearing;
use super::observe::WatchContext;
use super::publish::{backends, ready_backends};
use crate::domain::health::Health;
use crate::domain::instance::{Seen, State, Traffic};
use crate::domain::limits::Limits;
use crate::domain::plan::{Action, Candidate, CommandRun, CrashLedger, ReleaseCommand, Spec, Wanted, plan};
use crate::domain::release::Release;
use crate::domain::{App, AppId, ContainerId, Failure, Moment, ProcessType, Protocol, Rollout};
use crate::store::StoreError;
use anyhow::Context;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// Next look while something is under way that no event announces (settling, budgets).
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// Next look after a failure of the world.
const RETRY: Duration = Duration::from_secs(1);

/// Everything that the store knows for one pass.
pub(super) struct Sheet {
    pub(super) app: App,
    pub(super) live: Option<Release>,
    pub(super) starting: Option<Release>,
    pub(super) wanted: Wanted,
    pub(super) limits: BTreeMap<ProcessType, Limits>,
    protocols: BTreeMap<ProcessType, Protocol>,
}

/// What an app's owner set for the instances of one process type.
#[derive(Clone, Copy)]
pub(super) struct Terms {
    pub(super) limits: Limits,
    pub(super) protocol: Protocol,
}

impl Sheet {
    pub(super) fn release(&self, no: crate::domain::ReleaseNo) -> Option<&Release> {
        [&self.live, &self.starting].into_iter().flatten().find(|r| r.no == no)
    }

    /// What instances of a type may use.
    pub(super) fn limits_of(&self, process: &ProcessType) -> Limits {
        self.limits.get(process).copied().unwrap_or_default()
    }

    /// What instances of a type are made to speak and may use.
    pub(super) fn terms_of(&self, process: &ProcessType) -> Terms {
        Terms { limits: self.limits_of(process), protocol: self.protocols.get(process).copied().unwrap_or_default() }
    }

    pub(super) fn health(&self) -> &Health {
        &self.wanted.health
    }
}

impl House {
    /// A pass that fails changes nothing that serves and is tried again.
    pub(super) async fn pass(self: Arc<Self>, app: AppId) {
        match self.try_pass(app).await {
            Ok(()) => {}
            Err(error) if is_missing_app(&error) => {}
            Err(error) => {
                tracing::warn!("cannot reconcile app {}: {error:#}", app.0);
                self.note_clearing(app, Clearing::Stuck(format!("{error:#}")));
                self.give_up_in_time(app, &error).await;
                self.wake_after(app, RETRY);
            }
        }
    }

    /// A release does not wait for ever for an engine that is down.
    async fn give_up_in_time(&self, app: AppId, error: &anyhow::Error) {
        let Ok(Some(starting)) = self.tools.store.starting_release(app).await else { return };
        let Some(candidate) = self.candidate_of(&starting) else { return };
        let Ok(health) = self.tools.store.health(app).await else { return };
        let health = health_of(health, Some(&starting));
        let commands = self.memory(app).lock().unwrap_or_else(PoisonError::into_inner).command_ledger();
        // Its release command has a limit of its own.
        if matches!(commands.get(&starting.no), Some(CommandRun::Running | CommandRun::Ending)) {
            return;
        }
        let now = self.tools.clock.now();
        if now.since(candidate.begun(&commands).unwrap_or(candidate.since)) < health.ready_budget() {
            return;
        }
        let failure = Failure::Platform { reason: format!("{} could not be started: {error:#}", starting.no) };
        if let Err(error) = self.tools.store.fail_release(app, starting.no, failure, now).await {
            tracing::error!("cannot fail {} of app {}: {error}", starting.no, app.0);
        }
    }

    /// Its time begins with this server at the earliest: while none ran, nothing could start.
    fn candidate_of(&self, release: &Release) -> Option<Candidate> {
        match release.rollout {
            Rollout::Starting { since } => {
                let command = match (release.command(), release.command_done_at) {
                    (None, _) => ReleaseCommand::None,
                    (Some(_), None) => ReleaseCommand::Wanted,
                    (Some(_), Some(at)) => ReleaseCommand::Done { at },
                };
                Some(Candidate { spec: spec_of(release), since: since.max(self.started_at), command })
            }
            Rollout::Live { .. } | Rollout::Replaced { .. } | Rollout::Failed { .. } => None,
        }
    }

    async fn try_pass(self: &Arc<Self>, app: AppId) -> anyhow::Result<()> {
        self.know_hosts(app).await?;
        let sheet = self.load(app).await?;
        let observed = self.tools.engine.instances(Some(app)).await.context("ask the engine what runs")?;
        if sheet.app.destroying && observed.is_empty() {
            return self.clear_away(&sheet.app).await;
        }
        let memory = self.memory(app);
        let now = self.tools.clock.now();
        let context = WatchContext {
            app: &sheet.app,
            releases: [sheet.live.as_ref(), sheet.starting.as_ref()],
            health: sheet.health(),
            limits: &sheet.limits,
        };
        let seen = self.note(&context, &observed, &memory, now);
        let (crashes, commands) = {
            let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
            memory.forgive(&sheet.wanted);
            (memory.crashes.clone(), memory.command_ledger())
        };
        let actions = plan(&sheet.wanted, &seen, &crashes, &commands, now);
        let has_begun = sheet.wanted.starting.as_ref().is_some_and(|candidate| candidate.begun(&commands).is_some());
        if let Some(starting) = sheet.starting.as_ref().filter(|_| has_begun) {
            self.tell_start(&sheet, starting);
            self.tell_wait(&sheet, starting, &seen, now).await;
        }
        self.carry_out(&sheet, &seen, &actions).await?;
        if !actions.iter().any(|action| matches!(action, Action::Route { .. })) {
            self.publish_standing(&sheet, &seen, &crashes, now).await;
        }
        self.schedule_next_look(&sheet, &seen, &crashes, &actions, now);
        Ok(())
    }

    async fn load(&self, app: AppId) -> Result<Sheet, StoreError> {
        let store = &self.tools.store;
        let row = store.app_by_id(app).await?;
        let (live, starting) = (store.live_release(app).await?, store.starting_release(app).await?);
        let formation = store.formation(app).await?;
        let epochs = store.epochs(app, &formation).await?;
        let exclusive = self.is_exclusive(app).await?;
        let held_since = self.memory(app).lock().unwrap_or_else(PoisonError::into_inner).held_since;
        let limits = store.limits(app).await?;
        let health = health_of(store.health(app).await?, starting.as_ref().or(live.as_ref()));
        let protocols = store.protocols(app).await?;
        // Of an app that is being destroyed nothing is wanted any more.
        let wanted = if row.destroying {
            Wanted { stopped: true, ..Wanted::default() }
        } else {
            Wanted {
                live: live.as_ref().map(spec_of),
                starting: starting.as_ref().and_then(|release| self.candidate_of(release)),
                formation,
                stopped: row.stopped,
                epochs,
                health,
                exclusive,
                held_since,
            }
        };
        Ok(Sheet { app: row, live, starting, wanted, limits, protocols })
    }

    /// Republishes who answers: the same instances, or why there are none.
    pub(super) async fn publish_standing(&self, sheet: &Sheet, seen: &[Seen], crashes: &CrashLedger, now: Moment) {
        let routed: Vec<ContainerId> =
            seen.iter().filter(|s| s.traffic == Traffic::Routed).map(|s| s.id.clone()).collect();
        let ready = ready_backends(&routed, seen, |s| self.door_of(sheet, s));
        self.publish(sheet, backends(ready, &sheet.wanted, seen, crashes, now)).await;
    }

    /// Where the proxy reaches an instance. The port of one whose release is neither live nor starting is the published one.
    pub(super) fn door_of(&self, sheet: &Sheet, s: &Seen) -> Option<(SocketAddr, Protocol)> {
        let published = || self.published_address(sheet.app.id, &s.id).map(|address| address.port());
        let port = sheet.release(s.release).map(|release| release.port).or_else(published)?;
        let memory = self.memory(sheet.app.id);
        let memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
        let known = memory.instances.get(&s.id)?;
        Some((SocketAddr::new(known.address, port), known.protocol))
    }

    /// Whether a candidate's instances may start; until then its release command's end wakes the app.
    fn is_getting_ready(&self, sheet: &Sheet) -> bool {
        let commands = self.memory(sheet.app.id).lock().unwrap_or_else(PoisonError::into_inner).command_ledger();
        sheet.wanted.starting.as_ref().is_some_and(|candidate| candidate.begun(&commands).is_some())
    }

    /// What changes without an event (a settling time, a budget, a backoff) is looked at again in time.
    fn schedule_next_look(
        self: &Arc<Self>,
        sheet: &Sheet,
        seen: &[Seen],
        crashes: &CrashLedger,
        actions: &[Action],
        now: Moment,
    ) {
        let is_moving = !actions.is_empty()
            || self.is_getting_ready(sheet)
            // No waker tells when an earlier server has drained.
            || (self.tools.proxy.elders().are_there() && seen.iter().any(|s| s.traffic == Traffic::Draining))
            || seen.iter().any(|s| matches!(s.state, State::Starting { .. }));
        let live = sheet.live.as_ref().map(|r| r.no);
        let next_start = crashes
            .iter()
            .filter(|((release, _), _)| Some(*release) == live)
            .map(|(_, crash)| crash.next_start())
            .filter(|at| *at > now)
            .min();
        if is_moving {
            self.wake_after(sheet.app.id, LOOK_AGAIN);
        } else if let Some(at) = next_start {
            self.wake_after(sheet.app.id, at.since(now) + Duration::from_millis(1));
        }
    }
}

fn is_missing_app(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref::<StoreError>(), Some(StoreError::Missing { what: "app", .. }))
}

/// What was set for the app, else what the release's own files say.
fn health_of(set: Health, release: Option<&Release>) -> Health {
    match release {
        Some(release) => set.or(&release.makeup.health),
        None => set,
    }
}

fn spec_of(release: &Release) -> Spec {
    Spec { no: release.no, processes: release.processes.keys().cloned().collect(), port: release.port }
}
