//! What a journal holds at one moment, read line by line from the disk while the journal goes on.
use super::journal::read_line;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufReader, Read};

/// Files, oldest first, with the bytes of each that belong to that moment. They stay readable when the journal rotates.
pub struct History {
    pub(super) parts: Vec<(File, u64)>,
}

impl History {
    /// The last `count` lines, oldest first, for which `keep` holds. Reads files: not for an async task.
    pub fn tail(self, count: usize, keep: impl Fn(&str) -> bool) -> std::io::Result<Vec<String>> {
        let mut lines = VecDeque::new();
        for (file, length_bytes) in self.parts {
            let mut reader = BufReader::new(file.take(length_bytes));
            while let Some(line) = read_line(&mut reader)? {
                if !keep(&line) {
                    continue;
                }
                if lines.len() == count {
                    lines.pop_front();
                }
                if count > 0 {
                    lines.push_back(line);
                }
            }
        }
        Ok(lines.into())
    }
}
