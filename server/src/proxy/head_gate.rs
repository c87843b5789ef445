//! The one place of ours that every request head passes before hyper: a pure state machine over the bytes of one
//! connection. It follows bodies too, because it must know where the next head starts.
//!
//! A head passes only whole. The bytes of an unfinished one are held by the caller (`gated_io.rs`) and given again with
//! more behind them; body bytes pass at once.
use super::head_scan::{Framing, HeadScan, Scan, split_field};
use super::limits::{CHUNK_LINE_BYTES_MAX, HEAD_BYTES_MAX, LINE_BYTES_MAX};
use super::refusal::Refusal;
use memchr::memchr;

#[derive(Debug, Default)]
pub(super) struct HeadGate {
    stage: Stage,
    scan: HeadScan,
    /// The next boundary between messages waits for the answer to a request for an upgrade.
    asks_upgrade: bool,
    /// A line of a chunked body that came in pieces.
    line: Vec<u8>,
    trailer_bytes: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Head,
    Body(u64),
    ChunkSize,
    ChunkData(u64),
    ChunkEnd,
    Trailers,
    Undecided,
    Tunnel,
}

/// What may be done with the bytes just given.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ruling {
    /// So many pass; the rest is to be held and given again.
    Pass(usize),
    /// So many pass; behind them stands a head that is refused. Nothing after it is read.
    Refuse(usize, Refusal),
    /// So many pass; behind them the framing of a body is broken.
    Broken(usize, &'static str),
}

impl HeadGate {
    pub(super) fn examine(&mut self, bytes: &[u8]) -> Ruling {
        let mut at = 0;
        loop {
            let rest = &bytes[at..];
            match self.stage {
                Stage::Tunnel => return Ruling::Pass(bytes.len()),
                Stage::Undecided => return Ruling::Pass(at),
                Stage::Head => match self.scan.scan(rest) {
                    Ok(Scan::Unfinished) => return Ruling::Pass(at),
                    Err(refusal) => return Ruling::Refuse(at, refusal),
                    Ok(Scan::Whole { size_bytes, framing, asks_upgrade }) => {
                        at += size_bytes;
                        self.begin_body(framing, asks_upgrade);
                    }
                },
                Stage::Body(_) | Stage::ChunkData(_) | Stage::ChunkSize | Stage::ChunkEnd | Stage::Trailers => {
                    if rest.is_empty() {
                        return Ruling::Pass(at);
                    }
                    match self.body(rest) {
                        Ok(taken) => at += taken,
                        Err(flaw) => return Ruling::Broken(at, flaw),
                    }
                }
            }
        }
    }

    /// Whether the last message is whole and the next has not begun.
    pub(super) fn is_between_messages(&self) -> bool {
        matches!(self.stage, Stage::Head | Stage::Undecided)
    }

    /// Whether bytes must wait for the answer to a request for an upgrade.
    pub(super) fn is_undecided(&self) -> bool {
        self.stage == Stage::Undecided
    }

    /// The upgrade was answered 101: from here on everything passes.
    pub(super) fn become_tunnel(&mut self) {
        self.stage = Stage::Tunnel;
    }

    /// The upgrade was not taken up: the next head follows.
    pub(super) fn stay_http(&mut self) {
        self.stage = Stage::Head;
    }

    fn begin_body(&mut self, framing: Framing, asks_upgrade: bool) {
        self.scan = HeadScan::default();
        self.asks_upgrade = asks_upgrade;
        match framing {
            Framing::Length(0) => self.end_message(),
            Framing::Length(length) => self.stage = Stage::Body(length),
            Framing::Chunked => {
                self.trailer_bytes = 0;
                self.stage = Stage::ChunkSize;
            }
        }
    }

    fn end_message(&mut self) {
        self.stage = if std::mem::take(&mut self.asks_upgrade) { Stage::Undecided } else { Stage::Head };
    }

    /// Takes some of the bytes of a body, at least one.
    fn body(&mut self, bytes: &[u8]) -> Result<usize, &'static str> {
        let (Stage::Body(left) | Stage::ChunkData(left)) = self.stage else {
            return self.chunk_line(bytes);
        };
        let available = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let rest = left - left.min(available);
        match self.stage {
            Stage::Body(_) if rest == 0 => self.end_message(),
            Stage::Body(_) => self.stage = Stage::Body(rest),
            _ if rest == 0 => self.stage = Stage::ChunkEnd,
            _ => self.stage = Stage::ChunkData(rest),
        }
        Ok(usize::try_from(left.min(available)).unwrap_or(bytes.len()))
    }

    fn chunk_line(&mut self, bytes: &[u8]) -> Result<usize, &'static str> {
        let limit = if self.stage == Stage::Trailers { LINE_BYTES_MAX } else { CHUNK_LINE_BYTES_MAX };
        let end = memchr(b'\n', bytes);
        let piece = &bytes[..end.unwrap_or(bytes.len())];
        if self.line.len() + piece.len() > limit {
            return Err("line of a chunked body is too long");
        }
        if end.is_none() {
            self.line.extend_from_slice(piece);
            return Ok(piece.len());
        }
        let line = if self.line.is_empty() {
            self.end_chunk_line(piece)
        } else {
            let mut whole = std::mem::take(&mut self.line);
            whole.extend_from_slice(piece);
            self.end_chunk_line(&whole)
        };
        line.map(|()| piece.len() + 1)
    }

    fn end_chunk_line(&mut self, line: &[u8]) -> Result<(), &'static str> {
        let line = line.strip_suffix(b"\r").ok_or("bare line feed in a chunked body")?;
        match self.stage {
            Stage::ChunkSize => {
                let size = parse_chunk_size(line)?;
                self.stage = if size == 0 { Stage::Trailers } else { Stage::ChunkData(size) };
            }
            Stage::ChunkEnd if line.is_empty() => self.stage = Stage::ChunkSize,
            Stage::Trailers if line.is_empty() => self.end_message(),
            Stage::Trailers => {
                self.trailer_bytes += line.len();
                if self.trailer_bytes > HEAD_BYTES_MAX || split_field(line).is_err() {
                    return Err("trailer of a chunked body");
                }
            }
            _ => return Err("chunk is longer than its size"),
        }
        Ok(())
    }
}

/// `1a;extension`: hexadecimal, at most sixteen digits; extensions may hold no control characters.
fn parse_chunk_size(line: &[u8]) -> Result<u64, &'static str> {
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
