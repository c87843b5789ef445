//! A file of lines that grows, rotates at a limit, and can be followed by any number of readers.
use anyhow::Context;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// A longer line is cut here, with a mark.
const LINE_BYTES_MAX: usize = 16 << 10;
/// Lines that a follower reads at a time.
const BATCH_LINES: usize = 256;

pub struct Journal {
    path: PathBuf,
    limit_bytes: u64,
    inner: Mutex<Inner>,
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
    pub(super) fn open(path: &Path, limit_bytes: u64) -> anyhow::Result<Self> {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).with_context(|| format!("make the log folder {}", dir.display()))?;
        }
        let file = open_append(path)?;
        let length_bytes = file.metadata()?.len();
        let state = watch::Sender::new(Growth { generation: 0, length_bytes, closed: false });
        Ok(Self { path: path.to_owned(), limit_bytes, inner: Mutex::new(Inner { file, length_bytes }), state })
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
        let mut generation = self.state.borrow().generation;
        if inner.length_bytes > 0 && inner.length_bytes + text.len() as u64 > self.limit_bytes {
            match std::fs::rename(&self.path, self.rotated_path()) {
                // An earlier rotation was cut short after this step.
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
                Ok(()) | Err(_) => {}
            }
            *inner = Inner { file: open_append(&self.path)?, length_bytes: 0 };
            generation += 1;
        }
        inner.file.write_all(text.as_bytes()).with_context(|| format!("append to {}", self.path.display()))?;
        inner.length_bytes += text.len() as u64;
        let length_bytes = inner.length_bytes;
        self.state.send_modify(|state| *state = Growth { generation, length_bytes, closed: state.closed });
        Ok(())
    }

    /// Says that no line follows: followers end once they have read everything.
    pub fn close(&self) {
        self.state.send_modify(|state| state.closed = true);
    }

    pub fn length_bytes(&self) -> u64 {
        self.state.borrow().length_bytes
    }

    /// The last `count` lines, oldest first, for which `keep` holds.
    pub fn tail(&self, count: usize, keep: impl Fn(&str) -> bool) -> anyhow::Result<Vec<String>> {
        let mut lines = std::collections::VecDeque::new();
        for path in [self.rotated_path(), self.path.clone()] {
            let Ok(file) = File::open(&path) else { continue };
            let mut reader = BufReader::new(file);
            while let Some(line) = read_line(&mut reader)? {
                if keep(&line) {
                    lines.push_back(line);
                    if lines.len() > count {
                        lines.pop_front();
                    }
                }
            }
        }
        Ok(lines.into())
    }

    pub fn follow(self: &Arc<Self>, from: From) -> anyhow::Result<Follower> {
        // The lock keeps a rotation from falling between the file and the state that belong together.
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let state = self.state.subscribe();
        let mut file = File::open(&self.path).with_context(|| format!("open the log {}", self.path.display()))?;
        if from == From::End {
            file.seek(SeekFrom::Start(inner.length_bytes))?;
        }
        let generation = state.borrow().generation;
        drop(inner);
        Ok(Follower {
            journal: Arc::clone(self),
            reader: BufReader::new(file),
            generation,
            state,
            batch: std::collections::VecDeque::new(),
        })
    }

    /// The file before the last rotation, which may not exist, and the current one.
    pub(super) fn paths(&self) -> [PathBuf; 2] {
        [self.rotated_path(), self.path.clone()]
    }

    pub(super) fn growth(&self) -> watch::Receiver<Growth> {
        self.state.subscribe()
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
    generation: u64,
    state: watch::Receiver<Growth>,
    batch: std::collections::VecDeque<String>,
}

impl Follower {
    /// The next line; `None` once the journal is closed and read to its end. Dropping the future loses nothing.
    pub async fn next(&mut self) -> anyhow::Result<Option<String>> {
        loop {
            if let Some(line) = self.batch.pop_front() {
                return Ok(Some(line));
            }
            // Seen before reading: what comes after the read changes the state again.
            let seen = *self.state.borrow_and_update();
            self.fill()?;
            if !self.batch.is_empty() {
                continue;
            }
            if seen.generation != self.generation {
                self.reader = BufReader::new(File::open(&self.journal.path)?);
                self.generation = seen.generation;
            } else if seen.closed {
                return Ok(None);
            } else {
                // The journal holds the sender and we hold the journal, so this cannot fail.
                let _ = self.state.changed().await;
            }
        }
    }

    fn fill(&mut self) -> anyhow::Result<()> {
        while self.batch.len() < BATCH_LINES {
            match read_line(&mut self.reader)? {
                Some(line) => self.batch.push_back(line),
                None => break,
            }
        }
        Ok(())
    }
}

/// Reads one whole line; a line without its end is not there yet (a crash can leave one: it is read with the next).
pub(super) fn read_line(reader: &mut (impl BufRead + Seek)) -> std::io::Result<Option<String>> {
    let mut bytes = Vec::new();
    let read = reader.by_ref().take(2 * LINE_BYTES_MAX as u64).read_until(b'\n', &mut bytes)?;
    if read == 0 {
        return Ok(None);
    }
    if bytes.pop_if(|last| *last == b'\n').is_none() && read < 2 * LINE_BYTES_MAX {
        reader.seek_relative(-i64::try_from(read).unwrap_or(0))?;
        return Ok(None);
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
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
        .mode(0o600)
        .open(path)
        .with_context(|| format!("open the log {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(limit_bytes: u64) -> (Arc<Journal>, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        (Arc::new(Journal::open(&dir.path().join("a/app.log"), limit_bytes).unwrap()), dir)
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

    #[test]
    fn an_endless_line_is_cut() {
        let (journal, _dir) = journal(1 << 20);
        journal.append(&"ä".repeat(20_000)).unwrap();
        let line = journal.tail(1, |_| true).unwrap().remove(0);
        assert!(line.ends_with("[cut at 16 KiB]") && line.len() < 17_000);
    }
}
