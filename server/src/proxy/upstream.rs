//! Connections to instances, over `hyper::client::conn`: one request at a time each.
use super::answer_gate::{AnswerGate, Asked};
use super::body::SentBody;
use super::limits::{BUFFER_BYTES_MAX, LANE_IDLE_MAX};
use super::sync::{AtomicBool, AtomicU8, Ordering::Relaxed};
use super::target::Target;
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
    sender: http1::SendRequest<SentBody>,
    talk: Arc<Talk>,
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
        Ok(Self { target, is_reused: false, idle_max: LANE_IDLE_MAX, sender, talk })
    }

    pub(super) async fn send(
        &mut self,
        request: Request<SentBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<SentBody>>> {
        self.talk.has_spoken.store(false, Relaxed);
        let asked = if *request.method() == Method::HEAD { Asked::Head } else { Asked::Other };
        self.talk.asked.store(asked as u8, Relaxed);
        self.sender.try_send_request(request).await
    }

    pub(super) fn has_spoken(&self) -> bool {
        self.talk.has_spoken.load(Relaxed)
    }

    /// Whether the last answer is over, and the next request may be sent at once.
    pub(super) fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    pub(super) fn is_over(&self) -> bool {
        self.sender.is_closed() || self.target.is_closed() || self.talk.is_spoiled.load(Relaxed)
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
