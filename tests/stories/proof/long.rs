//! Visitors whose exchange takes long: transfers, event streams and WebSockets, all shorter than what a drain gives them.
use super::short::{body, sum};
use super::{HOST, Load, Tally, wrong};
use crate::harness::Connection;
use std::io::Result;
use std::time::{Duration, Instant};

const UPLOAD_BYTES: usize = 1 << 20;
const DOWNLOAD_BYTES: usize = 4 << 20;
/// A drain gives streams 30 s.
const STREAM: Duration = Duration::from_secs(15);

/// A body whose pieces come over the whole time.
pub(super) fn upload(load: &Load, tally: &mut Tally) {
    let begun = Instant::now();
    let outcome = load.connect().and_then(|mut connection| {
        let body = body(UPLOAD_BYTES);
        let head =
            format!("POST /upload?id={} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {}\r\n\r\n", load.id(), body.len());
        connection.write(head.as_bytes())?;
        for piece in body.chunks(UPLOAD_BYTES / 100) {
            connection.write(piece)?;
            std::thread::sleep(load.long / 100);
        }
        let answer = connection.answer()?;
        tally.is_well_and_says(&answer, &sum(&body))
    });
    tally.note(begun, outcome);
}

/// A body that comes in a hundred pieces, and must be what it is.
pub(super) fn download(load: &Load, tally: &mut Tally) {
    let begun = Instant::now();
    let outcome = load.connect().and_then(|mut connection| {
        let answer = connection.get(&format!(
            "/download?bytes={DOWNLOAD_BYTES}&ms={}&id={}",
            load.long.as_millis(),
            load.id()
        ))?;
        tally.is_well(&answer)?;
        let (came, wanted) = (sum(&answer.body), sum(&body(DOWNLOAD_BYTES)));
        if came == wanted { Ok(()) } else { Err(wrong(format!("{came} came instead of {wanted}"))) }
    });
    tally.note(begun, outcome);
}

/// Numbered events, none lost or doubled, all from one instance; the visitor leaves after a while.
pub(super) fn events(load: &Load, tally: &mut Tally) {
    let begun = Instant::now();
    let outcome = load.connect().and_then(|mut connection| {
        connection.send("GET", &format!("/events?id={}", load.id()), &[], b"")?;
        let head = connection.head()?;
        tally.is_well(&head)?;
        let (mut text, mut last, mut instance) = (String::new(), 0, String::new());
        while begun.elapsed() < STREAM && !load.is_over() {
            let chunk = connection.chunk()?.ok_or_else(|| wrong("the stream ended by itself".to_owned()))?;
            text.push_str(&String::from_utf8_lossy(&chunk));
            while let Some((event, rest)) = text.split_once("\n\n") {
                let data = event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap_or_default();
                let (number, from) = data.split_once(' ').unwrap_or_default();
                if number.parse() != Ok(last + 1) || (last > 0 && from != instance) {
                    return Err(wrong(format!("event {data:?} came after {last} of {instance}")));
                }
                last += 1;
                from.clone_into(&mut instance);
                text = rest.to_owned();
            }
        }
        if last > 0 { Ok(()) } else { Err(wrong("no event came".to_owned())) }
    });
    tally.note(begun, outcome);
}

/// Numbered messages there and back, then a proper end.
pub(super) fn websocket(load: &Load, tally: &mut Tally) {
    let begun = Instant::now();
    let outcome = load.connect().and_then(|mut connection| {
        let upgrade = [
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ];
        connection.send("GET", &format!("/ws?id={}", load.id()), &upgrade, b"")?;
        let head = connection.head()?;
        if head.status != 101 {
            return Err(wrong(format!("{} instead of 101", head.status)));
        }
        for number in 0.. {
            if begun.elapsed() >= STREAM || load.is_over() {
                break;
            }
            echo(&mut connection, 0x81, format!("message {number}").as_bytes())?;
            std::thread::sleep(Duration::from_millis(50));
        }
        echo(&mut connection, 0x88, &1000_u16.to_be_bytes())?;
        let rest = connection.rest()?;
        if rest.is_empty() { Ok(()) } else { Err(wrong(format!("{} bytes behind the end", rest.len()))) }
    });
    tally.note(begun, outcome);
}

/// One short frame there and back (RFC 6455, masked with zeros).
fn echo(connection: &mut Connection, first: u8, message: &[u8]) -> Result<()> {
    let length = u8::try_from(message.len()).ok().filter(|length| *length < 126).expect("a short message");
    connection.write(&[&[first, 0x80 | length, 0, 0, 0, 0], message].concat())?;
    let mut heard = vec![0; 2 + message.len()];
    connection.read_exact(&mut heard)?;
    let wanted = [&[first, length], message].concat();
    if heard == wanted { Ok(()) } else { Err(wrong(format!("{heard:?} came back for {wanted:?}"))) }
}
