//! HTTP/2 from a client, over any stream of bytes that is ready for it: after a TLS handshake that chose `h2`. In the clear
//! it is not served.
//!
//! Every stream is answered as a request of HTTP/1.1 is, by `answer`, in a task of its own on the same thread. It has a wire
//! of its own: what breaks an answer resets the stream and no other. The connection's wire is what the ticks look at.
use super::answer;
use super::control::Stop;
use super::exchange::Client;
use super::h2_head;
use super::h2_io::H2Io;
use super::limits::{
    H2_CONNECTION_WINDOW_BYTES, H2_HEAD_BYTES_MAX, H2_OWN_RESETS_MAX, H2_SEND_BUFFER_BYTES, H2_STREAM_WINDOW_BYTES,
    H2_STREAMS_MAX, H2_UNSEEN_RESETS_MAX,
};
use super::wire::{Order, Turn, Wire};
use hyper::Request;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::cell::RefCell;
use std::convert::Infallible;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use tokio::io::{AsyncRead, AsyncWrite};

/// Serves a connection until it ends. `client` holds the wire that the ticks look at.
pub(super) async fn serve<S>(client: Rc<Client>, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (wire, worker) = (client.wire.clone(), client.worker.clone());
    wire.carry_many();
    // Its preface is waited for, and no longer than for any head.
    wire.begin_head();
    if worker.stop.get() != Stop::Running {
        wire.give(Order::Close);
    }
    let io = TokioIo::new(H2Io::new(stream, wire.clone(), worker.ticks.clone()));
    let streams = Streams { client, next: Rc::default() };
    let opened = streams.clone();
    let service = service_fn(move |request| opened.open(request));
    let mut connection = pin!(builder(streams).serve_connection(io, service));
    let mut is_leaving = false;
    std::future::poll_fn(|cx| {
        wire.register_gate(cx);
        let order = wire.order();
        if order == Order::Abort {
            return Poll::Ready(());
        }
        if order != Order::None && !is_leaving {
            is_leaving = true;
            connection.as_mut().graceful_shutdown();
        }
        let ended = connection.as_mut().poll(cx).map(|ended| {
            if let Err(error) = ended {
                tracing::trace!("an HTTP/2 client connection ended: {error}");
            }
        });
        // It was told by the poll just made, if it can be told anything.
        if order == Order::Timeout { Poll::Ready(()) } else { ended }
    })
    .await;
}

fn builder(streams: Streams) -> http2::Builder<Streams> {
    let mut builder = http2::Builder::new(streams);
    builder
        .max_concurrent_streams(H2_STREAMS_MAX)
        .max_pending_accept_reset_streams(H2_UNSEEN_RESETS_MAX)
        .max_local_error_reset_streams(H2_OWN_RESETS_MAX)
        .max_header_list_size(H2_HEAD_BYTES_MAX)
        .initial_stream_window_size(H2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(H2_CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(H2_SEND_BUFFER_BYTES);
    builder
}

/// Where the streams of a connection run: each in a task of its thread.
#[derive(Clone)]
struct Streams {
    client: Rc<Client>,
    /// Of the stream that is being opened: the library calls the service and hands us the task of it at once.
    next: Rc<RefCell<Option<Place>>>,
}

/// What a stream is known by while it runs.
struct Place {
    wire: Arc<Wire>,
    _turn: Turn,
}

impl Streams {
    fn open(
        &self,
        mut request: Request<Incoming>,
    ) -> impl Future<Output = Result<http::Response<super::body::ReplyBody>, Infallible>> + use<> {
        let wire = Arc::new(Wire::default());
        *self.next.borrow_mut() = Some(Place { wire: wire.clone(), _turn: self.client.wire.begin() });
        let client = Rc::new(self.client.on_stream(wire));
        async move {
            Ok(match h2_head::settle(&mut request) {
                Ok(()) => answer::answer(client, request).await,
                Err(refusal) => answer::turn_away(&client, request.headers(), refusal),
            })
        }
    }
}

impl<F: Future<Output = ()> + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let place = self.next.take();
        self.client.worker.tasks.spawn_local(async move {
            let mut stream = pin!(stream);
            std::future::poll_fn(|cx| {
                let Some(Place { wire, .. }) = &place else { return stream.as_mut().poll(cx) };
                wire.register_gate(cx);
                let ended = stream.as_mut().poll(cx);
                // Ended by us, and stuck at its client: dropped it is reset.
                if wire.order() == Order::Abort { Poll::Ready(()) } else { ended }
            })
            .await;
        });
    }
}
