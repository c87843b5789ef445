//! Lines of a journal with the place where they end, so that a reader who was cut off goes on behind the last one it got.
use super::journal::{Growth, Journal, read_line};
use anyhow::Context;
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{BufReader, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use tokio::sync::watch;

/// Lines that are read at a time.
const BATCH_LINES: usize = 256;

/// Behind a line. Holds over restarts of the server, until the file was rotated away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Marks the file by its first line, which begins with a time and which a rotation keeps. Inodes are used again.
    file: u64,
    end_bytes: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.file, self.end_bytes)
    }
}

impl FromStr for Place {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once('-').and_then(|(file, end)| Some((file.parse().ok()?, end.parse().ok()?)));
        parts.map(|(file, end_bytes)| Self { file, end_bytes }).ok_or("a place is written FILE-BYTES")
    }
}

/// Reads on from a place, as the journal grows.
pub struct Reader {
    journal: Arc<Journal>,
    lines: Lines,
    growth: watch::Receiver<Growth>,
    batch: VecDeque<(Place, String)>,
}

struct Lines {
    file: BufReader<File>,
    inode: u64,
    /// Unmarked until the first line was read.
    place: Place,
}

impl Lines {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("open the log {}", path.display()))?;
        let inode = file.metadata()?.ino();
        Ok(Self { file: BufReader::new(file), inode, place: Place { file: 0, end_bytes: 0 } })
    }

    fn next(&mut self) -> anyhow::Result<Option<(Place, String)>> {
        let line = read_line(&mut self.file)?;
        if let (Some(line), Place { end_bytes: 0, .. }) = (&line, self.place) {
            self.place.file = mark_of(line);
        }
        self.place.end_bytes = self.file.stream_position()?;
        Ok(line.map(|line| (self.place, line)))
    }
}

fn mark_of(line: &str) -> u64 {
    let digest = Sha256::digest(line);
    digest.iter().take(8).fold(0, |mark, byte| mark << 8 | u64::from(*byte))
}

impl Journal {
    /// The last `count` lines for which `keep` holds, oldest first, and a reader that goes on behind all lines.
    pub fn read_tail(
        self: &Arc<Self>,
        count: usize,
        keep: impl Fn(&str) -> bool,
    ) -> anyhow::Result<(Vec<(Place, String)>, Reader)> {
        let [old, current] = self.paths();
        let growth = self.growth();
        // The current one first: a rotation in between makes it the old one, and it is read once.
        let mut lines = Lines::open(&current)?;
        let before = Lines::open(&old).ok().filter(|old| old.inode != lines.inode);
        let mut kept = VecDeque::new();
        if let Some(mut before) = before {
            kept.extend(drain(&mut before, count, &keep)?);
        }
        kept.extend(drain(&mut lines, count, &keep)?);
        kept.drain(..kept.len().saturating_sub(count));
        Ok((kept.into(), Reader { journal: Arc::clone(self), lines, growth, batch: VecDeque::new() }))
    }

    /// A reader that goes on behind `place`; `None` when that is no longer kept.
    pub fn read_after(self: &Arc<Self>, place: Place) -> anyhow::Result<Option<Reader>> {
        let growth = self.growth();
        for path in self.paths() {
            let Ok(mut lines) = Lines::open(&path) else { continue };
            let is_inside = lines.file.get_ref().metadata()?.len() >= place.end_bytes;
            let first = lines.next()?;
            if first.is_some_and(|(first, _)| first.file == place.file) && is_inside {
                lines.file.seek(SeekFrom::Start(place.end_bytes))?;
                lines.place = place;
                return Ok(Some(Reader { journal: Arc::clone(self), lines, growth, batch: VecDeque::new() }));
            }
        }
        Ok(None)
    }
}

fn drain(lines: &mut Lines, count: usize, keep: impl Fn(&str) -> bool) -> anyhow::Result<VecDeque<(Place, String)>> {
    let mut kept = VecDeque::new();
    while let Some((place, line)) = lines.next()? {
        if keep(&line) {
            kept.push_back((place, line));
            if kept.len() > count {
                kept.pop_front();
            }
        }
    }
    Ok(kept)
}

impl Reader {
    /// The next line. Dropping the future loses nothing.
    pub async fn next(&mut self) -> anyhow::Result<(Place, String)> {
        loop {
            if let Some(line) = self.batch.pop_front() {
                return Ok(line);
            }
            // Seen before reading: what comes after the read changes it again.
            self.growth.borrow_and_update();
            let current = Lines::open(&self.journal.paths()[1])?;
            while self.batch.len() < BATCH_LINES
                && let Some(line) = self.lines.next()?
            {
                self.batch.push_back(line);
            }
            if !self.batch.is_empty() {
                continue;
            }
            if current.inode == self.lines.inode {
                // The journal holds the sender and we hold the journal, so this cannot fail.
                let _ = self.growth.changed().await;
            } else {
                self.lines = current;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(limit_bytes: u64) -> (Arc<Journal>, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        (Arc::new(Journal::open(&dir.path().join("a/app.log"), limit_bytes).unwrap()), dir)
    }

    #[tokio::test]
    async fn the_tail_and_what_follows_are_one_list() {
        let (journal, _dir) = journal(1 << 20);
        for n in 0..10 {
            journal.append(&format!("line {n}")).unwrap();
        }
        let (tail, mut reader) = journal.read_tail(3, |line| line != "line 8").unwrap();
        assert_eq!(tail.iter().map(|(_, line)| line.as_str()).collect::<Vec<_>>(), ["line 6", "line 7", "line 9"]);
        journal.append("line 10").unwrap();
        assert_eq!(reader.next().await.unwrap().1, "line 10");
        let place: Place = tail[1].0.to_string().parse().unwrap();
        let mut again = journal.read_after(place).unwrap().unwrap();
        assert_eq!(again.next().await.unwrap().1, "line 8");
    }

    #[tokio::test]
    async fn a_reader_goes_on_over_a_rotation_and_knows_when_its_place_is_gone() {
        let (journal, _dir) = journal(200);
        journal.append("the first").unwrap();
        let (tail, mut reader) = journal.read_tail(1, |_| true).unwrap();
        let place = tail[0].0;
        for n in 0..60 {
            journal.append(&format!("line number {n}")).unwrap();
            assert_eq!(reader.next().await.unwrap().1, format!("line number {n}"));
        }
        assert!(journal.read_after(place).unwrap().is_none());
        for bad in ["", "1", "-", "1-x", "x-1"] {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
    }
}
