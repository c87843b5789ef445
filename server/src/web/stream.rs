//! Streams that keep a page fresh (server-sent events): `changed` says "ask again" and carries no data; `line` carries a
//! line of a log as HTML, with an id behind which a reader who was cut off goes on (`Last-Event-ID`, or `after`).
use super::Room;
use super::fields::Fields;
use super::problem::Problem;
use super::session::Caller;
use crate::domain::route::RouteTable;
use crate::domain::session::SessionId;
use crate::logs::{Follower, Reader};
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior};

/// Streams of one session, and of all.
const STREAMS_PER_SESSION_MAX: usize = 16;
const STREAMS_MAX: usize = 128;
/// `changed` is said at most this often.
const BEAT: Duration = Duration::from_millis(250);
/// Beats between two looks at the routes: a crash changes no row.
const BEATS_PER_LOOK: u32 = 4;
/// Beats after which `changed` is said anyway; it also finds out that a session is over or a visitor gone.
const BEATS_PER_SIGN: u32 = 60;
/// Lines that go out in one piece.
const LINES_PER_PIECE: usize = 100;
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What a stream tells beside changes.
pub(super) enum Feed {
    Changes,
    /// A transcript from its beginning: `told` lines are told already, `shown` are on the page.
    Transcript {
        follower: Box<Follower>,
        told: u64,
        shown: u64,
    },
    Log {
        reader: Box<Reader>,
        filter: super::log_filter::LogFilter,
    },
}

/// One event with a line.
struct LineEvent {
    id: String,
    html: String,
}

impl Feed {
    /// The next line; never, where there is none to come. Dropping the future loses nothing.
    async fn next(&mut self) -> anyhow::Result<LineEvent> {
        match self {
            Self::Changes => std::future::pending().await,
            Self::Transcript { follower, told, shown } => loop {
                let Some(line) = follower.next().await? else { return std::future::pending().await };
                *told += 1;
                if *told > *shown {
                    return Ok(LineEvent { id: told.to_string(), html: super::deploy::line_html(*told, &line) });
                }
            },
            Self::Log { reader, filter } => loop {
                let (place, line) = reader.next().await?;
                if filter.keeps(&line) {
                    return Ok(LineEvent { id: place.to_string(), html: super::logs::line_html(&line) });
                }
            },
        }
    }
}

/// Where a reader wants to go on: the browser's own word wins over the page's.
pub(super) fn wanted_place(headers: &HeaderMap, query: &Fields) -> Result<Option<String>, Problem> {
    let again = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok()).filter(|id| !id.is_empty());
    Ok(again.map(str::to_owned).or(query.one("after")?.map(str::to_owned)))
}

/// Opens a stream, if there is a seat for this session.
pub(super) fn open(room: &Room, caller: &Caller, query: &Fields, feed: Feed) -> Result<Response, Problem> {
    let seat = Seat::take(room, caller.session.id)?;
    let changes = room.desk().store.changes();
    let seen = query.one("seen")?.and_then(|seen| seen.parse::<u64>().ok());
    let is_owed = seen != Some(*changes.borrow());
    let mut beat = tokio::time::interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let flow = Flow {
        is_owed,
        routes: room.desk().scheduler.routes(),
        room: room.clone(),
        caller: caller.clone(),
        feed,
        changes,
        beat,
        beats: 0,
        greeting: Some(Bytes::from_static(b"retry: 1000\n\n")),
        _seat: seat,
    };
    let pieces = futures_util::stream::unfold(flow, async |mut flow| {
        let piece = flow.next().await?;
        Some((Ok::<_, Infallible>(piece), flow))
    });
    let kind = HeaderValue::from_static("text/event-stream");
    Ok((StatusCode::OK, [(header::CONTENT_TYPE, kind)], Body::from_stream(pieces)).into_response())
}

struct Flow {
    room: Room,
    caller: Caller,
    feed: Feed,
    changes: watch::Receiver<u64>,
    routes: RouteTable,
    beat: Interval,
    beats: u32,
    /// Something changed since `changed` was last said.
    is_owed: bool,
    greeting: Option<Bytes>,
    _seat: Seat,
}

impl Flow {
    /// The next piece; `None` ends the stream.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(greeting) = self.greeting.take() {
            return Some(greeting);
        }
        loop {
            tokio::select! {
                line = self.feed.next() => match line {
                    Ok(line) => return Some(self.piece(line)),
                    Err(error) => {
                        tracing::warn!("a stream of the pages broke off: {error:#}");
                        return None;
                    }
                },
                changed = self.changes.changed() => {
                    changed.ok()?;
                    self.is_owed = true;
                }
                _ = self.beat.tick() => {
                    if self.is_due() {
                        return self.say_changed().await;
                    }
                }
            }
        }
    }

    /// A line, and with it those that are there already.
    fn piece(&mut self, first: LineEvent) -> Bytes {
        let mut text = String::new();
        let mut next = Some(first);
        for _ in 0..LINES_PER_PIECE {
            let Some(LineEvent { id, html }) = next else { break };
            text.push_str("event: line\nid: ");
            text.push_str(&id);
            text.push_str("\ndata: ");
            text.push_str(&html);
            text.push_str("\n\n");
            next = self.feed.next().now_or_never().and_then(Result::ok);
        }
        Bytes::from(text)
    }

    fn is_due(&mut self) -> bool {
        self.beats += 1;
        if self.beats.is_multiple_of(BEATS_PER_LOOK) {
            let routes = self.room.desk().scheduler.routes();
            if routes != self.routes {
                self.routes = routes;
                self.is_owed = true;
            }
        }
        self.is_owed || self.beats.is_multiple_of(BEATS_PER_SIGN)
    }

    /// Ends where the session has ended: its key may have been removed, which is such a change.
    async fn say_changed(&mut self) -> Option<Bytes> {
        self.is_owed = false;
        let desk = self.room.desk();
        match desk.store.session(&self.caller.token.hash(), desk.clock.now()).await {
            Ok(Some(_)) => Some(Bytes::from_static(b"event: changed\ndata:\n\n")),
            Ok(None) => None,
            Err(error) => {
                tracing::warn!("cannot look at the session of a stream: {error}");
                None
            }
        }
    }
}

/// Streams that are open, by session.
#[derive(Default)]
pub(super) struct Seats(Mutex<HashMap<SessionId, usize>>);

struct Seat {
    room: Room,
    session: SessionId,
}

impl Seat {
    fn take(room: &Room, session: SessionId) -> Result<Self, Problem> {
        let mut seats = room.0.seats.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = seats.values().sum();
        let own = seats.get(&session).copied().unwrap_or(0);
        if all >= STREAMS_MAX || own >= STREAMS_PER_SESSION_MAX {
            return Err(Problem::said(StatusCode::TOO_MANY_REQUESTS, "too many pages are kept fresh at the same time")
                .next("close some of them, then reload this one"));
        }
        seats.insert(session, own + 1);
        drop(seats);
        Ok(Self { room: room.clone(), session })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.room.0.seats.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = seats.get_mut(&self.session) {
            *own -= 1;
            if *own == 0 {
                seats.remove(&self.session);
            }
        }
    }
}
