//! The format of a backup: a tar of known parts, gzipped, and encrypted if the configuration says so.
//!
//! The manifest comes first and the checksums of everything last: what has no end, or another content, is no backup.
use super::cipher::{Opener, Sealed, open};
use super::part::Part;
use crate::domain::hex::hex;
use anyhow::{Context, bail};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, BufRead, Read, Write};

/// Of this layout; a later one gets another number.
pub(super) const FORMAT: u32 = 1;
/// Manifest, checksums and refs are read into memory.
pub(super) const JSON_BYTES_MAX: u64 = 64 << 20;

/// What a backup says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) format: u32,
    /// Version of the `paas` that made it.
    pub(super) version: String,
    pub(super) installation: String,
    /// RFC 3339.
    pub(super) made_at: String,
    pub(super) has_seal_key: bool,
    pub(super) apps: usize,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Sum {
    path: String,
    size_bytes: u64,
    sha256: String,
}

pub(super) struct Writer<W: Write> {
    tar: tar::Builder<GzEncoder<Sealed<W>>>,
    sums: Vec<Sum>,
    made_at_secs: u64,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(out: Sealed<W>, made_at_secs: u64) -> Self {
        // Packs are compressed already, and databases are small: speed before size.
        let tar = tar::Builder::new(GzEncoder::new(out, Compression::fast()));
        Self { tar, sums: Vec::new(), made_at_secs }
    }

    pub(super) fn add(&mut self, part: &Part, bytes: &[u8]) -> io::Result<()> {
        let size = bytes.len() as u64;
        self.add_from(part, size, bytes)
    }

    pub(super) fn add_file(&mut self, part: &Part, file: File) -> io::Result<()> {
        let size = file.metadata()?.len();
        self.add_from(part, size, file)
    }

    fn add_from(&mut self, part: &Part, size_bytes: u64, from: impl Read) -> io::Result<()> {
        let path = part.to_string();
        let mut header = tar::Header::new_ustar();
        header.set_size(size_bytes);
        header.set_mode(0o600);
        header.set_mtime(self.made_at_secs);
        let mut hashed = Hashed::new(from.take(size_bytes));
        self.tar.append_data(&mut header, &path, &mut hashed)?;
        if hashed.size_bytes != size_bytes {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{path} shrank while it was read")));
        }
        self.sums.push(Sum { path, size_bytes, sha256: hex(&hashed.hash.finalize()) });
        Ok(())
    }

    /// Writes the checksums and every end.
    pub(super) fn finish(mut self) -> io::Result<W> {
        let sums = serde_json::to_vec(&self.sums)?;
        self.add(&Part::Checksums, &sums)?;
        self.tar.into_inner()?.finish()?.finish()
    }
}

/// Takes the parts of a backup, in their order, as they are read.
pub(super) trait Sink {
    fn take(&mut self, part: &Part, content: &mut dyn Read) -> anyhow::Result<()>;
}

/// Reads a backup to its end and hands every part to `sink`. An error: it is damaged, or not ours.
pub(super) fn read_through(input: impl BufRead, opener: &Opener, sink: &mut dyn Sink) -> anyhow::Result<Manifest> {
    let mut archive = tar::Archive::new(GzDecoder::new(open(input, opener)?));
    let (mut manifest, mut sums, mut is_over) = (None, Vec::new(), false);
    for entry in archive.entries().context("read the archive")? {
        let entry = entry.context("read the archive; is the file cut off?")?;
        let path = entry.path_bytes().into_owned();
        let part: Part = String::from_utf8_lossy(&path).parse()?;
        if is_over || (manifest.is_none() != (part == Part::Manifest)) {
            bail!("{part} is where it does not belong");
        }
        let mut hashed = Hashed::new(entry);
        match &part {
            Part::Manifest => manifest = Some(read_manifest(&mut hashed)?),
            Part::Checksums => {
                let wanted: Vec<Sum> = read_json(&mut hashed).context("read checksums.json")?;
                compare(&wanted, &sums)?;
                is_over = true;
            }
            _ => sink.take(&part, &mut hashed).with_context(|| format!("take {part} out (was the file cut off?)"))?,
        }
        io::copy(&mut hashed, &mut io::sink()).with_context(|| format!("read {part}"))?;
        sums.push(Sum { path: part.to_string(), size_bytes: hashed.size_bytes, sha256: hex(&hashed.hash.finalize()) });
    }
    // The ends of compression and encryption have checksums of their own.
    io::copy(&mut archive.into_inner(), &mut io::sink()).context("read the end; is the file cut off?")?;
    match manifest {
        Some(manifest) if is_over => Ok(manifest),
        Some(_) => bail!("its end is missing: it was cut off"),
        None => bail!("it is no backup: there is no manifest.json in it"),
    }
}

fn read_manifest(content: &mut dyn Read) -> anyhow::Result<Manifest> {
    let manifest: Manifest = read_json(content).context("read manifest.json")?;
    if manifest.format != FORMAT {
        bail!("it has format {}, and this paas reads format {FORMAT}; use paas {}", manifest.format, manifest.version);
    }
    Ok(manifest)
}

pub(super) fn read_json<T: serde::de::DeserializeOwned>(content: &mut dyn Read) -> anyhow::Result<T> {
    Ok(serde_json::from_reader(content.take(JSON_BYTES_MAX))?)
}

fn compare(wanted: &[Sum], found: &[Sum]) -> anyhow::Result<()> {
    if let Some((wanted, _)) = wanted.iter().zip(found).find(|(wanted, found)| wanted != found) {
        bail!("{} is not what was put in", wanted.path);
    }
    match wanted.get(found.len()) {
        Some(missing) => bail!("{} is missing", missing.path),
        None if found.len() > wanted.len() => bail!("{} was not put in", found[wanted.len()].path),
        None => Ok(()),
    }
}

/// Counts and hashes what passes through, in either direction.
pub(super) struct Hashed<T> {
    inner: T,
    hash: Sha256,
    size_bytes: u64,
}

impl<T> Hashed<T> {
    pub(super) fn new(inner: T) -> Self {
        Self { inner, hash: Sha256::new(), size_bytes: 0 }
    }

    /// (what is below, bytes, SHA-256 in hex)
    pub(super) fn finish(self) -> (T, u64, String) {
        (self.inner, self.size_bytes, hex(&self.hash.finalize()))
    }

    fn count(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.size_bytes += bytes.len() as u64;
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count(&buffer[..read]);
        Ok(read)
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.count(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::super::cipher::Cipher;
    use super::*;

    struct Kept(Vec<(String, Vec<u8>)>);

    impl Sink for Kept {
        fn take(&mut self, part: &Part, content: &mut dyn Read) -> anyhow::Result<()> {
            let mut bytes = Vec::new();
            content.read_to_end(&mut bytes)?;
            self.0.push((part.to_string(), bytes));
            Ok(())
        }
    }

    fn manifest() -> Vec<u8> {
        let manifest = Manifest {
            format: FORMAT,
            version: "0.1.0".to_owned(),
            installation: "i".to_owned(),
            made_at: "2026-11-24T00:00:00Z".to_owned(),
            has_seal_key: false,
            apps: 0,
        };
        serde_json::to_vec(&manifest).unwrap()
    }

    fn written(parts: &[(Part, &[u8])]) -> Vec<u8> {
        let (sealed, _) = Cipher::Nothing.seal(Vec::new()).unwrap();
        let mut writer = Writer::new(sealed, 0);
        for (part, bytes) in parts {
            writer.add(part, bytes).unwrap();
        }
        writer.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
        let mut kept = Kept(Vec::new());
        read_through(bytes, &Opener::Nothing, &mut kept)?;
        Ok(kept.0)
    }

    #[test]
    fn what_is_written_is_read_and_a_cut_is_noticed_wherever_it_is() {
        let bytes = written(&[(Part::Manifest, &manifest()), (Part::Database, &[7; 5000]), (Part::HostKey, b"key")]);
        let parts = read(&bytes).unwrap();
        assert_eq!(
            parts,
            [("paas.db".to_owned(), vec![7; 5000]), ("keys/ssh_host_ed25519".to_owned(), b"key".to_vec())]
        );
        for end in 0..bytes.len() {
            assert!(read(&bytes[..end]).is_err(), "cut at {end} of {}", bytes.len());
        }
    }

    #[test]
    fn what_lacks_its_beginning_or_was_changed_is_refused() {
        assert!(read(&written(&[(Part::Database, b"x")])).is_err());
        assert!(read(&written(&[(Part::Manifest, b"{}")])).is_err());
        assert!(read(b"no backup at all").is_err());
        // The same bytes under another name: as long, so that only the checksums tell.
        let mut plain = Vec::new();
        let bytes = written(&[(Part::Manifest, &manifest()), (Part::HostKey, b"key one")]);
        GzDecoder::new(bytes.as_slice()).read_to_end(&mut plain).unwrap();
        let at = plain.windows(7).position(|window| window == b"key one").unwrap();
        plain[at..at + 7].copy_from_slice(b"key two");
        let mut changed = GzEncoder::new(Vec::new(), Compression::fast());
        changed.write_all(&plain).unwrap();
        let error = read(&changed.finish().unwrap()).unwrap_err();
        assert!(error.to_string().contains("keys/ssh_host_ed25519 is not what was put in"), "{error:#}");
    }
}
