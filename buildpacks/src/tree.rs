//! What is looked at: the files of one commit, by path, without a checkout.

use crate::PlanError;

/// A configuration file longer than this is not read.
const CONFIG_BYTES_MAX: u64 = 1024 * 1024;

/// The files of a commit. The server implements it over git objects.
pub trait SourceTree {
    /// Every blob, sorted by path; folders are not listed.
    fn files(&self) -> &[TreeEntry];

    /// The bytes of a regular file; `None` when there is none or when it is a symlink.
    fn read(&self, path: &str) -> Option<Vec<u8>>;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry {
    pub path: String,
    pub kind: EntryKind,
    pub size_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    File,
    Executable,
    Symlink,
    Submodule,
}

/// Looks a path up in the sorted list.
pub(crate) fn entry<'a>(tree: &'a dyn SourceTree, path: &str) -> Option<&'a TreeEntry> {
    let files = tree.files();
    let at = files.binary_search_by(|entry| entry.path.as_str().cmp(path)).ok()?;
    files.get(at)
}

pub(crate) fn has(tree: &dyn SourceTree, path: &str) -> bool {
    entry(tree, path).is_some()
}

/// What stands behind the last dot of a file's name; empty where there is none.
pub(crate) fn ending(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rsplit_once('.').map_or("", |(_, ending)| ending)
}

/// Whether any file lies below `folder`.
pub(crate) fn has_folder(tree: &dyn SourceTree, folder: &str) -> bool {
    let prefix = format!("{folder}/");
    let files = tree.files();
    let at = files.partition_point(|entry| entry.path.as_str() < prefix.as_str());
    files.get(at).is_some_and(|entry| entry.path.starts_with(&prefix))
}

/// Reads a file which steers the build. It has to be a regular file: what a symlink points to could
/// lie outside the tree, and two readers could follow it to different places.
pub(crate) fn config_file(tree: &dyn SourceTree, path: &str) -> Result<Option<Vec<u8>>, PlanError> {
    let Some(entry) = entry(tree, path) else {
        return Ok(None);
    };
    let file = || path.to_owned();
    match entry.kind {
        EntryKind::Symlink => return Err(PlanError::ConfigIsSymlink { file: file() }),
        EntryKind::Submodule => return Err(PlanError::ConfigIsSubmodule { file: file() }),
        EntryKind::File | EntryKind::Executable => {}
    }
    if entry.size_bytes > CONFIG_BYTES_MAX {
        return Err(PlanError::ConfigTooLarge {
            file: file(),
            size_bytes: entry.size_bytes,
            size_bytes_max: CONFIG_BYTES_MAX,
        });
    }
    tree.read(path).map(Some).ok_or_else(|| PlanError::ConfigUnreadable { file: file() })
}

/// [`config_file`] as text, without the byte order mark some Windows editors write.
pub(crate) fn config_text(tree: &dyn SourceTree, path: &str) -> Result<Option<String>, PlanError> {
    let Some(bytes) = config_file(tree, path)? else {
        return Ok(None);
    };
    let text = String::from_utf8(bytes).map_err(|_| PlanError::ConfigNotUtf8 { file: path.to_owned() })?;
    Ok(Some(text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned()))
}

/// A tree held in memory, for tests here and in the server.
#[derive(Debug, Clone, Default)]
pub struct MemoryTree {
    entries: Vec<TreeEntry>,
    contents: Vec<Vec<u8>>,
}

impl MemoryTree {
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn file(self, path: &str, contents: impl AsRef<[u8]>) -> Self {
        self.with(path, EntryKind::File, contents.as_ref())
    }

    #[must_use]
    pub fn executable(self, path: &str, contents: impl AsRef<[u8]>) -> Self {
        self.with(path, EntryKind::Executable, contents.as_ref())
    }

    #[must_use]
    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.with(path, EntryKind::Symlink, target.as_bytes())
    }

    /// Adds an entry, or replaces the one of that path.
    #[must_use]
    pub fn with(mut self, path: &str, kind: EntryKind, contents: &[u8]) -> Self {
        let entry = TreeEntry { path: path.to_owned(), kind, size_bytes: contents.len() as u64 };
        match self.entries.binary_search_by(|e| e.path.as_str().cmp(path)) {
            Ok(at) => {
                self.entries[at] = entry;
                self.contents[at] = contents.to_vec();
            }
            Err(at) => {
                self.entries.insert(at, entry);
                self.contents.insert(at, contents.to_vec());
            }
        }
        self
    }
}

impl SourceTree for MemoryTree {
    fn files(&self) -> &[TreeEntry] {
        &self.entries
    }

    fn read(&self, path: &str) -> Option<Vec<u8>> {
        let at = self.entries.binary_search_by(|entry| entry.path.as_str().cmp(path)).ok()?;
        match self.entries[at].kind {
            EntryKind::File | EntryKind::Executable => Some(self.contents[at].clone()),
            EntryKind::Symlink | EntryKind::Submodule => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_steers_a_build_is_read_up_to_its_limit() {
        let limit = usize::try_from(CONFIG_BYTES_MAX).unwrap();
        let read =
            |length: usize| config_text(&MemoryTree::new().file("package.json", "a".repeat(length)), "package.json");
        assert_eq!(read(limit).unwrap().map(|text| text.len()), Some(limit));
        let refused = read(limit + 1).unwrap_err().to_string();
        assert!(refused.contains("package.json is 1048577 bytes long"), "{refused}");
    }
}
