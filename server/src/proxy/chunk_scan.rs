//! Follows a chunked body over the raw bytes, of a request or of an answer, and finds what the next parser might read
//! differently. Source: RFC 9112, section 7.1.
use super::head_scan::split_field;
use super::limits::{CHUNK_LINE_BYTES_MAX, HEAD_BYTES_MAX, LINE_BYTES_MAX, TRAILERS_MAX};
use http::{HeaderMap, HeaderName, HeaderValue};
use memchr::memchr;

/// Fields that frame, route or authenticate a message have no place behind its body (RFC 9110, section 6.5.1).
const NO_TRAILERS: [&[u8]; 9] = [
    b"content-length",
    b"transfer-encoding",
    b"host",
    b"connection",
    b"trailer",
    b"te",
    b"upgrade",
    b"authorization",
    b"set-cookie",
];

#[derive(Clone, Debug, Default)]
pub(super) struct ChunkScan {
    stage: Stage,
    /// A line that came in pieces.
    line: Vec<u8>,
    trailer_bytes: usize,
    trailers: HeaderMap,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Size,
    Data(u64),
    End,
    Trailers,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// So many bytes say how long chunks are, or are trailers.
    Framing(usize),
    /// So many are the body's own.
    Data(usize),
    /// With these the body is whole.
    Last(usize),
}

impl ChunkScan {
    /// Takes some of the bytes of a body, at least one; there must be one.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<Taken, &'static str> {
        if let Stage::Data(left) = self.stage {
            let available = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            let taken = left.min(available);
            self.stage = if taken == left { Stage::End } else { Stage::Data(left - taken) };
            return Ok(Taken::Data(usize::try_from(taken).unwrap_or(bytes.len())));
        }
        self.line(bytes)
    }

    /// Looks for flaws in bytes that are not to be taken yet.
    pub(super) fn check(&self, mut bytes: &[u8]) -> Result<(), &'static str> {
        let mut ahead = self.clone();
        while !bytes.is_empty() {
            match ahead.take(bytes)? {
                Taken::Framing(taken) | Taken::Data(taken) => bytes = &bytes[taken..],
                Taken::Last(_) => return Ok(()),
            }
        }
        Ok(())
    }

    /// What stood behind the last chunk, if anything.
    pub(super) fn trailers(&mut self) -> Option<HeaderMap> {
        (!self.trailers.is_empty()).then(|| std::mem::take(&mut self.trailers))
    }

    fn line(&mut self, bytes: &[u8]) -> Result<Taken, &'static str> {
        let limit = if self.stage == Stage::Trailers { LINE_BYTES_MAX } else { CHUNK_LINE_BYTES_MAX };
        let end = memchr(b'\n', bytes);
        let piece = &bytes[..end.unwrap_or(bytes.len())];
        if self.line.len() + piece.len() > limit {
            return Err("line of a chunked body is too long");
        }
        if end.is_none() {
            self.line.extend_from_slice(piece);
            return Ok(Taken::Framing(piece.len()));
        }
        let is_last = if self.line.is_empty() {
            self.end_line(piece)?
        } else {
            let mut whole = std::mem::take(&mut self.line);
            whole.extend_from_slice(piece);
            self.end_line(&whole)?
        };
        let taken = piece.len() + 1;
        Ok(if is_last { Taken::Last(taken) } else { Taken::Framing(taken) })
    }

    /// Whether it was the last one.
    fn end_line(&mut self, line: &[u8]) -> Result<bool, &'static str> {
        let line = line.strip_suffix(b"\r").ok_or("bare line feed in a chunked body")?;
        match self.stage {
            Stage::Size => {
                let size = parse_size(line)?;
                self.stage = if size == 0 { Stage::Trailers } else { Stage::Data(size) };
            }
            Stage::End if line.is_empty() => self.stage = Stage::Size,
            Stage::Trailers if line.is_empty() => return Ok(true),
            Stage::Trailers => self.trailer(line).ok_or("trailer of a chunked body")?,
            Stage::End | Stage::Data(_) => return Err("chunk is longer than its size"),
        }
        Ok(false)
    }

    fn trailer(&mut self, line: &[u8]) -> Option<()> {
        self.trailer_bytes += line.len();
        let (name, value) = split_field(line).ok()?;
        let is_too_much = self.trailer_bytes > HEAD_BYTES_MAX || self.trailers.len() == TRAILERS_MAX;
        if is_too_much || NO_TRAILERS.iter().any(|known| name.eq_ignore_ascii_case(known)) {
            return None;
        }
        let (name, value) = (HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?);
        self.trailers.try_append(name, value).ok().map(drop)
    }
}

/// `1a;extension`: hexadecimal, at most fifteen digits; extensions may hold no control characters.
fn parse_size(line: &[u8]) -> Result<u64, &'static str> {
    let flaw = "size of a chunk";
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    let extension = &line[digits..];
    let is_extension = matches!(extension.first(), None | Some(b';'));
    if !is_extension || extension.iter().any(|b| *b < 0x20 || *b == 0x7f) || !(1..=15).contains(&digits) {
        return Err(flaw);
    }
    let text = std::str::from_utf8(&line[..digits]).map_err(|_| flaw)?;
    u64::from_str_radix(text, 16).map_err(|_| flaw)
}
