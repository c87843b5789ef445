//! Connections to instances, over `hyper::client::conn`: by HTTP/1.1 one request at a time each, by HTTP/2 (`trunk`) many.
use super::body::{Framing, SentBody};
use super::limits::{BUFFER_BYTES_MAX, LANE_IDLE_MAX};
use super::pool::is_idempotent;
use super::sync::{AtomicBool, Ordering::Relaxed};
use super::target::Target;
use super::trunk::Ride;
use super::worker::Worker;
use http::{HeaderMap, Method, Request, Response, header};
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
    Alone {
        sender: http1::SendRequest<SentBody>,
        /// Whether a byte came since the last request was sent.
        has_spoken: Arc<AtomicBool>,
    },
    /// HTTP/2: the connection carries others too.
    Shared(Ride),
}

impl Lane {
    pub(super) async fn connect(worker: &Worker, target: Arc<Target>) -> io::Result<Self> {
        let attempt = tokio::time::timeout(worker.shared.spans.connect, TcpStream::connect(target.address));
        let stream = attempt.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        // A refusal means the instance is gone already, which the first read will tell.
        let _ = stream.set_nodelay(true);
        let has_spoken = Arc::new(AtomicBool::new(false));
        let io = TokioIo::new(UpstreamIo { stream, has_spoken: has_spoken.clone() });
        let (sender, connection) =
            http1::Builder::new().max_buf_size(BUFFER_BYTES_MAX).handshake(io).await.map_err(io::Error::other)?;
        worker.tasks.spawn_local(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::trace!("a connection to an instance ended: {error}");
            }
        });
        let way = Way::Alone { sender, has_spoken };
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
            Way::Alone { sender, has_spoken } => {
                has_spoken.store(false, Relaxed);
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
            Way::Alone { has_spoken, .. } => is_safe && !has_spoken.load(Relaxed),
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
            Way::Alone { sender, .. } => sender.is_closed() || self.target.is_closed(),
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

/// Whether both ways of framing stand in an answer: the next parser might take the other one.
pub(super) fn is_ambiguous(headers: &HeaderMap) -> bool {
    headers.contains_key(header::TRANSFER_ENCODING) && headers.contains_key(header::CONTENT_LENGTH)
}

struct UpstreamIo {
    stream: TcpStream,
    has_spoken: Arc<AtomicBool>,
}

impl AsyncRead for UpstreamIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.has_spoken.store(true, Relaxed);
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
