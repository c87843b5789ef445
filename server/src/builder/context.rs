//! The build context as a tar stream: written by a blocking task, read by the engine, never whole in memory.
use super::fetch::FetchedFile;
use super::source::GitTree;
use crate::crash_point;
use buildpacks::{BuildPlan, DockerfileSource, EntryKind, Rendered, SourceTree};
use bytes::Bytes;
use std::io::{Error, Result, Write};
use tar::{EntryType, Header};
use tokio::sync::mpsc;

const CHUNK_BYTES: usize = 64 << 10;
/// Chunks that may wait for the engine.
const QUEUE_CHUNKS: usize = 16;

pub(super) type Chunks = mpsc::Receiver<Result<Bytes>>;

/// A file that we add beside the app's own.
pub(super) struct Extra {
    pub(super) path: String,
    pub(super) contents: Vec<u8>,
    pub(super) executable: bool,
}

/// What stands in the context beside the app's files.
pub(super) struct Beside {
    pub(super) extras: Vec<Extra>,
    /// The files of each of the plan's buildpacks.
    pub(super) buildpacks: Vec<Vec<FetchedFile>>,
}

/// Path of the Dockerfile inside the context, and what stands beside the app's files.
pub(super) fn extras(plan: &BuildPlan, rendered: Rendered) -> (String, Vec<Extra>) {
    let mut extras: Vec<Extra> = rendered
        .meta
        .into_iter()
        .map(|file| Extra { path: file.path, contents: file.contents, executable: file.executable })
        .collect();
    match &plan.dockerfile {
        DockerfileSource::Users { path } => (path.clone(), extras),
        DockerfileSource::Generated => {
            let path = "meta/Dockerfile".to_owned();
            extras.push(Extra { path: path.clone(), contents: rendered.dockerfile.into_bytes(), executable: false });
            (path, extras)
        }
    }
}

/// Streams the tree (what the plan takes of it) and `extras`. File times are `now_secs`, never constant: tools that
/// compare times would take a reverted file for an old one.
pub(super) fn stream(tree: GitTree, plan: BuildPlan, beside: Beside, now_secs: u64) -> Chunks {
    let Beside { extras, buildpacks } = beside;
    pipe(move |tar| {
        let rules = plan.ignore_rules(&tree);
        if plan.dockerfile == DockerfileSource::Generated {
            // Steps copy this folder even when an ignore file leaves nothing in it.
            tar.append_data(&mut header(EntryType::Directory, 0, true, now_secs), "src/", std::io::empty())?;
        }
        for extra in &extras {
            append(tar, &extra.path, &extra.contents, extra.executable, now_secs)?;
        }
        for (at, files) in buildpacks.iter().enumerate() {
            append_buildpack(tar, at, files, now_secs)?;
        }
        for entry in tree.files().iter().filter(|entry| plan.takes(&entry.path, &rules)) {
            let path = plan.context_path(&entry.path);
            match entry.kind {
                EntryKind::File | EntryKind::Executable => {
                    let contents = tree.blob(&entry.path).map_err(Error::other)?;
                    append(tar, &path, &contents, entry.kind == EntryKind::Executable, now_secs)?;
                }
                EntryKind::Symlink => {
                    let target = tree.blob(&entry.path).map_err(Error::other)?;
                    append_link(tar, &path, &target, now_secs)?;
                }
                // Refused when they were pushed.
                EntryKind::Submodule => {}
            }
        }
        crash_point!("context-streamed");
        Ok(())
    })
}

/// Streams only `extras`: the context of a stack image.
pub(super) fn stream_extras(extras: Vec<Extra>, now_secs: u64) -> Chunks {
    pipe(move |tar| extras.iter().try_for_each(|e| append(tar, &e.path, &e.contents, e.executable, now_secs)))
}

pub(super) fn pipe(write: impl FnOnce(&mut tar::Builder<Sink>) -> Result<()> + Send + 'static) -> Chunks {
    let (to, from) = mpsc::channel(QUEUE_CHUNKS);
    tokio::task::spawn_blocking(move || {
        let mut tar = tar::Builder::new(Sink { to: to.clone(), buffer: Vec::with_capacity(CHUNK_BYTES) });
        let written = write(&mut tar).and_then(|()| tar.into_inner()?.flush());
        if let Err(error) = written {
            // The engine has hung up already, or hears why the stream ends.
            let _ = to.blocking_send(Err(error));
        }
    });
    from
}

fn append(tar: &mut tar::Builder<Sink>, path: &str, contents: &[u8], executable: bool, now_secs: u64) -> Result<()> {
    let mut header = header(EntryType::Regular, contents.len() as u64, executable, now_secs);
    tar.append_data(&mut header, path, contents)
}

fn append_link(tar: &mut tar::Builder<Sink>, path: &str, target: &[u8], now_secs: u64) -> Result<()> {
    let mut header = header(EntryType::Symlink, 0, false, now_secs);
    tar.append_link(&mut header, path, String::from_utf8_lossy(target).as_ref())
}

fn append_buildpack(tar: &mut tar::Builder<Sink>, at: usize, files: &[FetchedFile], now_secs: u64) -> Result<()> {
    for file in files {
        let path = format!("buildpacks/{at}/{}", file.path);
        match file.kind {
            EntryKind::File | EntryKind::Executable => {
                append(tar, &path, &file.contents, file.kind == EntryKind::Executable, now_secs)?;
            }
            EntryKind::Symlink => append_link(tar, &path, &file.contents, now_secs)?,
            // Left out when it was fetched.
            EntryKind::Submodule => {}
        }
    }
    Ok(())
}

/// GNU headers: with a PAX header first the engine takes the stream for a Dockerfile.
fn header(kind: EntryType, size_bytes: u64, executable: bool, now_secs: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size_bytes);
    header.set_mode(if executable { 0o755 } else { 0o644 });
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(now_secs);
    header
}

/// Hands what tar writes to the channel, in chunks.
pub(super) struct Sink {
    to: mpsc::Sender<Result<Bytes>>,
    buffer: Vec<u8>,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        let chunk = Bytes::from(std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK_BYTES)));
        self.to.blocking_send(Ok(chunk)).map_err(|_| Error::other("the engine stopped reading the build context"))
    }
}
