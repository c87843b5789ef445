//! What a tar file holds, by path: looked through once, and read where it lies. Nothing is unpacked.
use super::{ArchiveError, JSON_BYTES_MAX};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use tar::{Archive, EntryType};

/// Entries of an archive: an image has a handful for each layer.
const ENTRIES_MAX: usize = 4096;
const PATH_BYTES_MAX: usize = 1024;
/// What stands before an entry whose name is long, in bytes: it is read into memory.
const EXTENSION_BYTES_MAX: u64 = 64 << 10;
/// Links from one name to the next.
const LINKS_MAX: usize = 8;

/// Where a file's bytes lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    at: u64,
    pub(super) size_bytes: u64,
}

enum Item {
    File(Span),
    /// Older `docker save`s write a layer that two images share once, and link to it.
    Link(String),
}

pub(super) struct Contents<'a> {
    file: &'a File,
    items: HashMap<String, Item>,
}

impl Span {
    pub(super) fn open(self, file: &File) -> impl Read + '_ {
        BufReader::with_capacity(256 << 10, Positioned { file, at: self.at }).take(self.size_bytes)
    }
}

/// Reads on from a place, whoever else reads the same file.
struct Positioned<'a> {
    file: &'a File,
    at: u64,
}

impl Read for Positioned<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl<'a> Contents<'a> {
    pub(super) fn list(file: &'a File) -> Result<Self, ArchiveError> {
        check_extensions(file)?;
        let end = file.metadata()?.len();
        let mut archive = from_start(file)?;
        let mut items = HashMap::new();
        for entry in archive.entries_with_seek().map_err(|error| broken(&error))? {
            let entry = entry.map_err(|error| broken(&error))?;
            if items.len() >= ENTRIES_MAX {
                return Err(ArchiveError::Unfit(format!("the archive holds more than {ENTRIES_MAX} files")));
            }
            let path = plain_path(&entry.path_bytes())?;
            let item = match entry.header().entry_type() {
                EntryType::Regular => {
                    let span = Span { at: entry.raw_file_position(), size_bytes: entry.size() };
                    if span.at.checked_add(span.size_bytes).is_none_or(|span_end| span_end > end) {
                        return Err(ArchiveError::Unfit(format!("the archive breaks off in `{path}`; send it again")));
                    }
                    Item::File(span)
                }
                EntryType::Symlink | EntryType::Link => {
                    let target = entry.link_name_bytes().unwrap_or_default();
                    Item::Link(link_target(&path, entry.header().entry_type(), &target)?)
                }
                EntryType::Directory => continue,
                _ => return Err(ArchiveError::Unfit(format!("`{path}` in the archive is neither a file nor a link"))),
            };
            if items.insert(path.clone(), item).is_some() {
                return Err(ArchiveError::Unfit(format!("the archive holds `{path}` twice")));
            }
        }
        Ok(Self { file, items })
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.items.contains_key(path)
    }

    pub(super) fn span(&self, path: &str) -> Result<Span, ArchiveError> {
        let mut at = path;
        for _ in 0..LINKS_MAX {
            match self.items.get(at) {
                Some(Item::File(span)) => return Ok(*span),
                Some(Item::Link(target)) => at = target,
                None => break,
            }
        }
        Err(ArchiveError::Unfit(format!("`{path}` is named in the archive and not in it; was it sent whole?")))
    }

    /// All of a small file.
    pub(super) fn json(&mut self, path: &str) -> Result<Vec<u8>, ArchiveError> {
        let span = self.span(path)?;
        if span.size_bytes > JSON_BYTES_MAX {
            return Err(ArchiveError::Unfit(format!(
                "`{path}` in the archive is longer than {} MiB",
                JSON_BYTES_MAX >> 20
            )));
        }
        let mut bytes = Vec::new();
        span.open(self.file).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

fn broken(error: &std::io::Error) -> ArchiveError {
    ArchiveError::NoArchive(format!("it cannot be read as tar: {error}"))
}

fn from_start(mut file: &File) -> std::io::Result<Archive<&File>> {
    file.seek(SeekFrom::Start(0))?;
    Ok(Archive::new(file))
}

/// Long names and other extensions are read whole by who lists the entries: looked at before, one by one. A size said
/// twice is refused, since then an archive reads one way or the other.
fn check_extensions(file: &File) -> Result<(), ArchiveError> {
    for entry in from_start(file)?.entries_with_seek().map_err(|error| broken(&error))?.raw(true) {
        let mut entry = entry.map_err(|error| broken(&error))?;
        let kind = entry.header().entry_type();
        let is_pax = kind.is_pax_local_extensions() || kind.is_pax_global_extensions();
        if !is_pax && !kind.is_gnu_longname() && !kind.is_gnu_longlink() {
            continue;
        }
        if entry.size() > EXTENSION_BYTES_MAX {
            return Err(ArchiveError::Unfit("the archive holds a name that is far too long".to_owned()));
        }
        let mut text = Vec::new();
        entry.read_to_end(&mut text)?;
        if is_pax && text.windows(6).any(|window| window == b" size=") {
            return Err(ArchiveError::Unfit("a file in the archive has more than 8 GiB".to_owned()));
        }
    }
    Ok(())
}

/// A path as the archive's own lists write it: no `./`, and nothing that leads out of it.
fn plain_path(bytes: &[u8]) -> Result<String, ArchiveError> {
    let wrong = || {
        ArchiveError::Unfit(format!(
            "the archive holds a path that leads nowhere: `{}`",
            String::from_utf8_lossy(bytes).escape_debug()
        ))
    };
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= PATH_BYTES_MAX).ok_or_else(wrong)?;
    let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if text.starts_with('/') || parts.contains(&"..") {
        return Err(wrong());
    }
    Ok(parts.join("/"))
}

/// Where a link leads, from the archive's root. It is only ever looked up among the archive's own files.
fn link_target(path: &str, kind: EntryType, target: &[u8]) -> Result<String, ArchiveError> {
    let wrong = || ArchiveError::Unfit(format!("the link `{path}` leads out of the archive"));
    let target = std::str::from_utf8(target).ok().filter(|target| !target.starts_with('/')).ok_or_else(wrong)?;
    let mut parts: Vec<&str> = match kind {
        EntryType::Symlink => path.split('/').rev().skip(1).collect::<Vec<_>>().into_iter().rev().collect(),
        _ => Vec::new(),
    };
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop().ok_or_else(wrong)?),
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}
