//! Says a request to an instance by HTTP/1.1: its head is written anew from what was understood, its body follows frame by
//! frame as it comes from the client. Source: RFC 9112.
use super::body::SentBody;
use super::flight::Flight;
use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, Request, header};
use hyper::body::{Body, Frame};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;

/// A usual head, in bytes: room is made for it at once.
const HEAD_BYTES: usize = 1024;
/// A frame up to this size is copied behind what is to be written before it, in bytes.
const COPIED_BYTES_MAX: usize = 1024;
/// What may stand before the next frame, in bytes: an instance that does not read stops its visitor.
const LEAD_BYTES_MAX: usize = 16 * 1024;

/// A request on its way.
pub(super) struct Upload {
    body: SentBody,
    framing: Framing,
    out: Outgoing,
    is_untouched: bool,
    /// Of the request whose body this is. Held until the last byte is written: the instance may get more as long as that is so.
    flight: Option<Rc<Flight>>,
}

/// How the end of the body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// By its length: so many bytes are left.
    Length(u64),
    Chunked,
    /// It has come.
    Over,
}

/// Why a request could not be said to its end.
#[derive(Debug)]
pub(super) enum Broken {
    /// Its body broke on the way in.
    Body,
    /// The instance takes no more. `is_untouched`: it took nothing, and the request is as it was.
    Taken { is_untouched: bool },
}

impl Upload {
    /// `head` in origin form, with the length of its body or as chunked.
    pub(super) fn new<B>(head: &Request<B>, body: SentBody) -> Self {
        let is_empty = matches!(body, SentBody::Empty);
        let framing = match head.headers().get(header::CONTENT_LENGTH) {
            _ if is_empty => Framing::Over,
            Some(length) => Framing::Length(length.to_str().ok().and_then(|text| text.parse().ok()).unwrap_or(0)),
            None => Framing::Chunked,
        };
        let out = Outgoing { lead: write_head(head, is_empty), data: Bytes::new(), tail: b"" };
        let flight = match &body {
            SentBody::Empty => None,
            SentBody::Stream { flight, .. } => Some(flight.clone()),
        };
        Self { body, framing, out, is_untouched: true, flight }
    }

    /// What was not said; only whole while it is untouched.
    pub(super) fn into_body(self) -> SentBody {
        self.body
    }

    /// Whether not all of the body has come.
    pub(super) fn has_leftover(&self) -> bool {
        self.framing != Framing::Over
    }

    /// The request whose body it carries, if there is one.
    pub(super) fn flight(&self) -> Option<&Rc<Flight>> {
        self.flight.as_ref()
    }

    /// Says as much as there is and as the instance takes; ready at its end.
    pub(super) fn poll<W>(&mut self, cx: &mut Context<'_>, stream: &mut W) -> Poll<Result<(), Broken>>
    where
        W: AsyncWrite + Unpin,
    {
        loop {
            // The head waits for the first bytes behind it only if they are there.
            let came = self.poll_body(cx)?;
            while !self.out.is_empty() {
                match ready!(self.out.poll_write(cx, stream)) {
                    Ok(()) => {
                        self.is_untouched = false;
                        if let Some(flight) = &self.flight {
                            flight.beat();
                        }
                    }
                    Err(_) => return Poll::Ready(Err(Broken::Taken { is_untouched: self.is_untouched })),
                }
            }
            if self.framing == Framing::Over {
                return Poll::Ready(Ok(()));
            }
            ready!(came);
        }
    }

    /// Takes the next frame of the body, where there is room for it.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        if self.framing == Framing::Over || !self.out.has_room() || self.out.lead.len() > LEAD_BYTES_MAX {
            return Poll::Ready(Ok(()));
        }
        match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Ok(frame)) => {
                self.is_untouched = false;
                self.say(frame)?;
                if self.body.is_end_stream() {
                    self.end()?;
                }
            }
            Some(Err(_)) => return Poll::Ready(Err(Broken::Body)),
            None => self.end()?,
        }
        Poll::Ready(Ok(()))
    }

    fn say(&mut self, frame: Frame<Bytes>) -> Result<(), Broken> {
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => {
                if let (Framing::Chunked, Ok(trailers)) = (self.framing, frame.into_trailers()) {
                    self.out.lead.extend_from_slice(b"0\r\n");
                    write_fields(&mut self.out.lead, &trailers, false);
                    self.finish();
                }
                return Ok(());
            }
        };
        match &mut self.framing {
            Framing::Length(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(Broken::Body)?;
                self.out.push(data, b"");
            }
            Framing::Chunked if !data.is_empty() => {
                self.out.lead.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
                self.out.push(data, b"\r\n");
            }
            Framing::Chunked | Framing::Over => {}
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Broken> {
        match self.framing {
            Framing::Length(0) | Framing::Over => {}
            Framing::Length(_) => return Err(Broken::Body),
            Framing::Chunked => self.out.end_chunks(),
        }
        self.finish();
        Ok(())
    }

    fn finish(&mut self) {
        self.framing = Framing::Over;
        self.body = SentBody::Empty;
        if let Some(flight) = &self.flight {
            flight.stop_sending();
        }
    }
}

/// What is to be written, in this order.
struct Outgoing {
    lead: BytesMut,
    data: Bytes,
    tail: &'static [u8],
}

impl Outgoing {
    fn is_empty(&self) -> bool {
        self.lead.is_empty() && self.data.is_empty() && self.tail.is_empty()
    }

    /// Whether another frame fits behind: none of another stands there.
    fn has_room(&self) -> bool {
        self.data.is_empty() && self.tail.is_empty()
    }

    fn push(&mut self, data: Bytes, tail: &'static [u8]) {
        if data.len() <= COPIED_BYTES_MAX {
            self.lead.extend_from_slice(&data);
            self.lead.extend_from_slice(tail);
        } else {
            (self.data, self.tail) = (data, tail);
        }
    }

    fn end_chunks(&mut self) {
        if self.has_room() {
            self.lead.extend_from_slice(b"0\r\n\r\n");
        } else {
            self.tail = b"\r\n0\r\n\r\n";
        }
    }

    fn poll_write<W: AsyncWrite + Unpin>(&mut self, cx: &mut Context<'_>, stream: &mut W) -> Poll<io::Result<()>> {
        let stream = Pin::new(stream);
        let written = if self.has_room() {
            ready!(stream.poll_write(cx, &self.lead))?
        } else {
            let parts = [&self.lead[..], &self.data[..], self.tail].map(IoSlice::new);
            ready!(stream.poll_write_vectored(cx, &parts))?
        };
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.advance(written);
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, written: usize) {
        let of_lead = written.min(self.lead.len());
        self.lead.advance(of_lead);
        let of_data = (written - of_lead).min(self.data.len());
        self.data.advance(of_data);
        self.tail = &self.tail[written - of_lead - of_data..];
    }
}

fn write_head<B>(head: &Request<B>, is_empty: bool) -> BytesMut {
    let mut text = BytesMut::with_capacity(HEAD_BYTES);
    text.extend_from_slice(head.method().as_str().as_bytes());
    text.extend_from_slice(b" ");
    let target = head.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    // Of `http://host?x`, which has no path.
    if target.starts_with('?') {
        text.extend_from_slice(b"/");
    }
    text.extend_from_slice(target.as_bytes());
    text.extend_from_slice(b" HTTP/1.1\r\n");
    write_fields(&mut text, head.headers(), is_empty);
    text
}

/// The fields and the blank line behind them. Where there is no body none is announced.
fn write_fields(text: &mut BytesMut, fields: &HeaderMap, is_empty: bool) {
    for (name, value) in fields {
        if is_empty && name == header::TRANSFER_ENCODING {
            continue;
        }
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"\r\n");
}
