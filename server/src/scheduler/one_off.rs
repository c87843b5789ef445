//! One-off instances: `paas run`, and whatever else runs once. Every one has an owner, who holds its [`OneOff`]; when
//! that is dropped, the instance is ended and removed, however the owner went. What a server that died left behind is
//! removed by the next one, but for those that are to go on without it ([`Keep::Always`]).
use super::collect::Begin;
use super::reconcile::Terms;
use super::{House, Scheduler};
use crate::domain::failure::Exit;
use crate::domain::instance::Slot;
use crate::domain::release::{Config, Release};
use crate::domain::{App, AppId, ContainerId, ProcessType};
use crate::engine::{Attachment, EngineError, Keep, OneOffSeen, OneOffSpec, Stdio, WindowSize};
use crate::logs::Mask;
use anyhow::Context;
use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// One-offs of an app at a time: each may use an instance's memory.
pub const ONE_OFFS_MAX: usize = 8;
/// From the signal to end to SIGKILL.
pub(super) const GRACE: Duration = Duration::from_secs(10);
/// Numbers of names: four digits, as they are typed.
const NUMBERS: std::ops::Range<u32> = 1000..10_000;

/// What to run once.
pub struct Order {
    /// `run.7`: PAAS_PROCESS, its name at the engine and in the app's log. Of an app each name is used once at a time.
    pub name: Slot,
    pub run: Run,
    /// Added to what every instance gets; wins over the release's config vars.
    pub env: Config,
    pub stdio: Stdio,
    pub keep: Keep,
}

pub enum Run {
    /// As Procfile lines run: by a shell, which the command replaces.
    Line(String),
    /// These words as they are.
    Words(Vec<String>),
    /// The image's own command.
    ImageDefault,
}

#[derive(Debug, thiserror::Error)]
pub enum OneOffError {
    #[error("{0} runs {ONE_OFFS_MAX} one-off instances already, which is the limit")]
    TooMany(crate::domain::AppName),
    #[error("{0} is running already")]
    Taken(Slot),
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

/// The one-offs that somebody in this server looks after.
#[derive(Default)]
pub(super) struct InHand(Mutex<HashSet<(AppId, Slot)>>);

/// A name that is taken as long as this is held.
pub(super) struct Place {
    house: Arc<House>,
    app: AppId,
    name: Slot,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut names = self.house.one_offs.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.remove(&(self.app, self.name.clone()));
    }
}

/// A one-off instance that runs, or has run. Dropped, it is ended and removed.
pub struct OneOff {
    house: Arc<House>,
    name: Slot,
    pub(super) id: ContainerId,
    keep: Keep,
    memory_bytes: u64,
    /// Until it is removed.
    place: Option<Place>,
}

impl Scheduler {
    /// A name that is free: `run.4711`.
    pub fn fresh_name(&self, app: AppId, kind: &ProcessType) -> Slot {
        let span = NUMBERS.end - NUMBERS.start;
        // Where the system has no randomness to give, the numbers are merely less surprising.
        let begin = getrandom::u32().unwrap_or(0) % span;
        let numbers = (0..span).map(|step| NUMBERS.start + (begin + step) % span);
        let mut names = numbers.map(|index| Slot { process: kind.clone(), index });
        let first = Slot { process: kind.clone(), index: NUMBERS.start };
        names.find(|name| !self.0.one_offs.has(app, name)).unwrap_or(first)
    }

    /// Makes and starts one. With `Stdio::Streams` or `Terminal` it is attached to before it says its first word.
    pub async fn one_off(
        &self,
        app: &App,
        release: &Release,
        order: Order,
    ) -> Result<(OneOff, Option<Attachment>), OneOffError> {
        let house = &self.0;
        // Taken before anything is made: a sweep must not find it without an owner.
        let place = house.take(app, &order.name)?;
        let made = house.create_one_off(app, release, &order).await;
        let (id, memory_bytes) = made.with_context(|| format!("make {}", order.name))?;
        let one_off = OneOff {
            house: Arc::clone(house),
            name: order.name,
            id,
            keep: order.keep,
            memory_bytes,
            place: Some(place),
        };
        let attachment = one_off.start(order.stdio).await.with_context(|| format!("start {}", one_off.name))?;
        tracing::info!(app.name = %app.name, "started {} of {} as {}", one_off.name, app.name, one_off.id.short());
        Ok((one_off, attachment))
    }

    /// Takes up a kept one that an earlier server has left running, or ended; `None` when somebody has it already.
    pub fn take_up(&self, seen: &OneOffSeen) -> Option<OneOff> {
        self.0.take_up(seen)
    }

    /// Lets one go on by itself: what it writes goes into the app's log, and it is removed when it ends.
    pub fn detach(&self, app: &App, release: &Release, one_off: OneOff, env: Config) {
        let mut masked = release.config.clone();
        masked.extend(env);
        self.0.attend(app, release, one_off, Mask::of(&masked), Begin::AtFirstLine);
    }

    /// All one-offs of an app, as the engine shows them.
    pub async fn one_offs(&self, app: AppId) -> Result<Vec<OneOffSeen>, EngineError> {
        let mut seen = self.0.tools.engine.one_offs(Some(app)).await?;
        seen.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(seen)
    }

    /// Ends one by name; its owner sees how it ended. `false`: there is none of that name.
    pub async fn stop_one_off(&self, app: AppId, name: &Slot) -> Result<bool, EngineError> {
        let Some(seen) = self.one_offs(app).await?.into_iter().find(|seen| seen.name == *name) else {
            return Ok(false);
        };
        self.0.tools.engine.stop(&seen.id, GRACE).await.map(|()| true)
    }

    /// Whether somebody in this server looks after a one-off.
    pub fn looks_after(&self, app: AppId, name: &Slot) -> bool {
        self.0.one_offs.has(app, name)
    }
}

impl OneOff {
    pub fn name(&self) -> &Slot {
        &self.name
    }

    /// The most that it may use.
    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    pub async fn resize(&self, size: WindowSize) -> Result<(), EngineError> {
        self.house.tools.engine.resize(&self.id, size).await
    }

    /// Waits until it has ended.
    pub async fn wait(&self) -> Result<Exit, EngineError> {
        self.house.tools.engine.wait(&self.id).await
    }

    /// Ends it, if it has not ended, and removes it. Dropping does the same in the background.
    pub async fn end(mut self) -> Result<(), EngineError> {
        self.house.tools.engine.stop(&self.id, GRACE).await?;
        self.place = None;
        Ok(())
    }

    async fn start(&self, stdio: Stdio) -> Result<Option<Attachment>, EngineError> {
        let engine = &self.house.tools.engine;
        let attachment = match stdio {
            Stdio::Logged => None,
            Stdio::Streams | Stdio::Terminal => Some(engine.attach(&self.id, stdio).await?),
        };
        engine.start_one_off(&self.id).await?;
        Ok(attachment)
    }
}

impl Drop for OneOff {
    fn drop(&mut self) {
        let Some(place) = self.place.take() else { return };
        if self.keep == Keep::Always && self.house.tools.stop.is_cancelled() {
            return;
        }
        let (house, id) = (Arc::clone(&self.house), self.id.clone());
        self.house.tools.tracker.spawn(async move { house.put_away(&id, &place.name).await });
    }
}

impl House {
    async fn create_one_off(&self, app: &App, release: &Release, order: &Order) -> anyhow::Result<(ContainerId, u64)> {
        let (store, process) = (&self.tools.store, &order.name.process);
        let terms = Terms {
            limits: store.limits(app.id).await?.get(process).copied().unwrap_or_default(),
            protocol: store.protocols(app.id).await?.get(process).copied().unwrap_or_default(),
        };
        let mut instance = self.spec(app, release, (&order.name, 0), terms).await?;
        instance.env.extend(order.env.iter().map(|(name, value)| (name.to_string(), value.reveal().clone())));
        let (line, words) = match &order.run {
            Run::Line(line) => (Some(line.clone()), None),
            Run::Words(words) => (None, Some(words.clone())),
            Run::ImageDefault => (None, None),
        };
        instance.shell_command = line;
        let spec = OneOffSpec { instance, words, stdio: order.stdio, keep: order.keep };
        let id = self.tools.engine.create_one_off(&spec).await?;
        self.note_mounted(&spec.instance).await;
        Ok((id, spec.instance.memory_bytes))
    }

    /// Takes a name, if it is free and the app has not too many.
    fn take(self: &Arc<Self>, app: &App, name: &Slot) -> Result<Place, OneOffError> {
        let mut names = self.one_offs.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_of_app = |of: &&(AppId, Slot)| of.0 == app.id;
        if names.contains(&(app.id, name.clone())) {
            return Err(OneOffError::Taken(name.clone()));
        }
        if names.iter().filter(is_of_app).count() >= ONE_OFFS_MAX {
            return Err(OneOffError::TooMany(app.name.clone()));
        }
        names.insert((app.id, name.clone()));
        Ok(Place { house: Arc::clone(self), app: app.id, name: name.clone() })
    }

    /// Whatever the number: what is there is there.
    pub(super) fn take_up(self: &Arc<Self>, seen: &OneOffSeen) -> Option<OneOff> {
        let mut names = self.one_offs.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !names.insert((seen.app, seen.name.clone())) {
            return None;
        }
        let house = || Arc::clone(self);
        let place = Place { house: house(), app: seen.app, name: seen.name.clone() };
        let (name, id, keep) = (seen.name.clone(), seen.id.clone(), seen.keep);
        Some(OneOff { house: house(), name, id, keep, memory_bytes: 0, place: Some(place) })
    }
}

impl Scheduler {
    /// One-offs that somebody here looks after.
    pub fn one_offs_in_hand(&self) -> BTreeSet<(AppId, Slot)> {
        self.0.one_offs.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

impl InHand {
    pub(super) fn has(&self, app: AppId, name: &Slot) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&(app, name.clone()))
    }
}
