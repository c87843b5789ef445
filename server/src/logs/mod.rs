//! Bounded, per-app logs that outlive instances, and transcripts of deploys; both can be followed live.
//!
//! Everything is a [`Journal`]: a file of lines that grows, rotates at a limit and can be read while it grows.

mod gate;
mod history;
mod journal;
mod line;
mod mask;
mod overlap;
mod placed;
mod printable;
mod prune;
mod router_lines;
mod voice;

pub use history::History;
pub use journal::{Follower, From, Journal};
pub use line::{is_of_process, parts};
pub use mask::Mask;
pub use overlap::Overlap;
pub use placed::{Place, Reader};
pub use printable::{is_unsafe, printable};
pub use router_lines::RouterLines;
pub use voice::{Said, Unread, plain};

use crate::clock::Clock;
use crate::domain::{AppKey, BuildId, Moment, Release, ReleaseNo};
use anyhow::Context;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use voice::Voice;

/// An app's log keeps between one and two times this many bytes.
const APP_LOG_BYTES: u64 = 8 << 20;
/// A transcript stops growing here; builds are stopped well before.
const TRANSCRIPT_BYTES: u64 = 64 << 20;
/// How long lines that wait in a queue may take to be written before another process does.
const LAST_LINES: Duration = Duration::from_millis(20);
/// How often what another process writes is looked at.
const WATCH_EVERY: Duration = Duration::from_millis(200);

/// What a transcript tells: a push from its build on, or a release that no push made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TranscriptOf {
    Build(BuildId),
    Release(ReleaseNo),
}

impl TranscriptOf {
    /// Where a release's rollout is told: in its push's transcript when a push made it.
    pub fn rollout(release: &Release) -> Self {
        release.build().map_or(Self::Release(release.no), Self::Build)
    }
}

/// All logs under `data_dir/logs`, a folder per app named by its secret id.
#[derive(Clone)]
pub struct Logs {
    dir: Arc<PathBuf>,
    clock: Arc<dyn Clock>,
    open: Arc<Mutex<HashMap<PathBuf, Weak<Journal>>>>,
    /// Apps that are gone: what is still said of them must not bring their folders back.
    forgotten: Arc<Mutex<HashSet<PathBuf>>>,
    voices: Arc<Mutex<HashMap<AppKey, Arc<Mutex<Voice>>>>>,
    /// Set when another process has begun to write them.
    is_watched: Arc<AtomicBool>,
}

impl Logs {
    pub fn new(dir: PathBuf, clock: Arc<dyn Clock>) -> Self {
        Self {
            dir: Arc::new(dir),
            clock,
            open: Arc::default(),
            forgotten: Arc::default(),
            voices: Arc::default(),
            is_watched: Arc::default(),
        }
    }

    /// From now on another process writes: what is still said here is dropped.
    pub async fn end_writing(&self) {
        // What is on its way through a queue.
        tokio::time::sleep(LAST_LINES).await;
        self.is_watched.store(true, Ordering::SeqCst);
    }

    /// Lets who follows read what the other process writes, for as long as this future runs.
    pub async fn watch(&self) {
        loop {
            let journals: Vec<Arc<Journal>> = {
                let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
                open.values().filter_map(Weak::upgrade).collect()
            };
            for journal in journals {
                // A log that is gone is its app's end; what cannot be read now may be at the next look.
                let _ = journal.look();
            }
            tokio::time::sleep(WATCH_EVERY).await;
        }
    }

    /// The app's log: what its instances, the router and the platform say.
    pub fn app(&self, app: &AppKey) -> anyhow::Result<Arc<Journal>> {
        self.journal(&self.dir.join(app.as_str()).join("app.log"), APP_LOG_BYTES)
    }

    pub fn transcript(&self, app: &AppKey, of: TranscriptOf) -> anyhow::Result<Arc<Journal>> {
        let name = match of {
            TranscriptOf::Build(BuildId(id)) => format!("build-{id}.log"),
            TranscriptOf::Release(ReleaseNo(no)) => format!("release-{no}.log"),
        };
        self.journal(&self.dir.join(app.as_str()).join(name), TRANSCRIPT_BYTES)
    }

    /// Appends lines to a transcript. One that cannot be written stops nothing: it is reported and the lines are lost.
    pub fn transcribe(&self, app: &AppKey, of: TranscriptOf, lines: impl IntoIterator<Item = String>) {
        let lines: Vec<String> = lines.into_iter().collect();
        let written = self.transcript(app, of).and_then(|journal| journal.append_all(lines.iter().map(String::as_str)));
        if let Err(error) = written {
            tracing::warn!("cannot write the transcript {of:?}: {error:#}");
        }
    }

    /// Appends to the app's log in Heroku's form: `2026-11-23T14:50:36.123Z app[web.1]: text`. A log that cannot be
    /// written stops nothing: it is reported and the line is lost.
    pub fn say(&self, app: &AppKey, source: &str, text: &str) {
        self.speak(app, |_, now, kept| kept.push(voice::line(now, source, &voice::plain(text))));
    }

    /// Removes all logs of an app that is gone, for good; who follows them comes to their end.
    pub fn forget(&self, app: &AppKey) -> anyhow::Result<()> {
        let dir = self.dir.join(app.as_str());
        self.forgotten.lock().unwrap_or_else(PoisonError::into_inner).insert(dir.clone());
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, journal) in open.iter().filter(|(file, _)| file.starts_with(&dir)) {
            if let Some(journal) = journal.upgrade() {
                journal.close();
            }
        }
        drop(open);
        self.voices.lock().unwrap_or_else(PoisonError::into_inner).remove(app);
        match std::fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("remove the logs in {}", dir.display()))
            }
            _ => Ok(()),
        }
    }

    /// One journal per file for all its writers and readers.
    fn journal(&self, file: &Path, limit_bytes: u64) -> anyhow::Result<Arc<Journal>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(journal) = open.get(file).and_then(Weak::upgrade) {
            return Ok(journal);
        }
        let forgotten = self.forgotten.lock().unwrap_or_else(PoisonError::into_inner);
        if file.parent().is_some_and(|dir| forgotten.contains(dir)) {
            anyhow::bail!("the app of {} is gone", file.display());
        }
        drop(forgotten);
        open.retain(|_, journal| journal.strong_count() > 0);
        let journal = Arc::new(Journal::open(file, limit_bytes, Arc::clone(&self.is_watched))?);
        open.insert(file.to_owned(), Arc::downgrade(&journal));
        Ok(journal)
    }
}

/// RFC 3339 with milliseconds, UTC.
pub fn timestamp(at: Moment) -> String {
    let at = jiff::Timestamp::from_millisecond(at.unix_ms()).unwrap_or_default();
    format!("{at:.3}")
}
