//! Bodies both ways: streamed frame by frame with hyper's back-pressure, never collected. Enums instead of boxes.
use super::admin::AdminBody;
use super::exchange::Exchange;
use super::fault::Fault;
use super::flight::{Flight, Side, Stage};
use super::h1_out::is_flaw;
use super::headers;
use super::upstream::Lane;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// What an app is sent.
pub(super) enum SentBody {
    Empty,
    Stream {
        incoming: Incoming,
        flight: Rc<Flight>,
        /// What may still come of it.
        left_bytes: u64,
        framing: Framing,
    },
}

/// How the end of a body is told on the connection it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// By its length or its last chunk.
    Http1,
    /// By END_STREAM.
    Http2,
}

impl Framing {
    /// Whether a body that seems to be over was given up: the library takes a reset without an error for an end.
    pub(super) fn is_cut(self, incoming: &Incoming) -> bool {
        self == Self::Http2 && !incoming.is_end_stream()
    }
}

impl Body for SentBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let Self::Stream { incoming, flight, left_bytes, framing } = self.get_mut() else { return Poll::Ready(None) };
        if let Some(fault) = flight.verdict() {
            return Poll::Ready(Some(Err(io::Error::other(fault.description()))));
        }
        let polled = Pin::new(&mut *incoming).poll_frame(cx);
        if polled.is_pending() {
            flight.register_rest(cx);
        }
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let came = frame.data_ref().map_or(0, |data| data.len() as u64);
            let Some(left) = left_bytes.checked_sub(came) else {
                flight.end(Fault::BodyTooLarge);
                return Poll::Ready(Some(Err(io::Error::other(Fault::BodyTooLarge.description()))));
            };
            *left_bytes = left;
        }
        // The answer may have begun before the body ended: it is not idle as long as either moves.
        if flight.stage() == Stage::Streaming && polled.is_ready() {
            flight.beat();
        }
        if matches!(flight.stage(), Stage::Sending(_)) {
            match &polled {
                Poll::Pending => {
                    if flight.stage() != Stage::Sending(Side::Client) {
                        flight.enter(Stage::Sending(Side::Client));
                    }
                }
                Poll::Ready(Some(Ok(_))) => flight.enter(Stage::Sending(Side::App)),
                Poll::Ready(None | Some(Err(_))) => flight.enter(Stage::Waiting),
            }
        }
        match polled {
            Poll::Ready(None) if framing.is_cut(incoming) => {
                Poll::Ready(Some(Err(io::Error::other("the request was reset within its body"))))
            }
            polled => polled.map_ok(without_framing).map_err(io::Error::other),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Stream { incoming, flight, .. } => {
                let is_over = incoming.is_end_stream();
                if is_over {
                    flight.stop_sending();
                }
                is_over
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Stream { incoming, .. } => incoming.size_hint(),
        }
    }
}

/// Trailers may not change how a message is framed, or led.
fn without_framing(mut frame: Frame<Bytes>) -> Frame<Bytes> {
    if let Some(trailers) = frame.trailers_mut() {
        headers::prepare_trailers(trailers);
    }
    frame
}

/// What a client is sent.
pub(super) enum ReplyBody {
    Empty,
    Page(Option<Bytes>),
    App(AppBody),
    /// A stream of the dashboard.
    Admin(AdminBody),
}

/// An app's answer on its way to the client.
pub(super) struct AppBody {
    exchange: Box<Exchange>,
    /// Goes back to the pool at the body's clean end, and only then.
    lane: Option<Lane>,
    /// It broke: that is said when what came before it was handed to the client's socket, as far as that takes it.
    broken: Option<io::Error>,
}

impl AppBody {
    pub(super) fn new(exchange: Box<Exchange>, lane: Lane) -> Self {
        let mut body = Self { exchange, lane: Some(lane), broken: None };
        if body.is_end_stream() {
            body.finish();
        }
        body
    }

    fn finish(&mut self) {
        let Some(lane) = self.lane.take() else { return };
        let worker = &self.exchange.client.worker;
        worker.pool.give_back(lane, worker.ticks.get());
        self.exchange.succeed();
        self.exchange.flight.alight_if_sent();
        self.exchange.flight.outlive_answer();
        if self.exchange.leaves_sender() {
            self.exchange.client.wire.linger();
        }
    }

    /// Lets the client's connection write what came before.
    fn break_off_next<T>(&mut self, error: io::Error, cx: &Context<'_>) -> Poll<T> {
        self.broken = Some(error);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn break_off(&mut self, error: io::Error) -> io::Error {
        let fault = if is_flaw(&error) { Fault::PoorResponse } else { Fault::ResponseCut };
        self.exchange.flight.end(fault);
        self.exchange.fail(fault);
        // Where the body's end is told by the connection's end, a plain end would look whole.
        self.exchange.client.wire.give(super::wire::Order::Abort);
        error
    }

    fn is_end_stream(&self) -> bool {
        self.lane.as_ref().is_none_or(Lane::is_end_stream)
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(fault) = self.exchange.flight.verdict() {
            return Poll::Ready(Some(Err(io::Error::other(fault.description()))));
        }
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Some(Err(self.break_off(error))));
        }
        let Some(lane) = &mut self.lane else { return Poll::Ready(None) };
        let polled = lane.poll_frame(cx);
        if polled.is_pending() {
            self.exchange.flight.register(cx);
        }
        match ready!(polled) {
            Some(Ok(frame)) => {
                self.exchange.flight.beat();
                self.exchange.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                if self.is_end_stream() {
                    self.finish();
                }
                Poll::Ready(Some(Ok(without_framing(frame))))
            }
            Some(Err(error)) => self.break_off_next(error, cx),
            // The write may have been told of a reset, and the read then of a plain end.
            None if lane.ends_by_close() && self.exchange.flight.is_cut() => {
                self.break_off_next(io::ErrorKind::ConnectionReset.into(), cx)
            }
            None => {
                self.finish();
                Poll::Ready(None)
            }
        }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Page(page) => Poll::Ready(page.take().map(|page| Ok(Frame::data(page)))),
            Self::App(body) => body.poll_frame(cx),
            Self::Admin(body) => body.poll_chunk(cx).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty | Self::Page(None) => true,
            Self::Page(Some(_)) | Self::Admin(_) => false,
            Self::App(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty | Self::Page(None) => SizeHint::with_exact(0),
            Self::Page(Some(page)) => SizeHint::with_exact(page.len() as u64),
            Self::App(body) => body.lane.as_ref().map_or_else(|| SizeHint::with_exact(0), Lane::size_hint),
            Self::Admin(_) => SizeHint::default(),
        }
    }
}
