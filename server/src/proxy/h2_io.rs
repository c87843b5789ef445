//! A client's stream of bytes as the HTTP/2 library sees it: frames are followed on their way in, so that the ticks know
//! what the connection waits for, and the orders of a tick are obeyed.
use super::h2_frames::{Flood, FrameScan};
use super::wire::{Order, Wire};
use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub(super) struct H2Io<S> {
    stream: S,
    wire: Arc<Wire>,
    frames: FrameScan,
    ticks: Rc<Cell<u32>>,
    /// The last write found no room.
    is_stuck: bool,
}

impl<S> H2Io<S> {
    pub(super) fn new(stream: S, wire: Arc<Wire>, ticks: Rc<Cell<u32>>) -> Self {
        Self { stream, wire, frames: FrameScan::new(), ticks, is_stuck: false }
    }

    fn broken(&self) -> Option<io::Error> {
        (self.wire.order() == Order::Abort).then(|| io::Error::from(io::ErrorKind::ConnectionAborted))
    }

    fn follow(&mut self, bytes: &[u8]) -> io::Result<()> {
        let progress = self.frames.follow(bytes, self.ticks.get()).map_err(|flood| {
            let what = match flood {
                Flood::Resets => "too many resets of streams",
                Flood::ControlFrames => "too many frames that carry nothing",
            };
            tracing::debug!("an HTTP/2 connection is broken off: {what}");
            io::Error::new(io::ErrorKind::InvalidData, what)
        })?;
        match (progress.is_unfinished, progress.has_finished) {
            (true, true) => self.wire.begin_head(),
            (true, false) => self.wire.stay_in_head(),
            (false, _) => self.wire.leave_head(),
        }
        if progress.has_moved {
            self.wire.stir();
        }
        Ok(())
    }

    fn note_write(&mut self, written: &Poll<io::Result<usize>>) {
        // What is stuck at its client and moves again is not idle, though all of it was answered long ago.
        if written.is_ready() && self.is_stuck {
            self.wire.stir();
        }
        self.is_stuck = written.is_pending();
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for H2Io<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(error) = self.broken() {
            return Poll::Ready(Err(error));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        match self.follow(&buf.filled()[before..]) {
            Ok(()) => read,
            Err(flood) => Poll::Ready(Err(flood)),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for H2Io<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(error) = self.broken() {
            return Poll::Ready(Err(error));
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note_write(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(error) = self.broken() {
            return Poll::Ready(Err(error));
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.note_write(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S> Drop for H2Io<S> {
    fn drop(&mut self) {
        self.wire.set_gone();
    }
}
