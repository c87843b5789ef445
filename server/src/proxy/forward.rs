//! Sends a request to an instance of its app and waits for the head of the answer.
//!
//! Nothing sent yet: any request may go to the next instance. A reused connection that died without a byte of an answer:
//! once more on a fresh one, if the request is idempotent and has no body. After a byte of an answer: never.
use super::balance::{self, Attempts};
use super::body::{Framing, SentBody};
use super::dress;
use super::exchange::Exchange;
use super::fault::Fault;
use super::flight::{Side, Stage};
use super::pool::is_idempotent;
use super::target::Target;
use super::upstream::{self, Lane};
use crate::domain::Protocol;
use http::{Request, Response, Version};
use hyper::body::{Body, Incoming};
use std::io;
use std::sync::Arc;
use std::time::Instant;

pub(super) struct Reply {
    pub(super) response: Response<Incoming>,
    pub(super) lane: Lane,
}

pub(super) async fn forward(exchange: &mut Exchange, request: Request<Incoming>) -> Result<Reply, Fault> {
    let flight = exchange.flight.share();
    let (head, incoming) = request.into_parts();
    let framing = if exchange.version == Version::HTTP_2 { Framing::Http2 } else { Framing::Http1 };
    let body = if incoming.is_end_stream() {
        SentBody::Empty
    } else {
        let left_bytes = exchange.rules().and_then(|rules| rules.body_bytes_max).unwrap_or(u64::MAX);
        SentBody::Stream { incoming, flight: flight.clone(), left_bytes, framing }
    };
    let request = Request::from_parts(head, body);
    flight.unless_ended(deliver(exchange, request)).await?
}

async fn deliver(exchange: &mut Exchange, mut request: Request<SentBody>) -> Result<Reply, Fault> {
    let mut attempts = Attempts::new();
    let mut lanes = Lanes::Any;
    loop {
        let target = balance::claim(exchange, &mut attempts).await?;
        let failed = match lane_to(exchange, target, lanes).await {
            Err(error) => Some(error),
            Ok(lane) => {
                let was_reused = lane.is_reused;
                match send(exchange, lane, request).await? {
                    Sent::Answered(reply) => return Ok(*reply),
                    Sent::NotYet(again) => request = *again,
                }
                lanes = Lanes::Fresh;
                (!was_reused).then(|| io::Error::from(io::ErrorKind::ConnectionReset))
            }
        };
        exchange.flight.alight();
        if let Some(error) = failed {
            attempts.failed(exchange, &error).await?;
        }
        exchange.refresh()?;
    }
}

async fn lane_to(exchange: &mut Exchange, target: Arc<Target>, lanes: Lanes) -> io::Result<Lane> {
    let worker = exchange.client.worker.clone();
    if target.protocol == Protocol::H2c {
        return trunk_to(exchange, target, lanes).await;
    }
    let pooled = match lanes {
        Lanes::Any => worker.pool.take(&target, &exchange.method, worker.ticks.get()),
        Lanes::Fresh => None,
    };
    if let Some(lane) = pooled {
        return Ok(lane);
    }
    exchange.flight.enter(Stage::Boarding);
    let since = Instant::now();
    let connected = Lane::connect(&worker, target).await;
    exchange.connected(since);
    connected
}

/// By HTTP/2: a place on a connection that is there, or on one that somebody may be opening already.
async fn trunk_to(exchange: &mut Exchange, target: Arc<Target>, lanes: Lanes) -> io::Result<Lane> {
    let worker = exchange.client.worker.clone();
    // One that was found dead is closed; a second attempt counts against the budget, whichever it takes.
    if let Some(ride) = worker.trunks.take(&target) {
        let mut lane = Lane::on_trunk(target, ride);
        lane.is_reused = matches!(lanes, Lanes::Any);
        return Ok(lane);
    }
    exchange.flight.enter(Stage::Boarding);
    let since = Instant::now();
    let opened = worker.trunks.open(&worker, &target).await;
    exchange.connected(since);
    opened.map(|ride| Lane::on_trunk(target, ride))
}

#[derive(Clone, Copy)]
enum Lanes {
    Any,
    /// One connection was found dead: the others of its age are no better.
    Fresh,
}

enum Sent {
    Answered(Box<Reply>),
    /// Nothing of it arrived, or it may be sent again.
    NotYet(Box<Request<SentBody>>),
}

async fn send(exchange: &mut Exchange, mut lane: Lane, mut request: Request<SentBody>) -> Result<Sent, Fault> {
    dress::dress(&mut request, lane.target.protocol, exchange.host());
    let copy = may_repeat(&lane, &request).then(|| copy_of(&request));
    exchange.flight.enter(match request.body() {
        SentBody::Empty => Stage::Waiting,
        SentBody::Stream { .. } => Stage::Sending(Side::App),
    });
    let mut failed = match lane.send(request).await {
        Ok(response) => return Ok(Sent::Answered(Box::new(Reply { response, lane }))),
        Err(failed) => failed,
    };
    if let Some(unsent) = failed.take_message() {
        return Ok(Sent::NotYet(Box::new(unsent)));
    }
    match copy {
        Some(copy) if lane.may_have_left(failed.error(), &exchange.method) => Ok(Sent::NotYet(Box::new(copy))),
        Some(_) | None => Err(fault_of(failed.error())),
    }
}

fn may_repeat(lane: &Lane, request: &Request<SentBody>) -> bool {
    let is_safe = lane.is_reused && is_idempotent(request.method());
    matches!(request.body(), SentBody::Empty) && (is_safe || lane.target.protocol == Protocol::H2c)
}

fn copy_of(request: &Request<SentBody>) -> Request<SentBody> {
    let mut copy = Request::new(SentBody::Empty);
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    *copy.version_mut() = request.version();
    copy.headers_mut().clone_from(request.headers());
    copy
}

fn fault_of(error: &hyper::Error) -> Fault {
    let is_against_http2 = upstream::h2_error(error).is_some_and(h2::Error::is_library);
    let is_poor = error.is_parse() || error.is_parse_too_large();
    if is_poor || is_against_http2 || upstream::is_flaw(error) {
        Fault::PoorResponse
    } else if error.is_user() {
        // The request's body failed, not the app: its framing was broken on the way in.
        Fault::BrokenBody
    } else {
        Fault::ClosedWithoutResponse
    }
}
