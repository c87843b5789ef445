//! The one place of ours that every request head passes before hyper: a pure state machine over the bytes of one
//! connection. It follows bodies too, because it must know where the next head starts.
//!
//! A head passes only whole. The bytes of an unfinished one are held by the caller (`gated_io.rs`) and given again with
//! more behind them; body bytes pass at once.
use super::chunk_scan::{ChunkScan, Taken};
use super::head_scan::{Framing, HeadScan, Scan};
use super::refusal::Refusal;

#[derive(Debug, Default)]
pub(super) struct HeadGate {
    stage: Stage,
    scan: HeadScan,
    /// The next boundary between messages waits for the answer to a request for an upgrade.
    asks_upgrade: bool,
    chunks: ChunkScan,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Head,
    Body(u64),
    Chunked,
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
                Stage::Body(_) | Stage::Chunked => {
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
                self.chunks = ChunkScan::default();
                self.stage = Stage::Chunked;
            }
        }
    }

    fn end_message(&mut self) {
        self.stage = if std::mem::take(&mut self.asks_upgrade) { Stage::Undecided } else { Stage::Head };
    }

    /// Takes some of the bytes of a body, at least one.
    fn body(&mut self, bytes: &[u8]) -> Result<usize, &'static str> {
        let Stage::Body(left) = self.stage else {
            return Ok(match self.chunks.take(bytes)? {
                Taken::Framing(taken) | Taken::Data(taken) => taken,
                Taken::Last(taken) => {
                    self.chunks = ChunkScan::default();
                    self.end_message();
                    taken
                }
            });
        };
        let taken = left.min(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        if taken == left {
            self.end_message();
        } else {
            self.stage = Stage::Body(left - taken);
        }
        Ok(usize::try_from(taken).unwrap_or(bytes.len()))
    }
}
