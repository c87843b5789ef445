//! A file of lines that grows, rotates at a limit, and can be followed by any number of readers.
use super::History;
use anyhow::Context;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// A longer line is cut here, with a mark: a text of 16 KiB, its time and its source.
const LINE_BYTES_MAX: usize = (16 << 10) + 256;
/// Lines that a follower reads at a time.
const BATCH_LINES: usize = 256;

pub struct Journal {
    path: PathBuf,
    limit_bytes: u64,
    inner: Mutex<Inner>,
    /// Another process writes it: here it is only read.
    is_watched: Arc<AtomicBool>,
    state: watch::Sender<Growth>,
}

struct Inner {
    file: File,
    length_bytes: u64,
}

/// What followers wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Growth {
    /// Rotations so far.
    generation: u64,
    length_bytes: u64,
    closed: bool,
}

/// Where a reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    Start,
    End,
}

impl Journal {
    pub(super) fn open(path: &Path, limit_bytes: u64, is_watched: Arc<AtomicBool>) -> anyhow::Result<Self> {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).with_context(|| format!("make the log folder {}", dir.display()))?;
        }
        let file = open_append(path)?;
        let length_bytes = end_last_line(&file).with_context(|| format!("mend the end of {}", path.display()))?;
        let state = watch::Sender::new(Growth { generation: 0, length_bytes, closed: false });
        let inner = Mutex::new(Inner { file, length_bytes });
        Ok(Self { path: path.to_owned(), limit_bytes, inner, is_watched, state })
    }

    /// Appends one line; line ends inside it become spaces.
    pub fn append(&self, line: &str) -> anyhow::Result<()> {
        self.append_all([line])
    }

    /// Appends lines with one write.
    pub fn append_all<'a>(&self, lines: impl IntoIterator<Item = &'a str>) -> anyhow::Result<()> {
        let mut text = String::new();
        for line in lines {
            text.push_str(&cut(line).replace(['\n', '\r'], " "));
            text.push('\n');
        }
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_watched.load(Ordering::SeqCst) {
            return Ok(());
        }
        if inner.length_bytes > 0 && inner.length_bytes + text.len() as u64 > self.limit_bytes {
            match std::fs::rename(&self.path, self.rotated_path()) {
                // An earlier rotation was cut short after this step.
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
                Ok(()) | Err(_) => {}
            }
            *inner = Inner { file: open_append(&self.path)?, length_bytes: 0 };
            self.state.send_modify(|state| (state.generation, state.length_bytes) = (state.generation + 1, 0));
        }
        if let Err(error) = inner.file.write_all(text.as_bytes()) {
            // A full disk may have taken a part: followers read no further than the length, and the next line begins there.
            let _ = inner.file.set_len(inner.length_bytes);
            return Err(error).with_context(|| format!("append to {}", self.path.display()));
        }
        inner.length_bytes += text.len() as u64;
        let length_bytes = inner.length_bytes;
        self.state.send_modify(|state| state.length_bytes = length_bytes);
        Ok(())
    }

    /// Says that no line follows: followers end once they have read everything.
    pub fn close(&self) {
        self.state.send_modify(|state| state.closed = true);
    }

    /// Looks how far the other process has written. What ends within a line is looked at again.
    pub(super) fn look(&self) -> std::io::Result<()> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let there = File::open(&self.path)?;
        let (now, before) = (there.metadata()?, inner.file.metadata()?);
        let has_rotated = (now.dev(), now.ino()) != (before.dev(), before.ino());
        let mut last = [0];
        let is_whole = now.len() == 0 || there.read_at(&mut last, now.len() - 1)? == 1 && last == *b"\n";
        if !is_whole || (!has_rotated && now.len() == inner.length_bytes) {
            return Ok(());
        }
        *inner = Inner { file: there, length_bytes: now.len() };
        self.state.send_modify(|state| {
            state.generation += u64::from(has_rotated);
            state.length_bytes = now.len();
        });
        Ok(())
    }

    pub fn length_bytes(&self) -> u64 {
        self.state.borrow().length_bytes
    }

    /// [`History::tail`] of all that is there. Reads files: not for an async task that others wait for.
    pub fn tail(&self, count: usize, keep: impl Fn(&str) -> bool) -> anyhow::Result<Vec<String>> {
        let history = {
            let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            self.history(&inner)?
        };
        history.tail(count, keep).with_context(|| format!("read the log {}", self.path.display()))
    }

    pub fn follow(self: &Arc<Self>, from: From) -> anyhow::Result<Follower> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        self.follow_in(&inner, from)
    }

    /// What is there, and a follower of what comes after it: no line is in both, none in neither.
    pub fn look_back(self: &Arc<Self>) -> anyhow::Result<(History, Follower)> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        Ok((self.history(&inner)?, self.follow_in(&inner, From::End)?))
    }

    /// The lock, held by the caller, keeps a rotation from falling between files and lengths that belong together.
    fn history(&self, inner: &Inner) -> anyhow::Result<History> {
        let mut parts = Vec::new();
        match File::open(self.rotated_path()) {
            Ok(file) => parts.push((file, u64::MAX)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("open {}", self.rotated_path().display())),
        }
        let file = File::open(&self.path).with_context(|| format!("open the log {}", self.path.display()))?;
        parts.push((file, inner.length_bytes));
        Ok(History { parts })
    }

    fn follow_in(self: &Arc<Self>, inner: &Inner, from: From) -> anyhow::Result<Follower> {
        let state = self.state.subscribe();
        let file = File::open(&self.path).with_context(|| format!("open the log {}", self.path.display()))?;
        let position = match from {
            From::Start => 0,
            From::End => inner.length_bytes,
        };
        let generation = state.borrow().generation;
        Ok(Follower {
            journal: Arc::clone(self),
            reader: BufReader::new(file),
            position,
            generation,
            state,
            batch: std::collections::VecDeque::new(),
            told_bytes: position,
        })
    }

    fn rotated_path(&self) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(".1");
        path.into()
    }
}

/// Reads a journal as it grows.
pub struct Follower {
    journal: Arc<Journal>,
    reader: BufReader<File>,
    position: u64,
    generation: u64,
    state: watch::Receiver<Growth>,
    /// Lines, each with the byte where it ends.
    batch: std::collections::VecDeque<(u64, String)>,
    /// Where the last line that was told ends.
    told_bytes: u64,
}

impl Follower {
    /// The next line; `None` once the journal is closed and read to its end. Dropping the future loses nothing.
    pub async fn next(&mut self) -> anyhow::Result<Option<String>> {
        loop {
            if let Some((end_bytes, line)) = self.batch.pop_front() {
                self.told_bytes = end_bytes;
                return Ok(Some(line));
            }
            // Seen before reading: what comes after the read changes the state again.
            let seen = *self.state.borrow_and_update();
            // A file that was rotated away is complete; of the current one only what was written in full counts.
            let end = if seen.generation == self.generation { seen.length_bytes } else { u64::MAX };
            self.fill(end)?;
            if !self.batch.is_empty() {
                continue;
            }
            if seen.generation != self.generation {
                let inner = self.journal.inner.lock().unwrap_or_else(PoisonError::into_inner);
                self.reader = BufReader::new(File::open(&self.journal.path)?);
                self.position = 0;
                self.generation = self.journal.state.borrow().generation;
                drop(inner);
            } else if seen.closed {
                return Ok(None);
            } else {
                // The journal holds the sender and we hold the journal, so this cannot fail.
                let _ = self.state.changed().await;
            }
        }
    }

    /// Where the last line that was told ends: the rotations before its file, and the byte in it.
    pub(super) fn told(&self) -> (u64, u64) {
        (self.generation, self.told_bytes)
    }

    pub(super) fn file(&self) -> &File {
        self.reader.get_ref()
    }

    fn fill(&mut self, end: u64) -> std::io::Result<()> {
        // Seeking forgets what was read ahead, which may have been half a line.
        self.reader.seek(SeekFrom::Start(self.position))?;
        let mut reader = self.reader.by_ref().take(end.saturating_sub(self.position));
        while self.batch.len() < BATCH_LINES {
            let before = reader.limit();
            let Some(line) = read_line(&mut reader)? else { break };
            self.position += before - reader.limit();
            self.batch.push_back((self.position, line));
        }
        Ok(())
    }
}

/// Reads one line. What stands at the end without a line end is one too: nobody will finish it.
pub(super) fn read_line(reader: &mut impl BufRead) -> std::io::Result<Option<String>> {
    let mut bytes = Vec::new();
    if reader.by_ref().take(2 * LINE_BYTES_MAX as u64).read_until(b'\n', &mut bytes)? == 0 {
        return Ok(None);
    }
    bytes.pop_if(|last| *last == b'\n');
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// A server that was killed while it wrote may have left half a line: it is ended, so that the next one stands alone.
fn end_last_line(file: &File) -> std::io::Result<u64> {
    let length_bytes = file.metadata()?.len();
    let mut last = [0];
    if length_bytes == 0 || file.read_at(&mut last, length_bytes - 1)? == 1 && last == *b"\n" {
        return Ok(length_bytes);
    }
    (&*file).write_all(b"\n")?;
    Ok(length_bytes + 1)
}

fn cut(line: &str) -> String {
    if line.len() <= LINE_BYTES_MAX {
        return line.to_owned();
    }
    let end = (0..=LINE_BYTES_MAX).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
    format!("{} [cut at 16 KiB]", &line[..end])
}

fn open_append(path: &Path) -> anyhow::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .read(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("open the log {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(limit_bytes: u64) -> (Arc<Journal>, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        (Arc::new(Journal::open(&dir.path().join("a/app.log"), limit_bytes, Arc::default()).unwrap()), dir)
    }

    #[tokio::test]
    async fn a_follower_reads_what_was_and_what_comes_until_the_end() {
        let (journal, _dir) = journal(1 << 20);
        journal.append("one").unwrap();
        let mut follower = journal.follow(From::Start).unwrap();
        let mut late = journal.follow(From::End).unwrap();
        assert_eq!(follower.next().await.unwrap().as_deref(), Some("one"));
        let writer = Arc::clone(&journal);
        let task = tokio::task::spawn_blocking(move || {
            writer.append("two\nstill two").unwrap();
            writer.close();
        });
        assert_eq!(follower.next().await.unwrap().as_deref(), Some("two still two"));
        assert_eq!(follower.next().await.unwrap(), None);
        assert_eq!(late.next().await.unwrap().as_deref(), Some("two still two"));
        task.await.unwrap();
    }

    #[tokio::test]
    async fn rotation_keeps_the_file_bounded_and_loses_no_line_to_a_follower() {
        let (journal, dir) = journal(1000);
        let mut follower = journal.follow(From::Start).unwrap();
        for n in 0..100 {
            journal.append(&format!("line number {n}")).unwrap();
            assert_eq!(follower.next().await.unwrap(), Some(format!("line number {n}")));
        }
        let bytes: u64 =
            std::fs::read_dir(dir.path().join("a")).unwrap().map(|f| f.unwrap().metadata().unwrap().len()).sum();
        assert!(bytes <= 2000, "{bytes} bytes are kept");
        assert_eq!(journal.tail(2, |_| true).unwrap(), ["line number 98", "line number 99"]);
    }

    #[tokio::test]
    async fn looking_back_and_following_share_no_line_and_miss_none() {
        let (journal, _dir) = journal(1000);
        for n in 0..60 {
            journal.append(&format!("line number {n}")).unwrap();
        }
        let (history, mut follower) = journal.look_back().unwrap();
        for n in 60..200 {
            journal.append(&format!("line number {n}")).unwrap();
            assert_eq!(follower.next().await.unwrap(), Some(format!("line number {n}")));
        }
        let seen = history.tail(3, |line| !line.ends_with("58")).unwrap();
        assert_eq!(seen, ["line number 56", "line number 57", "line number 59"]);
    }

    #[tokio::test]
    async fn what_another_process_writes_is_followed_over_its_rotations_and_none_of_ours_gets_in_between() {
        let (theirs, dir) = journal(1000);
        theirs.append("line number 0").unwrap();
        let watched = Arc::new(AtomicBool::new(false));
        let ours = Journal::open(&dir.path().join("a/app.log"), 1000, watched.clone()).unwrap();
        let ours = Arc::new(ours);
        let mut follower = ours.follow(From::Start).unwrap();
        watched.store(true, Ordering::SeqCst);
        ours.append("of a server that was replaced").unwrap();
        for n in 0..150 {
            if n > 0 {
                theirs.append(&format!("line number {n}")).unwrap();
            }
            ours.look().unwrap();
            assert_eq!(follower.next().await.unwrap(), Some(format!("line number {n}")));
        }
        std::fs::OpenOptions::new().append(true).open(dir.path().join("a/app.log")).unwrap().write_all(b"hal").unwrap();
        let before = ours.length_bytes();
        ours.look().unwrap();
        assert_eq!(ours.length_bytes(), before, "half a line is none");
    }

    #[tokio::test]
    async fn half_a_line_of_a_killed_server_stands_alone() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("app.log"), "whole\nhal").unwrap();
        let journal = Arc::new(Journal::open(&dir.path().join("app.log"), 1 << 20, Arc::default()).unwrap());
        journal.append("next").unwrap();
        assert_eq!(journal.tail(9, |_| true).unwrap(), ["whole", "hal", "next"]);
        let mut follower = journal.follow(From::Start).unwrap();
        for line in ["whole", "hal", "next"] {
            assert_eq!(follower.next().await.unwrap().as_deref(), Some(line));
        }
    }

    #[test]
    fn an_endless_line_is_cut() {
        let (journal, _dir) = journal(1 << 20);
        journal.append(&"ä".repeat(20_000)).unwrap();
        let line = journal.tail(1, |_| true).unwrap().remove(0);
        assert!(line.ends_with("[cut at 16 KiB]") && line.len() < 17_000);
    }
}
