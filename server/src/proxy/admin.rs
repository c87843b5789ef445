//! Requests for the admin hosts: handed over whole to the room that answers them; its answer is streamed back.
//!
//! Over HTTPS they are answered to anybody. Without it only a connection from loopback gets any answer but "not found", and
//! none that another proxy passed on: a tunnel's end is there, a stranger is not (security rule R11).
use super::body::ReplyBody;
use super::exchange::Client;
use super::headers::X_REQUEST_ID;
use super::limits::{ADMIN_ANSWER_MAX, ADMIN_BODY_TIME_MAX};
use crate::visit::{AnswerBody, BODY_BYTES_MAX, Transport, Visit};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::sync::{mpsc, oneshot};

/// What a proxy before us would have added.
const SIGNS_OF_A_PROXY: [HeaderName; 4] =
    [header::FORWARDED, HeaderName::from_static("x-forwarded-for"), HeaderName::from_static("x-real-ip"), header::VIA];

/// The answer of the pages, or the status of the page that stands for it.
pub(super) async fn answer(
    client: &Rc<Client>,
    request: Request<Incoming>,
    id: &HeaderValue,
) -> Result<Response<ReplyBody>, StatusCode> {
    let door = client.worker.shared.dashboard.as_ref().ok_or(StatusCode::NOT_FOUND)?;
    let peer = client.peer().ok_or(StatusCode::NOT_FOUND)?;
    let transport = client.transport();
    let is_passed_on = SIGNS_OF_A_PROXY.iter().any(|sign| request.headers().contains_key(sign));
    if transport == Transport::Plain && (is_passed_on || !peer.is_loopback()) {
        return Err(StatusCode::NOT_FOUND);
    }
    let (mut head, body) = request.into_parts();
    // hyper leaves things of its own there.
    head.extensions.clear();
    let body = collect(&head.headers, body).await?;
    let (answer, answered) = oneshot::channel();
    let visit = Visit { head, body, peer, transport, answer };
    door.try_send(visit).map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let answer = match tokio::time::timeout(ADMIN_ANSWER_MAX, answered).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => return Err(StatusCode::INTERNAL_SERVER_ERROR),
        Err(_) => return Err(StatusCode::GATEWAY_TIMEOUT),
    };
    let (mut head, body) = answer.into_parts();
    head.headers.insert(X_REQUEST_ID, id.clone());
    let body = match body {
        AnswerBody::Whole(page) => {
            client.wire.rest();
            ReplyBody::Page(Some(page))
        }
        AnswerBody::Stream(chunks) => ReplyBody::Admin(AdminBody { chunks, client: client.clone() }),
    };
    Ok(Response::from_parts(head, body))
}

async fn collect(headers: &HeaderMap, body: Incoming) -> Result<Bytes, StatusCode> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > BODY_BYTES_MAX as u64) {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    match tokio::time::timeout(ADMIN_BODY_TIME_MAX, Limited::new(body, BODY_BYTES_MAX).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(_)) => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
    }
}

/// A stream of the pages on its way to the visitor.
pub(super) struct AdminBody {
    chunks: mpsc::Receiver<Bytes>,
    client: Rc<Client>,
}

impl AdminBody {
    pub(super) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.chunks.poll_recv(cx)
    }
}

impl Drop for AdminBody {
    fn drop(&mut self) {
        self.client.wire.rest();
    }
}
