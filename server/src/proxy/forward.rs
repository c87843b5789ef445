//! Sends a request to an instance of its app and waits for the head of the answer.
//!
//! Nothing sent yet: any request may go to the next instance. A reused connection that died without a byte of an answer:
//! once more on a fresh one, if the request is idempotent and has no body. After a byte of an answer: never.
//!
//! What is seldom waited for is boxed: every request has room for all that it may wait for, and pays for its size.
use super::balance::{self, Attempts};
use super::body::{Framing, SentBody};
use super::dress;
use super::exchange::Exchange;
use super::fault::Fault;
use super::flight::{Side, Stage};
use super::target::Target;
use super::upstream::Lane;
use crate::domain::Protocol;
use http::response::Parts;
use http::{Request, Version};
use hyper::body::{Body, Incoming};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

/// The head of an answer, whose body the lane brings.
pub(super) struct Reply {
    pub(super) head: Parts,
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
    let request = Box::new(Request::from_parts(head, body));
    let delivered = flight.unless_ended(pin!(deliver(exchange, request))).await?;
    // Whoever ended the request knows better why than whoever noticed.
    delivered.map_err(|fault| flight.verdict().unwrap_or(fault))
}

async fn deliver(exchange: &mut Exchange, mut request: Box<Request<SentBody>>) -> Result<Reply, Fault> {
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
                    Sent::NotYet(again) => request = again,
                }
                lanes = Lanes::Fresh;
                (!was_reused).then(|| io::Error::from(io::ErrorKind::ConnectionReset))
            }
        };
        exchange.flight.alight();
        if let Some(error) = failed {
            Box::pin(attempts.failed(exchange, &error)).await?;
        }
        exchange.refresh()?;
    }
}

async fn lane_to(exchange: &mut Exchange, target: Arc<Target>, lanes: Lanes) -> io::Result<Lane> {
    let worker = exchange.client.worker.clone();
    if target.protocol == Protocol::H2c {
        return Box::pin(trunk_to(exchange, target, lanes)).await;
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
    let connected = Box::pin(Lane::connect(&worker, target)).await;
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

async fn send(exchange: &mut Exchange, mut lane: Lane, mut request: Box<Request<SentBody>>) -> Result<Sent, Fault> {
    dress::dress(&mut request, lane.target.protocol, exchange.host());
    exchange.flight.enter(match request.body() {
        SentBody::Empty => Stage::Waiting,
        SentBody::Stream { .. } => Stage::Sending(Side::App),
    });
    match lane.send(&exchange.client.worker, request).await {
        Ok(head) => Ok(Sent::Answered(Box::new(Reply { head, lane }))),
        Err(failed) => match failed.again {
            Some(again) => Ok(Sent::NotYet(again)),
            None => Err(failed.fault),
        },
    }
}
