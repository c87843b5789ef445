//! Runs `tests/cases/answers.txt`: an app says what it is told to, and a visitor reads what the router made of it.
use super::{HOST, Row, conclude, connect, is_ours, latin1, push_mirror, rows};
use crate::harness::Town;
use std::io::{Error, ErrorKind};

const TABLE: &str = include_str!("../../cases/answers.txt");
/// A second answer must not be taken for the next request's, however soon that comes.
const TRIES: usize = 5;

#[test]
fn every_raw_answer_of_an_app_is_passed_on_whole_or_told_as_broken() {
    let town = Town::start();
    push_mirror(&town);
    let rows = rows(TABLE, 3);
    let outcomes = rows.iter().map(|row| (0..TRIES).try_for_each(|_| run(&town, row, row.cells[0]))).collect();
    conclude("raw answers", &rows, outcomes);
    town.doctor_is_clean();
}

fn run(town: &Town, row: &Row, wanted: &str) -> Result<(), String> {
    let mut client = connect(town);
    let then = format!("X-Then: {}", row.cells[1]);
    client.send("POST", "/say", &[&then], &row.bytes).map_err(|error| error.to_string())?;
    let answer = client.answer_to("POST");
    match (wanted, &answer) {
        ("cut", Ok(answer)) => return Err(format!("it looked whole: {} {:?}", answer.status, answer.text())),
        ("cut", Err(error)) if is_cut(error) => {}
        (_, Err(error)) => return Err(format!("no answer {wanted}: {error}")),
        (_, Ok(answer)) if answer.status.to_string() != wanted => {
            return Err(format!("{} instead of {wanted}: {:?}", answer.status, answer.text()));
        }
        ("502", Ok(answer)) if !is_ours(answer) => return Err("a 502 that is not ours".to_owned()),
        ("502" | "204" | "304", Ok(_)) => {}
        (_, Ok(answer)) if answer.text() != "hello" => return Err(format!("the body is {:?}", answer.text())),
        (_, Ok(_)) => {}
    }
    if wanted != "cut" {
        is_answered_for_itself(&mut client)?;
    }
    is_answered_for_itself(&mut connect(town))
}

fn is_cut(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset)
}

/// The app still answers, and with the answer that belongs to the request.
fn is_answered_for_itself(client: &mut crate::harness::Connection) -> Result<(), String> {
    client.send("GET", "/next", &[], b"").map_err(|error| error.to_string())?;
    let answer = client.answer_to("GET").map_err(|error| format!("the next request has no answer: {error}"))?;
    let told = latin1(&answer.body);
    if answer.status == 200 && told.starts_with("GET /next HTTP/1.1\r\n") && told.contains(HOST) {
        Ok(())
    } else {
        Err(format!("the next request was answered with {} {told:?}", answer.status))
    }
}
