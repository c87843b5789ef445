//! Takes up a stream of lines where it broke off: what comes again is told from what is new by its time and its text,
//! because many lines share a millisecond.
use crate::domain::Moment;
use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// How far back a stream is read again: an instance's two outputs are not in strict order of time.
const WINDOW: Duration = Duration::from_secs(1);
/// Lines that are remembered; beyond it only the newest milliseconds are.
const LINES_MAX: usize = 4096;

/// The last lines of one stream.
#[derive(Default)]
pub struct Overlap {
    recent: VecDeque<(Moment, u64)>,
    newest: Moment,
    /// Lines were forgotten for want of room: those of the oldest millisecond left may not be complete.
    is_cut: bool,
    /// What is to come again, and how often.
    expected: HashMap<(Moment, u64), u32>,
}

impl Overlap {
    /// Remembers a line that was taken in.
    pub fn note(&mut self, at: Moment, text: &str) {
        self.keep(at, hash(text));
    }

    /// Begins to read again, from the returned time on (inclusive); `None`: from the first line.
    pub fn resume(&mut self) -> Option<Moment> {
        let oldest = self.recent.iter().map(|(at, _)| *at).min()?;
        let from = match self.recent.iter().map(|(at, _)| *at).filter(|at| *at > oldest).min() {
            Some(second) if self.is_cut => second,
            Some(_) | None => oldest,
        };
        self.expected.clear();
        for line in self.recent.iter().filter(|(at, _)| *at >= from) {
            *self.expected.entry(*line).or_default() += 1;
        }
        Some(from)
    }

    /// Whether a line that came after [`Overlap::resume`] was not taken in before. It counts as taken in from now on.
    pub fn is_news(&mut self, at: Moment, text: &str) -> bool {
        let hash = hash(text);
        if let Some(count) = self.expected.get_mut(&(at, hash)).filter(|count| **count > 0) {
            *count -= 1;
            return false;
        }
        self.keep(at, hash);
        true
    }

    fn keep(&mut self, at: Moment, hash: u64) {
        self.newest = self.newest.max(at);
        self.recent.push_back((at, hash));
        while self.recent.front().is_some_and(|(oldest, _)| self.newest.since(*oldest) > WINDOW) {
            self.recent.pop_front();
            self.is_cut = false;
        }
        if self.recent.len() > LINES_MAX {
            self.recent.pop_front();
            self.is_cut = true;
        }
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Moment {
        Moment::from_unix_ms(ms)
    }

    #[test]
    fn lines_of_one_millisecond_are_neither_lost_nor_doubled() {
        let mut overlap = Overlap::default();
        for text in ["a", "same", "same"] {
            assert!(overlap.is_news(at(5), text));
        }
        assert_eq!(overlap.resume(), Some(at(5)));
        let again: Vec<&str> =
            ["a", "same", "same", "same", "b"].into_iter().filter(|text| overlap.is_news(at(5), text)).collect();
        assert_eq!(again, ["same", "b"], "the third `same` had not been read before");
        assert_eq!(overlap.resume(), Some(at(5)));
        let again = ["a", "same", "same", "same", "b"].into_iter().filter(|text| overlap.is_news(at(5), text)).count();
        assert_eq!(again, 0);
    }

    #[test]
    fn a_line_of_the_other_output_that_is_a_little_older_is_still_read() {
        let mut overlap = Overlap::default();
        overlap.note(at(900), "out");
        overlap.note(at(1500), "out");
        assert_eq!(overlap.resume(), Some(at(900)));
        assert!(!overlap.is_news(at(900), "out"));
        assert!(overlap.is_news(at(1100), "err"));
        assert!(!overlap.is_news(at(1500), "out"));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_a_cut_millisecond_is_not_trusted() {
        let mut overlap = Overlap::default();
        for n in 0..i64::try_from(LINES_MAX).unwrap() + 10 {
            overlap.note(at(n / 100), &n.to_string());
        }
        assert_eq!(overlap.recent.len(), LINES_MAX);
        assert_eq!(overlap.resume(), Some(at(1)), "of millisecond 0 the first ten lines are forgotten");
        overlap.note(at(10_000), "much later");
        assert_eq!(overlap.resume(), Some(at(10_000)));
        assert_eq!(Overlap::default().resume(), None);
    }
}
