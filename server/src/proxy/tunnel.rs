//! After an upgrade: two sockets joined, byte by byte, until one ends. WebSockets are the usual case.
use super::exchange::Exchange;
use super::flight::{Class, Flight, Stage};
use super::limits::TUNNEL_BUFFER_BYTES;
use super::relay;
use super::request_id::Random;
use super::upstream::Lane;
use super::wire::Upgrade;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Joins both sides once hyper lets go of them. The answer 101 must be returned after this.
pub(super) fn open(exchange: Box<Exchange>, client: OnUpgrade, app: OnUpgrade, lane: Lane) {
    let worker = exchange.client.worker.clone();
    exchange.client.wire.set_upgrade(Upgrade::Tunnel);
    exchange.flight.enter(Stage::Tunnel);
    worker.tasks.spawn_local(Box::pin(carry(exchange, client, app, lane)));
}

async fn carry(mut exchange: Box<Exchange>, client: OnUpgrade, app: OnUpgrade, lane: Lane) {
    let flight = exchange.flight.share();
    let both = async { tokio::try_join!(client, app) };
    let Ok(Ok((client, app))) = flight.unless_ended(both).await else { return };
    drop(lane);
    let mut client = Beating { io: TokioIo::new(client), flight: flight.clone() };
    let mut app = Beating { io: TokioIo::new(app), flight: flight.clone() };
    let joined = join(&flight, &exchange.client.worker.random, &mut client, &mut app);
    match flight.unless_ended(joined).await {
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
async fn join(flight: &Flight, random: &Random, client: &mut Beating, app: &mut Beating) -> io::Result<u64> {
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

/// Tells the ticks that something moved.
struct Beating {
    io: TokioIo<Upgraded>,
    flight: Rc<Flight>,
}

impl AsyncRead for Beating {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        if read.is_ready() {
            self.flight.beat();
        }
        read
    }
}

impl AsyncWrite for Beating {
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
