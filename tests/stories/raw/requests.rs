//! Runs `tests/cases/requests.txt`: what the app saw of each request is compared with what was sent.
use super::{Row, conclude, connect, ends, is_ours, latin1, message, push_mirror, rows, seen};
use crate::harness::{Connection, Town};

pub(super) const TABLE: &str = include_str!("../../cases/requests.txt");

#[test]
fn every_raw_request_is_passed_on_as_it_was_meant_or_refused() {
    let town = Town::start();
    push_mirror(&town);
    let rows = rows(TABLE, 2);
    let outcomes = rows.iter().map(|row| run(&town, row)).collect();
    conclude("raw requests", &rows, outcomes);
    town.doctor_is_clean();
}

fn run(town: &Town, row: &Row) -> Result<(), String> {
    let (heads, whole) = seen(town);
    let mut client = connect(town);
    // It may be refused before all of it was written.
    let _ = client.write(&row.bytes);
    if row.cells[0] == "broken" {
        is_broken(&mut client)?;
        drop(client);
        let (_, now) = seen(town);
        return if now == whole { Ok(()) } else { Err("a whole message reached the app".to_owned()) };
    }
    let (mut rest, mut passed) = (row.bytes.as_slice(), 0);
    let mut closes = false;
    for wanted in row.cells[0].split(' ') {
        let is_passed = wanted == "200";
        let sent = message::read(rest);
        let method = sent.as_ref().map_or("GET", |(sent, _)| &sent.method).to_owned();
        let answer = client.answer_to(&method).map_err(|error| format!("no answer {wanted}: {error}"))?;
        if answer.status.to_string() != wanted {
            return Err(format!("{} instead of {wanted}: {:?}", answer.status, answer.text()));
        }
        if is_passed {
            let (sent, behind) = sent.ok_or("the row is no whole message")?;
            (rest, passed, closes) = (behind, passed + 1, sent.closes());
            if method != "HEAD" {
                is_mirrored(sent, &answer.body, town)?;
            }
        } else {
            // Only the pages of an unknown host leave the connection open.
            closes = wanted != "404";
            rest = sent.map_or(&[][..], |(_, behind)| behind);
            if !is_ours(&answer) && answer.status != 400 {
                return Err(format!("a refusal that is not ours: {:?}", answer.headers));
            }
            if closes && !answer.closes() {
                return Err("a refusal without `Connection: close`".to_owned());
            }
        }
    }
    if closes {
        ends(&mut client)?;
    } else {
        goes_on(&mut client, town)?;
        passed += 1;
    }
    drop(client);
    match seen(town) {
        (now, _) if now == heads + passed => Ok(()),
        (now, _) => Err(format!("{} heads reached the app, not {passed}", now - heads)),
    }
}

/// What the app saw is what was sent.
fn is_mirrored(sent: message::Message, mirrored: &[u8], town: &Town) -> Result<(), String> {
    let saw = message::read_told(mirrored).ok_or("the app saw no message")?;
    let saw = saw.checked(&sent, town.http().port())?;
    let wanted = sent.passed_on();
    if saw == wanted { Ok(()) } else { Err(format!("the app saw\n  {saw:?} instead of\n  {wanted:?}")) }
}

/// The next request on the same connection is answered for itself.
fn goes_on(client: &mut Connection, town: &Town) -> Result<(), String> {
    let next = b"GET /next HTTP/1.1\r\nHost: mirror.localhost\r\n\r\n";
    client.write(next).map_err(|error| error.to_string())?;
    let answer = client.answer_to("GET").map_err(|error| format!("the next request has no answer: {error}"))?;
    let (sent, _) = message::read(next).ok_or("it is whole")?;
    is_mirrored(sent, &answer.body, town).map_err(|error| format!("the next request: {error}"))
}

/// Refused or cut, and never answered by the app.
fn is_broken(client: &mut Connection) -> Result<(), String> {
    let told = match client.rest() {
        Ok(told) => latin1(&told),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => String::new(),
        Err(error) => return Err(format!("the connection was not closed: {error}")),
    };
    if told.is_empty() || told.starts_with("HTTP/1.1 400 ") { Ok(()) } else { Err(format!("answered with {told:?}")) }
}
