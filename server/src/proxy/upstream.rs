//! Connections to instances: by HTTP/1.1 one request at a time each (`h1_out`), by HTTP/2 (`trunk`) many.
use super::body::{Framing, SentBody};
use super::fault::Fault;
use super::h1_out::Line;
use super::limits::LANE_IDLE_MAX;
use super::pool::is_idempotent;
use super::target::Target;
use super::trunk::Ride;
use super::tunnel::AppSide;
use super::worker::Worker;
use bytes::Bytes;
use http::response::Parts;
use http::{HeaderMap, Request, Response};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::net::TcpStream;

/// A connection to an instance.
pub(super) struct Lane {
    pub(super) target: Arc<Target>,
    /// Whether it carried a request before: it may have died since, unseen.
    pub(super) is_reused: bool,
    /// How long it may idle.
    pub(super) idle_max: Duration,
    way: Way,
}

enum Way {
    /// HTTP/1.1: the connection is this request's alone.
    Alone(Box<Line>),
    /// HTTP/2: the connection carries others too. The answer's body, once there is one.
    Shared(Ride, Option<Incoming>),
}

/// A request that was not answered.
pub(super) struct Unanswered {
    pub(super) fault: Fault,
    /// The request, where it may be sent again.
    pub(super) again: Option<Box<Request<SentBody>>>,
}

impl Lane {
    pub(super) async fn connect(worker: &Worker, target: Arc<Target>) -> io::Result<Self> {
        let attempt = tokio::time::timeout(worker.shared.spans.connect, TcpStream::connect(target.address));
        let stream = attempt.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        // A refusal means the instance is gone already, which the first read will tell.
        let _ = stream.set_nodelay(true);
        let way = Way::Alone(Box::new(Line::new(stream)));
        Ok(Self { target, is_reused: false, idle_max: LANE_IDLE_MAX, way })
    }

    /// A place on a connection that others use too; it never idles in the pool.
    pub(super) fn on_trunk(target: Arc<Target>, ride: Ride) -> Self {
        Self { target, is_reused: false, idle_max: Duration::ZERO, way: Way::Shared(ride, None) }
    }

    /// Sends a request and waits for the head of its answer. A request without a body is given back when it may be sent
    /// again: the connection died of age before a byte of an answer, or the instance said itself that it did nothing with it.
    pub(super) async fn send(
        &mut self,
        worker: &Worker,
        request: Box<Request<SentBody>>,
    ) -> Result<Parts, Box<Unanswered>> {
        let is_safe = self.is_reused && is_idempotent(request.method());
        match &mut self.way {
            Way::Alone(line) => line.ask(worker, request).await.map_err(|failed| {
                let again = failed.unsent.or(failed.unanswered.filter(|_| is_safe));
                Box::new(Unanswered { fault: failed.fault, again })
            }),
            Way::Shared(ride, body) => {
                let (head, incoming) = Box::pin(send_along(ride, request, is_safe)).await?.into_parts();
                *body = Some(incoming);
                Ok(head)
            }
        }
    }

    /// The next piece of the answer's body; `None` at its end.
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut self.way {
            Way::Alone(line) => line.poll_frame(cx),
            Way::Shared(_, None) => Poll::Ready(None),
            Way::Shared(_, Some(incoming)) => match ready!(Pin::new(&mut *incoming).poll_frame(cx)) {
                Some(frame) => Poll::Ready(Some(frame.map_err(io::Error::other))),
                None if Framing::Http2.is_cut(incoming) => {
                    Poll::Ready(Some(Err(io::Error::other("the instance reset its answer"))))
                }
                None => Poll::Ready(None),
            },
        }
    }

    /// Whether the answer is whole.
    pub(super) fn is_end_stream(&self) -> bool {
        match &self.way {
            Way::Alone(line) => line.is_over(),
            Way::Shared(_, body) => body.as_ref().is_none_or(Incoming::is_end_stream),
        }
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        match &self.way {
            Way::Alone(line) => line.left_bytes().map_or_else(SizeHint::default, SizeHint::with_exact),
            Way::Shared(_, body) => body.as_ref().map_or_else(|| SizeHint::with_exact(0), Incoming::size_hint),
        }
    }

    /// It idles from here on, to be used again.
    pub(super) fn rest(&mut self) {
        self.is_reused = true;
        if let Way::Alone(line) = &mut self.way {
            line.rest();
        }
    }

    /// Whether it may carry another request: a pool's question.
    pub(super) fn is_free(&self) -> bool {
        match &self.way {
            Way::Alone(line) => !self.target.is_closed() && line.is_free(),
            Way::Shared(..) => false,
        }
    }

    /// Whether nothing but the connection's end tells that of the answer.
    pub(super) fn ends_by_close(&self) -> bool {
        match &self.way {
            Way::Alone(line) => line.ends_by_close(),
            Way::Shared(..) => false,
        }
    }

    /// Behind the head of an upgrade: the socket, and what was already read of it.
    pub(super) fn into_tunnel(self) -> Option<AppSide> {
        match self.way {
            Way::Alone(line) => line.into_tunnel(),
            Way::Shared(..) => None,
        }
    }

    /// An app that names its own time is left one second before it.
    pub(super) fn heed_keep_alive(&mut self, headers: &HeaderMap) {
        let Some(value) = headers.get("keep-alive").and_then(|value| value.to_str().ok()) else { return };
        let timeout = value.split(',').find_map(|part| part.trim().strip_prefix("timeout="));
        if let Some(seconds) = timeout.and_then(|seconds| seconds.parse::<u64>().ok()) {
            self.idle_max = LANE_IDLE_MAX.min(Duration::from_secs(seconds.saturating_sub(1)));
        }
    }
}

/// By a connection that others use too.
async fn send_along(
    ride: &mut Ride,
    request: Box<Request<SentBody>>,
    is_safe: bool,
) -> Result<Response<Incoming>, Box<Unanswered>> {
    let copy = matches!(request.body(), SentBody::Empty).then(|| copy_of(&request));
    ride.sender.try_send_request(*request).await.map_err(|mut failed| {
        let unsent = failed.take_message();
        let error = failed.into_error();
        let again = unsent.or(copy.filter(|_| may_repeat(&error, is_safe)));
        Box::new(Unanswered { fault: fault_of(&error), again: again.map(Box::new) })
    })
}

fn copy_of(request: &Request<SentBody>) -> Request<SentBody> {
    let mut copy = Request::new(SentBody::Empty);
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    *copy.version_mut() = request.version();
    copy.headers_mut().clone_from(request.headers());
    copy
}

/// Whether HTTP/2 says that a request may be sent again.
fn may_repeat(error: &hyper::Error, is_safe: bool) -> bool {
    match h2_error(error) {
        Some(error) if error.is_io() => is_safe,
        Some(error) => is_unprocessed(error),
        None => is_safe,
    }
}

fn fault_of(error: &hyper::Error) -> Fault {
    let is_against_http2 = h2_error(error).is_some_and(h2::Error::is_library);
    if error.is_parse() || error.is_parse_too_large() || is_against_http2 {
        Fault::PoorResponse
    } else if error.is_user() {
        // The request's body failed, not the app: its framing was broken on the way in.
        Fault::BrokenBody
    } else {
        Fault::ClosedWithoutResponse
    }
}

/// What HTTP/2 says about a failure, if it was one of its.
fn h2_error(error: &hyper::Error) -> Option<&h2::Error> {
    let mut cause = std::error::Error::source(error);
    while let Some(known) = cause {
        if let Some(found) = known.downcast_ref() {
            return Some(found);
        }
        cause = known.source();
    }
    None
}

/// RFC 9113, section 8.7: refused, or behind the last stream that a GOAWAY without an error counts.
fn is_unprocessed(error: &h2::Error) -> bool {
    let is_refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    let is_behind = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
    error.is_remote() && (is_refused || is_behind)
}
