//! A client's stream as hyper sees it: bytes come through the head gate, and the orders of a tick are obeyed here.
use super::client_stream::ClientStream;
use super::head_gate::{HeadGate, Ruling};
use super::limits::{DISCARD_BYTES_MAX, EARLY_BYTES_MAX, LINGER_BYTES_MAX};
use super::refusal::Refusal;
use super::wire::{Mood, Order, Upgrade, Wire};
use bytes::{Buf, BytesMut};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Read at once while a head is held, in bytes.
const PIECE_BYTES: usize = 4096;

pub(super) struct GatedIo {
    stream: ClientStream,
    wire: Arc<Wire>,
    gate: HeadGate,
    /// Bytes not passed yet: an unfinished head, or what came behind a request for an upgrade. Empty when idle.
    held: BytesMut,
    /// How many of them may pass.
    cleared: usize,
    /// Dropped behind a refused body.
    lingered_bytes: usize,
    end: End,
}

/// How reading ends, once what is cleared has passed.
enum End {
    Open,
    Refused(Refusal),
    /// The refusal has passed; so many bytes were dropped behind it.
    Spoken(usize),
    Broken(&'static str),
}

impl GatedIo {
    pub(super) fn new(stream: ClientStream, wire: Arc<Wire>) -> Self {
        let (gate, held) = (HeadGate::default(), BytesMut::new());
        Self { stream, wire, gate, held, cleared: 0, lingered_bytes: 0, end: End::Open }
    }

    /// The common case: straight into hyper's buffer, judged in place.
    fn read_through(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<Flow>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let fresh = &buf.filled()[before..];
        if fresh.is_empty() {
            return Poll::Ready(Ok(Flow::Delivered));
        }
        let was_between = self.gate.is_between_messages();
        let passed = self.rule(was_between, |gate| gate.examine(fresh), fresh.len());
        self.held.extend_from_slice(&fresh[passed..]);
        buf.set_filled(before + passed);
        Poll::Ready(Ok(if passed > 0 { Flow::Delivered } else { Flow::Again }))
    }

    /// While something is held, more is read behind it.
    fn read_behind(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Flow>> {
        if self.gate.is_undecided() && self.held.len() >= EARLY_BYTES_MAX {
            return Poll::Pending;
        }
        let mut piece = [0; PIECE_BYTES];
        let mut piece = ReadBuf::new(&mut piece);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut piece))?;
        if piece.filled().is_empty() {
            return Poll::Ready(Ok(Flow::Delivered));
        }
        self.held.extend_from_slice(piece.filled());
        self.examine_held();
        Poll::Ready(Ok(Flow::Again))
    }

    fn examine_held(&mut self) {
        let held = std::mem::take(&mut self.held);
        let was_between = self.gate.is_between_messages();
        self.cleared = self.rule(was_between, |gate| gate.examine(&held), held.len());
        self.held = held;
    }

    /// Takes the gate's ruling over some bytes; returns how many pass.
    fn rule(&mut self, was_between: bool, examine: impl FnOnce(&mut HeadGate) -> Ruling, given: usize) -> usize {
        let passed = match examine(&mut self.gate) {
            Ruling::Pass(passed) => passed,
            Ruling::Refuse(passed, refusal) => {
                tracing::debug!("refused a request head with {}: {refusal:?}", refusal.status());
                self.end = End::Refused(refusal);
                passed
            }
            Ruling::Broken(passed, flaw) => {
                self.end = End::Broken(flaw);
                passed
            }
        };
        if self.gate.is_undecided() {
            self.wire.set_upgrade(Upgrade::Undecided);
        }
        if was_between {
            match (passed, passed < given) {
                (0, _) if self.wire.mood().0 == Mood::Idle => self.wire.set_mood(Mood::Head),
                (0, _) => {}
                _ => self.wire.set_mood(Mood::Busy),
            }
        } else {
            // A body may outlive its answer: as long as it comes the connection does not idle.
            self.wire.stir();
        }
        passed
    }

    fn deliver(&mut self, buf: &mut ReadBuf<'_>) {
        let count = self.cleared.min(buf.remaining());
        buf.put_slice(&self.held[..count]);
        self.held.advance(count);
        self.cleared -= count;
        if self.held.is_empty() {
            self.held = BytesMut::new();
        }
    }

    /// Behind a refusal everything is dropped, and the end of the stream is kept from hyper: it would drop the answer.
    fn discard(&mut self, dropped: usize, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut dropped = dropped;
        while dropped < DISCARD_BYTES_MAX {
            let mut piece = [0; PIECE_BYTES];
            let mut piece = ReadBuf::new(&mut piece);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut piece))?;
            if piece.filled().is_empty() {
                break;
            }
            dropped += piece.filled().len();
            self.end = End::Spoken(dropped);
        }
        Poll::Pending
    }

    /// Drops what still comes of a body that was refused. A reset at this point would take the refusal along.
    fn linger(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.register_gate(cx);
        while self.lingered_bytes < LINGER_BYTES_MAX && self.wire.order() == Order::None {
            let mut piece = [0; PIECE_BYTES];
            let mut piece = ReadBuf::new(&mut piece);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut piece))?;
            if piece.filled().is_empty() {
                break;
            }
            self.lingered_bytes += piece.filled().len();
        }
        Poll::Ready(Ok(()))
    }

    fn settle_upgrade(&mut self) {
        match self.wire.upgrade() {
            Upgrade::Undecided => return,
            Upgrade::Tunnel => self.gate.become_tunnel(),
            Upgrade::Http => self.gate.stay_http(),
        }
        self.examine_held();
    }

    fn step(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<Flow>> {
        if self.gate.is_undecided() {
            self.settle_upgrade();
        }
        if self.cleared > 0 {
            self.deliver(buf);
            return Poll::Ready(Ok(Flow::Delivered));
        }
        match self.end {
            End::Open => {}
            End::Refused(refusal) => {
                self.held = BytesMut::from(refusal.voice());
                self.cleared = self.held.len();
                self.end = End::Spoken(0);
                return Poll::Ready(Ok(Flow::Again));
            }
            End::Spoken(dropped) => return self.discard(dropped, cx).map_ok(|()| Flow::Delivered),
            End::Broken(flaw) => return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, flaw))),
        }
        if self.wire.order() == Order::Timeout && self.gate.is_between_messages() {
            self.wire.withdraw_order();
            self.end = End::Refused(Refusal::HeadTimeout);
            return Poll::Ready(Ok(Flow::Again));
        }
        let read = if self.held.is_empty() && !self.gate.is_undecided() {
            self.read_through(cx, buf)
        } else {
            self.read_behind(cx)
        };
        match (read, self.wire.order()) {
            (Poll::Pending, Order::Close) if self.gate.is_between_messages() => Poll::Ready(Ok(Flow::Delivered)),
            (Poll::Ready(Ok(flow)), Order::Close) => {
                self.wire.withdraw_order();
                Poll::Ready(Ok(flow))
            }
            (read, _) => read,
        }
    }

    fn broken(&self) -> Option<io::Error> {
        (self.wire.order() == Order::Abort).then(|| io::Error::from(io::ErrorKind::ConnectionAborted))
    }
}

enum Flow {
    /// hyper has its bytes, or the end of the stream.
    Delivered,
    Again,
}

impl AsyncRead for GatedIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            if let Some(error) = self.broken() {
                return Poll::Ready(Err(error));
            }
            match self.step(cx, buf) {
                Poll::Ready(Ok(Flow::Delivered)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(Flow::Again)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.wire.register_gate(cx);
                    return Poll::Pending;
                }
            }
        }
    }
}

impl AsyncWrite for GatedIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(error) = self.broken() {
            return Poll::Ready(Err(error));
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        if written.is_pending() {
            self.wire.register_gate(cx);
        }
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
        if written.is_pending() {
            self.wire.register_gate(cx);
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// hyper comes by here whenever its connection is woken, also when it reads nothing: a held request's body, say.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.wire.is_waiting() {
            if has_left(self.stream.tcp()) {
                return Poll::Ready(Err(io::Error::from(io::ErrorKind::ConnectionReset)));
            }
            self.wire.register_gate(cx);
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        if self.wire.is_lingering() { self.linger(cx) } else { Poll::Ready(Ok(())) }
    }
}

/// Whether the other side has ended its half of the connection, however much of it is still to be read.
fn has_left(stream: &tokio::net::TcpStream) -> bool {
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut looked_at = [PollFd::new(stream, PollFlags::RDHUP)];
    let is_over = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
    // A look that fails says nothing: the request's time limit stands.
    poll(&mut looked_at, Some(&at_once)).is_ok_and(|ready| ready > 0 && looked_at[0].revents().intersects(is_over))
}

impl Drop for GatedIo {
    /// A broken connection is reset: a plain end would look whole where the length of a body is told by its end.
    fn drop(&mut self) {
        if self.wire.order() == Order::Abort {
            let _ = self.stream.tcp().set_zero_linger();
        }
        self.wire.set_gone();
    }
}
