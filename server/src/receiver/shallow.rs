//! Pushes from shallow clones. git's receive-pack leaves it to the ref update to record where a pushed history is cut
//! off; with proc-receive nobody does that, and it aborts after the deploy (seen with git 2.39 and 2.47). So the client's
//! `shallow` lines, which stand first in what it sends, are taken out of the stream, and the roots that are new here are
//! recorded before git sees the rest.
use super::pushes::Push;
use crate::domain::Oid;
use anyhow::{Context, bail};
use bytes::{Buf, Bytes, BytesMut};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Roots of one push: a clone of depth one has one for each branch that was fetched.
const ROOTS_MAX: usize = 1000;
const PREFIX: &[u8] = b"shallow ";

/// Strains the `shallow` lines out of a push.
pub(super) struct ShallowRoots {
    repo: PathBuf,
    push: Arc<Push>,
    /// `None` once something else than such a line has come.
    head: Option<Head>,
}

#[derive(Default)]
struct Head {
    pending: BytesMut,
    roots: Vec<Oid>,
}

impl ShallowRoots {
    pub(super) fn new(repo: PathBuf, push: Arc<Push>) -> Self {
        Self { repo, push, head: Some(Head::default()) }
    }

    /// Takes what the client sent and gives what git is to see.
    pub(super) async fn strain(&mut self, data: Bytes) -> anyhow::Result<Bytes> {
        let Some(head) = &mut self.head else { return Ok(data) };
        head.pending.extend_from_slice(&data);
        if !head.is_through()? {
            return Ok(Bytes::new());
        }
        let Some(Head { pending, roots }) = self.head.take() else { return Ok(Bytes::new()) };
        if !roots.is_empty() {
            let repo = self.repo.clone();
            let added = tokio::task::spawn_blocking(move || record(&repo, &roots)).await??;
            self.push.made_shallow(added);
        }
        Ok(pending.freeze())
    }
}

impl Head {
    /// Consumes whole `shallow` lines; whether the first line of another kind has been reached.
    fn is_through(&mut self) -> anyhow::Result<bool> {
        loop {
            let Some(digits) = self.pending.get(..4) else { return Ok(false) };
            let length = std::str::from_utf8(digits).ok().and_then(|digits| usize::from_str_radix(digits, 16).ok());
            let known = &self.pending[4..];
            let could_be = known.starts_with(&PREFIX[..known.len().min(PREFIX.len())]);
            // A line of another length is git's matter, a flush packet included.
            let Some(length @ 52..=53) = length.filter(|_| could_be) else { return Ok(true) };
            if self.pending.len() < length {
                return Ok(false);
            }
            let oid = std::str::from_utf8(&self.pending[12..52]).unwrap_or_default();
            self.roots.push(oid.parse().map_err(anyhow::Error::msg).context("read the push's shallow roots")?);
            if self.roots.len() > ROOTS_MAX {
                bail!(
                    "this clone is cut off at more than {ROOTS_MAX} commits; run `git fetch --unshallow`, then push again"
                );
            }
            self.pending.advance(length);
        }
    }
}

/// Adds roots whose history is not here to the repository's `shallow` file, and says which those were.
fn record(repo: &Path, roots: &[Oid]) -> anyhow::Result<Vec<String>> {
    let git = git2::Repository::open_bare(repo)?;
    let odb = git.odb()?;
    let is_cut_off = |root: &&Oid| {
        let Ok(id) = git2::Oid::from_str(root.as_str()) else { return false };
        match git.find_commit(id) {
            Ok(commit) => commit.parent_ids().any(|parent| !odb.exists(parent)),
            Err(_) => true,
        }
    };
    let added: Vec<String> = roots.iter().filter(is_cut_off).map(|root| root.as_str().to_owned()).collect();
    if !added.is_empty() {
        rewrite(repo, |lines| lines.extend(added.iter().cloned()))?;
    }
    Ok(added)
}

/// Takes roots back that a refused push had added.
pub(super) fn forget(repo: &Path, roots: &[String]) -> anyhow::Result<()> {
    rewrite(repo, |lines| lines.retain(|line| !roots.contains(line)))
}

/// Changes the `shallow` file under git's own lock for it.
fn rewrite(repo: &Path, change: impl FnOnce(&mut Vec<String>)) -> anyhow::Result<()> {
    let (file, lock) = (repo.join("shallow"), repo.join("shallow.lock"));
    let mut out = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&lock)
        .context("another push from a shallow clone is under way; push again")?;
    let written = (|| {
        let before = match std::fs::read_to_string(&file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            read => read?,
        };
        let mut lines: Vec<String> = before.lines().map(str::to_owned).collect();
        change(&mut lines);
        lines.sort();
        lines.dedup();
        for line in &lines {
            writeln!(out, "{line}")?;
        }
        out.sync_all()?;
        if lines.is_empty() {
            let _ = std::fs::remove_file(&file);
            std::fs::remove_file(&lock)
        } else {
            std::fs::rename(&lock, &file)
        }
    })();
    written.inspect_err(|_| drop(std::fs::remove_file(&lock))).context("record where the pushed history is cut off")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "1111111111111111111111111111111111111111";

    fn fed(input: &[u8], chunk: usize) -> (Vec<String>, Vec<u8>) {
        let (mut head, mut passed) = (Head::default(), Vec::new());
        let mut through = false;
        for part in input.chunks(chunk) {
            if through {
                passed.extend_from_slice(part);
                continue;
            }
            head.pending.extend_from_slice(part);
            through = head.is_through().unwrap();
            if through {
                passed.extend_from_slice(&head.pending);
            }
        }
        (head.roots.iter().map(ToString::to_string).collect(), passed)
    }

    #[test]
    fn shallow_lines_are_taken_out_however_the_bytes_are_cut() {
        let rest = b"00941111 2222 refs/heads/main\0report-status0000PACK";
        let with = [format!("0035shallow {ROOT}\n0034shallow {ROOT}").as_bytes(), rest].concat();
        for chunk in [1, 3, 7, 52, 53, 1000] {
            assert_eq!(fed(&with, chunk), (vec![ROOT.to_owned(); 2], rest.to_vec()), "chunks of {chunk}");
            assert_eq!(fed(rest, chunk), (vec![], rest.to_vec()));
            assert_eq!(fed(b"0000", chunk), (vec![], b"0000".to_vec()));
        }
    }

    #[test]
    fn roots_that_are_no_object_ids_are_refused() {
        let mut head = Head { pending: BytesMut::from(&*format!("0035shallow {}\n", "x".repeat(40))), roots: vec![] };
        assert!(head.is_through().is_err());
    }

    #[test]
    fn roots_are_recorded_once_and_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        git2::Repository::init_bare(dir.path()).unwrap();
        let roots = [ROOT.parse().unwrap()];
        assert_eq!(record(dir.path(), &roots).unwrap(), [ROOT]);
        record(dir.path(), &roots).unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join("shallow")).unwrap(), format!("{ROOT}\n"));
        forget(dir.path(), &[ROOT.to_owned()]).unwrap();
        assert!(!dir.path().join("shallow").exists() && !dir.path().join("shallow.lock").exists());
    }
}
