//! The one place of ours that every byte of an app's answers passes before hyper: held to the strictness of requests, so
//! that nobody behind us reads an answer in another way than we do. Source: RFC 9112, sections 4 to 7.
//!
//! Bytes pass at once: hyper acts on whole heads only, and a head's last byte never passes when the head has a flaw.
use super::chunk_scan::{ChunkScan, Taken};
use super::head_scan::{check_plain, parse_length, split_field};
use super::limits::{ANSWER_FIELDS_MAX, HEAD_BYTES_MAX, INTERIM_HEADS_MAX, LINE_BYTES_MAX};
use super::refusal::Refusal;
use memchr::memchr;

#[derive(Debug, Default)]
pub(super) struct AnswerGate {
    stage: Stage,
    /// A line of a head that came in pieces.
    line: Vec<u8>,
    head: Head,
    interim_heads: usize,
    chunks: ChunkScan,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Head,
    Body(u64),
    Chunked,
    UntilEnd,
    /// A protocol of its own, which is none of ours.
    Tunnel,
    Over,
}

/// What was asked, as far as it says how the answer is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Nothing = 0,
    /// HEAD: no body, whatever the head says.
    Head = 1,
    Other = 2,
}

/// One head, as far as it was read.
#[derive(Debug, Default)]
struct Head {
    /// 0 before the first line.
    status: u16,
    is_http10: bool,
    bytes: usize,
    fields: usize,
    content_length: Option<u64>,
    is_chunked: bool,
}

impl AnswerGate {
    /// A request is about to be sent.
    pub(super) fn begin(&mut self) {
        if self.stage == Stage::Over {
            *self = Self::default();
        }
    }

    /// How many of the bytes belong to the answer, or what is wrong with them.
    pub(super) fn examine(&mut self, bytes: &[u8], asked: Asked) -> Result<usize, &'static str> {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            at += match self.stage {
                Stage::Tunnel | Stage::UntilEnd => rest.len(),
                Stage::Over => return Ok(at),
                Stage::Head => self.head(rest, asked)?,
                Stage::Body(left) => self.body(rest.len(), left),
                Stage::Chunked => match self.chunks.take(rest)? {
                    Taken::Some(taken) => taken,
                    Taken::Last(taken) => {
                        self.stage = Stage::Over;
                        taken
                    }
                },
            };
        }
        Ok(at)
    }

    pub(super) fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    fn body(&mut self, available: usize, left: u64) -> usize {
        let taken = left.min(u64::try_from(available).unwrap_or(u64::MAX));
        self.stage = if taken == left { Stage::Over } else { Stage::Body(left - taken) };
        usize::try_from(taken).unwrap_or(available)
    }

    /// Takes a line of a head, or the piece of it that is there.
    fn head(&mut self, bytes: &[u8], asked: Asked) -> Result<usize, &'static str> {
        let end = memchr(b'\n', bytes);
        let piece = &bytes[..end.unwrap_or(bytes.len())];
        self.head.bytes += piece.len() + 1;
        if self.line.len() + piece.len() > LINE_BYTES_MAX || self.head.bytes > HEAD_BYTES_MAX {
            return Err("head of an answer is too large");
        }
        if end.is_none() {
            self.line.extend_from_slice(piece);
            return Ok(piece.len());
        }
        let is_whole = if self.line.is_empty() {
            self.head.line(piece)?
        } else {
            let mut whole = std::mem::take(&mut self.line);
            whole.extend_from_slice(piece);
            self.head.line(&whole)?
        };
        if is_whole {
            self.end_head(asked)?;
        }
        Ok(piece.len() + 1)
    }

    fn end_head(&mut self, asked: Asked) -> Result<(), &'static str> {
        let head = std::mem::take(&mut self.head);
        self.stage = match head.status {
            101 => Stage::Tunnel,
            100..=199 => {
                self.interim_heads += 1;
                if self.interim_heads > INTERIM_HEADS_MAX || head.has_body() {
                    return Err("interim answers");
                }
                Stage::Head
            }
            204 if head.has_body() => return Err("body of an answer that has none"),
            204 | 304 => Stage::Over,
            _ if asked == Asked::Head => Stage::Over,
            _ if head.is_chunked => Stage::Chunked,
            _ => match head.content_length {
                Some(0) => Stage::Over,
                Some(length) => Stage::Body(length),
                None => Stage::UntilEnd,
            },
        };
        Ok(())
    }
}

impl Head {
    /// Whether it was the last one.
    fn line(&mut self, line: &[u8]) -> Result<bool, &'static str> {
        let line = line.strip_suffix(b"\r").ok_or("bare line feed in the head of an answer")?;
        if self.status == 0 {
            self.status_line(line)?;
            return Ok(false);
        }
        if line.is_empty() {
            return self.whole().map(|()| true);
        }
        self.field(line).map_err(Refusal::flaw)?;
        Ok(false)
    }

    /// `HTTP/1.1 200 OK`; the reason, and the blank before it, may be missing.
    fn status_line(&mut self, line: &[u8]) -> Result<(), &'static str> {
        let flaw = "status line";
        let rest = match line.split_at_checked(9) {
            Some((b"HTTP/1.1 ", rest)) => rest,
            Some((b"HTTP/1.0 ", rest)) => {
                self.is_http10 = true;
                rest
            }
            Some(_) | None => return Err(flaw),
        };
        let (digits, reason) = rest.split_at_checked(3).ok_or(flaw)?;
        let is_status = matches!(digits, [b'1'..=b'9', b'0'..=b'9', b'0'..=b'9']);
        if !is_status || !matches!(reason.first(), None | Some(b' ')) {
            return Err(flaw);
        }
        check_plain(reason).map_err(Refusal::flaw)?;
        self.status = digits.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
        Ok(())
    }

    fn field(&mut self, line: &[u8]) -> Result<(), Refusal> {
        self.fields += 1;
        if self.fields > ANSWER_FIELDS_MAX {
            return Err(Refusal::HeadTooLarge);
        }
        let (name, value) = split_field(line)?;
        if name.eq_ignore_ascii_case(b"content-length") {
            if self.content_length.is_some() {
                return Err(Refusal::Malformed("two Content-Length"));
            }
            self.content_length = Some(parse_length(value)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Refusal::Malformed("Transfer-Encoding is not exactly `chunked`"));
            }
            self.is_chunked = true;
        }
        Ok(())
    }

    fn whole(&self) -> Result<(), &'static str> {
        match (self.content_length, self.is_chunked) {
            (Some(_), true) => Err("Content-Length beside Transfer-Encoding"),
            (None, true) if self.is_http10 => Err("Transfer-Encoding in HTTP/1.0"),
            (_, false) | (None, true) => Ok(()),
        }
    }

    fn has_body(&self) -> bool {
        self.is_chunked || self.content_length.is_some_and(|length| length > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All at once, then every byte alone: an answer must be judged the same however it comes.
    fn judge(bytes: &[u8], asked: Asked) -> Result<usize, &'static str> {
        let at_once = AnswerGate::default().examine(bytes, asked);
        let mut gate = AnswerGate::default();
        let dripped = bytes.iter().try_fold(0, |passed, byte| Ok(passed + gate.examine(&[*byte], asked)?));
        assert_eq!(at_once, dripped, "{:?}", String::from_utf8_lossy(bytes));
        at_once
    }

    #[test]
    fn plain_answers_pass_whole_and_not_a_byte_more() {
        for good in [
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 404 Ni\u{e4}t \tdo\r\ncontent-length:0\r\n\r\n",
            "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
            "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: v\r\n\r\n",
        ] {
            assert_eq!(judge(good.as_bytes(), Asked::Other), Ok(good.len()), "{good:?}");
            let more = format!("{good}HTTP/1.1 200 OK\r\n\r\nsmuggled");
            assert_eq!(judge(more.as_bytes(), Asked::Other), Ok(good.len()), "{more:?}");
        }
        let until_end = b"HTTP/1.0 200 OK\r\n\r\nall of it\n\n";
        assert_eq!(judge(until_end, Asked::Other), Ok(until_end.len()));
        let tunnel = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n\x81\x00\n";
        assert_eq!(judge(tunnel, Asked::Other), Ok(tunnel.len()));
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n";
        assert_eq!(judge(format!("{head}abc").as_bytes(), Asked::Head), Ok(head.len()));
    }

    #[test]
    fn ambiguous_and_malformed_answers_have_a_flaw() {
        for bad in [
            "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\n",
            "\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            "HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n",
            "http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 O\0K\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\n X: a\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nnonsense\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
            "HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\na",
            "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na",
            "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 204 No Content\r\nContent-Length: 1\r\n\r\na",
            "HTTP/1.1 100 Continue\r\nContent-Length: 1\r\n\r\na",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 1\r\n\r\n",
            "nonsense\r\n\r\n",
        ] {
            assert!(judge(bad.as_bytes(), Asked::Other).is_err(), "{bad:?} passed");
        }
    }

    #[test]
    fn heads_of_answers_have_limits() {
        let fields =
            |count: usize| format!("HTTP/1.1 200 OK\r\n{}Content-Length: 0\r\n\r\n", "a: b\r\n".repeat(count - 1));
        assert!(judge(fields(ANSWER_FIELDS_MAX).as_bytes(), Asked::Other).is_ok());
        assert!(judge(fields(ANSWER_FIELDS_MAX + 1).as_bytes(), Asked::Other).is_err());
        let line = format!("HTTP/1.1 200 OK\r\na: {}\r\n\r\n", "x".repeat(LINE_BYTES_MAX));
        assert!(judge(line.as_bytes(), Asked::Other).is_err());
        let head = format!("HTTP/1.1 200 OK\r\n{}\r\n", format!("a: {}\r\n", "x".repeat(16_000)).repeat(5));
        assert!(judge(head.as_bytes(), Asked::Other).is_err());
        let hints = |count| "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(count);
        assert!(judge(hints(INTERIM_HEADS_MAX).as_bytes(), Asked::Other).is_ok());
        assert!(judge(hints(INTERIM_HEADS_MAX + 1).as_bytes(), Asked::Other).is_err());
    }
}
