//! What a pushed commit says of itself.
use super::Repos;
use super::repos::git_oid;
use crate::domain::{AppKey, Oid};

/// A longer first line is cut, in characters.
const SUBJECT_CHARS_MAX: usize = 120;
/// A longer name of an author is cut, in characters.
const AUTHOR_CHARS_MAX: usize = 60;

/// The first line of a commit's message, and who wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    pub subject: String,
    pub author: String,
}

impl Repos {
    /// What commits say, in their order; empty where one is no longer there. Reads files: not for an async thread.
    pub fn said(&self, app: &AppKey, commits: &[Oid]) -> Vec<Said> {
        let Ok(repo) = self.open(app) else { return vec![Said::default(); commits.len()] };
        let said = |oid: &Oid| -> Option<Said> {
            let commit = repo.find_commit(git_oid(oid).ok()?).ok()?;
            let message = String::from_utf8_lossy(commit.message_bytes()).into_owned();
            let author = commit.author();
            Some(Said {
                subject: cut(message.trim_start().lines().next().unwrap_or_default().trim_end(), SUBJECT_CHARS_MAX),
                author: cut(&String::from_utf8_lossy(author.name_bytes()), AUTHOR_CHARS_MAX),
            })
        };
        commits.iter().map(|oid| said(oid).unwrap_or_default()).collect()
    }
}

fn cut(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
