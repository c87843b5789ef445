//! `releases:from-image`: a release of an image that was built elsewhere, from a registry or from standard input.
use super::{CommandError, Context, Done};
use crate::builder::{Brought, ImageRefusal};
use crate::console::Console;
use crate::domain::card::one_line;
use crate::domain::{App, ImageRef, Size};
use anyhow::Context as _;
use flate2::write::MultiGzDecoder;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::str::FromStr;

/// An archive on its way in, unpacked.
const ARCHIVE_BYTES_MAX: u64 = 8 << 30;
/// How much of one is written before the free space is looked at again.
const LOOK_EVERY_BYTES: u64 = 64 << 20;

/// What the command line names.
#[derive(Clone, Debug)]
pub(super) enum Named {
    Registry(ImageRef),
    StandardInput,
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "-" => Ok(Self::StandardInput),
            text => text
                .parse()
                .map(Self::Registry)
                .map_err(|error: crate::domain::image_ref::ImageRefError| error.to_string()),
        }
    }
}

pub(super) async fn run(context: &Context, console: &mut Console, app: &App, named: &Named) -> Done {
    let tools = &context.tools;
    let brought = match named {
        Named::Registry(image) => {
            tools.builder.registry_image(image.clone()).await.map_err(|error| refused(error, app))?
        }
        Named::StandardInput => Brought::Archive(receive(context, console).await?),
    };
    let replaced = tools.store.live_release(app.id).await?.map(|release| release.no);
    let made = tools.builder.release_image(app, brought, &context.caller.to_string(), console).await;
    let no = made.map_err(|error| refused(error, app))?;
    context.see_through(console, app, no, replaced).await
}

fn refused(refusal: ImageRefusal, app: &App) -> CommandError {
    let what = refusal.to_string();
    let next = match refusal {
        ImageRefusal::Ours(_) => format!("`paas rollback -a {}` goes back to a release; for another app push its source", app.name),
        ImageRefusal::NoCommand(_) => "give its Dockerfile a CMD, build it and push it again".to_owned(),
        ImageRefusal::Triggers(_) => "release an image that is built on it".to_owned(),
        ImageRefusal::Architecture { .. } => {
            format!("build it for this server: `docker build --platform linux/{} …`", crate::engine::ARCHITECTURE)
        }
        ImageRefusal::Registry(_) => {
            "is the name right, and the image public? private ones need `registry_auth_file` in the server's configuration; \
             or send it: `docker save IMAGE | ssh … releases:from-image -`"
                .to_owned()
        }
        ImageRefusal::NotAsked(refusal) => {
            format!("write \"{}\" into `fetch_allow` in the server's configuration, or send the image: `docker save IMAGE | ssh … releases:from-image -`", refusal.to_allow())
        }
        ImageRefusal::Archive(_) => "nothing was loaded".to_owned(),
        ImageRefusal::TimedOut(_) => "is the registry slow? `build_limit` in the server's configuration is the limit".to_owned(),
        ImageRefusal::Room(failure) => {
            return CommandError::new(one_line(&failure, None)).next("run `paas server:status`; then remove what is not needed, or add disk");
        }
        ImageRefusal::Store(error) => return error.into(),
        ImageRefusal::World(error) => return error.into(),
        ImageRefusal::Port(_) | ImageRefusal::Left => return CommandError::new(what),
    };
    CommandError::new(what).next(next)
}

/// Takes standard input down into a file that has no name any more: whatever happens, nothing of it stays.
async fn receive(context: &Context, console: &mut Console) -> Result<File, CommandError> {
    let folder = context.tools.data_dir.join("run");
    make_room(context, &folder).await?;
    let mut writer = Intake::Empty(nameless(&folder)?);
    let (mut bytes, mut looked_at) = (0, 0);
    while let Some(chunk) = console.input.recv().await {
        let writing = tokio::task::spawn_blocking(move || writer.take(&chunk));
        (writer, bytes) = writing.await.map_err(anyhow::Error::from)?.map_err(|error| unpacking(&error))?;
        if bytes > ARCHIVE_BYTES_MAX {
            return Err(CommandError::new(format!("the archive is larger than {}", Size(ARCHIVE_BYTES_MAX)))
                .next("push the image to a registry, and name it there"));
        }
        if bytes - looked_at > LOOK_EVERY_BYTES {
            looked_at = bytes;
            make_room(context, &folder).await?;
        }
    }
    if console.left.is_cancelled() {
        return Err(CommandError::new("the archive broke off"));
    }
    if bytes == 0 {
        return Err(CommandError::new("there is nothing on standard input")
            .next("send an image: `docker save IMAGE | paas releases:from-image -`"));
    }
    let finishing = tokio::task::spawn_blocking(move || writer.finish());
    finishing.await.map_err(anyhow::Error::from)?.map_err(|error| unpacking(&error))
}

async fn make_room(context: &Context, folder: &Path) -> Result<(), CommandError> {
    let room = context.tools.builder.make_room(folder).await;
    room.map_err(|failure| refused_room(&failure))
}

fn refused_room(failure: &crate::domain::Failure) -> CommandError {
    let error = CommandError::new(one_line(failure, None));
    match failure.advice() {
        Some(advice) => error.next(advice),
        None => error,
    }
}

fn unpacking(error: &std::io::Error) -> CommandError {
    CommandError::new(format!("cannot take the archive down: {error}")).next("send it again")
}

fn nameless(folder: &Path) -> anyhow::Result<File> {
    let path = folder.join(format!("image-{}", crate::store::random_hex(8)?));
    let opened = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
    let file = opened.with_context(|| format!("make {}", path.display()))?;
    std::fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
    Ok(file)
}

/// Writes an archive down, and unpacks it where it comes packed by gzip.
enum Intake {
    Empty(File),
    Plain(File, u64),
    Packed(Box<MultiGzDecoder<Counted>>),
}

impl Intake {
    /// Takes the next chunk; gives how much was written so far.
    fn take(self, chunk: &[u8]) -> std::io::Result<(Self, u64)> {
        match self {
            Self::Empty(file) if chunk.is_empty() => Ok((Self::Empty(file), 0)),
            Self::Empty(file) if chunk.starts_with(&[0x1f]) => {
                Self::Packed(Box::new(MultiGzDecoder::new(Counted { file, bytes: 0 }))).take(chunk)
            }
            Self::Empty(file) => Self::Plain(file, 0).take(chunk),
            Self::Plain(mut file, bytes) => {
                file.write_all(chunk)?;
                let bytes = bytes + chunk.len() as u64;
                Ok((Self::Plain(file, bytes), bytes))
            }
            Self::Packed(mut decoder) => {
                decoder.write_all(chunk)?;
                let bytes = decoder.get_ref().bytes.max(1);
                Ok((Self::Packed(decoder), bytes))
            }
        }
    }

    fn finish(self) -> std::io::Result<File> {
        match self {
            Self::Empty(file) | Self::Plain(file, _) => Ok(file),
            Self::Packed(mut decoder) => {
                decoder.try_finish()?;
                Ok(decoder.finish()?.file)
            }
        }
    }
}

/// Counts what is written, and takes no more than an archive may have.
struct Counted {
    file: File,
    bytes: u64,
}

impl std::io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        // One byte more, by which who reads knows that it was too much.
        let left = usize::try_from(ARCHIVE_BYTES_MAX + 1 - self.bytes.min(ARCHIVE_BYTES_MAX + 1)).unwrap_or(usize::MAX);
        let taken = bytes.len().min(left);
        self.file.write_all(&bytes[..taken])?;
        self.bytes += taken as u64;
        // What is too much is read away.
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Seek as _};

    fn taken(chunks: &[&[u8]]) -> std::io::Result<String> {
        let dir = tempfile::tempdir().unwrap();
        let mut intake = Intake::Empty(nameless(dir.path()).unwrap());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "it has no name");
        for chunk in chunks {
            intake = intake.take(chunk)?.0;
        }
        let mut file = intake.finish()?;
        file.rewind()?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn what_comes_packed_is_unpacked_and_what_breaks_off_is_an_error() {
        assert_eq!(taken(&[b"", b"ab", b"c"]).unwrap(), "abc");
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(b"hello").unwrap();
        let packed = packed.finish().unwrap();
        assert_eq!(taken(&[&packed[..1], &packed[1..7], &packed[7..]]).unwrap(), "hello");
        assert!(taken(&[&packed[..packed.len() - 9]]).is_err());
    }
}
