//! Visitors whose requests are short: each function is one turn of one visitor.
use super::{Acknowledged, HOST, Load, PAUSE, Tally, wrong};
use crate::harness::Connection;
use sha2::{Digest, Sha256};
use std::io::Result;
use std::time::{Duration, Instant};

/// Requests of one turn over a kept connection.
const TURN: usize = 50;
/// Requests that are sent before the first answer is read.
const AT_ONCE: usize = 8;

/// A connection for one request.
pub(super) fn fresh(load: &Load, tally: &mut Tally) {
    let (begun, id) = (Instant::now(), load.id());
    let outcome = load.connect().and_then(|mut connection| {
        let answer = connection.get(&format!("/?id={id}"))?;
        tally.is_well_and_says(&answer, &id.to_string())
    });
    tally.slowest = tally.slowest.max(begun.elapsed());
    tally.note(begun, outcome);
}

/// One connection for many requests; nobody closes it.
pub(super) fn kept_alive(load: &Load, tally: &mut Tally) {
    let begun = Instant::now();
    let Ok(mut connection) = load.connect().inspect_err(|error| {
        tally.note(begun, Err(wrong(error.to_string())));
    }) else {
        return;
    };
    for _ in 0..TURN {
        if load.is_over() {
            return;
        }
        if !connection.is_open() {
            tally.closed_idle += 1;
            return;
        }
        let (begun, id) = (Instant::now(), load.id());
        let outcome = connection.get(&format!("/?id={id}")).and_then(|answer| {
            tally.is_well_and_says(&answer, &id.to_string())?;
            if answer.closes() { Err(wrong("the connection was closed".to_owned())) } else { Ok(()) }
        });
        tally.slowest = tally.slowest.max(begun.elapsed());
        if !tally.note(begun, outcome) {
            return;
        }
        std::thread::sleep(PAUSE);
    }
}

/// Several requests in one write; the answers come in order.
pub(super) fn pipelined(load: &Load, tally: &mut Tally) {
    let begun = Instant::now();
    let outcome = load.connect().and_then(|mut connection| {
        let ids: Vec<u64> = (0..AT_ONCE).map(|_| load.id()).collect();
        let ask = |id: &u64| format!("GET /?id={id} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
        connection.write(ids.iter().map(ask).collect::<String>().as_bytes())?;
        for id in ids {
            let answer = connection.answer()?;
            tally.is_well_and_says(&answer, &id.to_string())?;
        }
        Ok(())
    });
    tally.note(begun, outcome);
}

/// Bodies of many sizes into the ledger, over one connection; each must stand there once.
pub(super) fn entries(load: &Load, tally: &mut Tally) {
    let begun = Instant::now();
    let mut connection = match load.connect() {
        Ok(connection) => connection,
        Err(error) => {
            tally.note(begun, Err(error));
            return;
        }
    };
    for turn in 0..TURN {
        if load.is_over() {
            return;
        }
        if !connection.is_open() {
            tally.closed_idle += 1;
            return;
        }
        let (begun, id) = (Instant::now(), load.id());
        tally.entries.insert(id, Acknowledged::No);
        let body = body(usize::try_from(id * 977 % 40_000).unwrap_or(0));
        let outcome = connection.post(&format!("/entry?id={id}"), &body);
        if outcome.as_ref().is_ok_and(|answer| answer.status == 200) {
            tally.entries.insert(id, Acknowledged::Yes);
        }
        let outcome = outcome.and_then(|answer| tally.is_well_and_says(&answer, &sum(&body)));
        if !tally.note(begun, outcome) {
            return;
        }
        // Now and then long enough for an app that closes idle connections after a second.
        std::thread::sleep(if turn % 10 == 9 { Duration::from_millis(950) } else { PAUSE });
    }
}

/// The body is sent only after `100 Continue`.
pub(super) fn expecting(load: &Load, tally: &mut Tally) {
    let begun = Instant::now();
    let outcome = load.connect().and_then(|mut connection| {
        let body = body(20_000);
        let head = format!(
            "POST /upload?id={} HTTP/1.1\r\nHost: {HOST}\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
            load.id(),
            body.len()
        );
        connection.write(head.as_bytes())?;
        let interim = connection.head()?;
        if interim.status != 100 {
            return Err(wrong(format!("{} instead of 100", interim.status)));
        }
        connection.write(&body)?;
        let answer = connection.answer()?;
        tally.is_well_and_says(&answer, &sum(&body))
    });
    tally.note(begun, outcome);
    std::thread::sleep(PAUSE * 5);
}

/// Leaves in the middle of something, each time in another one. What it posted may stand in the ledger once, or not.
pub(super) fn leaving(load: &Load, tally: &mut Tally) {
    let Ok(mut connection) = load.connect() else { return };
    // Whatever becomes of it: nobody waits for it.
    let _ = leave(load, tally, &mut connection);
    tally.done += 1;
}

fn leave(load: &Load, tally: &mut Tally, connection: &mut Connection) -> Result<()> {
    let id = load.id();
    match tally.done % 6 {
        0 => connection.write(b"GET /?id=1 HTTP/1.1\r\nHost: led"),
        1 => connection.send("GET", &format!("/slow?ms=500&id={id}"), &[], b""),
        2 => connection.write(
            format!("POST /upload?id={id} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 90000\r\n\r\nhalf").as_bytes(),
        ),
        3 => {
            connection.send("GET", &format!("/download?bytes=4000000&ms=2000&id={id}"), &[], b"")?;
            connection.head()?;
            connection.read_exact(&mut [0; 5000])
        }
        4 => {
            connection.send("GET", &format!("/events?id={id}"), &[], b"")?;
            connection.head()?;
            connection.chunk().map(drop)
        }
        _ => {
            tally.entries.insert(id, Acknowledged::No);
            connection.send("POST", &format!("/entry?id={id}"), &[], b"gone")
        }
    }
}

/// Outlives the instance's place in the route.
pub(super) fn slow(load: &Load, tally: &mut Tally) {
    let (begun, id) = (Instant::now(), load.id());
    let outcome = load.connect().and_then(|mut connection| {
        let answer = connection.get(&format!("/slow?ms=3000&id={id}"))?;
        tally.is_well_and_says(&answer, &id.to_string())
    });
    tally.note(begun, outcome);
}

pub(super) fn body(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| u8::try_from(at * 31 % 251).unwrap_or(0)).collect()
}

/// As the app says what it read.
pub(super) fn sum(body: &[u8]) -> String {
    let hex = Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    format!("{hex} {}", body.len())
}
