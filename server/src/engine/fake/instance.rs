//! One instance of the fake engine at work: an HTTP server on its own loopback address. `GET /` (or any path) is answered
//! at once, `GET /sleep/250` after 250 ms.
use super::{Behaviour, ContainerId, Exit, FakeEngine, InstanceSpec};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Begins the instance's life; `false` if it has ended already.
pub(super) fn run(
    engine: &FakeEngine,
    id: &ContainerId,
    spec: &InstanceSpec,
    address: IpAddr,
    behaviour: Behaviour,
) -> bool {
    let say = |text: String| engine.world().write(id, engine.clock.now(), text);
    let life = match behaviour {
        Behaviour::Crash(exit) => {
            say(format!("{} crashes as it was told to", spec.slot));
            engine.end(id, exit);
            return false;
        }
        Behaviour::Never | Behaviour::Loopback | Behaviour::Missing => return true,
        Behaviour::Slow(delay) => Life { delay, ..Life::default() },
        Behaviour::Dies(after) => Life { dies_after: Some(after), ..Life::default() },
        Behaviour::Sick => Life { status: StatusCode::INTERNAL_SERVER_ERROR, ..Life::default() },
        Behaviour::Answers => Life::default(),
    };
    let port = spec.env.get("PORT").and_then(|port| port.parse().ok()).filter(|_| spec.slot.process.is_web());
    let socket = port.map(|port| SocketAddr::new(address, port));
    let greeting = format!("{}/{}", spec.release, spec.slot);
    let Some((close, cut, connections)) = handles(engine, id) else { return false };
    let server = Server { greeting, status: life.status, close, cut, connections: connections.clone() };
    connections.spawn(live(engine.clone(), id.clone(), life, socket, server));
    true
}

struct Life {
    delay: Duration,
    dies_after: Option<Duration>,
    status: StatusCode,
}

impl Default for Life {
    fn default() -> Self {
        Self { delay: Duration::ZERO, dies_after: None, status: StatusCode::OK }
    }
}

fn handles(engine: &FakeEngine, id: &ContainerId) -> Option<(CancellationToken, CancellationToken, TaskTracker)> {
    let world = engine.world();
    let instance = world.instances.get(id)?;
    Some((instance.close.clone(), instance.cut.clone(), instance.connections.clone()))
}

async fn live(engine: FakeEngine, id: ContainerId, life: Life, socket: Option<SocketAddr>, server: Server) {
    let close = server.close.clone();
    let serve = async {
        tokio::time::sleep(life.delay).await;
        let Some(socket) = socket else { return std::future::pending().await };
        match TcpListener::bind(socket).await {
            Ok(listener) => {
                engine.world().write(&id, engine.clock.now(), format!("listening on {socket}"));
                server.serve(listener).await;
            }
            Err(error) => {
                engine.world().write(&id, engine.clock.now(), format!("cannot listen on {socket}: {error}"));
                engine.end(&id, Exit::Status(98));
            }
        }
    };
    let death = async {
        match life.dies_after {
            Some(after) => tokio::time::sleep(after).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = close.cancelled() => {}
        () = death => engine.end(&id, Exit::Status(1)),
        () = serve => {}
    }
}

struct Server {
    /// `v3/web.1`.
    greeting: String,
    status: StatusCode,
    close: CancellationToken,
    cut: CancellationToken,
    connections: TaskTracker,
}

impl Server {
    async fn serve(self, listener: TcpListener) {
        while let Ok((stream, _peer)) = listener.accept().await {
            let connection = carry(stream, self.greeting.clone(), self.status, self.close.clone());
            let cut = self.cut.clone();
            self.connections.spawn(async move {
                tokio::select! {
                    () = cut.cancelled() => {}
                    () = connection => {}
                }
            });
        }
    }
}

/// Serves one connection until its end, or until what it carries has ended once the instance closes.
async fn carry(stream: TcpStream, greeting: String, status: StatusCode, close: CancellationToken) {
    let service = service_fn(|request: Request<Incoming>| answer(request, greeting.clone(), status));
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // Errors are the visitor's: a test that breaks off sees them itself.
    tokio::select! {
        ended = &mut connection => drop(ended),
        () = close.cancelled() => {
            connection.as_mut().graceful_shutdown();
            drop(connection.await);
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    greeting: String,
    status: StatusCode,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if let Some(ms) = request.uri().path().strip_prefix("/sleep/").and_then(|ms| ms.parse().ok()) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
    let asked_status = request.uri().path().strip_prefix("/status/").and_then(|code| code.parse().ok());
    let mut response = Response::new(Full::new(Bytes::from(greeting)));
    *response.status_mut() = asked_status.unwrap_or(status);
    Ok(response)
}
