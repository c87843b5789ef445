//! Every limit of the proxy in one place, with its unit. Source of the framing limits: RFC 9112.
use crate::domain::router;
use std::time::Duration;

/// Longest line of a head, in bytes.
pub(super) const LINE_BYTES_MAX: usize = 16 * 1024;
/// Longest request target, in bytes: 414 beyond.
pub(super) const URI_BYTES_MAX: usize = 16 * 1024;
/// Longest method, in bytes.
pub(super) const METHOD_BYTES_MAX: usize = 127;
/// Whole request head, in bytes: 431 beyond.
pub(super) const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Fields of a request head: 431 beyond.
pub(super) const FIELDS_MAX: usize = 200;
/// Line that gives a chunk's size, with its extensions, in bytes.
pub(super) const CHUNK_LINE_BYTES_MAX: usize = 1024;
/// Fields behind a chunked body.
pub(super) const TRAILERS_MAX: usize = 100;
/// Fields of an answer's head.
pub(super) const ANSWER_FIELDS_MAX: usize = 100;
/// Interim heads (1xx) before an answer of an app.
pub(super) const INTERIM_HEADS_MAX: usize = 16;
/// Bytes a client may send behind a request for an upgrade before it was answered.
pub(super) const EARLY_BYTES_MAX: usize = 64 * 1024;
/// Bytes read and dropped behind a refused head, so that the refusal is not lost to a reset.
pub(super) const DISCARD_BYTES_MAX: usize = 256 * 1024;
/// Read and write buffer of one connection, in bytes; two connections make a stream: 256 KiB.
pub(super) const BUFFER_BYTES_MAX: usize = 128 * 1024;
/// The least that is read of an answer at once, in bytes.
pub(super) const READ_BYTES_MIN: usize = 8 * 1024;
/// Each direction of a tunnel, in bytes.
pub(super) const TUNNEL_BUFFER_BYTES: usize = 4 * 1024;

/// Streams a client may have open at a time on one HTTP/2 connection.
pub(super) const H2_STREAMS_MAX: u32 = 128;
/// What one HTTP/2 stream may send before it is read, in bytes, either way; with the buffer towards the other side: 256 KiB.
pub(super) const H2_STREAM_WINDOW_BYTES: u32 = 128 * 1024;
/// The same for all streams of a connection: as much as they have, so that one that is not read stops no other.
pub(super) const H2_CONNECTION_WINDOW_BYTES: u32 = H2_STREAM_WINDOW_BYTES * H2_STREAMS_MAX;
/// Written to one HTTP/2 stream and not sent yet, in bytes.
pub(super) const H2_SEND_BUFFER_BYTES: usize = 64 * 1024;
/// Whole head of an HTTP/2 message, in bytes as RFC 9113 counts them (32 for each field besides): 431 beyond, and beyond
/// four times as much the connection ends.
pub(super) const H2_HEAD_BYTES_MAX: u32 = 64 * 1024;
/// Streams that a client reset before we saw them: GOAWAY beyond (CVE-2023-44487).
pub(super) const H2_UNSEEN_RESETS_MAX: usize = 128;
/// Streams that we reset on one connection because of what its client sent: GOAWAY beyond.
pub(super) const H2_OWN_RESETS_MAX: usize = 256;
/// Resets a client may send at once on one connection, and how many more with every tick: it is broken off beyond.
pub(super) const H2_RESETS_BURST_MAX: u32 = 1000;
pub(super) const H2_RESETS_PER_TICK: u32 = 250;
/// Frames that carry nothing (PING, PRIORITY, empty DATA, unknown ones; SETTINGS counts for 100) in one tick: broken off
/// beyond.
pub(super) const H2_CONTROL_FRAMES_PER_TICK_MAX: u32 = 10_000;

/// Client connections one thread carries; beyond that it stops accepting until one ends.
pub(super) const CONNECTIONS_MAX: usize = 10_000;
/// Connections waiting in the kernel are the kernel's; these are idle ones to one instance, per thread.
pub(super) const IDLE_LANES_MAX: usize = 256;
/// What a waiting request takes up beside its body, in bytes.
pub(super) const WAITING_BYTES: u64 = 8 * 1024;
/// TLS sessions remembered for clients that resume them by id; tickets are kept by the clients.
pub(super) const SESSIONS_MAX: usize = 4096;
/// An earlier server knows a table that we published by then: it looks five times a second, and when it cannot, it says that
/// it may send to everything.
pub(super) const ELDER_LAG: Duration = Duration::from_secs(2);
/// Instances remembered after they left the table; drained ones beyond that are forgotten.
pub(super) const INSTANCES_MAX: usize = 10_000;
/// Times a claim is tried again because the table changed under it.
pub(super) const CLAIM_TRIES_MAX: usize = 64;
/// Path shown in a router line, in bytes (a log line has 16 KiB).
pub(super) const LOGGED_PATH_BYTES_MAX: usize = 8 * 1024;

/// How long an app may keep an idle connection before we stop trusting it.
pub(super) const LANE_IDLE_MAX: Duration = Duration::from_secs(4);
/// The same for requests that must not be sent twice.
pub(super) const LANE_IDLE_MAX_UNSAFE: Duration = Duration::from_secs(1);
/// First wait after a failed accept, and the longest.
pub(super) const ACCEPT_BACKOFF_MIN: Duration = Duration::from_millis(5);
pub(super) const ACCEPT_BACKOFF_MAX: Duration = Duration::from_secs(1);
/// First wait after all instances refused a connection, and the longest.
pub(super) const CONNECT_BACKOFF_MIN: Duration = Duration::from_millis(20);
pub(super) const CONNECT_BACKOFF_MAX: Duration = Duration::from_millis(250);
/// The body of a request for the admin hosts: 408 beyond.
pub(super) const ADMIN_BODY_TIME_MAX: Duration = Duration::from_secs(10);
/// A page of the admin hosts: 504 beyond.
pub(super) const ADMIN_ANSWER_MAX: Duration = Duration::from_secs(30);
/// The header of the PROXY protocol, where it is spoken; the connection is ended beyond.
pub(super) const PROXY_HEADER_TIME_MAX: Duration = Duration::from_secs(5);
/// Bytes that are read and dropped behind a refusal of a body, so that it is not lost to a reset.
pub(super) const LINGER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// A thread that comes this late to its own tick was stuck.
pub(super) const STUCK_AFTER: Duration = Duration::from_secs(2);

/// The spans that are watched by the ticks of a thread. Each is kept to within one tick.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spans {
    /// How often a thread looks at its connections and requests; there is no timer per request.
    pub(super) tick: Duration,
    /// First byte of a head to its last: 408 beyond.
    pub(super) head: Duration,
    /// TLS handshake, from the first byte on: the connection ends beyond.
    pub(super) handshake: Duration,
    /// Client connection without a request.
    pub(super) keep_alive_idle: Duration,
    /// Request held while its app starts or is exchanged: H20 beyond; or is paused: H80 beyond.
    pub(super) hold: Duration,
    /// One attempt to connect to an instance.
    pub(super) connect: Duration,
    /// All attempts together: H19 or H21 beyond.
    pub(super) connect_budget: Duration,
    /// End of the request's body to the answer's first byte: H12 beyond.
    pub(super) first_byte: Duration,
    /// No byte moved within a body: H15 or H28 beyond.
    pub(super) body_idle: Duration,
    /// No byte moved within a tunnel.
    pub(super) tunnel_idle: Duration,
    /// What a draining instance is given for requests and event streams.
    pub(super) drain: Duration,
    /// What it is given for WebSockets, unless the app says otherwise; and over how long they are closed then.
    pub(super) ws_drain: Duration,
    pub(super) ws_stagger: Duration,
    /// How long a WebSocket may take to close after it was told to.
    pub(super) ws_close: Duration,
    /// A request that waits for an instance with room: H11 beyond.
    pub(super) queue: Duration,
    /// What it is given for all of these when others wait for it to be gone.
    pub(super) drain_hold: Duration,
    /// What it is given for answers whose bytes still move.
    pub(super) drain_transfer: Duration,
    /// Without a byte for this long a transfer no longer counts as moving.
    pub(super) transfer_stall: Duration,
    /// After the order to stop, how long idle connections still may bring a request (measured: at once loses some).
    pub(super) linger: Duration,
}

impl Default for Spans {
    fn default() -> Self {
        Self {
            tick: Duration::from_millis(250),
            head: Duration::from_secs(10),
            handshake: Duration::from_secs(10),
            keep_alive_idle: Duration::from_mins(1),
            hold: Duration::from_secs(30),
            connect: Duration::from_secs(2),
            connect_budget: Duration::from_secs(5),
            first_byte: router::FIRST_BYTE,
            body_idle: router::BODY_IDLE,
            tunnel_idle: Duration::from_hours(1),
            drain: Duration::from_secs(30),
            ws_drain: router::WS_DRAIN,
            ws_stagger: Duration::from_secs(5),
            ws_close: Duration::from_secs(5),
            queue: router::QUEUE,
            drain_hold: Duration::from_secs(5),
            drain_transfer: Duration::from_mins(10),
            transfer_stall: Duration::from_secs(10),
            linger: Duration::from_secs(4),
        }
    }
}

impl Spans {
    /// A span in ticks, rounded up.
    pub(super) fn ticks(&self, span: Duration) -> u32 {
        u32::try_from(span.as_nanos().div_ceil(self.tick.as_nanos().max(1))).unwrap_or(u32::MAX)
    }
}
