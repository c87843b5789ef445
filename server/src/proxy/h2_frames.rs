//! Follows the frames that a client sends, on the raw bytes and by their heads alone: whether it left off within something
//! that has to come at once, and whether it floods us. What the frames mean is the library's. RFC 9113, section 4.
use super::limits::{H2_CONTROL_FRAMES_PER_TICK_MAX, H2_RESETS_BURST_MAX, H2_RESETS_PER_TICK};

/// `PRI * HTTP/2.0` and what follows it, in bytes.
const PREFACE_BYTES: usize = 24;
const FRAME_HEAD_BYTES: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
/// Of DATA; the same bit is ACK for SETTINGS.
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// What one SETTINGS costs, in other control frames: each goes over all streams.
const SETTINGS_COST: u32 = 100;

#[derive(Debug)]
pub(super) struct FrameScan {
    stage: Stage,
    /// A block of fields goes on in the next frame.
    is_in_block: bool,
    has_begun: bool,
    resets: Budget,
    controls: Budget,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Preface { read: usize },
    Head { read: usize, bytes: [u8; FRAME_HEAD_BYTES] },
    Payload { kind: u8, left: usize },
}

/// Where some bytes left off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Something was finished: a frame, or a whole block of fields.
    pub(super) has_finished: bool,
    /// Something was begun that is no data, and is not whole.
    pub(super) is_unfinished: bool,
    /// Data came, or room for data of ours.
    pub(super) has_moved: bool,
}

/// Too many of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flood {
    Resets,
    ControlFrames,
}

impl FrameScan {
    pub(super) fn new() -> Self {
        Self {
            stage: Stage::Preface { read: 0 },
            is_in_block: false,
            has_begun: false,
            resets: Budget::new(H2_RESETS_BURST_MAX, H2_RESETS_PER_TICK),
            controls: Budget::new(H2_CONTROL_FRAMES_PER_TICK_MAX, H2_CONTROL_FRAMES_PER_TICK_MAX),
        }
    }

    pub(super) fn follow(&mut self, bytes: &[u8], tick: u32) -> Result<Progress, Flood> {
        let mut progress = Progress::default();
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = match self.stage {
                Stage::Preface { read } => self.preface(read, rest),
                Stage::Head { read, bytes } => self.head(read, bytes, rest, tick, &mut progress)?,
                Stage::Payload { kind, left } => self.payload(kind, left, rest.len(), &mut progress),
            };
            rest = &rest[taken..];
        }
        progress.is_unfinished = self.is_unfinished();
        Ok(progress)
    }

    fn is_unfinished(&self) -> bool {
        let is_within = match self.stage {
            Stage::Preface { .. } => true,
            Stage::Head { read, .. } => read > 0,
            Stage::Payload { kind, .. } => kind != DATA,
        };
        is_within || self.is_in_block || !self.has_begun
    }

    fn preface(&mut self, read: usize, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(PREFACE_BYTES - read);
        let read = read + taken;
        self.stage = if read == PREFACE_BYTES { Stage::between() } else { Stage::Preface { read } };
        taken
    }

    fn head(
        &mut self,
        read: usize,
        mut head: [u8; FRAME_HEAD_BYTES],
        bytes: &[u8],
        tick: u32,
        progress: &mut Progress,
    ) -> Result<usize, Flood> {
        let taken = bytes.len().min(FRAME_HEAD_BYTES - read);
        head[read..read + taken].copy_from_slice(&bytes[..taken]);
        if read + taken < FRAME_HEAD_BYTES {
            self.stage = Stage::Head { read: read + taken, bytes: head };
            return Ok(taken);
        }
        let length = (usize::from(head[0]) << 16) + usize::from(u16::from_be_bytes([head[1], head[2]]));
        let (kind, flags) = (head[3], head[4]);
        self.tally(kind, flags, length, tick)?;
        match kind {
            HEADERS | CONTINUATION => self.is_in_block = flags & END_HEADERS == 0,
            DATA | WINDOW_UPDATE => progress.has_moved = true,
            _ => {}
        }
        self.stage = Stage::Payload { kind, left: length };
        if length == 0 {
            self.end_frame(progress);
        }
        Ok(taken)
    }

    fn payload(&mut self, kind: u8, left: usize, available: usize, progress: &mut Progress) -> usize {
        let taken = left.min(available);
        self.stage = Stage::Payload { kind, left: left - taken };
        progress.has_moved |= kind == DATA;
        if taken == left {
            self.end_frame(progress);
        }
        taken
    }

    fn end_frame(&mut self, progress: &mut Progress) {
        self.stage = Stage::between();
        self.has_begun = true;
        progress.has_finished |= !self.is_in_block;
    }

    /// Counts what costs us something and brings a request no further.
    fn tally(&mut self, kind: u8, flags: u8, length: usize, tick: u32) -> Result<(), Flood> {
        let cost = match kind {
            HEADERS | WINDOW_UPDATE => 0,
            DATA if length > 0 || flags & END_STREAM != 0 => 0,
            CONTINUATION if length > 0 => 0,
            RST_STREAM => return self.resets.spend(1, tick).ok_or(Flood::Resets),
            SETTINGS if flags & ACK == 0 => SETTINGS_COST,
            _ => 1,
        };
        self.controls.spend(cost, tick).ok_or(Flood::ControlFrames)
    }
}

impl Stage {
    fn between() -> Self {
        Self::Head { read: 0, bytes: [0; FRAME_HEAD_BYTES] }
    }
}

/// So many at once, and so many more with every tick.
#[derive(Debug)]
struct Budget {
    left: u32,
    max: u32,
    per_tick: u32,
    tick: u32,
}

impl Budget {
    fn new(max: u32, per_tick: u32) -> Self {
        Self { left: max, max, per_tick, tick: 0 }
    }

    fn spend(&mut self, cost: u32, tick: u32) -> Option<()> {
        let ticks = tick.saturating_sub(std::mem::replace(&mut self.tick, tick));
        self.left = self.left.saturating_add(ticks.saturating_mul(self.per_tick)).min(self.max);
        self.left = self.left.checked_sub(cost)?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFACE: &[u8; PREFACE_BYTES] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    fn begun() -> FrameScan {
        let mut scan = FrameScan::new();
        scan.follow(&[PREFACE.to_vec(), frame(SETTINGS, 0, b"")].concat(), 0).unwrap();
        scan
    }

    #[test]
    fn what_is_not_whole_is_unfinished_but_for_data() {
        let mut scan = FrameScan::new();
        assert!(scan.follow(&PREFACE[..10], 0).unwrap().is_unfinished);
        assert!(scan.follow(&PREFACE[10..], 0).unwrap().is_unfinished, "its first frame is still to come");
        assert!(!scan.follow(&frame(SETTINGS, 0, b""), 0).unwrap().is_unfinished);
        let headers = frame(HEADERS, 0, b"abc");
        let first = scan.follow(&headers[..4], 0).unwrap();
        assert!(first.is_unfinished && !first.has_finished);
        let within = scan.follow(&headers[4..], 0).unwrap();
        assert!(within.is_unfinished && !within.has_finished, "the block goes on");
        let last = scan.follow(&frame(CONTINUATION, END_HEADERS, b"d"), 0).unwrap();
        assert!(!last.is_unfinished && last.has_finished);
        let data = scan.follow(&frame(DATA, 0, b"abcdef")[..12], 0).unwrap();
        assert!(!data.is_unfinished && data.has_moved);
    }

    #[test]
    fn bytes_alone_and_bytes_at_once_leave_off_at_the_same_place() {
        let all =
            [PREFACE.to_vec(), frame(SETTINGS, 0, b"123456"), frame(HEADERS, 0, b"a"), frame(CONTINUATION, 4, b"b")];
        let all = [all.concat(), frame(DATA, 1, &[7; 300])].concat();
        for end in 1..all.len() {
            let at_once = FrameScan::new().follow(&all[..end], 0).unwrap().is_unfinished;
            let mut scan = FrameScan::new();
            let mut dripped = false;
            for byte in &all[..end] {
                dripped = scan.follow(&[*byte], 0).unwrap().is_unfinished;
            }
            assert_eq!(at_once, dripped, "after {end} bytes");
        }
    }

    #[test]
    fn floods_are_seen_and_a_steady_stream_is_none() {
        let ping = frame(6, 0, &[0; 8]);
        let many = |what: &[u8], times: u32| what.repeat(usize::try_from(times).unwrap());
        let most = H2_CONTROL_FRAMES_PER_TICK_MAX - SETTINGS_COST;
        let mut scan = begun();
        scan.follow(&many(&ping, most), 0).unwrap();
        assert_eq!(scan.follow(&ping, 0), Err(Flood::ControlFrames));
        let mut scan = begun();
        for tick in 0..50 {
            scan.follow(&many(&ping, most), tick).unwrap();
        }
        let reset = frame(RST_STREAM, 0, &[0; 4]);
        let mut scan = begun();
        scan.follow(&many(&reset, H2_RESETS_BURST_MAX), 0).unwrap();
        assert_eq!(scan.follow(&reset, 0), Err(Flood::Resets));
        let mut scan = begun();
        for tick in 0..50 {
            scan.follow(&many(&reset, H2_RESETS_PER_TICK), tick).unwrap();
        }
        for harmless in [frame(DATA, 0, b"x"), frame(DATA, END_STREAM, b""), frame(WINDOW_UPDATE, 0, &[0; 4])] {
            begun().follow(&many(&harmless, H2_CONTROL_FRAMES_PER_TICK_MAX * 2), 0).unwrap();
        }
        for costly in [frame(DATA, 0, b""), frame(2, 0, &[0; 5]), frame(0xfe, 0, b""), frame(CONTINUATION, 0, b"")] {
            assert!(begun().follow(&many(&costly, H2_CONTROL_FRAMES_PER_TICK_MAX * 2), 0).is_err(), "{costly:?}");
        }
    }
}
