//! Is a web instance ready? TCP accept, then `GET /` with any status below 500, twice in a row.
use crate::clock::Clock;
use crate::domain::instance::Probe;
use crate::domain::{Hostname, Moment};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const WAIT_MIN: Duration = Duration::from_millis(5);
const WAIT_MAX: Duration = Duration::from_millis(250);
/// The wait between probes is this part of the time waited so far, so that readiness is noticed at most that much late.
const WAIT_PART: u32 = 8;
/// For one connection and its answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// Passes in a row that make an instance ready.
const PASSES: u32 = 2;
const UNHEALTHY_FROM: u16 = 500;

/// The state of one instance's probe, shared between the probing task and the passes.
pub(super) struct ProbeState(Mutex<Progress>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Not ready yet; what the last probe met.
    Probing(Probe),
    Ready {
        at: Moment,
        status: Option<u16>,
    },
}

impl ProbeState {
    pub(super) fn new(progress: Progress) -> Self {
        Self(Mutex::new(progress))
    }

    pub(super) fn get(&self) -> Progress {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set(&self, progress: Progress) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = progress;
    }
}

/// Probes until the instance is ready or `stop` is cancelled. Returns whether it became ready.
pub(super) async fn probe_until_ready(
    address: SocketAddr,
    host: &Hostname,
    state: &ProbeState,
    clock: &dyn Clock,
    stop: &CancellationToken,
) -> bool {
    let started = Instant::now();
    let mut passes = 0;
    loop {
        let met = tokio::select! {
            () = stop.cancelled() => return false,
            met = tokio::time::timeout(PROBE_TIMEOUT, ask(address, host)) => met.ok().and_then(Result::ok),
        };
        match met {
            Some(status) if status < UNHEALTHY_FROM => {
                passes += 1;
                if passes == PASSES {
                    state.set(Progress::Ready { at: clock.now(), status: Some(status) });
                    return true;
                }
                // The second pass follows at once.
                continue;
            }
            Some(status) => state.set(Progress::Probing(Probe::Status(status))),
            None => {}
        }
        passes = 0;
        let wait = (started.elapsed() / WAIT_PART).clamp(WAIT_MIN, WAIT_MAX);
        tokio::select! {
            () = stop.cancelled() => return false,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// One connection, one request; the status of the answer.
async fn ask(address: SocketAddr, host: &Hostname) -> anyhow::Result<u16> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = http::Request::get("/")
        .header(http::header::HOST, host.as_str())
        .header(http::header::USER_AGENT, "paas-health-check")
        .header(http::header::CONNECTION, "close")
        .header("x-forwarded-proto", "https")
        .body(Empty::<Bytes>::new())?;
    let exchange = async move {
        let answer = sender.send_request(request).await?;
        let status = answer.status().as_u16();
        // The body is read to its first part only: a page that never ends is an answer all the same.
        let _ = answer.into_body().frame().await;
        Ok(status)
    };
    tokio::pin!(exchange);
    tokio::select! {
        done = &mut exchange => done,
        ended = connection => {
            ended?;
            exchange.await
        }
    }
}
