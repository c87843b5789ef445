//! After an upgrade: two sockets joined, byte by byte, until one ends. WebSockets are the usual case.
use super::exchange::Exchange;
use super::flight::{Class, Flight, Stage};
use super::limits::TUNNEL_BUFFER_BYTES;
use super::relay;
use super::request_id::Random;
use super::wire::Upgrade;
use bytes::Bytes;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The app's socket, and what it said behind its head already.
pub(super) struct AppSide {
    pub(super) stream: TcpStream,
    pub(super) early: Bytes,
}

/// Joins both sides once hyper lets go of them. The answer 101 must be returned after this.
pub(super) fn open(exchange: Box<Exchange>, client: OnUpgrade, app: AppSide) {
    let worker = exchange.client.worker.clone();
    exchange.client.wire.set_upgrade(Upgrade::Tunnel);
    exchange.flight.enter(Stage::Tunnel);
    worker.tasks.spawn_local(Box::pin(carry(exchange, client, app)));
}

async fn carry(mut exchange: Box<Exchange>, client: OnUpgrade, app: AppSide) {
    let flight = exchange.flight.share();
    let Ok(Ok(client)) = flight.unless_ended(pin!(client)).await else { return };
    let mut client: Client = Beating { io: TokioIo::new(client), flight: flight.clone() };
    let mut app = Beating { io: app, flight: flight.clone() };
    let random = &exchange.client.worker.random;
    let joined = flight.unless_ended(pin!(join(&flight, random, &mut client, &mut app))).await;
    match joined {
        Ok(Ok(sent_bytes)) => {
            exchange.bytes = sent_bytes;
            exchange.succeed();
        }
        // A tunnel has no clean end to tell from a broken one: whoever leaves, leaves.
        Ok(Err(_)) => exchange.succeed(),
        Err(fault) => exchange.fail(fault),
    }
}

/// How many bytes the client was sent, once both ends are done.
async fn join(flight: &Flight, random: &Random, client: &mut Client, app: &mut Beating<AppSide>) -> io::Result<u64> {
    match flight.class() {
        Class::WebSocket { .. } => {
            let mask = random.next().to_be_bytes();
            relay::carry(flight, client, app, [mask[0], mask[1], mask[2], mask[3]]).await
        }
        Class::Request | Class::EventStream | Class::Tunnel => {
            let size = TUNNEL_BUFFER_BYTES;
            tokio::io::copy_bidirectional_with_sizes(client, app, size, size).await.map(|(_, sent_bytes)| sent_bytes)
        }
    }
}

type Client = Beating<TokioIo<Upgraded>>;

/// Tells the ticks that something moved.
struct Beating<T> {
    io: T,
    flight: Rc<Flight>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Beating<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        if read.is_ready() {
            self.flight.beat();
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Beating<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl AsyncRead for AppSide {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let count = self.early.len().min(buf.remaining());
        buf.put_slice(&self.early.split_to(count));
        if self.early.is_empty() {
            self.early = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for AppSide {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
