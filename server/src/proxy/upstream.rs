//! Connections to instances, over `hyper::client::conn`: by HTTP/1.1 one request at a time each, by HTTP/2 (`trunk`) many.
use super::answer_gate::{AnswerGate, Asked};
use super::body::{Framing, SentBody};
use super::limits::{BUFFER_BYTES_MAX, LANE_IDLE_MAX};
use super::pool::is_idempotent;
use super::sync::{AtomicBool, AtomicU8, Ordering::Relaxed};
use super::target::Target;
use super::trunk::Ride;
use super::worker::Worker;
use http::{HeaderMap, Method, Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use hyper_util::rt::TokioIo;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
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
    Alone { sender: http1::SendRequest<SentBody>, talk: Arc<Talk> },
    /// HTTP/2: the connection carries others too.
    Shared(Ride),
}

/// What a connection and its requests tell each other. Shared within one thread; atomic because hyper wants `Send`.
#[derive(Default)]
struct Talk {
    /// Whether a byte came since the last request was sent.
    has_spoken: AtomicBool,
    /// What the next answer is to.
    asked: AtomicU8,
    /// Bytes came that no request asked for: what comes next would be read as somebody's answer.
    is_spoiled: AtomicBool,
}

impl Talk {
    fn take_asked(&self) -> Asked {
        match self.asked.swap(Asked::Nothing as u8, Relaxed) {
            0 => Asked::Nothing,
            1 => Asked::Head,
            _ => Asked::Other,
        }
    }
}

impl Lane {
    pub(super) async fn connect(worker: &Worker, target: Arc<Target>) -> io::Result<Self> {
        let attempt = tokio::time::timeout(worker.shared.spans.connect, TcpStream::connect(target.address));
        let stream = attempt.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        // A refusal means the instance is gone already, which the first read will tell.
        let _ = stream.set_nodelay(true);
        let talk = Arc::new(Talk::default());
        let io = TokioIo::new(UpstreamIo::new(stream, talk.clone()));
        let (sender, connection) =
            http1::Builder::new().max_buf_size(BUFFER_BYTES_MAX).handshake(io).await.map_err(io::Error::other)?;
        worker.tasks.spawn_local(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::trace!("a connection to an instance ended: {error}");
            }
        });
        let way = Way::Alone { sender, talk };
        Ok(Self { target, is_reused: false, idle_max: LANE_IDLE_MAX, way })
    }

    /// A place on a connection that others use too; it never idles in the pool.
    pub(super) fn on_trunk(target: Arc<Target>, ride: Ride) -> Self {
        Self { target, is_reused: false, idle_max: Duration::ZERO, way: Way::Shared(ride) }
    }

    pub(super) fn framing(&self) -> Framing {
        match self.way {
            Way::Alone { .. } => Framing::Http1,
            Way::Shared(_) => Framing::Http2,
        }
    }

    pub(super) async fn send(
        &mut self,
        request: Request<SentBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<SentBody>>> {
        match &mut self.way {
            Way::Alone { sender, talk } => {
                talk.has_spoken.store(false, Relaxed);
                let asked = if *request.method() == Method::HEAD { Asked::Head } else { Asked::Other };
                talk.asked.store(asked as u8, Relaxed);
                sender.try_send_request(request).await
            }
            Way::Shared(ride) => ride.sender.try_send_request(request).await,
        }
    }

    /// Whether a request without a body that failed may be sent again: the connection died of age before a byte of an
    /// answer, or the instance said itself that it did nothing with it.
    pub(super) fn may_have_left(&self, error: &hyper::Error, method: &Method) -> bool {
        let is_safe = self.is_reused && is_idempotent(method);
        match &self.way {
            Way::Alone { talk, .. } => is_safe && !talk.has_spoken.load(Relaxed),
            Way::Shared(_) => match h2_error(error) {
                Some(error) if error.is_io() => is_safe,
                Some(error) => is_unprocessed(error),
                None => is_safe,
            },
        }
    }

    /// Whether the last answer is over, and the next request may be sent at once.
    pub(super) fn is_ready(&self) -> bool {
        match &self.way {
            Way::Alone { sender, .. } => sender.is_ready(),
            Way::Shared(_) => false,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        match &self.way {
            Way::Alone { sender, talk } => {
                sender.is_closed() || self.target.is_closed() || talk.is_spoiled.load(Relaxed)
            }
            Way::Shared(_) => true,
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

/// Whether a connection failed because of what the gate found in an answer.
pub(super) fn is_flaw(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::InvalidData)
}

/// What HTTP/2 says about a failure, if it was one of its.
pub(super) fn h2_error(error: &hyper::Error) -> Option<&h2::Error> {
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

/// An instance's socket as hyper sees it: what it says comes through the answer gate.
struct UpstreamIo {
    stream: TcpStream,
    talk: Arc<Talk>,
    gate: AnswerGate,
    asked: Asked,
}

impl UpstreamIo {
    fn new(stream: TcpStream, talk: Arc<Talk>) -> Self {
        Self { stream, talk, gate: AnswerGate::default(), asked: Asked::Nothing }
    }

    /// How many of the bytes just read are for hyper.
    fn judge(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.talk.has_spoken.store(true, Relaxed);
        if self.asked == Asked::Nothing {
            self.asked = self.talk.take_asked();
            self.gate.begin();
        }
        let passed = match self.asked {
            Asked::Nothing => 0,
            Asked::Head | Asked::Other => self.gate.examine(bytes, self.asked).map_err(|flaw| {
                tracing::debug!("an answer has a flaw: {flaw}");
                io::Error::new(io::ErrorKind::InvalidData, flaw)
            })?,
        };
        if self.gate.is_over() {
            self.asked = Asked::Nothing;
        }
        if passed < bytes.len() {
            self.talk.is_spoiled.store(true, Relaxed);
        }
        Ok(passed)
    }
}

impl AsyncRead for UpstreamIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // The end, to hyper: nothing that comes now is anybody's.
        if self.talk.is_spoiled.load(Relaxed) {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            let passed = self.judge(&buf.filled()[before..])?;
            buf.set_filled(before + passed);
        }
        read
    }
}

impl AsyncWrite for UpstreamIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
