//! Takes visits in, has them answered, and sends what comes of it back, in pieces where it goes on.
use super::{Room, door, problem, routes};
use crate::visit::{Answer, AnswerBody, Transport, Visit};
use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http_body_util::BodyExt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tower_service::Service;

/// Visits that are answered at the same time.
const VISITS_AT_ONCE: usize = 32;
/// Pieces of a stream that may wait for the visitor.
const PIECES_QUEUED: usize = 64;
/// A visitor of a stream who takes nothing for this long has left.
const PIECE_STALL: Duration = Duration::from_mins(1);

/// Where a request comes from, as pages see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visitor {
    pub(super) peer: IpAddr,
    pub(super) transport: Transport,
}

pub(super) async fn serve(room: Room, mut visits: mpsc::Receiver<Visit>) {
    let router = routes::router(&room);
    let bench = Arc::new(Semaphore::new(VISITS_AT_ONCE));
    let (tracker, stop) = (room.tools().tracker.clone(), room.tools().stop.clone());
    loop {
        let visit = tokio::select! {
            () = stop.cancelled() => return,
            visit = visits.recv() => visit,
        };
        let Some(visit) = visit else { return };
        let Ok(permit) = Arc::clone(&bench).acquire_owned().await else { return };
        let (room, router) = (room.clone(), router.clone());
        tracker.spawn(async move {
            let Visit { head, body, peer, transport, answer } = visit;
            let mut request = Request::from_parts(head, Body::from(body));
            request.extensions_mut().insert(Visitor { peer, transport });
            let response = respond(&room, router, request).await;
            drop(permit);
            let (whole, rest) = parcel(&room, response).await;
            // A visitor who left needs no answer; a stream notices by itself.
            let _ = answer.send(whole);
            if let Some(rest) = rest {
                rest.run(&room).await;
            }
        });
    }
}

/// The answer to any request: nothing but "not found" before the first key.
pub(super) async fn respond(room: &Room, mut router: Router, request: Request) -> Response {
    let response = match room.desk().store.has_keys().await {
        Ok(true) => match router.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        },
        Ok(false) => problem::bare_not_found(),
        Err(error) => problem::Problem::from(error).into_bare_response(),
    };
    door::harden(response)
}

/// What of a stream is still to come.
struct Rest {
    body: Body,
    to: mpsc::Sender<Bytes>,
}

async fn parcel(room: &Room, response: Response) -> (Answer, Option<Rest>) {
    let (head, body) = response.into_parts();
    if HttpBody::size_hint(&body).exact().is_none() {
        let (to, pieces) = mpsc::channel(PIECES_QUEUED);
        return (Answer::from_parts(head, AnswerBody::Stream(pieces)), Some(Rest { body, to }));
    }
    match body.collect().await {
        Ok(whole) => (Answer::from_parts(head, AnswerBody::Whole(whole.to_bytes())), None),
        Err(error) => {
            tracing::warn!("cannot put a page together: {error}; stopping: {}", room.tools().stop.is_cancelled());
            (problem::bare_not_found().map(|_| AnswerBody::Whole(Bytes::new())), None)
        }
    }
}

impl Rest {
    /// Ends when the stream does, when the visitor has left or takes nothing more, and when everything stops.
    async fn run(mut self, room: &Room) {
        loop {
            let frame = tokio::select! {
                frame = self.body.frame() => frame,
                () = self.to.closed() => return,
                () = room.tools().stop.cancelled() => return,
            };
            let Some(Ok(frame)) = frame else { return };
            let Ok(piece) = frame.into_data() else { continue };
            let sent = tokio::select! {
                sent = self.to.send_timeout(piece, PIECE_STALL) => sent,
                () = room.tools().stop.cancelled() => return,
            };
            if sent.is_err() {
                return;
            }
        }
    }
}
