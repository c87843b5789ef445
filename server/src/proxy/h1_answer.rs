//! Reads an app's answers by HTTP/1.1. They are held to the strictness of requests, so that nobody behind us reads one in
//! another way than we do. Source: RFC 9112, sections 4 to 7.
//!
//! A head is judged line by line as it comes and handed on whole; a body frame by frame. No byte behind an answer is read as
//! part of anything.
use super::chunk_scan::{ChunkScan, Taken};
use super::h1_answer_head::{Head, TOO_LARGE};
use super::limits::{BUFFER_BYTES_MAX, HEAD_BYTES_MAX, INTERIM_HEADS_MAX, LINE_BYTES_MAX, READ_BYTES_MIN};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::response::Parts;
use hyper::body::Frame;
use memchr::memchr;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncRead;
use tokio_util::io::poll_read_buf;

#[derive(Debug)]
pub(super) struct AnswerReader {
    stage: Stage,
    asked: Asked,
    /// What was read and not handed on; a head from its first byte on.
    bytes: BytesMut,
    /// How much of an unfinished head is whole lines, and how much was searched for the end of the next.
    judged: usize,
    searched: usize,
    head: Head,
    interim_heads: usize,
    chunks: ChunkScan,
    has_spoken: bool,
    /// How much is read at once: it grows as reads fill it.
    read_bytes: usize,
    /// Whether nothing but the connection's end tells that of the answer.
    ends_by_close: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
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
    /// HEAD: no body, whatever the head says.
    Head,
    Other,
}

impl AnswerReader {
    pub(super) fn new() -> Self {
        Self {
            stage: Stage::Over,
            asked: Asked::Other,
            bytes: BytesMut::new(),
            judged: 0,
            searched: 0,
            head: Head::default(),
            interim_heads: 0,
            chunks: ChunkScan::default(),
            has_spoken: false,
            read_bytes: READ_BYTES_MIN,
            ends_by_close: false,
        }
    }

    /// A request is about to be said.
    pub(super) fn begin(&mut self, asked: Asked) {
        (self.stage, self.asked, self.has_spoken, self.interim_heads) = (Stage::Head, asked, false, 0);
        (self.read_bytes, self.ends_by_close) = (READ_BYTES_MIN, false);
    }

    /// Whether a byte came since the last request.
    pub(super) fn has_spoken(&self) -> bool {
        self.has_spoken
    }

    /// Whether the answer is whole.
    pub(super) fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// Whether bytes came that no request asked for: what comes next would be read as somebody's answer.
    pub(super) fn has_excess(&self) -> bool {
        self.stage == Stage::Over && !self.bytes.is_empty()
    }

    /// Gives back what room for reading a large answer took.
    pub(super) fn rest(&mut self) {
        if self.read_bytes > READ_BYTES_MIN && self.bytes.is_empty() {
            self.bytes = BytesMut::new();
        }
    }

    /// How many bytes of the body are left, where its head said so.
    pub(super) fn left_bytes(&self) -> Option<u64> {
        match self.stage {
            Stage::Over => Some(0),
            Stage::Body(left) => Some(left),
            Stage::Head | Stage::Chunked | Stage::UntilEnd | Stage::Tunnel => None,
        }
    }

    pub(super) fn ends_by_close(&self) -> bool {
        self.ends_by_close
    }

    /// What came behind the head of an upgrade; copied, so that nothing keeps the room for reading.
    pub(super) fn into_early(self) -> Bytes {
        Bytes::copy_from_slice(&self.bytes)
    }

    /// The answer's head, once it is whole. Interim heads are passed over.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`]: a flaw. [`io::ErrorKind::UnexpectedEof`]: the end, before it was whole.
    pub(super) fn poll_head<R>(&mut self, cx: &mut Context<'_>, from: &mut R) -> Poll<io::Result<Parts>>
    where
        R: AsyncRead + Unpin,
    {
        loop {
            if let Some(head) = self.next_head().map_err(flawed)? {
                return Poll::Ready(Ok(head));
            }
            if ready!(self.poll_read(cx, from))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// The next piece of the body; `None` at its end. Errors as those of [`Self::poll_head`].
    pub(super) fn poll_frame<R>(&mut self, cx: &mut Context<'_>, from: &mut R) -> Poll<Option<io::Result<Frame<Bytes>>>>
    where
        R: AsyncRead + Unpin,
    {
        loop {
            if let Some(frame) = self.next_frame().map_err(flawed)? {
                return Poll::Ready(Some(Ok(frame)));
            }
            if self.is_over() {
                return Poll::Ready(None);
            }
            if ready!(self.poll_read(cx, from))? == 0 {
                if self.stage != Stage::UntilEnd {
                    return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
                }
                self.stage = Stage::Over;
            }
        }
    }

    fn poll_read<R: AsyncRead + Unpin>(&mut self, cx: &mut Context<'_>, from: &mut R) -> Poll<io::Result<usize>> {
        if let Stage::Body(left) = self.stage {
            let left = usize::try_from(left).unwrap_or(usize::MAX);
            self.read_bytes = left.clamp(READ_BYTES_MIN, BUFFER_BYTES_MAX);
        }
        self.bytes.reserve(self.read_bytes);
        let read = ready!(poll_read_buf(Pin::new(from), cx, &mut (&mut self.bytes).limit(self.read_bytes)))?;
        self.has_spoken |= read > 0;
        if read >= self.read_bytes {
            self.read_bytes = (self.read_bytes * 2).min(BUFFER_BYTES_MAX);
        }
        Poll::Ready(Ok(read))
    }

    /// Judges the lines that are whole.
    fn next_head(&mut self) -> Result<Option<Parts>, &'static str> {
        while self.stage == Stage::Head {
            let Some(length) = memchr(b'\n', &self.bytes[self.searched..]) else {
                self.searched = self.bytes.len();
                let is_long = self.searched - self.judged > LINE_BYTES_MAX || self.searched > HEAD_BYTES_MAX;
                return if is_long { Err(TOO_LARGE) } else { Ok(None) };
            };
            let end = self.searched + length;
            if end - self.judged > LINE_BYTES_MAX || end >= HEAD_BYTES_MAX {
                return Err(TOO_LARGE);
            }
            let is_last = self.head.line(&self.bytes[self.judged..end], self.judged)?;
            (self.judged, self.searched) = (end + 1, end + 1);
            if is_last && let Some(head) = self.end_head()? {
                return Ok(Some(head));
            }
        }
        Ok(None)
    }

    fn end_head(&mut self) -> Result<Option<Parts>, &'static str> {
        let text = self.bytes.split_to(self.judged).freeze();
        (self.judged, self.searched) = (0, 0);
        let head = &mut self.head;
        self.stage = match head.status {
            101 => Stage::Tunnel,
            100..=199 => {
                self.interim_heads += 1;
                if self.interim_heads > INTERIM_HEADS_MAX || head.has_body() {
                    return Err("interim answers");
                }
                head.clear();
                return Ok(None);
            }
            204 if head.has_body() => return Err("body of an answer that has none"),
            204 | 304 => Stage::Over,
            _ if self.asked == Asked::Head => Stage::Over,
            _ if head.is_chunked => {
                self.chunks = ChunkScan::default();
                // A flaw that came along with the head is told by a page; later ones can only break the answer off.
                self.chunks.check(&self.bytes)?;
                Stage::Chunked
            }
            _ => match head.content_length {
                Some(0) => Stage::Over,
                Some(length) => Stage::Body(length),
                None => {
                    self.ends_by_close = true;
                    Stage::UntilEnd
                }
            },
        };
        let parts = head.build(&text)?;
        head.clear();
        Ok(Some(parts))
    }

    fn next_frame(&mut self) -> Result<Option<Frame<Bytes>>, &'static str> {
        while !self.bytes.is_empty() {
            match self.stage {
                Stage::Head | Stage::Tunnel | Stage::Over => return Ok(None),
                Stage::UntilEnd => return Ok(Some(Frame::data(self.bytes.split().freeze()))),
                Stage::Body(left) => {
                    let here = self.bytes.len();
                    let taken = usize::try_from(left).map_or(here, |left| left.min(here));
                    let left = left - taken as u64;
                    self.stage = if left == 0 { Stage::Over } else { Stage::Body(left) };
                    return Ok(Some(Frame::data(self.bytes.split_to(taken).freeze())));
                }
                Stage::Chunked => match self.chunks.take(&self.bytes)? {
                    Taken::Framing(taken) => self.bytes.advance(taken),
                    Taken::Data(taken) => return Ok(Some(Frame::data(self.bytes.split_to(taken).freeze()))),
                    Taken::Last(taken) => {
                        self.bytes.advance(taken);
                        self.stage = Stage::Over;
                        return Ok(self.chunks.trailers().map(Frame::trailers));
                    }
                },
            }
        }
        Ok(None)
    }
}

fn flawed(flaw: &'static str) -> io::Error {
    tracing::debug!("an answer has a flaw: {flaw}");
    io::Error::new(io::ErrorKind::InvalidData, flaw)
}

#[cfg(test)]
mod tests {
    use super::super::limits::{ANSWER_FIELDS_MAX, TRAILERS_MAX};
    use super::*;
    use http::{HeaderMap, StatusCode, Version};
    use hyper::ext::ReasonPhrase;

    /// What was understood: the status, the fields, the body, its trailers, and how many bytes are left behind it.
    #[derive(Debug, Default, PartialEq, Eq)]
    struct Understood {
        head: Option<(StatusCode, HeaderMap)>,
        body: Vec<u8>,
        trailers: Option<HeaderMap>,
        left_bytes: usize,
    }

    /// All at once, then every byte alone: an answer must be read the same however it comes.
    fn judge(bytes: &[u8], asked: Asked) -> Result<usize, &'static str> {
        let (at_once, dripped) = (read(bytes, bytes.len(), asked), read(bytes, 1, asked));
        assert_eq!(at_once, dripped, "{:?}", String::from_utf8_lossy(bytes));
        at_once.map(|understood| bytes.len() - understood.left_bytes)
    }

    fn read(bytes: &[u8], piece: usize, asked: Asked) -> Result<Understood, &'static str> {
        let (mut reader, mut understood) = (AnswerReader::new(), Understood::default());
        reader.begin(asked);
        for piece in bytes.chunks(piece) {
            reader.bytes.extend_from_slice(piece);
            if let Some(head) = reader.next_head()? {
                understood.head = Some((head.status, head.headers));
            }
            while let Some(frame) = reader.next_frame()? {
                match frame.into_data() {
                    Ok(data) => understood.body.extend_from_slice(&data),
                    Err(frame) => understood.trailers = frame.into_trailers().ok(),
                }
            }
        }
        understood.left_bytes = if reader.is_over() { reader.bytes.len() } else { 0 };
        Ok(understood)
    }

    #[test]
    fn heads_bodies_and_trailers_are_understood() {
        let chunked = b"HTTP/1.1 299 Odd \xe4\r\nTransfer-Encoding: chunked\r\nX-A:  b c \r\nx-a:d\r\n\r\n\
                        3;x=y\r\nabc\r\n0a\r\n0123456789\r\n0\r\nX-Sum: 5\r\n\r\n";
        let understood = read(chunked, 7, Asked::Other).unwrap();
        let (status, fields) = understood.head.unwrap();
        assert_eq!((status.as_u16(), understood.body), (299, b"abc0123456789".to_vec()));
        assert_eq!(fields.get_all("x-a").iter().collect::<Vec<_>>(), ["b c", "d"]);
        assert_eq!(understood.trailers.unwrap()["x-sum"], "5");
        let mut reader = AnswerReader::new();
        reader.begin(Asked::Other);
        reader.bytes.extend_from_slice(chunked);
        let head = reader.next_head().unwrap().unwrap();
        assert_eq!(head.extensions.get::<ReasonPhrase>().unwrap().as_bytes(), b"Odd \xe4");
        reader.begin(Asked::Other);
        reader.bytes = BytesMut::from(&b"HTTP/1.0 404 Not Found\r\n\r\nso"[..]);
        let head = reader.next_head().unwrap().unwrap();
        assert!(head.extensions.is_empty() && head.version == Version::HTTP_10 && reader.left_bytes().is_none());
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
    fn trailers_have_a_limit() {
        let answer = |count| {
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n";
            format!("{head}{}\r\n", "a: b\r\n".repeat(count))
        };
        assert!(judge(answer(TRAILERS_MAX).as_bytes(), Asked::Other).is_ok());
        assert!(judge(answer(TRAILERS_MAX + 1).as_bytes(), Asked::Other).is_err());
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
