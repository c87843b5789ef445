//! Writes HTTP/2 frames byte by byte, the wrong ones too, and reads as much of the answers as the tests ask about.
use super::super::PATIENCE;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "https"), (":authority", "blog.test"), (":path", "/")];

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Literal fields without indexing, nothing compressed (RFC 7541, section 6.2.2).
pub(super) fn block<N: AsRef<[u8]>, V: AsRef<[u8]>>(fields: &[(N, V)]) -> Vec<u8> {
    let text = |text: &[u8]| [length(text.len()), text.to_vec()].concat();
    fields.iter().flat_map(|(name, value)| [vec![0], text(name.as_ref()), text(value.as_ref())].concat()).collect()
}

/// An integer with a prefix of seven bits.
fn length(size: usize) -> Vec<u8> {
    if size < 127 {
        return vec![u8::try_from(size).unwrap()];
    }
    let (mut bytes, mut rest) = (vec![127], size - 127);
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).unwrap());
    bytes
}

/// A block in HEADERS and as many CONTINUATIONs as it needs.
pub(super) fn headers(stream: u32, flags: u8, block: &[u8]) -> Vec<u8> {
    let mut pieces = block.chunks(16_384).peekable();
    let mut bytes = Vec::new();
    let mut kind = (HEADERS, flags);
    loop {
        let piece = pieces.next().unwrap_or_default();
        let end = if pieces.peek().is_none() { END_HEADERS } else { 0 };
        bytes.extend(frame(kind.0, kind.1 | end, stream, piece));
        if end != 0 {
            return bytes;
        }
        kind = (CONTINUATION, 0);
    }
}

/// A request without a body on stream 1.
pub(super) fn request<N: AsRef<[u8]>, V: AsRef<[u8]>>(fields: &[(N, V)]) -> Vec<u8> {
    headers(1, END_STREAM, &block(fields))
}

pub(super) fn get(extra: &[(&str, &str)]) -> Vec<u8> {
    request(&[&GET[..], extra].concat())
}

#[derive(Debug)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

/// How a stream or its connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Status(u16),
    Reset(u32),
    GoAway(u32),
    /// Without a word.
    Closed,
}

/// A connection on which every byte is the test's own.
pub(super) struct Raw {
    pub(super) stream: TcpStream,
}

impl Raw {
    pub(super) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    /// One that has said hello.
    pub(super) fn begun(address: SocketAddr) -> Self {
        let mut raw = Self::connect(address);
        raw.send(&[PREFACE, &frame(SETTINGS, 0, 0, b"")].concat());
        raw
    }

    /// What is sent to somebody who has left is lost, as it would be.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    pub(super) fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).ok()?;
        let mut payload = vec![0; usize::try_from(u32::from_be_bytes([0, head[0], head[1], head[2]])).unwrap()];
        self.stream.read_exact(&mut payload).ok()?;
        let stream = u32::from_be_bytes(head[5..].try_into().unwrap());
        Some(Frame { kind: head[3], stream, payload })
    }

    /// What comes of a stream first.
    pub(super) fn outcome(&mut self, stream: u32) -> Outcome {
        while let Some(frame) = self.next() {
            match frame.kind {
                HEADERS if frame.stream == stream => return Outcome::Status(status(&frame.payload)),
                RST_STREAM if frame.stream == stream => return Outcome::Reset(number(&frame.payload)),
                GOAWAY => return Outcome::GoAway(number(&frame.payload[4..])),
                _ => {}
            }
        }
        Outcome::Closed
    }
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().unwrap())
}

/// The status that a block begins with, on a connection's first answer: from the static table, or three digits.
fn status(block: &[u8]) -> u16 {
    const KNOWN: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    match block[0] {
        indexed @ 0x88..=0x8e => KNOWN[usize::from(indexed - 0x88)],
        _ if block[1] & 0x80 == 0 => std::str::from_utf8(&block[2..5]).unwrap().parse().unwrap(),
        _ => digits(&block[2..2 + usize::from(block[1] & 0x7f)]),
    }
}

/// Digits by the code of RFC 7541, appendix B: five bits for 0 to 2, six for the others.
fn digits(code: &[u8]) -> u16 {
    let bits: Vec<u16> =
        code.iter().flat_map(|byte| (0..8).rev().map(move |bit| u16::from((byte >> bit) & 1))).collect();
    let (mut at, mut number) = (0, 0);
    for _ in 0..3 {
        let value = |size: usize| bits[at..at + size].iter().fold(0, |sum, bit| sum * 2 + bit);
        let (digit, size) = if value(5) <= 2 { (value(5), 5) } else { (value(6) - 0b01_1001 + 3, 6) };
        (at, number) = (at + size, number * 10 + digit);
    }
    number
}
