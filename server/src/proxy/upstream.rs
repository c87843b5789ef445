//! Connections to instances, over `hyper::client::conn`: one request at a time each.
use super::body::SentBody;
use super::limits::{BUFFER_BYTES_MAX, LANE_IDLE_MAX};
use super::sync::{AtomicBool, Ordering::Relaxed};
use super::target::Target;
use super::worker::Worker;
use http::{HeaderMap, Request, Response, header};
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
    sender: http1::SendRequest<SentBody>,
    /// Whether a byte came since the last request was sent.
    has_spoken: Arc<AtomicBool>,
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
        Ok(Self { target, is_reused: false, idle_max: LANE_IDLE_MAX, sender, has_spoken })
    }

    pub(super) async fn send(
        &mut self,
        request: Request<SentBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<SentBody>>> {
        self.has_spoken.store(false, Relaxed);
        self.sender.try_send_request(request).await
    }

    pub(super) fn has_spoken(&self) -> bool {
        self.has_spoken.load(Relaxed)
    }

    /// Whether the last answer is over, and the next request may be sent at once.
    pub(super) fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    pub(super) fn is_over(&self) -> bool {
        self.sender.is_closed() || self.target.is_closed()
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
