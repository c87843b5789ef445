//! Judges one request head line by line, on the raw bytes. hyper is a parser and not an edge: it accepts two Hosts, bare
//! line feeds and more, which the next parser might read differently. Source: RFC 9112, sections 2 to 6.
use super::limits::{FIELDS_MAX, HEAD_BYTES_MAX, LINE_BYTES_MAX, METHOD_BYTES_MAX, URI_BYTES_MAX};
use super::refusal::Refusal;
use memchr::{memchr, memchr_iter};

/// `METHOD target HTTP/1.1` at its longest.
const REQUEST_LINE_BYTES_MAX: usize = URI_BYTES_MAX + METHOD_BYTES_MAX + " ".len() * 2 + "HTTP/1.1\r".len();

/// How far the scan of a head has come. Bytes of an unfinished head are given again with more behind them.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts seen so far, not states of one thing")]
pub(super) struct HeadScan {
    scanned: usize,
    has_request_line: bool,
    has_blank_line: bool,
    is_http10: bool,
    fields: usize,
    hosts: usize,
    content_length: Option<u64>,
    is_chunked: bool,
    asks_upgrade: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Scan {
    Unfinished,
    Whole { size_bytes: usize, framing: Framing, asks_upgrade: bool },
}

/// What follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
}

impl HeadScan {
    /// `head` starts at the head's first byte.
    pub(super) fn scan(&mut self, head: &[u8]) -> Result<Scan, Refusal> {
        while let Some(length) = memchr(b'\n', &head[self.scanned..]) {
            let line = &head[self.scanned..self.scanned + length];
            self.scanned += length + 1;
            if self.scanned > HEAD_BYTES_MAX {
                return Err(Refusal::HeadTooLarge);
            }
            let line = line.strip_suffix(b"\r").ok_or(Refusal::Malformed("bare line feed"))?;
            if self.line(line)? == Line::EndOfHead {
                return self.whole();
            }
        }
        self.check_unfinished(head)
    }

    fn check_unfinished(&self, head: &[u8]) -> Result<Scan, Refusal> {
        let rest = &head[self.scanned..];
        if !self.has_request_line {
            // Noise that is no HTTP at all (TLS on the plain port) needs no line to be seen.
            if rest.first().is_some_and(|first| !is_token(*first) && *first != b'\r') {
                return Err(Refusal::Malformed("no method"));
            }
            if rest.len() > REQUEST_LINE_BYTES_MAX {
                return Err(Refusal::UriTooLong);
            }
        } else if rest.len() > LINE_BYTES_MAX || head.len() > HEAD_BYTES_MAX {
            return Err(Refusal::HeadTooLarge);
        }
        Ok(Scan::Unfinished)
    }

    fn line(&mut self, line: &[u8]) -> Result<Line, Refusal> {
        if !self.has_request_line {
            // One blank line before a request is allowed: old clients send it behind a body.
            if line.is_empty() && !self.has_blank_line {
                self.has_blank_line = true;
                return Ok(Line::More);
            }
            self.request_line(line)?;
            self.has_request_line = true;
            return Ok(Line::More);
        }
        if line.is_empty() {
            return Ok(Line::EndOfHead);
        }
        self.field(line)?;
        Ok(Line::More)
    }

    fn request_line(&mut self, line: &[u8]) -> Result<(), Refusal> {
        let mut spaces = memchr_iter(b' ', line);
        let (Some(first), Some(second), None) = (spaces.next(), spaces.next(), spaces.next()) else {
            return Err(Refusal::Malformed("request line"));
        };
        let (method, target, version) = (&line[..first], &line[first + 1..second], &line[second + 1..]);
        if method.is_empty() || method.len() > METHOD_BYTES_MAX || !method.iter().all(|b| is_token(*b)) {
            return Err(Refusal::Malformed("method"));
        }
        self.is_http10 = match version {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => return Err(Refusal::UnknownVersion),
            _ => return Err(Refusal::Malformed("version")),
        };
        if matches!(method, b"CONNECT" | b"TRACE") {
            return Err(Refusal::MethodNotAllowed);
        }
        check_target(method, target)
    }

    fn field(&mut self, line: &[u8]) -> Result<(), Refusal> {
        self.fields += 1;
        if self.fields > FIELDS_MAX || line.len() > LINE_BYTES_MAX {
            return Err(Refusal::HeadTooLarge);
        }
        let (name, value) = split_field(line)?;
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.hosts += 1,
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.asks_upgrade = true,
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                if self.content_length.is_some() {
                    return Err(Refusal::Malformed("two Content-Length"));
                }
                self.content_length = Some(parse_length(value)?);
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if self.is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Refusal::Malformed("Transfer-Encoding is not exactly `chunked`"));
                }
                self.is_chunked = true;
            }
            _ => {}
        }
        Ok(())
    }

    /// What only the whole head shows.
    fn whole(&self) -> Result<Scan, Refusal> {
        if self.hosts != 1 {
            return Err(Refusal::Malformed("not exactly one Host"));
        }
        let framing = match (self.content_length, self.is_chunked) {
            (Some(_), true) => return Err(Refusal::Malformed("Content-Length beside Transfer-Encoding")),
            (None, true) if self.is_http10 => return Err(Refusal::Malformed("Transfer-Encoding in HTTP/1.0")),
            (None, true) => Framing::Chunked,
            (length, false) => Framing::Length(length.unwrap_or(0)),
        };
        Ok(Scan::Whole { size_bytes: self.scanned, framing, asks_upgrade: self.asks_upgrade })
    }
}

#[derive(PartialEq, Eq)]
enum Line {
    More,
    EndOfHead,
}

fn check_target(method: &[u8], target: &[u8]) -> Result<(), Refusal> {
    if target.len() > URI_BYTES_MAX {
        return Err(Refusal::UriTooLong);
    }
    // A fragment never travels, and parsers differ on where it starts.
    if target.iter().any(|b| *b <= 0x20 || *b == 0x7f || *b == b'#') {
        return Err(Refusal::Malformed("request target"));
    }
    let starts = |scheme: &[u8]| target.get(..scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme));
    let fits = target.first() == Some(&b'/')
        || starts(b"http://")
        || starts(b"https://")
        || (target == b"*" && method == b"OPTIONS");
    if fits { Ok(()) } else { Err(Refusal::Malformed("request target")) }
}

/// A field line into its name and its value without the blanks around it.
pub(super) fn split_field(line: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(Refusal::Malformed("folded field"));
    }
    let colon = memchr(b':', line).ok_or(Refusal::Malformed("field without a colon"))?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if name.is_empty() || !name.iter().all(|b| is_token(*b)) {
        return Err(Refusal::Malformed("field name"));
    }
    check_plain(value)?;
    Ok((name, trim_blanks(value)))
}

pub(super) fn check_plain(value: &[u8]) -> Result<(), Refusal> {
    // Folded over all bytes without an early way out, so that the compiler makes vectors of it.
    let bad = value.iter().fold(0, |bad, b| bad | u8::from(is_control(*b)));
    if bad == 0 { Ok(()) } else { Err(Refusal::Malformed("control character in a field value")) }
}

fn trim_blanks(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Without noughts before it: some read these as octal.
pub(super) fn parse_length(value: &[u8]) -> Result<u64, Refusal> {
    let is_plain =
        matches!(value, [b'0'] | [b'1'..=b'9', ..]) && value.len() <= 18 && value.iter().all(u8::is_ascii_digit);
    let odd = Refusal::Malformed("odd Content-Length");
    if is_plain { Ok(value.iter().fold(0, |sum, b| sum * 10 + u64::from(b - b'0'))) } else { Err(odd) }
}

/// Blanks aside. Without branches.
fn is_control(byte: u8) -> bool {
    (byte < 0x20 && byte != b'\t') || byte == 0x7f
}

fn is_token(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

/// RFC 9110, section 5.6.2.
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128u8 {
        table[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
            );
        byte += 1;
    }
    table
};
