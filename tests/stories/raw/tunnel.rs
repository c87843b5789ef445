//! WebSockets through the router, frame by frame: what is asked early, what is refused, how each side ends.
use super::latin1;
use crate::harness::{Connection, Town, eventually};
use std::time::Duration;

const APP: &str = "blog";
const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
const MASK: [u8; 4] = [0x5a, 0x00, 0xff, 0x13];

/// What asks for a tunnel at a path; `more` are further fields, each with its CR LF.
fn handshake(method: &str, path: &str, more: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: {APP}.localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

/// A client's frame (RFC 6455, section 5.2).
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..=125 => bytes.push(0x80 | u8::try_from(short).unwrap_or(0)),
        middle @ 126..=0xffff => {
            bytes.push(0xfe);
            bytes.extend(u16::try_from(middle).unwrap_or(0).to_be_bytes());
        }
        long => {
            bytes.push(0xff);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// A server's frame: its first byte, and its payload.
fn read_frame(connection: &mut Connection) -> std::io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    connection.read_exact(&mut head)?;
    let length = match head[1] {
        126 => {
            let mut length = [0; 2];
            connection.read_exact(&mut length)?;
            u64::from(u16::from_be_bytes(length))
        }
        127 => {
            let mut length = [0; 8];
            connection.read_exact(&mut length)?;
            u64::from_be_bytes(length)
        }
        short => u64::from(short),
    };
    let mut payload = vec![0; usize::try_from(length).expect("a frame that fits in memory")];
    connection.read_exact(&mut payload)?;
    Ok((head[0], payload))
}

fn connect(town: &Town) -> Connection {
    let connection = town.connect(APP).expect("connect");
    connection.be_patient(Duration::from_secs(10));
    connection
}

/// Asks, with `early` behind the question in the same write, and is let in.
#[track_caller]
fn open(town: &Town, early: &[u8]) -> Connection {
    let mut connection = connect(town);
    connection.write(&[handshake("GET", "/ws", "").as_bytes(), early].concat()).expect("ask for a WebSocket");
    is_let_in(&mut connection);
    connection
}

#[track_caller]
fn is_let_in(connection: &mut Connection) {
    let head = connection.head().expect("an answer");
    assert_eq!((head.status, head.header("sec-websocket-accept")), (101, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")));
    assert_eq!((head.header("connection"), head.header("upgrade")), (Some("upgrade"), Some("websocket")));
}

#[track_caller]
fn says_back(connection: &mut Connection, first: u8, payload: &[u8]) {
    let (heard_first, heard) = read_frame(connection).expect("a frame");
    assert!(heard_first == first && heard == payload, "{heard_first:x} and {} bytes came back", heard.len());
}

#[track_caller]
fn is_http_again(connection: &mut Connection) {
    let answer = connection.get("/").expect("the connection goes on as HTTP");
    assert_eq!((answer.status, answer.text().trim()), (200, "echo v1"));
}

#[track_caller]
fn ends(connection: &mut Connection) {
    assert_eq!(connection.rest().map(|rest| latin1(&rest)).expect("an end in order"), "");
}

fn messages_go_both_ways(town: &Town) {
    let mut socket = open(town, b"");
    for number in 0..100 {
        let message = format!("message {number}");
        socket.write(&frame(TEXT, message.as_bytes())).expect("send");
        says_back(&mut socket, TEXT, message.as_bytes());
    }
}

fn what_is_sent_behind_the_question_waits_for_its_answer(town: &Town) {
    let early = [frame(TEXT, b"early"), frame(BINARY, b"\r\n\r\nGET / HTTP/1.1\r\n\r\n")].concat();
    let mut socket = open(town, &early);
    says_back(&mut socket, TEXT, b"early");
    says_back(&mut socket, BINARY, b"\r\n\r\nGET / HTTP/1.1\r\n\r\n");
}

fn a_frame_in_single_bytes_arrives(town: &Town) {
    let mut socket = open(town, &frame(TEXT, b"in pieces")[..1]);
    for byte in &frame(TEXT, b"in pieces")[1..] {
        socket.write(&[*byte]).expect("send");
    }
    says_back(&mut socket, TEXT, b"in pieces");
}

fn frames_of_every_length_arrive_whole(town: &Town) {
    let mut socket = open(town, b"");
    for length in [0, 125, 126, 4096, 65_535, 65_536, 8 << 20] {
        let payload: Vec<u8> = (0..length).map(|at: usize| u8::try_from(at * 7 % 251).unwrap_or(0)).collect();
        socket.write(&frame(BINARY, &payload)).expect("send");
        says_back(&mut socket, BINARY, &payload);
    }
}

fn pings_are_answered_by_the_app_and_not_by_us(town: &Town) {
    let mut socket = open(town, b"");
    socket.write(&frame(PONG, b"unasked")).expect("send");
    socket.write(&frame(PING, b"are you there")).expect("send");
    says_back(&mut socket, PONG, b"are you there");
}

fn close_codes_pass_and_the_connection_ends_in_order(town: &Town) {
    for code in [1000_u16, 1001, 1011, 3000, 4999] {
        let mut socket = open(town, b"");
        let words = [&code.to_be_bytes()[..], b"done here"].concat();
        socket.write(&frame(CLOSE, &words)).expect("send");
        says_back(&mut socket, CLOSE, &words);
        ends(&mut socket);
    }
}

fn a_half_closed_side_still_hears_everything(town: &Town) {
    let mut socket = open(town, b"");
    let payload = vec![7; 300_000];
    socket.write(&frame(BINARY, &payload)).expect("send");
    socket.end_writing().expect("end our half");
    says_back(&mut socket, BINARY, &payload);
    ends(&mut socket);
}

fn a_refused_upgrade_leaves_http_behind(town: &Town) {
    for (path, more, status) in [("/nowhere", "", 404), ("/ws", "Sec-WebSocket-Protocol: a\r\n", 101)] {
        let mut connection = connect(town);
        connection.write(handshake("GET", path, more).as_bytes()).expect("ask");
        let answer = connection.head().expect("an answer");
        assert_eq!(answer.status, status);
        if status != 101 {
            is_http_again(&mut connection);
        }
    }
}

fn an_upgrade_with_a_body_makes_no_tunnel(town: &Town) {
    for (method, more, body) in [
        ("GET", "Content-Length: 5\r\n", "hello"),
        ("POST", "Content-Length: 5\r\n", "hello"),
        ("GET", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ] {
        let mut connection = connect(town);
        connection.write(format!("{}{body}", handshake(method, "/ws", more)).as_bytes()).expect("ask");
        assert_eq!(connection.answer().expect("an answer").status, 404, "{method} {more}");
        is_http_again(&mut connection);
    }
}

fn of_two_upgrades_at_once_the_first_that_is_taken_up_is_the_last_request(town: &Town) {
    // The first is refused: the second is a question of its own.
    let mut connection = connect(town);
    connection.write([handshake("GET", "/nowhere", ""), handshake("GET", "/ws", "")].concat().as_bytes()).expect("ask");
    assert_eq!(connection.answer().expect("an answer").status, 404);
    is_let_in(&mut connection);
    connection.write(&frame(TEXT, b"hello")).expect("send");
    says_back(&mut connection, TEXT, b"hello");
    // The first is taken up: what stands behind it is not ours to read.
    let mut socket = open(town, &[handshake("GET", "/pid", "").as_bytes(), &frame(CLOSE, b"")].concat());
    socket.end_writing().expect("end our half");
    let rest = latin1(&socket.rest().expect("an end in order"));
    assert!(!rest.contains("HTTP/1.1 "), "a second answer came through a tunnel: {rest:?}");
}

#[test]
fn websockets_pass_unchanged_whatever_either_side_does() {
    let town = Town::start();
    let work = town.work("echo", APP);
    work.push().succeeds();
    messages_go_both_ways(&town);
    what_is_sent_behind_the_question_waits_for_its_answer(&town);
    a_frame_in_single_bytes_arrives(&town);
    frames_of_every_length_arrive_whole(&town);
    pings_are_answered_by_the_app_and_not_by_us(&town);
    close_codes_pass_and_the_connection_ends_in_order(&town);
    a_half_closed_side_still_hears_everything(&town);
    a_refused_upgrade_leaves_http_behind(&town);
    an_upgrade_with_a_body_makes_no_tunnel(&town);
    of_two_upgrades_at_once_the_first_that_is_taken_up_is_the_last_request(&town);
    // A swap leaves an open one where it is, and its end ends the drain.
    let mut socket = open(&town, b"");
    work.set_version("echo v2").push().succeeds();
    for _ in 0..20 {
        socket.write(&frame(TEXT, b"still here")).expect("send");
        says_back(&mut socket, TEXT, b"still here");
    }
    assert_eq!(town.engine.instances(&["paas.release=1"]).len(), 1, "the old instance waits for its WebSocket");
    socket.write(&frame(CLOSE, b"")).expect("send");
    says_back(&mut socket, CLOSE, b"");
    ends(&mut socket);
    drop(socket);
    eventually("the old instance is gone", Duration::from_secs(15), || {
        town.engine.instances(&["paas.release=1"]).is_empty()
    });
    town.doctor_is_clean();
}
