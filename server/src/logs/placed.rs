//! Lines of a journal with the place where they end, so that a reader who was cut off goes on behind the last one it got.
use super::journal::{Follower, Journal, read_line};
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read};
use std::os::unix::fs::FileExt;
use std::str::FromStr;
use std::sync::Arc;

/// A file's first line is read so far, in bytes, to mark it: it begins with a time.
const MARK_BYTES: usize = 512;

/// Behind a line. Holds over restarts of the server, until the file was rotated away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Marks the file by its first line, which a rotation keeps; an inode may be another file's tomorrow.
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

/// Reads on behind a place, as the journal grows.
pub struct Reader {
    /// What stands between the place and the moment of opening.
    backlog: VecDeque<(Place, String)>,
    follower: Follower,
    /// Of the follower's file, once it was read from, with its generation.
    mark: Option<(u64, u64)>,
}

impl Journal {
    /// The last `count` lines for which `keep` holds, oldest first, and a reader that goes on behind all lines.
    pub fn read_tail(
        self: &Arc<Self>,
        count: usize,
        keep: impl Fn(&str) -> bool,
    ) -> anyhow::Result<(Vec<(Place, String)>, Reader)> {
        let (history, follower) = self.look_back()?;
        let mut kept = VecDeque::new();
        for (file, length_bytes) in history.parts {
            each_line(file, length_bytes, |place, line| {
                if keep(&line) {
                    kept.push_back((place, line));
                    if kept.len() > count {
                        kept.pop_front();
                    }
                }
            })?;
        }
        Ok((kept.into(), Reader { backlog: VecDeque::new(), follower, mark: None }))
    }

    /// A reader that goes on behind `place`; `None` when that is no longer kept.
    pub fn read_after(self: &Arc<Self>, place: Place) -> anyhow::Result<Option<Reader>> {
        let (history, follower) = self.look_back()?;
        let mut backlog: Option<VecDeque<(Place, String)>> = None;
        for (file, length_bytes) in history.parts {
            let is_of_place = mark_of(&file)? == place.file && file.metadata()?.len() >= place.end_bytes;
            let behind_bytes = if is_of_place { place.end_bytes } else { 0 };
            if is_of_place || backlog.is_some() {
                let backlog = backlog.get_or_insert_default();
                each_line(file, length_bytes, |place, line| {
                    if place.end_bytes > behind_bytes {
                        backlog.push_back((place, line));
                    }
                })?;
            }
        }
        Ok(backlog.map(|backlog| Reader { backlog, follower, mark: None }))
    }
}

impl Reader {
    /// The next line. Dropping the future loses nothing.
    pub async fn next(&mut self) -> anyhow::Result<(Place, String)> {
        if let Some(line) = self.backlog.pop_front() {
            return Ok(line);
        }
        let Some(line) = self.follower.next().await? else { return std::future::pending().await };
        let (generation, end_bytes) = self.follower.told();
        let file = match self.mark {
            Some((known, mark)) if known == generation => mark,
            Some(_) | None => mark_of(self.follower.file())?,
        };
        self.mark = Some((generation, file));
        Ok((Place { file, end_bytes }, line))
    }
}

fn each_line(file: File, length_bytes: u64, mut tell: impl FnMut(Place, String)) -> anyhow::Result<()> {
    let mut place = Place { file: mark_of(&file)?, end_bytes: 0 };
    let mut reader = BufReader::new(file.take(length_bytes));
    loop {
        // What the inner reader has given, less what still waits in the buffer, is where the line ends.
        let Some(line) = read_line(&mut reader)? else { return Ok(()) };
        place.end_bytes = length_bytes - reader.get_ref().limit() - reader.buffer().len() as u64;
        tell(place, line);
    }
}

fn mark_of(file: &File) -> std::io::Result<u64> {
    let mut start = [0; MARK_BYTES];
    let read = file.read_at(&mut start, 0)?;
    let line = start[..read].split(|byte| *byte == b'\n').next().unwrap_or_default();
    let digest = Sha256::digest(line);
    Ok(digest.iter().take(8).fold(0, |mark, byte| mark << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(limit_bytes: u64) -> (Arc<Journal>, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        (Arc::new(Journal::open(&dir.path().join("a/app.log"), limit_bytes, Arc::default()).unwrap()), dir)
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
