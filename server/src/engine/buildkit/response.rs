//! The engine's answer to a build: JSON lines until the image is made or the build has failed.
use super::Trouble;
use super::progress::Progress;
use crate::domain::ImageId;
use crate::engine::{BuildError, BuildEvent};
use anyhow::anyhow;
use base64::Engine as _;
use bytes::BytesMut;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::Deserialize;
use tokio::sync::mpsc;

/// A message longer than this is no progress message of any engine.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// How much of an error answer is read.
const ERROR_BYTES_MAX: usize = 64 << 10;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    id: Option<String>,
    aux: Option<serde_json::Value>,
    error: Option<String>,
}

/// Passes progress on until the build ends. A slow receiver slows the build down; one that is gone does not matter.
pub(super) async fn follow(mut body: Incoming, events: &mpsc::Sender<BuildEvent>) -> Result<ImageId, Trouble> {
    let mut build = Build::default();
    let mut buffer = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        buffer.extend_from_slice(&data);
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line = buffer.split_to(end + 1);
            tell(events, build.note(&line)?).await;
        }
        if buffer.len() > MESSAGE_BYTES_MAX {
            return Err(Trouble::Other(anyhow!("the engine sent a message of over {MESSAGE_BYTES_MAX} bytes")));
        }
    }
    tell(events, build.note(&buffer)?).await;
    tell(events, build.progress.finish()).await;
    build.outcome()
}

async fn tell(to: &mpsc::Sender<BuildEvent>, events: Vec<BuildEvent>) {
    for event in events {
        if to.send(event).await.is_err() {
            return;
        }
    }
}

/// What the messages have said so far.
#[derive(Default)]
struct Build {
    progress: Progress,
    image: Option<ImageId>,
    error: Option<String>,
}

impl Build {
    fn note(&mut self, line: &[u8]) -> Result<Vec<BuildEvent>, Trouble> {
        let line = line.trim_ascii();
        if line.is_empty() {
            return Ok(Vec::new());
        }
        let message: Message = serde_json::from_slice(line)
            .map_err(|error| Trouble::Other(anyhow!(error).context("read a progress message of the build")))?;
        if message.error.is_some() {
            self.error = message.error;
        }
        match (message.id.as_deref(), message.aux) {
            (Some("moby.buildkit.trace"), Some(serde_json::Value::String(trace))) => Ok(self.note_trace(&trace)),
            (Some("moby.image.id"), Some(aux)) => {
                self.image = aux.get("ID").and_then(serde_json::Value::as_str).map(ImageId::new);
                Ok(Vec::new())
            }
            _other_message => Ok(Vec::new()),
        }
    }

    /// A trace that cannot be read costs progress, not the build.
    fn note_trace(&mut self, base64: &str) -> Vec<BuildEvent> {
        let Ok(message) = base64::engine::general_purpose::STANDARD.decode(base64) else {
            tracing::warn!("progress message of a build is no base64");
            return Vec::new();
        };
        self.progress.note(&message).unwrap_or_else(|error| {
            tracing::warn!("{error}");
            Vec::new()
        })
    }

    fn outcome(self) -> Result<ImageId, Trouble> {
        if let Some(error) = self.error {
            let failure = self.progress.failure(&error);
            return Err(Trouble::Build(BuildError::Step { step: failure.step, reason: failure.reason }));
        }
        self.image.ok_or_else(|| Trouble::Other(anyhow!("the engine ended the build and named no image")))
    }
}

/// The words of an error answer, as far as they arrive.
pub(super) async fn error_message(mut body: Incoming) -> String {
    #[derive(Deserialize)]
    struct Refusal {
        message: String,
    }
    let mut text = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        text.extend_from_slice(frame.data_ref().map_or(&[][..], |data| &data[..]));
        if text.len() > ERROR_BYTES_MAX {
            break;
        }
    }
    match serde_json::from_slice::<Refusal>(&text) {
        Ok(refusal) => refusal.message,
        Err(_not_json) => String::from_utf8_lossy(&text).trim().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(lines: &[&str]) -> Result<ImageId, Trouble> {
        let mut build = Build::default();
        for line in lines {
            build.note(line.as_bytes())?;
        }
        build.outcome()
    }

    #[test]
    fn the_image_is_the_one_that_the_engine_names() {
        let lines = [
            r#"{"id":"moby.image.id","aux":{"ID":"sha256:ab"}}"#,
            r#"{"stream":"Successfully tagged x:y\n"}"#,
            r#"{"id":"moby.buildkit.trace","aux":"not base64!"}"#,
        ];
        assert!(matches!(outcome(&lines), Ok(image) if image.as_str() == "sha256:ab"));
    }

    #[test]
    fn an_error_message_ends_in_a_failed_step() {
        let lines = [r#"{"errorDetail":{"message":"boom"},"error":"boom"}"#];
        assert!(matches!(outcome(&lines), Err(Trouble::Build(BuildError::Step { .. }))));
    }

    #[test]
    fn an_answer_that_ends_early_is_no_success() {
        assert!(matches!(outcome(&[]), Err(Trouble::Other(_))));
        assert!(matches!(outcome(&["<html>"]), Err(Trouble::Other(_))));
    }
}
