//! Two ends of a WebSocket joined, frame boundaries known: when its time is over, each end gets a close frame of ours
//! (1012) between two frames of the other, and has a moment to answer it.
use super::flight::Flight;
use super::frames::{FrameScan, close_for_app, close_for_client};
use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Carries until both ends are done, or until they were closed; how many bytes the client was sent.
pub(super) async fn carry<C, A>(flight: &Flight, client: &mut C, app: &mut A, mask: [u8; 4]) -> io::Result<u64>
where
    C: AsyncRead + AsyncWrite + Unpin,
    A: AsyncRead + AsyncWrite + Unpin,
{
    let mut up = Half::new(close_for_app(mask));
    let mut down = Half::new(close_for_client());
    std::future::poll_fn(|cx| {
        let went_up = up.poll(cx, client, app, flight)?;
        let went_down = down.poll(cx, app, client, flight)?;
        if went_up.is_ready() && went_down.is_ready() { Poll::Ready(Ok(down.sent_bytes)) } else { Poll::Pending }
    })
    .await
}

/// Read at once, in bytes.
const PIECE_BYTES: usize = 16 * 1024;

thread_local! {
    /// What is read passes through here, one direction at a time: a WebSocket that is idle holds no room for it.
    static PIECE: RefCell<Box<[u8]>> = RefCell::new(vec![0; PIECE_BYTES].into_boxed_slice());
}

/// One direction.
struct Half {
    /// What could not be written at once; usually nothing.
    left: Vec<u8>,
    /// How much of it was written since.
    start: usize,
    is_flushed: bool,
    frames: FrameScan,
    farewell: Vec<u8>,
    stage: Stage,
    sent_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    /// The farewell is left to be written, or was written: what still comes is dropped, until the other end closes too.
    Closing,
    /// The reader has ended; the writer hears of it.
    Ending,
    Done,
}

impl Half {
    fn new(farewell: Vec<u8>) -> Self {
        let (left, frames) = (Vec::new(), FrameScan::default());
        Self { left, start: 0, is_flushed: true, frames, farewell, stage: Stage::Open, sent_bytes: 0 }
    }

    fn poll<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
        flight: &Flight,
    ) -> io::Result<Poll<()>> {
        loop {
            if self.write_left(cx, to)?.is_pending() {
                return Ok(Poll::Pending);
            }
            if flight.is_closing() && self.stage == Stage::Open && self.frames.is_at_boundary() {
                self.bid_farewell();
                continue;
            }
            match self.stage {
                Stage::Done => return Ok(Poll::Ready(())),
                Stage::Ending => {
                    if Pin::new(&mut *to).poll_shutdown(cx)?.is_pending() {
                        return Ok(Poll::Pending);
                    }
                    self.stage = Stage::Done;
                }
                Stage::Closing if self.frames.has_closed() => self.stage = Stage::Ending,
                Stage::Open | Stage::Closing => {
                    let passed = PIECE.with_borrow_mut(|piece| self.pass(cx, piece, from, to, flight))?;
                    if passed.is_pending() {
                        return Ok(Poll::Pending);
                    }
                }
            }
        }
    }

    fn write_left<W: AsyncWrite + Unpin>(&mut self, cx: &mut Context<'_>, to: &mut W) -> io::Result<Poll<()>> {
        let left = std::mem::take(&mut self.left);
        let written = self.write(cx, to, &left[self.start..])?;
        self.start += written;
        if self.start < left.len() {
            self.left = left;
            return Ok(Poll::Pending);
        }
        self.start = 0;
        if !self.is_flushed {
            if Pin::new(&mut *to).poll_flush(cx)?.is_pending() {
                return Ok(Poll::Pending);
            }
            self.is_flushed = true;
        }
        Ok(Poll::Ready(()))
    }

    /// Writes as much as is taken now.
    fn write<W: AsyncWrite + Unpin>(&mut self, cx: &mut Context<'_>, to: &mut W, bytes: &[u8]) -> io::Result<usize> {
        let mut written = 0;
        while written < bytes.len() {
            match Pin::new(&mut *to).poll_write(cx, &bytes[written..])? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(count) => written += count,
                Poll::Pending => break,
            }
            self.is_flushed = false;
        }
        self.sent_bytes += written as u64;
        Ok(written)
    }

    /// Reads what is there and writes it; what is not taken is left for later.
    fn pass<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        piece: &mut [u8],
        from: &mut R,
        to: &mut W,
        flight: &Flight,
    ) -> io::Result<Poll<()>> {
        let mut read = ReadBuf::new(piece);
        match Pin::new(from).poll_read(cx, &mut read) {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(read) => read?,
        }
        let came = read.filled();
        if came.is_empty() {
            self.stage = Stage::Ending;
        } else if self.stage == Stage::Closing {
            self.frames.follow(came);
        } else if !flight.is_closing() {
            self.frames.follow(came);
            self.send(cx, to, came)?;
        } else if let Some(boundary) = self.frames.follow_to_boundary(came) {
            self.send(cx, to, &came[..boundary])?;
            self.bid_farewell();
            self.frames.follow(&came[boundary..]);
        } else {
            self.send(cx, to, came)?;
        }
        Ok(Poll::Ready(()))
    }

    fn send<W: AsyncWrite + Unpin>(&mut self, cx: &mut Context<'_>, to: &mut W, bytes: &[u8]) -> io::Result<()> {
        let written = self.write(cx, to, bytes)?;
        self.left.extend_from_slice(&bytes[written..]);
        Ok(())
    }

    /// Puts the farewell behind what is still to be written.
    fn bid_farewell(&mut self) {
        self.stage = Stage::Closing;
        // One that closed by itself needs none.
        if !self.frames.has_closed() {
            self.left.append(&mut self.farewell);
        }
    }
}
