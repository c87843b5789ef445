//! A TCP stream that acknowledges at once while a connection is young.
//!
//! OpenSSH writes its handshake in small pieces with Nagle's algorithm on (RFC 896), and the kernel holds back our
//! acknowledgements for up to 40 ms (RFC 1122, 4.2.3.2): together that adds 40 ms to every other push. The kernel forgets
//! the option again by itself, so it is set after each of the first reads.
use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Reads after which a connection is no longer young: handshake, log-in and git's first words take about twenty.
const READS: u32 = 64;

pub(super) struct QuickAck {
    stream: TcpStream,
    reads_left: u32,
}

impl QuickAck {
    pub(super) fn new(stream: TcpStream) -> Self {
        let quick = Self { stream, reads_left: READS };
        quick.acknowledge();
        quick
    }

    fn acknowledge(&self) {
        // Without it everything works, only later.
        let _ = rustix::net::sockopt::set_tcp_quickack(&self.stream, true);
    }
}

impl AsyncRead for QuickAck {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        if self.reads_left > 0 {
            self.reads_left -= 1;
            self.acknowledge();
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for QuickAck {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
