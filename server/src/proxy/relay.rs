//! Two ends of a WebSocket joined, frame boundaries known: when its time is over, each end gets a close frame of ours
//! (1012) between two frames of the other, and has a moment to answer it.
use super::flight::Flight;
use super::frames::{FrameScan, close_for_app, close_for_client};
use super::limits::TUNNEL_BUFFER_BYTES;
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

/// One direction.
struct Half {
    buffer: Box<[u8]>,
    /// What of the buffer is still to be written.
    start: usize,
    end: usize,
    frames: FrameScan,
    farewell: Vec<u8>,
    stage: Stage,
    sent_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    /// The farewell stands in the buffer, or was written: what still comes is dropped, until the other end closes too.
    Closing,
    /// The reader has ended; the writer hears of it.
    Ending,
    Done,
}

impl Half {
    fn new(farewell: Vec<u8>) -> Self {
        let buffer = vec![0; TUNNEL_BUFFER_BYTES].into_boxed_slice();
        let frames = FrameScan::default();
        Self { buffer, start: 0, end: 0, frames, farewell, stage: Stage::Open, sent_bytes: 0 }
    }

    fn poll<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
        flight: &Flight,
    ) -> io::Result<Poll<()>> {
        loop {
            if self.write(cx, to)?.is_pending() {
                return Ok(Poll::Pending);
            }
            if flight.is_closing() && self.stage == Stage::Open && self.frames.is_at_boundary() {
                self.bid_farewell(0);
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
                    if self.read(cx, from, flight)?.is_pending() {
                        return Ok(Poll::Pending);
                    }
                }
            }
        }
    }

    fn write<W: AsyncWrite + Unpin>(&mut self, cx: &mut Context<'_>, to: &mut W) -> io::Result<Poll<()>> {
        while self.start < self.end {
            let written = match Pin::new(&mut *to).poll_write(cx, &self.buffer[self.start..self.end])? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(written) => written,
                Poll::Pending => return Ok(Poll::Pending),
            };
            self.start += written;
            self.sent_bytes += written as u64;
        }
        if self.end > 0 {
            if Pin::new(&mut *to).poll_flush(cx)?.is_pending() {
                return Ok(Poll::Pending);
            }
            (self.start, self.end) = (0, 0);
        }
        Ok(Poll::Ready(()))
    }

    fn read<R: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
        flight: &Flight,
    ) -> io::Result<Poll<()>> {
        // Room for the farewell behind what is read.
        let room = self.buffer.len() - self.farewell.len();
        let mut piece = ReadBuf::new(&mut self.buffer[..room]);
        match Pin::new(from).poll_read(cx, &mut piece) {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(read) => read?,
        }
        let came = piece.filled().len();
        if came == 0 {
            self.stage = Stage::Ending;
        } else if self.stage == Stage::Closing {
            self.frames.follow(&self.buffer[..came]);
        } else if !flight.is_closing() {
            self.frames.follow(&self.buffer[..came]);
            self.end = came;
        } else if let Some(boundary) = self.frames.follow_to_boundary(&self.buffer[..came]) {
            let rest = self.buffer[boundary..came].to_vec();
            self.bid_farewell(boundary);
            self.frames.follow(&rest);
        } else {
            self.end = came;
        }
        Ok(Poll::Ready(()))
    }

    /// Puts the farewell behind what is still to be written.
    fn bid_farewell(&mut self, at: usize) {
        self.stage = Stage::Closing;
        self.end = at;
        // One that closed by itself needs none.
        if !self.frames.has_closed() {
            self.end = at + self.farewell.len();
            self.buffer[at..self.end].copy_from_slice(&self.farewell);
        }
    }
}
