//! Is a web instance ready? TCP accept, then a GET of its health path with a good answer, twice in a row.
use super::probe_h2c;
use crate::clock::Clock;
use crate::domain::health::Health;
use crate::domain::instance::Probe;
use crate::domain::{Hostname, Moment, Protocol};
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
pub(super) const USER_AGENT: &str = "paas-health-check";

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

/// What an instance is asked.
pub(super) struct Question {
    /// The app's own host: some apps refuse others.
    pub(super) host: Hostname,
    pub(super) health: Health,
    pub(super) protocol: Protocol,
}

/// Probes until the instance is ready or `stop` is cancelled. Returns whether it became ready.
pub(super) async fn probe_until_ready(
    address: SocketAddr,
    question: &Question,
    state: &ProbeState,
    clock: &dyn Clock,
    stop: &CancellationToken,
) -> bool {
    let started = Instant::now();
    let mut passes = 0;
    loop {
        let met = tokio::select! {
            () = stop.cancelled() => return false,
            met = tokio::time::timeout(PROBE_TIMEOUT, ask(address, question)) => met.ok().and_then(Result::ok),
        };
        match met {
            Some((status, true)) => {
                passes += 1;
                if passes == PASSES {
                    state.set(Progress::Ready { at: clock.now(), status: Some(status) });
                    return true;
                }
                // The second pass follows at once.
                continue;
            }
            Some((status, false)) => state.set(Progress::Probing(Probe::Status(status))),
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

/// One connection, one request; the status of the answer, and whether it is a good one.
async fn ask(address: SocketAddr, question: &Question) -> anyhow::Result<(u16, bool)> {
    let stream = TcpStream::connect(address).await?;
    match question.protocol {
        Protocol::Http1 => ask_by_http1(stream, question).await,
        Protocol::H2c => probe_h2c::ask(stream, question).await,
    }
}

/// The status of an answer, and whether it is a good one.
pub(super) fn judge(question: &Question, answer: &http::Response<()>) -> (u16, bool) {
    let status = answer.status().as_u16();
    let location = answer.headers().get(http::header::LOCATION).and_then(|location| location.to_str().ok());
    (status, question.health.accepts(status, location, &question.host))
}

async fn ask_by_http1(stream: TcpStream, question: &Question) -> anyhow::Result<(u16, bool)> {
    let Question { host, health, .. } = question;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = http::Request::get(health.path())
        .header(http::header::HOST, host.as_str())
        .header(http::header::USER_AGENT, USER_AGENT)
        .header(http::header::CONNECTION, "close")
        .header("x-forwarded-proto", "https")
        .body(Empty::<Bytes>::new())?;
    let exchange = async move {
        let (head, mut body) = sender.send_request(request).await?.into_parts();
        let judged = judge(question, &http::Response::from_parts(head, ()));
        // The body is read to its first part only: a page that never ends is an answer all the same.
        let _ = body.frame().await;
        Ok(judged)
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
