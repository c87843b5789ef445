//! The same question to an instance that speaks HTTP/2 in the clear, and need not know HTTP/1.1 at all.
//!
//! Where nobody declared a path it is gRPC's own question: servers of gRPC reset a GET, measured with grpcio. One that
//! does not answer such questions says so (`UNIMPLEMENTED`), which is a good answer, and so is a web server's 404.
use super::probe::{Question, USER_AGENT, judge};
use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, Response, StatusCode, Version, header};
use tokio::net::TcpStream;

/// Of grpc.health.v1, with a message that asks for the whole server: it is empty. Flag and length stand before it.
const HEALTH_PATH: &str = "/grpc.health.v1.Health/Check";
const EMPTY_MESSAGE: [u8; 5] = [0; 5];
/// `HealthCheckResponse { status: NOT_SERVING }` behind its flag and length.
const NOT_SERVING: [u8; 7] = [0, 0, 0, 0, 2, 8, 2];
/// What is read of an answer, in bytes.
const ANSWER_BYTES_MAX: usize = 4096;

/// The status of the answer, and whether it is a good one.
pub(super) async fn ask(stream: TcpStream, question: &Question) -> anyhow::Result<(u16, bool)> {
    let (sender, connection) = h2::client::handshake(stream).await?;
    let exchange = async {
        match &question.health.path {
            Some(path) => ask_path(sender, question, path.as_str()).await,
            None => ask_grpc(sender, question).await,
        }
    };
    tokio::select! {
        done = exchange => done,
        ended = connection => {
            ended?;
            anyhow::bail!("the connection ended without an answer")
        }
    }
}

fn head(question: &Question, method: &str, path: &str) -> http::request::Builder {
    let builder = Request::builder().method(method).uri(format!("http://{}{path}", question.host));
    let builder = builder.version(Version::HTTP_2).header(header::USER_AGENT, USER_AGENT);
    builder.header("x-forwarded-proto", "https")
}

async fn ask_path(sender: SendRequest<Bytes>, question: &Question, path: &str) -> anyhow::Result<(u16, bool)> {
    let (answer, _) = sender.ready().await?.send_request(head(question, "GET", path).body(())?, true)?;
    Ok(judge(question, &answer.await?.map(drop)))
}

async fn ask_grpc(sender: SendRequest<Bytes>, question: &Question) -> anyhow::Result<(u16, bool)> {
    let request = head(question, "POST", HEALTH_PATH)
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .body(())?;
    let (answer, mut sent) = sender.ready().await?.send_request(request, false)?;
    sent.send_data(Bytes::from_static(&EMPTY_MESSAGE), true)?;
    let (head, mut body) = answer.await?.into_parts();
    let kind = head.headers.get(header::CONTENT_TYPE).map(header::HeaderValue::as_bytes).unwrap_or_default();
    if head.status != StatusCode::OK || !kind.starts_with(b"application/grpc") {
        return Ok(judge(question, &Response::from_parts(head, ())));
    }
    let (message, trailers) = read(&mut body).await?;
    let status =
        trailers.as_ref().unwrap_or(&head.headers).get("grpc-status").and_then(|it| it.to_str().ok()?.parse().ok());
    let verdict = of_grpc(status, &message);
    Ok((verdict.as_u16(), verdict == StatusCode::OK))
}

async fn read(body: &mut RecvStream) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
    let mut message = Vec::new();
    while let Some(data) = body.data().await {
        message.extend_from_slice(&data?);
        if message.len() > ANSWER_BYTES_MAX {
            return Err(Reason::CANCEL.into());
        }
    }
    Ok((message, body.trailers().await?))
}

/// The status of HTTP that says the same.
fn of_grpc(status: Option<u8>, message: &[u8]) -> StatusCode {
    match status {
        Some(0) if message == NOT_SERVING => StatusCode::SERVICE_UNAVAILABLE,
        // `UNAVAILABLE`.
        Some(14) => StatusCode::SERVICE_UNAVAILABLE,
        // `UNKNOWN`, `INTERNAL`, `DATA_LOSS`, or none at all.
        Some(2 | 13 | 15) | None => StatusCode::INTERNAL_SERVER_ERROR,
        // It is well, or does not answer that, or not to us: but it answers.
        Some(_) => StatusCode::OK,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Protocol;
    use crate::domain::health::Health;
    use tokio::net::TcpListener;

    /// Asks a server that answers every request in one way.
    async fn asked(
        path: Option<&str>,
        answer: &'static [(&'static str, &'static str)],
        message: &'static [u8],
    ) -> (u16, bool, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serve = async {
            let mut connection = h2::server::handshake(listener.accept().await.unwrap().0).await.unwrap();
            let (request, mut respond) = connection.accept().await.unwrap().unwrap();
            let mut head = Response::builder();
            let mut trailers = HeaderMap::new();
            for (name, value) in answer {
                match *name {
                    ":status" => head = head.status(*value),
                    "grpc-status" if !message.is_empty() => drop(trailers.insert(*name, value.parse().unwrap())),
                    _ => head = head.header(*name, *value),
                }
            }
            let mut sent = respond.send_response(head.body(()).unwrap(), message.is_empty()).unwrap();
            if !message.is_empty() {
                sent.send_data(Bytes::from_static(message), false).unwrap();
                sent.send_trailers(trailers).unwrap();
            }
            let asked = format!("{} {}", request.method(), request.uri());
            while connection.accept().await.is_some() {}
            asked
        };
        let health = Health { path: path.map(|path| path.parse().unwrap()), timeout: None };
        let question = Question { host: "blog.test".parse().unwrap(), health, protocol: Protocol::H2c };
        let ask = async { ask(TcpStream::connect(address).await.unwrap(), &question).await.unwrap() };
        let (asked, (status, is_good)) = tokio::join!(serve, ask);
        (status, is_good, asked)
    }

    const GRPC: (&str, &str) = ("content-type", "application/grpc");

    #[tokio::test]
    async fn a_declared_path_is_asked_for_by_get() {
        assert_eq!(
            asked(Some("/up"), &[(":status", "204")], b"").await,
            (204, true, "GET http://blog.test/up".to_owned())
        );
        assert!(!asked(Some("/up"), &[(":status", "404")], b"").await.1);
    }

    #[tokio::test]
    async fn without_one_grpc_is_asked_and_any_answer_but_an_error_will_do() {
        let (status, is_good, question) = asked(None, &[GRPC, ("grpc-status", "0")], &[0, 0, 0, 0, 2, 8, 1]).await;
        assert_eq!(
            (status, is_good, question.as_str()),
            (200, true, "POST http://blog.test/grpc.health.v1.Health/Check")
        );
        assert!(!asked(None, &[GRPC, ("grpc-status", "0")], &NOT_SERVING).await.1, "it is not serving");
        for (status, is_good) in [("12", true), ("5", true), ("16", true), ("14", false), ("13", false), ("x", false)] {
            let answer: &'static [(&str, &str)] = Box::leak(Box::new([GRPC, ("grpc-status", status)]));
            assert_eq!(asked(None, answer, b"").await.1, is_good, "{status}");
        }
        for (status, is_good) in [("200", true), ("404", true), ("415", true), ("500", false), ("503", false)] {
            let answer: &'static [(&str, &str)] = Box::leak(Box::new([(":status", status)]));
            assert_eq!(asked(None, answer, b"").await.1, is_good, "{status}");
        }
    }
}
