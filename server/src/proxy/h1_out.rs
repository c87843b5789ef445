//! A connection to an instance by HTTP/1.1. It has no task of its own: whoever carries a request says it and reads the answer,
//! within the task of the client's connection. Only what is left of a request when its answer begins gets one.
use super::body::SentBody;
use super::fault::Fault;
use super::flight::Flight;
use super::h1_answer::{AnswerReader, Asked};
use super::h1_request::{Broken, Upload};
use super::headers::tokens;
use super::tunnel::AppSide;
use super::worker::Worker;
use bytes::Bytes;
use http::response::Parts;
use http::{HeaderMap, Method, Request, Version, header};
use hyper::body::Frame;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

pub(super) struct Line {
    stream: Socket,
    reader: AnswerReader,
    /// The request, until it is said or its answer begins.
    upload: Option<Upload>,
    /// Whether another request may follow.
    is_lasting: bool,
    /// Whether the answer began before the request was all said.
    is_ahead: bool,
}

enum Socket {
    Whole(TcpStream),
    /// The other half is with what is left of the request.
    Half(OwnedReadHalf),
    /// For a moment, between the two.
    Parting,
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
        let stream = Socket::Whole(stream);
        Self { stream, reader: AnswerReader::new(), upload: None, is_lasting: true, is_ahead: false }
    }

    /// Says a request and waits for the head of its answer.
    pub(super) async fn ask(
        &mut self,
        worker: &Worker,
        mut request: Box<Request<SentBody>>,
    ) -> Result<Parts, Box<Failed>> {
        let body = std::mem::replace(request.body_mut(), SentBody::Empty);
        let is_empty = matches!(body, SentBody::Empty);
        self.reader.begin(if *request.method() == Method::HEAD { Asked::Head } else { Asked::Other });
        self.upload = Some(Upload::new(&request, body));
        let cause = match std::future::poll_fn(|cx| self.poll_answer(cx)).await {
            Ok(answer) => {
                self.is_lasting &= lasts(answer.version, &answer.headers);
                if let Some(upload) = self.upload.take() {
                    self.part_with(upload, worker);
                }
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
        if let Some(broken) = self.poll_upload(cx) {
            match broken {
                Broken::Body => return Poll::Ready(Err(Cause::Fault(Fault::BrokenBody))),
                Broken::Taken { is_untouched: true } => return Poll::Ready(Err(Cause::Unsent)),
                Broken::Taken { is_untouched: false } => self.give_up(),
            }
        }
        let fault = |error: io::Error| {
            Cause::Fault(if is_flaw(&error) { Fault::PoorResponse } else { Fault::ClosedWithoutResponse })
        };
        self.reader.poll_head(cx, &mut self.stream).map_err(fault)
    }

    /// Says more of the request, if it is not said yet.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Option<Broken> {
        let (Some(upload), Socket::Whole(stream)) = (&mut self.upload, &mut self.stream) else { return None };
        match upload.poll(cx, stream) {
            Poll::Pending => None,
            Poll::Ready(Ok(())) => {
                self.upload = None;
                None
            }
            Poll::Ready(Err(broken)) => Some(broken),
        }
    }

    /// An instance that takes no more of a request may have answered it all the same.
    fn give_up(&mut self) {
        if let Some(upload) = self.upload.take()
            && let Some(flight) = upload.flight()
        {
            flight.cut_off(upload.has_leftover());
        }
        self.is_lasting = false;
    }

    /// The answer began before the request was all said. The rest is said beside it: a visitor may write everything before it
    /// reads, and what is left when the answer is over is still said, so that it gets to read.
    fn part_with(&mut self, upload: Upload, worker: &Worker) {
        (self.is_lasting, self.is_ahead) = (false, true);
        let Some(flight) = upload.flight().cloned() else { return };
        match std::mem::replace(&mut self.stream, Socket::Parting) {
            Socket::Whole(stream) => {
                let (reading, writing) = stream.into_split();
                self.stream = Socket::Half(reading);
                worker.tasks.spawn_local(Box::pin(say_rest(upload, writing, flight)));
            }
            stream @ (Socket::Half(_) | Socket::Parting) => self.stream = stream,
        }
    }

    /// The next piece of the answer's body; `None` at its end.
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.reader.poll_frame(cx, &mut self.stream)
    }

    /// Whether the answer is whole.
    pub(super) fn is_over(&self) -> bool {
        self.reader.is_over()
    }

    /// How many bytes of the body are left, where its head said so.
    pub(super) fn left_bytes(&self) -> Option<u64> {
        self.reader.left_bytes()
    }

    pub(super) fn ends_by_close(&self) -> bool {
        self.reader.ends_by_close()
    }

    /// It idles from here on.
    pub(super) fn rest(&mut self) {
        self.reader.rest();
    }

    /// Whether the next request may be said: the last one and its answer are over, and the instance neither said more nor
    /// hung up, as far as the machine has heard of it.
    pub(super) fn is_free(&self) -> bool {
        let Socket::Whole(stream) = &self.stream else { return false };
        let is_quiet = || matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        self.is_lasting && self.upload.is_none() && self.reader.is_over() && !self.reader.has_excess() && is_quiet()
    }

    /// Behind the head of an upgrade: the socket, and what was already read of it. `None` when the request was not all said.
    pub(super) fn into_tunnel(self) -> Option<AppSide> {
        match self.stream {
            Socket::Whole(stream) if !self.is_ahead => Some(AppSide { stream, early: self.reader.into_early() }),
            Socket::Whole(_) | Socket::Half(_) | Socket::Parting => None,
        }
    }
}

async fn say_rest(mut upload: Upload, mut writing: OwnedWriteHalf, flight: Rc<Flight>) {
    let said = std::future::poll_fn(|cx| {
        if flight.verdict().is_some() {
            return Poll::Ready(None);
        }
        let said = upload.poll(cx, &mut writing);
        if said.is_pending() {
            flight.register_rest(cx);
        }
        said.map(Some)
    });
    match said.await {
        // Its end is not that of the connection: some instances would take that for a visitor who left.
        Some(Ok(())) => writing.forget(),
        Some(Err(Broken::Taken { .. })) => flight.cut_off(upload.has_leftover()),
        // The instance must not take it for whole: its connection ends with the answer.
        Some(Err(Broken::Body)) => flight.end(Fault::BrokenBody),
        None => {}
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Whole(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Half(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Parting => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

/// Whether a failure is about what an answer said, and not about its end.
pub(super) fn is_flaw(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData
}

/// RFC 9112, section 9.3.
fn lasts(version: Version, headers: &HeaderMap) -> bool {
    let says = |word: &str| tokens(headers, &header::CONNECTION).any(|token| token.eq_ignore_ascii_case(word));
    !says("close") && (version != Version::HTTP_10 || says("keep-alive"))
}
