//! Looks through a pack (gitformat-pack(5)) before libgit2 does, which holds what a delta makes in memory: a pack of a few
//! bytes can ask for gigabytes.
use super::{FetchError, unusable};
use flate2::{Decompress, FlushDecompress, Status};

/// All objects together, unpacked.
pub(super) const OBJECT_BYTES_MAX: u64 = 512 << 20;

const HEADER_BYTES: usize = 12;
const OID_BYTES: usize = 20;
const OFFSET_DELTA: u8 = 6;
const REFERENCE_DELTA: u8 = 7;
const CHUNK_BYTES: usize = 64 << 10;
/// A delta begins with two sizes, of at most ten bytes each.
const SIZES_BYTES: usize = 20;

/// Refuses a pack whose objects are larger than they may be, as its own numbers say; what lies about them is found here
/// where it unpacks to more, and by libgit2 else.
pub(super) fn check_sizes(pack: &[u8]) -> Result<(), FetchError> {
    let (header, mut rest) = pack.split_at_checked(HEADER_BYTES).ok_or_else(broken)?;
    let count = header.strip_prefix(b"PACK").and_then(|header| header.last_chunk()).ok_or_else(broken)?;
    let mut total: u64 = 0;
    for _ in 0..u32::from_be_bytes(*count) {
        total = total.saturating_add(object(&mut rest)?);
        if total > OBJECT_BYTES_MAX {
            let most = OBJECT_BYTES_MAX >> 20;
            return Err(unusable(format!("its files and folders are more than {most} MiB")));
        }
    }
    Ok(())
}

/// Takes an object off the front, and says what it and, of a delta, what it makes takes.
fn object(from: &mut &[u8]) -> Result<u64, FetchError> {
    let first = byte(from)?;
    let kind = first >> 4 & 7;
    let mut size = u64::from(first & 15);
    if first & 0x80 != 0 {
        size |= varint(from)?.checked_mul(16).ok_or_else(broken)?;
    }
    match kind {
        OFFSET_DELTA => while byte(from)? & 0x80 != 0 {},
        REFERENCE_DELTA => *from = from.get(OID_BYTES..).ok_or_else(broken)?,
        _ => {}
    }
    if size > OBJECT_BYTES_MAX {
        return Ok(size);
    }
    let begin = inflate(from, size)?;
    if !matches!(kind, OFFSET_DELTA | REFERENCE_DELTA) {
        return Ok(size);
    }
    let mut sizes = begin.as_slice();
    varint(&mut sizes)?;
    Ok(size.saturating_add(varint(&mut sizes)?))
}

/// Takes a compressed stream of so many bytes off the front, and gives the first of them.
fn inflate(from: &mut &[u8], size: u64) -> Result<Vec<u8>, FetchError> {
    let mut stream = Decompress::new(true);
    let (mut begin, mut chunk) = (Vec::new(), vec![0; CHUNK_BYTES]);
    loop {
        let (read, made) = (stream.total_in(), stream.total_out());
        let status = stream.decompress(from, &mut chunk, FlushDecompress::None).map_err(|_| broken())?;
        let read = usize::try_from(stream.total_in() - read).map_err(unusable)?;
        let made = usize::try_from(stream.total_out() - made).map_err(unusable)?;
        *from = &from[read..];
        let missing = SIZES_BYTES.saturating_sub(begin.len());
        begin.extend_from_slice(&chunk[..made.min(missing)]);
        if stream.total_out() > size || (read == 0 && made == 0 && status != Status::StreamEnd) {
            return Err(broken());
        }
        if status == Status::StreamEnd {
            return Ok(begin);
        }
    }
}

/// Seven bits a byte, the lowest first.
fn varint(from: &mut &[u8]) -> Result<u64, FetchError> {
    let (mut value, mut shift) = (0_u64, 0);
    loop {
        let next = byte(from)?;
        value |= u64::from(next & 0x7f).checked_shl(shift).ok_or_else(broken)?;
        shift += 7;
        if next & 0x80 == 0 {
            return Ok(value);
        }
    }
}

fn byte(from: &mut &[u8]) -> Result<u8, FetchError> {
    let (first, rest) = from.split_first().ok_or_else(broken)?;
    *from = rest;
    Ok(*first)
}

fn broken() -> FetchError {
    unusable("what its server sent is no pack")
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::ZlibEncoder};
    use std::io::Write;

    fn deflated(bytes: &[u8]) -> Vec<u8> {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(bytes).unwrap();
        zlib.finish().unwrap()
    }

    fn size_of(mut size: u64, first: Option<u8>) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Some(kind) = first {
            let low = u8::try_from(size & 15).unwrap();
            size >>= 4;
            bytes.push(kind << 4 | low | if size > 0 { 0x80 } else { 0 });
        }
        while size > 0 || bytes.is_empty() {
            let low = u8::try_from(size & 0x7f).unwrap();
            size >>= 7;
            bytes.push(low | if size > 0 { 0x80 } else { 0 });
        }
        bytes
    }

    fn pack(objects: &[Vec<u8>]) -> Vec<u8> {
        let count = u32::try_from(objects.len()).unwrap().to_be_bytes();
        [b"PACK\0\0\0\x02".as_slice(), &count, &objects.concat(), &[0; OID_BYTES]].concat()
    }

    fn blob(size: u64, contents: &[u8]) -> Vec<u8> {
        [size_of(size, Some(3)), deflated(contents)].concat()
    }

    /// A delta that makes so much, of the object before it.
    fn delta(makes: u64) -> Vec<u8> {
        let said = [size_of(5, None), size_of(makes, None), vec![0x90, 5]].concat();
        [size_of(said.len() as u64, Some(OFFSET_DELTA)), vec![0x10], deflated(&said)].concat()
    }

    #[test]
    fn a_real_pack_is_read_to_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let repo = git2::Repository::init_bare(dir.path()).unwrap();
        let (mut builder, mut bytes) = (repo.packbuilder().unwrap(), git2::Buf::new());
        for n in 0..8 {
            let text = format!("a line of {n}\n").repeat(n * 400);
            builder.insert_object(repo.blob(text.as_bytes()).unwrap(), Some("file")).unwrap();
        }
        builder.write_buf(&mut bytes).unwrap();
        check_sizes(&bytes).unwrap();
        assert!(check_sizes(&bytes[..bytes.len() / 2]).is_err(), "it breaks off");
    }

    #[test]
    fn what_unpacks_to_more_than_is_held_is_refused_whoever_makes_it() {
        assert!(check_sizes(&pack(&[blob(5, b"hello"), delta(5)])).is_ok());
        for bomb in [
            vec![blob(5, b"hello"), delta(OBJECT_BYTES_MAX)],
            vec![blob(OBJECT_BYTES_MAX + 1, b"hello")],
            vec![blob(5, b"hello"), delta(OBJECT_BYTES_MAX / 2), delta(OBJECT_BYTES_MAX / 2)],
        ] {
            assert!(check_sizes(&pack(&bomb)).unwrap_err().to_string().contains("more than 512 MiB"));
        }
        assert!(check_sizes(&pack(&[blob(4, b"hello")])).unwrap_err().to_string().contains("no pack"), "it lied");
    }

    #[test]
    fn what_is_no_pack_is_refused() {
        for bytes in [
            &b""[..],
            b"PACK",
            b"KCAP\0\0\0\x02\0\0\0\0",
            b"PACK\0\0\0\x02\0\0\0\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        ] {
            assert!(check_sizes(bytes).is_err(), "{bytes:?}");
        }
    }
}
