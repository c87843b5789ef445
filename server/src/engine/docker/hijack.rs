//! Connections that begin as a request and go on as the standard streams of a process (`attach`, `exec`). Not bollard's:
//! its decoder takes a terminal's bytes 0 to 2 for the head of a frame and then waits for a frame that never comes.
use super::link::STREAM_OPEN_TIME_MAX;
use crate::engine::{Attachment, EngineError, Result, Stdio, Written};
use anyhow::{Context as _, anyhow};
use bytes::{Buf, Bytes, BytesMut};
use futures_util::TryStreamExt as _;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::io::Cursor;
use std::path::Path;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio_util::codec::{Decoder, FramedRead};

/// A refusal's text.
const MESSAGE_BYTES_MAX: usize = 64 << 10;
/// Type and length, before every chunk where output and errors are apart.
const HEAD_BYTES: usize = 8;
const ERRORS: u8 = 2;

/// What to ask for.
pub(super) struct Call<'a> {
    /// Path and query, with the API's version.
    pub(super) path: String,
    pub(super) body: Bytes,
    /// What a 404 says is missing.
    pub(super) thing: &'static str,
    /// For error messages: `attach to run.7`.
    pub(super) what: &'a str,
}

/// Makes the call and takes the connection over.
pub(super) async fn open(socket: &Path, call: Call<'_>, stdio: Stdio) -> Result<Attachment> {
    let what = format!("{} on {}", call.what, socket.display());
    let thing = call.thing;
    let opened = tokio::time::timeout(STREAM_OPEN_TIME_MAX, converse(socket, call)).await;
    match opened {
        Ok(Ok(Opened::Stream(stream, begun))) => Ok(attachment(stream, begun, stdio)),
        Ok(Ok(Opened::Refused(StatusCode::NOT_FOUND, _))) => Err(EngineError::Missing(thing)),
        Ok(Ok(Opened::Refused(status, message))) if status.is_client_error() => {
            Err(EngineError::Refused(format!("{what}: {message}")))
        }
        Ok(Ok(Opened::Refused(status, message))) => Err(EngineError::Other(anyhow!("{what}: {status}: {message}"))),
        Ok(Err(error)) => Err(EngineError::Unreachable(error.context(what))),
        Err(elapsed) => Err(EngineError::Unreachable(anyhow!(elapsed).context(what))),
    }
}

enum Opened {
    /// The connection, and what came on it behind the answer's head.
    Stream(UnixStream, Bytes),
    Refused(StatusCode, String),
}

async fn converse(socket: &Path, call: Call<'_>) -> anyhow::Result<Opened> {
    let stream = UnixStream::connect(socket).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::post(call.path)
        .header("Host", "docker")
        .header("Content-Type", "application/json")
        .header("Connection", "Upgrade")
        .header("Upgrade", "tcp")
        .body(Full::new(call.body))
        .context("write the request")?;
    let exchange = async {
        let answer = sender.send_request(request).await?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Opened::Refused(answer.status(), message(answer).await));
        }
        let upgraded = hyper::upgrade::on(answer).await?;
        let parts = upgraded
            .downcast::<TokioIo<UnixStream>>()
            .map_err(|_| anyhow!("the connection is not the one that was opened"))?;
        Ok(Opened::Stream(parts.io.into_inner(), parts.read_buf))
    };
    // The connection carries the exchange; how it ends on its own is no news beside how the exchange does.
    let (opened, _) = tokio::join!(exchange, connection.with_upgrades());
    opened
}

/// `{"message": "…"}`, or whatever else the engine says.
async fn message(answer: Response<Incoming>) -> String {
    let body = Limited::new(answer.into_body(), MESSAGE_BYTES_MAX).collect().await;
    let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let text = String::from_utf8_lossy(&body).trim().to_owned();
    let parsed: Option<serde_json::Value> = serde_json::from_str(&text).ok();
    parsed.and_then(|json| Some(json.get("message")?.as_str()?.to_owned())).unwrap_or(text)
}

fn attachment(stream: UnixStream, begun: Bytes, stdio: Stdio) -> Attachment {
    let (read, write) = stream.into_split();
    let decoder = match stdio {
        Stdio::Terminal => Chunks::Terminal,
        Stdio::Streams | Stdio::Logged => Chunks::Head,
    };
    let output = FramedRead::new(AsyncReadExt::chain(Cursor::new(begun), read), decoder).into_stream();
    Attachment { input: Box::new(write), output: Box::pin(output) }
}

/// Reads what the engine sends: raw where there is a terminal, else in frames, whose parts are passed on as they come.
enum Chunks {
    Terminal,
    /// A frame's head comes next.
    Head,
    Body {
        kind: u8,
        left: usize,
    },
}

impl Decoder for Chunks {
    type Item = Written;
    type Error = std::io::Error;

    fn decode(&mut self, from: &mut BytesMut) -> std::io::Result<Option<Written>> {
        if let Self::Head = self {
            // A frame without content is passed over.
            while from.len() >= HEAD_BYTES && from[4..HEAD_BYTES] == [0; 4] {
                from.advance(HEAD_BYTES);
            }
            if from.len() < HEAD_BYTES {
                return Ok(None);
            }
            let kind = from.get_u8();
            from.advance(3);
            *self = Self::Body { kind, left: usize::try_from(from.get_u32()).unwrap_or(usize::MAX) };
        }
        if from.is_empty() {
            return Ok(None);
        }
        let Self::Body { kind, left } = *self else { return Ok(Some(Written::Output(from.split().freeze()))) };
        let chunk = from.split_to(left.min(from.len())).freeze();
        *self = match left - chunk.len() {
            0 => Self::Head,
            left => Self::Body { kind, left },
        };
        Ok(Some(if kind == ERRORS { Written::Error(chunk) } else { Written::Output(chunk) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(mut decoder: Chunks, chunks: &[&[u8]]) -> Vec<Written> {
        let (mut buffer, mut written) = (BytesMut::new(), Vec::new());
        for chunk in chunks {
            buffer.extend_from_slice(chunk);
            while let Some(one) = decoder.decode(&mut buffer).unwrap() {
                written.push(one);
            }
        }
        assert!(buffer.is_empty(), "something was left over: {buffer:?}");
        written
    }

    fn output(text: &'static [u8]) -> Written {
        Written::Output(Bytes::from_static(text))
    }

    #[test]
    fn frames_are_told_apart_however_they_are_cut() {
        let error = Written::Error(Bytes::from_static(b"no"));
        let whole: &[u8] = b"\x01\0\0\0\0\0\0\x02hi\x02\0\0\0\0\0\0\x02no\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\x01!";
        assert_eq!(decode(Chunks::Head, &[whole]), [output(b"hi"), error.clone(), output(b"!")]);
        let bytes: Vec<&[u8]> = whole.chunks(1).collect();
        let single = [output(b"h"), output(b"i"), Written::Error(Bytes::from_static(b"n"))];
        assert_eq!(decode(Chunks::Head, &bytes)[..3], single);
    }

    #[test]
    fn a_terminals_bytes_are_passed_on_as_they_are() {
        assert_eq!(decode(Chunks::Terminal, &[b"\x01\0", b"\x02 $ "]), [output(b"\x01\0"), output(b"\x02 $ ")]);
    }
}
