//! An image as a file: what `docker save` writes, or an OCI layout. Read here, and written anew for the engine.
//!
//! The engine never sees the archive itself: of all that it holds only the image's settings and its layers go on, under
//! names of ours. So nothing that the archive calls its image, and no path and no link in it, leads anywhere.
mod contents;
mod layout;

use contents::{Contents, Span};
use flate2::read::GzDecoder;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use tar::{EntryType, Header};

/// Layers of one image: more than any engine takes.
const LAYERS_MAX: usize = 128;
/// One of the small files that say what the rest is, in bytes.
const JSON_BYTES_MAX: u64 = 4 << 20;
/// All layers together as the engine will unpack them.
const UNPACKED_BYTES_MAX: u64 = 16 << 30;

/// Why an archive is not taken. The sentences go to who sent it.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("this is no image archive: {0}; send what `docker save IMAGE` or `skopeo copy … oci-archive:FILE` writes")]
    NoArchive(String),
    #[error("{0}")]
    Unfit(String),
    #[error("read the archive: {0}")]
    Unreadable(#[from] std::io::Error),
}

/// An image whose archive lies in a file, found and checked.
pub(super) struct ImageArchive {
    file: File,
    /// The image's settings, byte by byte: their hash is the image's id.
    config: Vec<u8>,
    layers: Vec<Span>,
    pub(super) labels: BTreeMap<String, String>,
}

/// The image's settings, as far as they matter here.
#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    #[serde(default, rename = "config")]
    runtime: Option<Runtime>,
    rootfs: RootFolder,
}

#[derive(Deserialize, Default)]
struct Runtime {
    #[serde(rename = "Labels")]
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct RootFolder {
    diff_ids: Vec<String>,
}

impl ImageArchive {
    /// Reads an archive of an image for machines of this `architecture`.
    pub(super) fn read(file: File, architecture: &str) -> Result<Self, ArchiveError> {
        let mut contents = Contents::list(&file)?;
        let found = layout::find(&mut contents, architecture)?;
        let config = contents.json(&found.config)?;
        let about: Config = parse(&found.config, &config)?;
        if about.os != "linux" || about.architecture != architecture {
            return Err(ArchiveError::Unfit(format!(
                "the image is for {}/{}, and this server is linux/{architecture}; build it for that platform",
                about.os, about.architecture
            )));
        }
        let count = found.layers.len();
        if count != about.rootfs.diff_ids.len() || count > LAYERS_MAX {
            return Err(ArchiveError::Unfit(format!(
                "the image has {count} layers, and its settings name {} of at most {LAYERS_MAX}; save it again",
                about.rootfs.diff_ids.len()
            )));
        }
        let layers: Vec<Span> =
            found.layers.iter().map(|path| contents.span(path)).collect::<Result<_, ArchiveError>>()?;
        check_sizes(&file, &layers, UNPACKED_BYTES_MAX)?;
        let labels = about.runtime.unwrap_or_default().labels.unwrap_or_default();
        Ok(Self { file, config, layers, labels })
    }

    /// The image's own id: the hash of its settings, which name the hash of every layer.
    pub(super) fn digest(&self) -> String {
        format!("sha256:{}", crate::domain::hex::hex(&Sha256::digest(&self.config)))
    }

    /// Writes it in `docker save`'s form, with this name and no other.
    pub(super) fn write<W: Write>(&self, name: &str, now_secs: u64, tar: &mut tar::Builder<W>) -> std::io::Result<()> {
        let layer_name = |at: usize| format!("layers/{at}.tar");
        let layers: Vec<String> = (0..self.layers.len()).map(layer_name).collect();
        let manifest = serde_json::json!([{ "Config": "config.json", "RepoTags": [name], "Layers": layers }]);
        let manifest = serde_json::to_vec(&manifest)?;
        for (path, bytes) in [("manifest.json", &manifest), ("config.json", &self.config)] {
            tar.append_data(&mut header(bytes.len() as u64, now_secs), path, bytes.as_slice())?;
        }
        for (at, span) in self.layers.iter().enumerate() {
            tar.append_data(&mut header(span.size_bytes, now_secs), layer_name(at), span.open(&self.file))?;
        }
        Ok(())
    }
}

fn header(size_bytes: u64, now_secs: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_size(size_bytes);
    header.set_mode(0o644);
    header.set_mtime(now_secs);
    header
}

fn parse<'a, T: Deserialize<'a>>(path: &str, bytes: &'a [u8]) -> Result<T, ArchiveError> {
    serde_json::from_slice(bytes).map_err(|error| ArchiveError::NoArchive(format!("{path} cannot be read: {error}")))
}

/// A layer that unpacks to more than the engine's disk has would be found out only when that is full.
fn check_sizes(file: &File, layers: &[Span], bytes_max: u64) -> Result<(), ArchiveError> {
    let mut left = bytes_max;
    for span in layers {
        let mut magic = Vec::new();
        span.open(file).take(6).read_to_end(&mut magic)?;
        let unpacked = match magic.as_slice() {
            [0x1f, 0x8b, ..] => {
                let mut unpacking = GzDecoder::new(span.open(file)).take(left + 1);
                std::io::copy(&mut unpacking, &mut std::io::sink())?
            }
            [0x28, 0xb5, 0x2f, 0xfd, ..] => return Err(packed("zstd")),
            [b'B', b'Z', b'h', ..] => return Err(packed("bzip2")),
            [0xfd, b'7', b'z', b'X', b'Z', 0] => return Err(packed("xz")),
            _ => span.size_bytes,
        };
        left = left.checked_sub(unpacked).ok_or_else(|| {
            ArchiveError::Unfit(format!(
                "the image's layers unpack to more than {}, which is the most",
                crate::domain::Size(bytes_max)
            ))
        })?;
    }
    Ok(())
}

fn packed(with: &str) -> ArchiveError {
    ArchiveError::Unfit(format!("a layer is packed with {with}, which not every engine unpacks; save it with gzip"))
}

#[cfg(test)]
mod tests;
