//! What goes into an app's log, through its gate and past a full disk: lines that are not kept are counted and told.
use super::gate::{BYTES_PER_SECOND, Gate, LINES_PER_SECOND};
use super::{Logs, timestamp};
use crate::domain::{AppKey, Moment};
use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// R16: the text of a line; a longer one is cut, with a mark.
pub(super) const TEXT_BYTES_MAX: usize = 16 << 10;
/// How often dropped lines are told while a flood goes on.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// What is remembered of an app's log between two lines.
#[derive(Default)]
pub(super) struct Voice {
    instances: Flow,
    router: Flow,
    /// Lines that could not be written.
    lost: u64,
}

/// One kind of line that comes in numbers which others decide.
#[derive(Default)]
struct Flow {
    gate: Gate,
    dropped: u64,
    /// More were dropped, which nobody has counted.
    uncounted: bool,
    told_at: Moment,
}

/// An instance's line: the engine's time, and a text made [`plain`].
pub type Said = (Moment, String);

impl Flow {
    fn owes(&self) -> bool {
        self.dropped > 0 || self.uncounted
    }

    fn drop_one(&mut self, now: Moment) {
        if !self.owes() {
            // The first ones are told soon, together with those that follow at once.
            self.told_at = now;
        }
        self.dropped += 1;
    }

    /// What is to be told by now.
    fn tell(&mut self, now: Moment, what: &str, why: &str) -> Option<String> {
        if !self.owes() || now.since(self.told_at) < TELL_EVERY {
            return None;
        }
        let (dropped, least) = (std::mem::take(&mut self.dropped), if self.uncounted { "at least " } else { "" });
        self.uncounted = false;
        self.told_at = now;
        let limit = BYTES_PER_SECOND >> 10;
        Some(format!(
            "dropped {least}{dropped} {what}: {why} more than {LINES_PER_SECOND} lines or {limit} KiB a second"
        ))
    }
}

impl Logs {
    /// Keeps an instance's lines as far as the app's gate lets them pass; returns the others.
    pub fn carry(&self, app: &AppKey, source: &str, lines: Vec<Said>) -> Vec<Said> {
        let mut refused = Vec::new();
        self.speak(app, |voice, now, kept| {
            for (at, text) in lines {
                if voice.instances.gate.admits(now, text.len()) {
                    kept.push(line(at, source, &text));
                } else {
                    refused.push((at, text));
                }
            }
        });
        refused
    }

    /// Counts lines of an app's instances that are not kept. `unread`: there were more, which were not read.
    pub fn count_dropped(&self, app: &AppKey, count: usize, unread: Unread) {
        self.speak(app, |voice, now, _| {
            (0..count).for_each(|_| voice.instances.drop_one(now));
            voice.instances.uncounted |= unread == Unread::Some;
        });
    }

    /// Tells what was dropped, once it is time; `true` while something is left to tell.
    pub fn settle(&self, app: &AppKey) -> bool {
        self.speak(app, |_, _, _| {});
        let voice = self.voice(app);
        let voice = voice.lock().unwrap_or_else(PoisonError::into_inner);
        voice.instances.owes() || voice.router.owes() || voice.lost > 0
    }

    /// The router's lines, as far as the app's gate lets them pass.
    pub fn say_of_router(&self, app: &AppKey, texts: &[String]) {
        self.speak(app, |voice, now, kept| {
            for text in texts {
                if voice.router.gate.admits(now, text.len()) {
                    kept.push(line(now, "router", &plain(text)));
                } else {
                    voice.router.drop_one(now);
                }
            }
        });
    }

    /// Writes what `say` wants to be kept. A log that cannot be written stops nothing: lines are counted until it can be.
    pub(super) fn speak(&self, app: &AppKey, say: impl FnOnce(&mut Voice, Moment, &mut Vec<String>)) {
        let voice = self.voice(app);
        let mut voice = voice.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, mut lines) = (self.clock.now(), Vec::new());
        say(&mut voice, now, &mut lines);
        let told = [
            voice.instances.tell(now, "lines", "the app writes"),
            voice.router.tell(now, "router lines", "its visitors make"),
        ];
        lines.extend(told.into_iter().flatten().map(|text| line(now, "paas[logs]", &text)));
        let count = lines.len() as u64;
        if voice.lost > 0 {
            let lost =
                format!("dropped {} lines: the log could not be written, its disk may have been full", voice.lost);
            lines.insert(0, line(now, "paas[logs]", &lost));
        }
        if lines.is_empty() {
            return;
        }
        match self.app(app).and_then(|journal| journal.append_all(lines.iter().map(String::as_str))) {
            Ok(()) if voice.lost > 0 => {
                tracing::info!("the log of an app can be written again; {} lines of it were lost", voice.lost);
                voice.lost = 0;
            }
            Ok(()) => {}
            Err(error) => {
                if voice.lost == 0 {
                    tracing::warn!("cannot write the log of an app, its lines are dropped until it can be: {error:#}");
                }
                voice.lost += count;
            }
        }
    }

    fn voice(&self, app: &AppKey) -> Arc<Mutex<Voice>> {
        let mut voices = self.voices.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(voices.entry(app.clone()).or_default())
    }
}

/// Whether lines were dropped that nobody has counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    None,
    Some,
}

/// A line in Heroku's form: `2026-11-23T14:50:36.123Z app[web.1]: text`.
pub(super) fn line(at: Moment, source: &str, text: &str) -> String {
    format!("{} {source}: {text}", timestamp(at))
}

/// A text as it is kept: one line, of bounded length.
pub fn plain(text: &str) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(text);
    if text.len() > TEXT_BYTES_MAX {
        let end = (0..=TEXT_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text = Cow::Owned(format!("{} [cut at 16 KiB]", &text[..end]));
    }
    if text.contains(['\n', '\r']) {
        text = Cow::Owned(text.replace(['\n', '\r'], " "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

    #[derive(Default)]
    struct HandClock(AtomicI64);

    impl Clock for HandClock {
        fn now(&self) -> Moment {
            Moment::from_unix_ms(self.0.load(SeqCst))
        }
    }

    fn logs() -> (Logs, Arc<HandClock>, tempfile::TempDir) {
        let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(HandClock::default()));
        (Logs::new(dir.path().join("logs"), clock.clone()), clock, dir)
    }

    fn all(logs: &Logs, app: &AppKey) -> Vec<String> {
        logs.app(app).unwrap().tail(100_000, |_| true).unwrap()
    }

    #[test]
    fn a_flood_is_cut_and_told_and_leaves_the_other_apps_alone() {
        let (logs, clock, _dir) = logs();
        let (loud, quiet) = (AppKey::new("loud"), AppKey::new("quiet"));
        let flood = |n: usize| (0..n).map(|n| (Moment::default(), n.to_string())).collect::<Vec<Said>>();
        let refused = logs.carry(&loud, "app[web.1]", flood(15_000));
        assert_eq!(refused.len(), 5000);
        logs.count_dropped(&loud, refused.len(), Unread::None);
        assert!(logs.settle(&loud), "not told yet");
        assert!(logs.carry(&quiet, "app[web.1]", flood(10)).is_empty());
        assert!(!logs.settle(&quiet));
        clock.0.store(5000, SeqCst);
        assert!(!logs.settle(&loud));
        let last = all(&logs, &loud).pop().unwrap();
        assert!(
            last.contains("paas[logs]: dropped 5000 lines: the app writes more than 1000 lines or 512 KiB"),
            "{last}"
        );
        assert_eq!(all(&logs, &quiet).len(), 10);
        logs.count_dropped(&loud, 1, Unread::Some);
        clock.0.store(10_000, SeqCst);
        assert!(!logs.settle(&loud));
        assert!(all(&logs, &loud).pop().unwrap().contains("dropped at least 1 lines"));
    }

    #[test]
    fn a_log_that_cannot_be_written_loses_lines_counts_them_and_recovers_by_itself() {
        let (logs, _clock, dir) = logs();
        let app = AppKey::new("app");
        // A file where the folder of all logs should be.
        std::fs::write(dir.path().join("logs"), "").unwrap();
        logs.say(&app, "paas[test]", "one");
        logs.say(&app, "paas[test]", "two");
        std::fs::remove_file(dir.path().join("logs")).unwrap();
        logs.say(&app, "paas[test]", "three");
        logs.say(&app, "paas[test]", "four");
        let said = all(&logs, &app);
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(said[0].contains("paas[logs]: dropped 2 lines: the log could not be written"), "{said:?}");
        assert!(said[1].ends_with("three") && said[2].ends_with("four"), "{said:?}");
    }

    #[test]
    fn a_kept_text_is_one_line_of_bounded_length() {
        assert_eq!(plain("a\r\nb"), "a  b");
        let long = "ä".repeat(20_000);
        assert!(plain(&long).ends_with("ä [cut at 16 KiB]") && plain(&long).len() < 16_500);
    }
}
