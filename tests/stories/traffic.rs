//! Visitors of the echo app, each of a kind of its own; each notes whatever goes wrong.
use crate::harness::{Connection, Response, Town};
use sha2::{Digest, Sha256};
use std::io::{Error, Result};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const APP: &str = "blog";
/// A visitor's pause between two requests: two cores carry all of them, and the product.
const PAUSE: Duration = Duration::from_millis(10);

#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) done: usize,
    pub(super) failed: Vec<String>,
    /// Requests answered by a release that was no longer the live one.
    pub(super) ended_on_the_old: usize,
}

impl Tally {
    pub(super) fn add(&mut self, other: Self) {
        self.done += other.done;
        self.failed.extend(other.failed);
        self.ended_on_the_old += other.ended_on_the_old;
    }

    /// Notes one exchange; what is no 200, or does not please `check`, failed.
    fn note(&mut self, what: &str, outcome: Result<Response>, check: impl FnOnce(&Response) -> bool) {
        self.done += 1;
        match outcome {
            Ok(response) if response.status == 200 && check(&response) => {}
            Ok(response) => self.failed.push(format!("{what}: {} {:?}", response.status, response.text())),
            Err(error) => self.failed.push(format!("{what}: {error}")),
        }
    }
}

fn repeat(stop: &AtomicBool, mut visit: impl FnMut(&mut Tally)) -> Tally {
    let mut tally = Tally::default();
    while !stop.load(Ordering::SeqCst) {
        visit(&mut tally);
        std::thread::sleep(PAUSE);
    }
    tally
}

fn is_a_version(response: &Response) -> bool {
    response.text().starts_with("echo v")
}

/// A connection for every request.
pub(super) fn fresh(town: &Town, stop: &AtomicBool) -> Tally {
    repeat(stop, |tally| tally.note("fresh", town.try_get(APP, "/"), is_a_version))
}

/// One connection for all requests; it is never closed on them.
pub(super) fn kept_alive(town: &Town, stop: &AtomicBool) -> Tally {
    let mut connection = town.connect(APP);
    repeat(stop, |tally| {
        let outcome = match &mut connection {
            Ok(connection) => connection.get("/"),
            Err(error) => Err(Error::other(error.to_string())),
        };
        if outcome.as_ref().map_or(true, Response::closes) {
            tally.failed.push("the connection was closed".to_owned());
            connection = town.connect(APP);
        }
        tally.note("kept alive", outcome, is_a_version);
    })
}

/// One connection for all requests, until an answer says that it will be closed; then another one.
pub(super) fn reconnecting(town: &Town, stop: &AtomicBool) -> Tally {
    let mut connection = None;
    repeat(stop, |tally| {
        let mut current = match connection.take().map_or_else(|| town.connect(APP), Ok) {
            Ok(current) => current,
            Err(error) => return tally.failed.push(format!("reconnecting: {error}")),
        };
        let outcome = current.get("/");
        if outcome.as_ref().is_ok_and(|response| !response.closes()) {
            connection = Some(current);
        }
        tally.note("reconnecting", outcome, is_a_version);
    })
}

/// Requests of five seconds, which outlive swaps.
pub(super) fn slow(town: &Town, stop: &AtomicBool) -> Tally {
    repeat(stop, |tally| {
        let outcome = town.try_get(APP, "/slow?ms=5000");
        if let (Ok(slow), Ok(now)) = (&outcome, town.try_get(APP, "/")) {
            tally.ended_on_the_old += usize::from(slow.text() != now.text());
        }
        tally.note("slow", outcome, is_a_version);
    })
}

fn arrived(body: &[u8]) -> impl FnOnce(&Response) -> bool {
    let sum = Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    let wanted = format!("{sum} {}", body.len());
    move |response| response.text().trim() == wanted
}

fn body(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| u8::try_from(at * 31 % 251).unwrap_or(0)).collect()
}

/// Uploads, checked by their sum.
pub(super) fn uploads(town: &Town, stop: &AtomicBool) -> Tally {
    let body = body(1 << 20);
    repeat(stop, |tally| {
        let outcome = town.connect(APP).and_then(|mut connection| connection.post("/upload", &body));
        tally.note("upload", outcome, arrived(&body));
        std::thread::sleep(PAUSE * 10);
    })
}

/// Uploads whose bytes come over four seconds.
pub(super) fn slow_uploads(town: &Town, stop: &AtomicBool) -> Tally {
    let body = body(1 << 20);
    repeat(stop, |tally| {
        let outcome = town.connect(APP).and_then(|mut connection| {
            let head =
                format!("POST /upload HTTP/1.1\r\nHost: {APP}.localhost\r\nContent-Length: {}\r\n\r\n", body.len());
            connection.write(head.as_bytes())?;
            for piece in body.chunks(body.len() / 40) {
                connection.write(piece)?;
                std::thread::sleep(PAUSE * 10);
            }
            connection.answer()
        });
        tally.note("slow upload", outcome, arrived(&body));
    })
}

/// What became of a stream that was held open until the other side ended it.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) instance: String,
    pub(super) in_order: bool,
    pub(super) ended: Instant,
}

/// Reads numbered events until the stream ends.
pub(super) fn events_until_cut(town: &Town) -> Stream {
    let mut connection = town.connect(APP).expect("connect");
    connection.send("GET", "/sse?ms=100", &[], b"").expect("ask for events");
    assert_eq!(connection.head().expect("an answer").status, 200);
    let (mut text, mut instance, mut last, mut in_order) = (String::new(), String::new(), 0, true);
    while let Ok(Some(chunk)) = connection.chunk() {
        text.push_str(&String::from_utf8_lossy(&chunk));
        while let Some((event, rest)) = text.split_once("\n\n") {
            let data = event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap_or_default();
            let (number, from) = data.split_once(' ').unwrap_or_default();
            in_order &= number.parse() == Ok(last + 1) && (instance.is_empty() || instance == from);
            last += 1;
            from.clone_into(&mut instance);
            text = rest.to_owned();
        }
    }
    Stream { instance, in_order, ended: Instant::now() }
}

/// Sends numbered messages over a WebSocket, ten a second, and reads them back, until it ends.
pub(super) fn websocket_until_cut(town: &Town) -> Stream {
    let mut connection = town.connect(APP).expect("connect");
    let instance = connection.get("/pid").expect("an answer").text().trim().to_owned();
    let upgrade = [
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    connection.send("GET", "/ws", &upgrade, b"").expect("ask for a WebSocket");
    let head = connection.head().expect("an answer");
    assert_eq!((head.status, head.header("sec-websocket-accept")), (101, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")));
    let mut in_order = true;
    for number in 0.. {
        let message = format!("message {number}");
        match echo(&mut connection, message.as_bytes()) {
            Ok(Some(heard)) => in_order &= heard == message.as_bytes(),
            Ok(None) | Err(_) => break,
        }
        std::thread::sleep(PAUSE * 10);
    }
    Stream { instance, in_order, ended: Instant::now() }
}

/// One text frame there and back (RFC 6455, masked with zeros); `None` when a close frame came instead.
fn echo(connection: &mut Connection, message: &[u8]) -> Result<Option<Vec<u8>>> {
    let length = u8::try_from(message.len()).ok().filter(|length| *length < 126).expect("a short message");
    connection.write(&[&[0x81, 0x80 | length, 0, 0, 0, 0], message].concat())?;
    let mut head = [0; 2];
    connection.read_exact(&mut head)?;
    let mut payload = vec![0; usize::from(head[1] & 0x7f)];
    connection.read_exact(&mut payload)?;
    Ok((head[0] & 0x0f == 1).then_some(payload))
}
