//! From an accepted socket to a secured one, in the connection's own task. A CA that checks by TLS-ALPN-01 sees its
//! certificate, and nothing else.
use super::tls::{ACME_TLS, Secured, Tls};
use super::wire::{Mood, Order, Wire};
use std::io;
use std::pin::pin;
use std::task::Poll;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

/// `None`: there is nobody to serve. A tick ends what takes too long.
pub(super) async fn shake(tls: &Tls, stream: TcpStream, wire: &Wire) -> Option<(Box<TlsStream<TcpStream>>, Secured)> {
    wire.set_mood(Mood::Handshake);
    match unless_ordered(wire, go_through(tls, stream)).await {
        Ok(done) => {
            wire.rest();
            done
        }
        Err(error) => {
            tracing::trace!("a handshake failed: {error}");
            None
        }
    }
}

async fn go_through(tls: &Tls, stream: TcpStream) -> io::Result<Option<(Box<TlsStream<TcpStream>>, Secured)>> {
    let start = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream).await?;
    let hello = start.client_hello();
    let is_check = hello.alpn().is_some_and(|offered| offered.eq([ACME_TLS]));
    if let Some(config) = is_check.then(|| tls.challenge_config(hello.server_name())).flatten() {
        start.into_stream(config).await?.shutdown().await?;
        return Ok(None);
    }
    // A check that we did not ask for fails here, since nothing else speaks its protocol.
    let (config, secured) = tls.choose(hello.server_name());
    let stream = start.into_stream(config).await?;
    Ok(Some((Box::new(stream), secured)))
}

/// Runs the handshake until the thread's tick has had enough, or the server stops.
async fn unless_ordered<T>(wire: &Wire, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let mut work = pin!(work);
    std::future::poll_fn(|cx| {
        if wire.order() != Order::None {
            return Poll::Ready(Err(io::Error::from(io::ErrorKind::TimedOut)));
        }
        let done = work.as_mut().poll(cx);
        if done.is_pending() {
            wire.register_gate(cx);
        }
        done
    })
    .await
}
