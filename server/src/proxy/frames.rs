//! Where frames of a WebSocket begin and end (RFC 6455, section 5.2), and the frame that closes one.

/// Follows one direction. What is inside of frames is nobody's business here.
#[derive(Debug, Default)]
pub(super) struct FrameScan {
    head: [u8; HEAD_BYTES_MAX],
    /// Bytes of a head that are there.
    have: usize,
    /// Bytes of the payload that are still to come.
    left: u64,
    has_closed: bool,
}

const HEAD_BYTES_MAX: usize = 14;
const CLOSE: u8 = 0x8;
/// Service restart, of the registry of close codes.
const CODE: [u8; 2] = 1012u16.to_be_bytes();
const REASON: &[u8] = b"service restart";

impl FrameScan {
    pub(super) fn follow(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = &rest[self.step(rest)..];
        }
    }

    /// Follows to the end of a frame; how many bytes that takes. `None`: it is not among them.
    pub(super) fn follow_to_boundary(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            at += self.step(&bytes[at..]);
            if self.is_at_boundary() {
                return Some(at);
            }
        }
        None
    }

    pub(super) fn is_at_boundary(&self) -> bool {
        self.have == 0 && self.left == 0
    }

    /// Whether a frame that closes has begun.
    pub(super) fn has_closed(&self) -> bool {
        self.has_closed
    }

    fn step(&mut self, bytes: &[u8]) -> usize {
        if self.left > 0 {
            let taken = self.left.min(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            self.left -= taken;
            return usize::try_from(taken).unwrap_or(bytes.len());
        }
        self.head[self.have] = bytes[0];
        self.have += 1;
        if self.have == self.head_bytes() {
            self.has_closed |= self.head[0] & 0xf == CLOSE;
            self.left = self.payload_bytes();
            self.have = 0;
        }
        1
    }

    /// How long the head is, as far as that is known yet.
    fn head_bytes(&self) -> usize {
        if self.have < 2 {
            return 2;
        }
        let length = match self.head[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if self.head[1] & 0x80 == 0 { 0 } else { 4 };
        2 + length + mask
    }

    fn payload_bytes(&self) -> u64 {
        let number = |bytes: &[u8]| bytes.iter().fold(0, |number: u64, byte| (number << 8) | u64::from(*byte));
        match self.head[1] & 0x7f {
            126 => number(&self.head[2..4]),
            127 => number(&self.head[2..10]),
            short => u64::from(short),
        }
    }
}

/// What closes a connection towards a client.
pub(super) fn close_for_client() -> Vec<u8> {
    let mut frame = vec![0x80 | CLOSE, payload_length()];
    frame.extend(payload());
    frame
}

/// What closes it towards a server: clients mask what they say.
pub(super) fn close_for_app(mask: [u8; 4]) -> Vec<u8> {
    let mut frame = vec![0x80 | CLOSE, 0x80 | payload_length()];
    frame.extend(mask);
    frame.extend(payload().zip(mask.into_iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

fn payload() -> impl Iterator<Item = u8> {
    CODE.into_iter().chain(REASON.iter().copied())
}

fn payload_length() -> u8 {
    u8::try_from(CODE.len() + REASON.len()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(opcode: u8, masked: bool, payload: usize) -> Vec<u8> {
        let bit = if masked { 0x80 } else { 0 };
        let mut frame = vec![0x80 | opcode];
        match payload {
            0..=125 => frame.push(bit | u8::try_from(payload).unwrap()),
            126..=65535 => {
                frame.push(bit | 0x7e);
                frame.extend(u16::try_from(payload).unwrap().to_be_bytes());
            }
            _ => {
                frame.push(bit | 127);
                frame.extend(u64::try_from(payload).unwrap().to_be_bytes());
            }
        }
        if masked {
            frame.extend([1, 2, 3, 4]);
        }
        frame.extend(std::iter::repeat_n(0x88, payload));
        frame
    }

    #[test]
    fn boundaries_are_found_whatever_the_length_and_however_it_comes() {
        for masked in [false, true] {
            for payload in [0, 1, 125, 126, 65535, 65536] {
                let one = frame(2, masked, payload);
                let two = [one.clone(), one.clone()].concat();
                assert_eq!(FrameScan::default().follow_to_boundary(&two), Some(one.len()), "{masked} {payload}");
                let mut dripped = FrameScan::default();
                let ends = two.iter().filter(|byte| dripped.follow_to_boundary(&[**byte]).is_some()).count();
                assert_eq!((ends, dripped.has_closed()), (2, false), "{masked} {payload}");
                let mut cut = FrameScan::default();
                cut.follow(&two[..two.len() - 1]);
                assert!(!cut.is_at_boundary());
            }
        }
    }

    #[test]
    fn a_frame_that_closes_is_known_by_its_head() {
        for close in [frame(CLOSE, true, 2), close_for_client(), close_for_app([9, 8, 7, 6])] {
            let mut scan = FrameScan::default();
            scan.follow(&[frame(1, false, 300), close].concat());
            assert!(scan.has_closed() && scan.is_at_boundary());
        }
        assert_eq!(&close_for_client()[..4], &[0x88, 17, 0x03, 0xf4]);
        let masked = close_for_app([9, 8, 7, 6]);
        assert_eq!((masked[0], masked[1], masked[6] ^ 9, masked[7] ^ 8), (0x88, 0x80 | 0x11, 0x03, 0xf4));
    }
}
