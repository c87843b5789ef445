//! HTTP/1 as no library would write it, from both sides: tables of requests and of answers in `tests/cases`, each with what
//! must become of it. All rows must hold; a row that shall hold later is marked, counted and shown.
#[path = "../../cases/table.rs"]
mod table;

mod answers;
mod differential;
mod message;
mod requests;
mod tunnel;

use crate::harness::{Connection, Response, Town, Work};
use serde_json::Value;
use std::io::ErrorKind;
use std::time::Duration;
use table::Row;

const APP: &str = "mirror";
const HOST: &str = "mirror.localhost";
/// A slow head has 10 s; everything else is at once.
const PATIENCE: Duration = Duration::from_secs(15);

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

fn push_mirror(town: &Town) -> Work {
    let work = town.work(APP, APP);
    work.push().succeeds();
    work
}

fn connect(town: &Town) -> Connection {
    let connection = town.connect(APP).expect("connect");
    connection.be_patient(PATIENCE);
    connection
}

/// What the app has counted so far: heads, and whole messages.
fn seen(town: &Town) -> (u64, u64) {
    let seen: Value = serde_json::from_slice(&town.get(APP, "/seen").body).expect("the mirror answers with JSON");
    assert_eq!(seen["broken"].as_array().map(Vec::len), Some(0), "the app was sent what is no HTTP: {seen}");
    (seen["heads"].as_u64().unwrap_or_default(), seen["whole"].as_u64().unwrap_or_default())
}

/// The other side ends the connection, in order and without another byte.
fn ends(connection: &mut Connection) -> Result<(), String> {
    match connection.rest() {
        Ok(rest) if rest.is_empty() => Ok(()),
        Ok(rest) => Err(format!("more came behind the last answer: {:?}", latin1(&rest))),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err("the connection was not closed".to_owned()),
        Err(error) => Err(format!("the connection was not closed in order: {error}")),
    }
}

/// A refusal in our own words.
fn is_ours(answer: &Response) -> bool {
    answer.header("x-request-id").is_some() && answer.header("cache-control") == Some("no-store")
}

/// Every row was run; what failed is told together, and how many there were.
#[track_caller]
fn conclude(what: &str, rows: &[Row], outcomes: Vec<Result<(), String>>) {
    let failed: Vec<String> = rows
        .iter()
        .zip(outcomes)
        .filter_map(|(row, outcome)| Some(format!("line {}, {}: {}", row.line, row.name, outcome.err()?)))
        .collect();
    eprintln!("{what}: {} of {} rows hold", rows.len() - failed.len(), rows.len());
    assert!(failed.is_empty(), "{what}: {} of {} rows do not hold:\n{}", failed.len(), rows.len(), failed.join("\n"));
}

/// Each line's bytes, with our host in them.
fn rows(table: &'static str, count: usize) -> Vec<Row> {
    table::rows(table, count, HOST)
}

#[test]
fn the_table_of_requests_is_long_enough() {
    assert!(rows(requests::TABLE, 2).len() >= 180);
}
