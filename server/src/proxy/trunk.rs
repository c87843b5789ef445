//! Connections by HTTP/2 in the clear to instances that speak it (gRPC): each carries many requests at a time, and dies
//! with its instance's place in the table. Of the requests that need a new one, the first opens it for all.
use super::body::SentBody;
use super::limits::{
    H2_CONNECTION_WINDOW_BYTES, H2_HEAD_BYTES_MAX, H2_SEND_BUFFER_BYTES, H2_STREAM_WINDOW_BYTES, H2_STREAMS_MAX,
    LANE_IDLE_MAX, Spans,
};
use super::target::Target;
use super::worker::Worker;
use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, Shared};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;

/// Of one thread, by the target's serial.
pub(super) struct Trunks {
    known: RefCell<HashMap<u64, Known>>,
    idle_ticks_max: u32,
}

struct Known {
    target: Arc<Target>,
    open: Vec<Trunk>,
    opening: Option<Opening>,
}

type Opening = Shared<LocalBoxFuture<'static, Result<Trunk, io::ErrorKind>>>;

#[derive(Clone)]
struct Trunk {
    sender: SendRequest<SentBody>,
    riders: Rc<Cell<usize>>,
    /// How many the instance allows, as far as it said.
    room: Rc<Cell<usize>>,
    /// The last tick at which somebody was on it.
    used: Rc<Cell<u32>>,
}

/// One request's place on a connection.
pub(super) struct Ride {
    pub(super) sender: SendRequest<SentBody>,
    riders: Rc<Cell<usize>>,
}

impl Drop for Ride {
    fn drop(&mut self) {
        self.riders.set(self.riders.get() - 1);
    }
}

impl Trunks {
    pub(super) fn new(spans: &Spans) -> Self {
        Self { known: RefCell::default(), idle_ticks_max: spans.ticks(LANE_IDLE_MAX) }
    }

    /// A place on a connection that is open.
    pub(super) fn take(&self, target: &Target) -> Option<Ride> {
        let known = self.known.borrow();
        known.get(&target.serial)?.open.iter().find_map(Trunk::board)
    }

    /// A place on a new connection, which the requests that came meanwhile may use too.
    pub(super) async fn open(&self, worker: &Worker, target: &Arc<Target>) -> io::Result<Ride> {
        loop {
            let opening = self.opening(worker, target);
            let opened = opening.clone().await;
            self.note(target.serial, &opening, &opened);
            let trunk = opened.map_err(io::Error::from)?;
            // Full at once when more waited for it than it carries: they open the next.
            match trunk.board() {
                Some(ride) => return Ok(ride),
                None if trunk.sender.is_closed() => return Err(io::Error::from(io::ErrorKind::ConnectionReset)),
                None => {}
            }
        }
    }

    fn opening(&self, worker: &Worker, target: &Arc<Target>) -> Opening {
        let mut known = self.known.borrow_mut();
        let known = known.entry(target.serial).or_insert_with(|| Known {
            target: target.clone(),
            open: Vec::new(),
            opening: None,
        });
        let new = || connect(target.clone(), worker.shared.spans.connect, worker.tasks.clone(), worker.ticks.get());
        known.opening.get_or_insert_with(|| new().boxed_local().shared()).clone()
    }

    /// The first who sees a connection opened notes it for all.
    fn note(&self, serial: u64, opening: &Opening, opened: &Result<Trunk, io::ErrorKind>) {
        let mut known = self.known.borrow_mut();
        let Some(known) = known.get_mut(&serial) else { return };
        if known.opening.as_ref().is_some_and(|noted| noted.ptr_eq(opening)) {
            known.opening = None;
            known.open.extend(opened.iter().cloned());
        }
    }

    /// Closes what nobody uses any more, and what leads to instances that left the table.
    pub(super) fn prune(&self, now: u32) {
        self.known.borrow_mut().retain(|_, known| {
            let has_left = known.target.is_closed();
            known.open.retain(|trunk| !has_left && trunk.is_worth_keeping(now, self.idle_ticks_max));
            // Nobody but this list waits for it.
            known.opening.take_if(|opening| opening.strong_count().is_none_or(|count| count <= 1));
            !known.open.is_empty() || known.opening.is_some()
        });
    }

    pub(super) fn clear(&self) {
        self.known.borrow_mut().clear();
    }
}

impl Trunk {
    fn board(&self) -> Option<Ride> {
        let streams = usize::try_from(H2_STREAMS_MAX).unwrap_or(usize::MAX);
        // An app that allows none at all is asked all the same, and keeps its caller waiting.
        let room = self.room.get().clamp(1, streams);
        if self.sender.is_closed() || self.riders.get() >= room {
            return None;
        }
        self.riders.set(self.riders.get() + 1);
        Some(Ride { sender: self.sender.clone(), riders: self.riders.clone() })
    }

    fn is_worth_keeping(&self, now: u32, idle_ticks_max: u32) -> bool {
        if self.riders.get() > 0 {
            self.used.set(now);
        }
        !self.sender.is_closed() && now.saturating_sub(self.used.get()) <= idle_ticks_max
    }
}

async fn connect(target: Arc<Target>, limit: Duration, tasks: TaskTracker, now: u32) -> Result<Trunk, io::ErrorKind> {
    let attempt = tokio::time::timeout(limit, TcpStream::connect(target.address)).await;
    let stream = attempt.map_err(|_| io::ErrorKind::TimedOut)?.map_err(|error| error.kind())?;
    // A refusal means the instance is gone already, which the first read will tell.
    let _ = stream.set_nodelay(true);
    let mut builder = Builder::new(OnThread(tasks.clone()));
    builder
        .initial_stream_window_size(H2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(H2_CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(H2_SEND_BUFFER_BYTES)
        .max_header_list_size(H2_HEAD_BYTES_MAX);
    let shaken = builder.handshake(TokioIo::new(stream)).await;
    let (sender, connection) = shaken.map_err(|_| io::ErrorKind::ConnectionReset)?;
    let room = Rc::new(Cell::new(connection.current_max_send_streams()));
    let told = room.clone();
    tasks.spawn_local(async move {
        let mut connection = pin!(connection);
        let ended = std::future::poll_fn(|cx| {
            let polled = connection.as_mut().poll(cx);
            told.set(connection.current_max_send_streams());
            polled
        });
        if let Err(error) = ended.await {
            tracing::trace!("an HTTP/2 connection to an instance ended: {error}");
        }
    });
    Ok(Trunk { sender, riders: Rc::default(), room, used: Rc::new(Cell::new(now)) })
}

/// What the library has to run beside us runs on the same thread.
#[derive(Clone)]
struct OnThread(TaskTracker);

impl<F: Future<Output = ()> + 'static> Executor<F> for OnThread {
    fn execute(&self, work: F) {
        self.0.spawn_local(work);
    }
}
