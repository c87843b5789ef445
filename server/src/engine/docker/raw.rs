//! Questions whose answers bollard reads in the shape of newer engines only: JSON over the socket, as version 1.41 has it.
use super::{DockerEngine, Result};
use crate::engine::EngineError;
use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::net::UnixStream;

/// The newest version whose answers look like those of 1.41; engines that no longer know 1.41 know this one.
const API_VERSION_MAX: (u32, u32) = (1, 44);
const ANSWER_BYTES_MAX: usize = 64 << 20;

impl DockerEngine {
    /// One call; `what` says in errors what was tried.
    pub(super) async fn raw(
        &self,
        what: &str,
        method: Method,
        path: &str,
        limit: Duration,
    ) -> Result<serde_json::Value> {
        let version = shown_as(&self.link.api_version().await?);
        let request = Request::builder()
            .method(method)
            .uri(format!("/v{version}{path}"))
            .header("Host", "docker")
            .body(Empty::<Bytes>::new())
            .context("write a request to the engine")?;
        let answer = tokio::time::timeout(limit, self.exchange(request));
        let answer = answer.await.map_err(|_elapsed| anyhow!("no answer within {} s", limit.as_secs())).flatten();
        let place = self.link.socket().display().to_string();
        answer.map_err(|error| EngineError::Unreachable(error.context(format!("{what} on {place}"))))
    }

    async fn exchange(&self, request: Request<Empty<Bytes>>) -> anyhow::Result<serde_json::Value> {
        let stream = UnixStream::connect(self.link.socket()).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let asking = async {
            let answer = sender.send_request(request).await?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| anyhow!("{error}"))?.to_bytes();
            if !status.is_success() {
                return Err(anyhow!("the engine answered {status}: {}", String::from_utf8_lossy(&body)));
            }
            serde_json::from_slice(&body).context("read the engine's answer")
        };
        tokio::pin!(asking);
        tokio::select! {
            answer = &mut asking => answer,
            // What the engine said before it hung up is buffered.
            _ = connection => asking.await,
        }
    }
}

fn shown_as(agreed: &str) -> String {
    let numbers = agreed.split_once('.').and_then(|(a, b)| Some((a.parse::<u32>().ok()?, b.parse::<u32>().ok()?)));
    let (major, minor) = numbers.map_or(API_VERSION_MAX, |agreed| agreed.min(API_VERSION_MAX));
    format!("{major}.{minor}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_engine_is_asked_in_words_that_it_and_we_know() {
        assert_eq!([shown_as("1.41"), shown_as("1.52"), shown_as("2.0")], ["1.41", "1.44", "1.44"]);
    }
}
