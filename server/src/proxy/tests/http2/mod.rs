//! HTTP/2, both ways: visitors at a door behind which the TLS handshake is thought to have happened, and instances that
//! speak it in the clear.

mod cases;
mod floods;
mod frames;
mod limits;
mod streams;
mod upstream;

use super::super::control::Stop;
use super::super::exchange::Client as ClientConnection;
use super::super::h2_in;
use super::super::worker::Worker;
use super::*;
use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use http::{HeaderMap, Request, Response};
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::runtime::{Builder, LocalOptions, Runtime};

/// One more thread of the town's proxy, to which everybody speaks HTTP/2 from the first byte.
fn open_door(town: &Town) -> SocketAddr {
    let (shared, alive) = (town.proxy.shared.clone(), town.proxy.threads.subscribe());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
        runtime.block_on(serve(Rc::new(Worker::new(shared, address)), listener));
        drop(runtime);
        drop(alive);
    });
    address
}

async fn serve(worker: Rc<Worker>, listener: TcpListener) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let mut signal = worker.shared.signal.subscribe();
    let mut ticker = tokio::time::interval(worker.shared.spans.tick);
    while !worker.is_done() {
        tokio::select! {
            Ok((stream, peer)) = listener.accept() => {
                stream.set_nodelay(true).unwrap();
                let client = Rc::new(ClientConnection::new(worker.clone(), worker.watch(), peer, None));
                worker.tasks.spawn_local(h2_in::serve(client, stream));
            }
            _ = ticker.tick() => worker.tick(),
            changed = signal.changed() => {
                worker.obey(if changed.is_ok() { signal.borrow_and_update().stop } else { Stop::Cut });
            }
        }
    }
}

/// A visitor with one connection by HTTP/2.
struct Visitor {
    runtime: Runtime,
    sender: SendRequest<Bytes>,
    /// Ends with the connection, and says how.
    connection: tokio::task::JoinHandle<Result<(), h2::Error>>,
}

struct Reply {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
    /// Why its stream did not come to its proper end.
    broken: Option<h2::Error>,
}

impl Reply {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn ask(method: &str, path: &str) -> Request<()> {
    Request::builder().method(method).uri(format!("https://blog.test{path}")).body(()).unwrap()
}

/// A map of one field.
fn one(name: &'static str, value: &str) -> HeaderMap {
    let mut map = HeaderMap::new();
    map.insert(name, value.parse().unwrap());
    map
}

impl Visitor {
    fn new(address: SocketAddr) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (sender, connection) = runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(address).await.unwrap();
            // One stream that is not read must not use up what all of them may be sent.
            h2::client::Builder::new().initial_connection_window_size(1 << 20).handshake(stream).await.unwrap()
        });
        let connection = runtime.spawn(connection);
        Self { runtime, sender, connection }
    }

    /// Sends a head; the body, if any, is the caller's.
    fn send(&self, request: Request<()>, is_whole: bool) -> (ResponseFuture, h2::SendStream<Bytes>) {
        let sender = self.sender.clone();
        self.runtime.block_on(async { sender.ready().await.unwrap().send_request(request, is_whole).unwrap() })
    }

    fn get(&self, path: &str) -> Reply {
        let (answer, _) = self.send(ask("GET", path), true);
        self.reply(answer)
    }

    fn head(&self, answer: ResponseFuture) -> Result<Response<h2::RecvStream>, h2::Error> {
        self.runtime.block_on(async { tokio::time::timeout(PATIENCE, answer).await.expect("an answer") })
    }

    fn reply(&self, answer: ResponseFuture) -> Reply {
        let (head, mut stream) = self.head(answer).expect("an answer's head").into_parts();
        self.runtime.block_on(async {
            let mut reply = Reply {
                status: head.status.as_u16(),
                headers: head.headers,
                body: Vec::new(),
                trailers: None,
                broken: None,
            };
            while let Some(data) = stream.data().await {
                match data {
                    Ok(data) => {
                        stream.flow_control().release_capacity(data.len()).unwrap();
                        reply.body.extend(data);
                    }
                    Err(error) => {
                        reply.broken = Some(error);
                        return reply;
                    }
                }
            }
            match stream.trailers().await {
                Ok(trailers) => reply.trailers = trailers,
                Err(error) => reply.broken = Some(error),
            }
            reply
        })
    }

    /// Reads a body and keeps nothing; the reason, if it did not come to its proper end.
    fn drink(&self, mut body: h2::RecvStream) -> Option<h2::Error> {
        self.runtime.block_on(async {
            while let Some(data) = tokio::time::timeout(PATIENCE, body.data()).await.expect("more, or an end") {
                match data {
                    // Of a stream that ended meanwhile there is nothing to be released.
                    Ok(data) => drop(body.flow_control().release_capacity(data.len())),
                    Err(error) => return Some(error),
                }
            }
            body.trailers().await.err()
        })
    }

    /// How the connection ended: it must end by itself.
    fn end(self) -> Result<(), h2::Error> {
        let Self { runtime, sender, connection } = self;
        let ended =
            runtime.block_on(async { tokio::time::timeout(PATIENCE, connection).await.expect("its end").unwrap() });
        drop(sender);
        ended
    }
}
