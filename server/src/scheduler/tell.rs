//! Tells people what happens, in the transcript of the release that it happens to and in the app's log.
use super::House;
use super::hold::held;
use super::memory::Drained;
use super::observe::WatchContext;
use super::probe::Progress;
use super::reconcile::Sheet;
use crate::domain::card::card;
use crate::domain::failure::{Exit, Failure};
use crate::domain::instance::{Seen, State};
use crate::domain::plan::Crashes;
use crate::domain::release::Release;
use crate::domain::{App, Moment, ReleaseNo};
use crate::engine::Observed;
use crate::logs::{Mask, TranscriptOf};
use crate::proxy::HoldReport;
use std::sync::PoisonError;
use std::time::Duration;

/// A start that takes longer is commented on.
const LONG_WAIT: Duration = Duration::from_secs(8);
/// Last lines of a failed instance that the pusher sees.
const LAST_LINES: usize = 20;

impl House {
    /// A line in the app's log from the platform itself.
    pub(super) fn say(&self, app: &App, text: &str) {
        self.tools.logs.say(&app.key, "paas[scheduler]", text);
    }

    pub(super) fn transcribe(&self, app: &App, release: &Release, lines: impl IntoIterator<Item = String>) {
        self.tools.logs.transcribe(&app.key, TranscriptOf::rollout(release), lines);
    }

    pub(super) fn tell_start(&self, sheet: &Sheet, release: &Release) {
        let memory = self.memory(sheet.app.id);
        if !memory.lock().unwrap_or_else(PoisonError::into_inner).told.insert(release.no) {
            return;
        }
        let wanted = |(process, count): (&crate::domain::ProcessType, &u16)| {
            (1..=*count).map(|index| format!("{process}.{index}")).collect::<Vec<_>>()
        };
        let slots: Vec<String> = sheet
            .wanted
            .formation
            .iter()
            .filter(|(p, _)| release.processes.contains_key(*p))
            .flat_map(wanted)
            .collect();
        let idle: Vec<String> = release
            .processes
            .keys()
            .filter(|p| sheet.wanted.formation.get(*p).copied().unwrap_or(0) == 0)
            .map(ToString::to_string)
            .collect();
        let starting =
            if slots.is_empty() { "nothing to start".to_owned() } else { format!("starting {}", slots.join(", ")) };
        let mut lines = vec![format!("-----> Release {}: {starting}", release.no)];
        if !idle.is_empty() {
            let example = idle.first().map_or("", String::as_str);
            lines.push(format!("       at 0: {} (start with `paas ps:scale {example}=1`)", idle.join(", ")));
        }
        self.transcribe(&sheet.app, release, lines);
        self.say(&sheet.app, &format!("{}: {starting}", release.no));
    }

    /// Once, when a release takes long: what its silent web instance listens on, so that nobody waits for nothing.
    pub(super) async fn tell_wait(&self, sheet: &Sheet, release: &Release, seen: &[Seen], now: Moment) {
        let is_long = |s: &&Seen| match s.state {
            State::Starting { since, .. } => now.since(since) >= LONG_WAIT,
            State::Made | State::Ready | State::Stopping | State::Exited { .. } => false,
        };
        let silent = seen.iter().find(|s| s.release == release.no && s.slot.process.is_web() && is_long(s));
        let Some(s) = silent else { return };
        let memory = self.memory(sheet.app.id);
        if !memory.lock().unwrap_or_else(PoisonError::into_inner).told_wait.insert(release.no) {
            return;
        }
        let listening = self.tools.engine.listening(&s.id, release.port).await;
        let why = listening.sentence().map(|sentence| format!(": {sentence}")).unwrap_or_default();
        let line = format!("       {} does not answer well on port {} yet{why}", s.slot, release.port);
        self.transcribe(&sheet.app, release, [line]);
    }

    pub(super) fn tell_ready(&self, sheet: &Sheet, seen: &[Seen], no: ReleaseNo) {
        let Some(release) = sheet.release(no) else { return };
        let memory = self.memory(sheet.app.id);
        let memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
        let healthy = seen.iter().filter(|s| s.release == no && s.slot.process.is_web()).find_map(|s| {
            let known = memory.instances.get(&s.id)?;
            match known.probe.get() {
                Progress::Ready { at, status: Some(status) } => Some((at.since(known.seen_since), status)),
                Progress::Ready { status: None, .. } | Progress::Probing(_) => None,
            }
        });
        drop(memory);
        if let Some((took, status)) = healthy {
            let line = format!(
                "       healthy after {} on port {} (GET {} → {status})",
                seconds(took),
                release.port,
                sheet.health().path()
            );
            self.transcribe(&sheet.app, release, [line]);
        }
    }

    pub(super) fn tell_live(&self, app: &App, release: &Release, hold: Option<HoldReport>) {
        let link = format!("       {}", self.tools.site.url(&app.name));
        self.transcribe(
            app,
            release,
            [format!("-----> Live: {} serves{}", release.no, hold.map(held).unwrap_or_default()), link],
        );
        self.say(app, &format!("{} is live ({})", release.no, release.description));
    }

    pub(super) fn tell_drained(&self, app: &App, release: &Release, old: ReleaseNo, drained: Drained) {
        let forced = if drained.forced > 0 { format!(", {} cut off", drained.forced) } else { String::new() };
        let took = seconds(Duration::from_millis(drained.took_ms_max));
        let line = format!("       {old} drained {} in {took}{forced}", count(drained.requests, "request"));
        self.transcribe(app, release, [line]);
    }

    pub(super) async fn tell_failure(&self, sheet: &Sheet, no: ReleaseNo, culprit: Option<&Seen>, failure: &Failure) {
        let Some(release) = sheet.release(no) else { return };
        let mut lines = Vec::new();
        if let Some(s) = culprit {
            // Without its last words the card says enough to go on.
            let last = self.tools.engine.last_lines(&s.id, LAST_LINES).await.unwrap_or_default();
            let mask = Mask::of(&release.config);
            if !last.is_empty() {
                lines.push(format!("       the last lines of {}:", s.slot));
                lines.extend(last.iter().map(|line| format!("         {}", mask.apply(&line.text))));
            }
        }
        let live = sheet.live.as_ref().map(|r| r.no);
        match live.filter(|_| sheet.wanted.held_since.is_some()) {
            None => lines.extend(card(failure, live)),
            Some(live) => {
                lines.extend(card(failure, None));
                lines.push(format!(" !     {live} starts again, and requests wait for it"));
            }
        }
        self.transcribe(&sheet.app, release, lines);
        self.say(&sheet.app, &format!("{no} failed: {failure}"));
        tracing::info!(app.name = %sheet.app.name, release.no = no.0, "{} {no} failed: {failure}", sheet.app.name);
    }

    pub(super) fn tell_crash(
        &self,
        context: &WatchContext<'_>,
        o: &Observed,
        exit: Exit,
        crashes: Crashes,
        now: Moment,
    ) {
        let wait = crashes.next_start().since(now);
        let next =
            if wait.is_zero() { "starting it again".to_owned() } else { format!("next start in {} s", wait.as_secs()) };
        let limit = match exit {
            Exit::OutOfMemory => format!(" (its limit is {})", context.memory_of(&o.slot.process)),
            Exit::Status(_) | Exit::OverDisk { .. } | Exit::FilledDisk => String::new(),
        };
        self.say(
            context.app,
            &format!("{} of {} {exit}{limit}; crash {} in a row, {next}", o.slot, o.release, crashes.count),
        );
    }
}

/// `0.4s`, as the push output writes times.
pub(super) fn seconds(span: Duration) -> String {
    format!("{:.1}s", span.as_secs_f64())
}

fn count(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}
