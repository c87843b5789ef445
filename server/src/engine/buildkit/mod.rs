//! Builds by the BuildKit inside the Docker engine: `POST /build?version=2` on its socket, the context as request body,
//! JSON lines with progress as response. Raw HTTP, because bollard's `buildkit` feature drags in some 70 crates (gRPC)
//! for sessions that we do not use. The connection lives and dies with the future: dropping it ends the build.
mod context;
mod progress;
mod response;
mod trace;

use super::{BuildError, BuildEvent, BuildSpec, EngineError, StepCache};
use crate::domain::ImageId;
use anyhow::{Context as _, anyhow};
use context::ContextBody;
use hyper::client::conn::http1;
use hyper::{Request, Response, StatusCode, body::Incoming};
use hyper_util::rt::TokioIo;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::mpsc;

const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);

/// Runs one build; `api_version` is the negotiated one (`1.41`).
pub(super) async fn build(
    socket: &Path,
    api_version: &str,
    spec: BuildSpec,
    events: mpsc::Sender<BuildEvent>,
) -> Result<ImageId, BuildError> {
    let what = format!("build image {} on {}", spec.reference, socket.display());
    let connect = tokio::time::timeout(CONNECT_TIME_MAX, UnixStream::connect(socket));
    let stream = match connect.await {
        Ok(connected) => connected.map_err(|error| unreachable(error.into(), &what))?,
        Err(elapsed) => return Err(unreachable(elapsed.into(), &what)),
    };
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| unreachable(error.into(), &what))?;
    let request = request(api_version, spec).map_err(|error| EngineError::Other(error.context(what.clone())))?;

    let mut exchange = pin!(exchange(sender, request, events));
    let outcome = tokio::select! {
        outcome = &mut exchange => outcome,
        // The engine may answer and hang up before it has read the whole context: what it said is buffered.
        ended = connection => match (exchange.await, ended) {
            (Err(Trouble::Transport(_)), Err(error)) => Err(Trouble::Transport(error)),
            (outcome, _) => outcome,
        },
    };
    outcome.map_err(|trouble| trouble.into_build_error(&what))
}

/// What can go wrong in the exchange, before it is put into words.
enum Trouble {
    Build(BuildError),
    Transport(hyper::Error),
    Other(anyhow::Error),
}

impl From<hyper::Error> for Trouble {
    fn from(error: hyper::Error) -> Self {
        Self::Transport(error)
    }
}

impl Trouble {
    fn into_build_error(self, what: &str) -> BuildError {
        match self {
            Self::Build(error) => error,
            // The only part of the exchange that is ours and can fail is the context's source.
            Self::Transport(error) if error.is_user() => {
                EngineError::Other(anyhow!(error).context(format!("read the context to {what}"))).into()
            }
            Self::Transport(error) => unreachable(error.into(), what),
            Self::Other(error) => EngineError::Other(error.context(what.to_owned())).into(),
        }
    }
}

fn unreachable(error: anyhow::Error, what: &str) -> BuildError {
    EngineError::Unreachable(error.context(what.to_owned())).into()
}

async fn exchange(
    mut sender: http1::SendRequest<ContextBody>,
    request: Request<ContextBody>,
    events: mpsc::Sender<BuildEvent>,
) -> Result<ImageId, Trouble> {
    let answer = sender.send_request(request).await?;
    if answer.status().is_success() {
        return response::follow(answer.into_body(), &events).await;
    }
    Err(refusal(answer).await)
}

/// An answer that is no stream of progress: the engine would not even begin.
async fn refusal(answer: Response<Incoming>) -> Trouble {
    let status = answer.status();
    let message = response::error_message(answer.into_body()).await;
    match status {
        StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::FORBIDDEN => {
            Trouble::Build(EngineError::Refused(message).into())
        }
        status => Trouble::Other(anyhow!("the engine answered {status}: {message}")),
    }
}

fn request(api_version: &str, spec: BuildSpec) -> anyhow::Result<Request<ContextBody>> {
    let json = |map: &BTreeMap<String, String>| serde_json::to_string(map).context("write a map as JSON");
    let path = format!(
        "/v{api_version}/build?version=2&rm=1&networkmode=default&t={}&dockerfile={}&buildargs={}&labels={}{}{}",
        percent_encoded(&spec.reference),
        percent_encoded(&spec.dockerfile),
        percent_encoded(&json(&spec.args)?),
        percent_encoded(&json(&spec.labels)?),
        spec.target.map(|target| format!("&target={}", percent_encoded(&target))).unwrap_or_default(),
        match spec.cache {
            StepCache::Used => "",
            StepCache::Ignored => "&nocache=1",
        },
    );
    Request::post(path)
        .header("Host", "docker")
        .header("Content-Type", "application/x-tar")
        .body(ContextBody::new(spec.context))
        .context("write the build request")
}

fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            // Writing to a String cannot fail.
            other => drop(write!(out, "%{other:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_the_query_cannot_leave_its_place() {
        assert_eq!(percent_encoded("paas/a:b12"), "paas%2Fa%3Ab12");
        assert_eq!(percent_encoded("{\"A\":\"x&t=ü\n\"}"), "%7B%22A%22%3A%22x%26t%3D%C3%BC%0A%22%7D");
    }
}
