//! A connection to an instance by HTTP/1.1. It has no task of its own: whoever carries a request says it, reads the answer,
//! and streams both bodies, all within the task of the client's connection.
use super::body::SentBody;
use super::fault::Fault;
use super::h1_answer::{AnswerReader, Asked};
use super::h1_request::{Broken, Upload};
use super::tunnel::AppSide;
use bytes::Bytes;
use http::response::Parts;
use http::{HeaderMap, Method, Request, Version, header};
use hyper::body::Frame;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};
use tokio::net::TcpStream;

pub(super) struct Line {
    stream: TcpStream,
    reader: AnswerReader,
    /// The request, as long as not all of it is said.
    upload: Option<Upload>,
    /// Whether another request may follow.
    is_lasting: bool,
}

/// What became of a request that was not answered.
pub(super) struct Failed {
    pub(super) fault: Fault,
    /// The request, where nothing of it was sent.
    pub(super) unsent: Option<Box<Request<SentBody>>>,
    /// The request, where it has no body and not a byte of an answer came.
    pub(super) unanswered: Option<Box<Request<SentBody>>>,
}

/// Why no answer came.
enum Cause {
    Fault(Fault),
    /// The instance took nothing.
    Unsent,
}

impl Line {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, reader: AnswerReader::new(), upload: None, is_lasting: true }
    }

    /// Says a request and waits for the head of its answer.
    pub(super) async fn ask(&mut self, mut request: Box<Request<SentBody>>) -> Result<Parts, Box<Failed>> {
        let body = std::mem::replace(request.body_mut(), SentBody::Empty);
        let is_empty = matches!(body, SentBody::Empty);
        self.reader.begin(if *request.method() == Method::HEAD { Asked::Head } else { Asked::Other });
        self.upload = Some(Upload::new(&request, body));
        let cause = match std::future::poll_fn(|cx| self.poll_answer(cx)).await {
            Ok(answer) => {
                self.is_lasting &= lasts(answer.version, &answer.headers);
                return Ok(answer);
            }
            Err(cause) => cause,
        };
        let mut failed = Failed { fault: Fault::ClosedWithoutResponse, unsent: None, unanswered: None };
        match cause {
            Cause::Fault(fault) => failed.fault = fault,
            Cause::Unsent => {
                *request.body_mut() = self.upload.take().map_or(SentBody::Empty, Upload::into_body);
                failed.unsent = Some(request);
                return Err(Box::new(failed));
            }
        }
        if is_empty && !self.reader.has_spoken() {
            failed.unanswered = Some(request);
        }
        Err(Box::new(failed))
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<Parts, Cause>> {
        match self.poll_upload(cx) {
            Ok(()) => {}
            Err(Broken::Body) => return Poll::Ready(Err(Cause::Fault(Fault::BrokenBody))),
            Err(Broken::Taken { is_untouched: true }) => return Poll::Ready(Err(Cause::Unsent)),
            Err(Broken::Taken { is_untouched: false }) => self.give_up(),
        }
        let fault = |error: io::Error| {
            Cause::Fault(if is_flaw(&error) { Fault::PoorResponse } else { Fault::ClosedWithoutResponse })
        };
        self.reader.poll_head(cx, &mut self.stream).map_err(fault)
    }

    /// The next piece of the answer's body; `None` at its end.
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.poll_upload(cx) {
            Ok(()) => {}
            Err(Broken::Body) => return Poll::Ready(Some(Err(io::Error::other("the request's body broke")))),
            Err(Broken::Taken { .. }) => self.give_up(),
        }
        self.reader.poll_frame(cx, &mut self.stream)
    }

    /// Says more of the request, if it is not said yet.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), Broken> {
        let Some(upload) = &mut self.upload else { return Ok(()) };
        match upload.poll(cx, &mut self.stream) {
            Poll::Pending => Ok(()),
            Poll::Ready(Ok(())) => {
                self.upload = None;
                Ok(())
            }
            Poll::Ready(Err(broken)) => Err(broken),
        }
    }

    /// An instance that takes no more of a request may have answered it all the same.
    fn give_up(&mut self) {
        if let Some(flight) = self.upload.take().and_then(|upload| upload.flight()) {
            flight.stop_sending();
        }
        self.is_lasting = false;
    }

    /// Whether the answer is whole.
    pub(super) fn is_over(&self) -> bool {
        self.reader.is_over()
    }

    /// How many bytes of the body are left, where its head said so.
    pub(super) fn left_bytes(&self) -> Option<u64> {
        self.reader.left_bytes()
    }

    /// Whether the next request may be said: the last one and its answer are over, and the instance neither said more nor
    /// hung up, as far as the machine has heard of it.
    pub(super) fn is_free(&self) -> bool {
        let is_quiet =
            || matches!(self.stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        self.is_lasting && self.upload.is_none() && self.reader.is_over() && !self.reader.has_excess() && is_quiet()
    }

    /// Whether the answer was over before the request was all said.
    pub(super) fn is_ahead(&self) -> bool {
        self.upload.is_some()
    }

    /// Says the rest of a request whose answer is over, so that its client gets to read it.
    pub(super) async fn say_rest(mut self) {
        let Some(mut upload) = self.upload.take() else { return };
        let flight = upload.flight();
        let said = std::future::poll_fn(|cx| upload.poll(cx, &mut self.stream));
        let ended = match flight {
            Some(flight) => flight.unless_ended(pin!(said)).await.is_ok_and(|said| said.is_ok()),
            None => said.await.is_ok(),
        };
        tracing::trace!("the rest of a request was said to its end: {ended}");
    }

    /// Behind the head of an upgrade: the socket, and what was already read of it.
    pub(super) fn into_tunnel(self) -> AppSide {
        AppSide { stream: self.stream, early: self.reader.into_early() }
    }
}

/// Whether a failure is about what an answer said, and not about its end.
pub(super) fn is_flaw(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData
}

/// RFC 9112, section 9.3.
fn lasts(version: Version, headers: &HeaderMap) -> bool {
    let says = |word: &str| {
        let values = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|token| token.trim().eq_ignore_ascii_case(word))
    };
    !says("close") && (version != Version::HTTP_10 || says("keep-alive"))
}
