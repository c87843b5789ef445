//! The same requests through the router into four servers that others wrote: nginx, Apache, Node and uvicorn. Each tells
//! what it read, and all must have read what was sent.
//!
//! Left out is what one of these servers itself refuses or cannot tell, so that it says nothing about us: raw high bytes, a
//! broken escape, `%00` or `..` above the root in a path, methods of one's own, an empty query. The tables of raw cases have
//! them.
use super::message::{self, Message};
use crate::harness::{Connection, Dice, Town};
use std::collections::BTreeMap;

const ORIGINS: [&str; 4] = ["origin-nginx", "origin-apache", "origin-node", "origin-uvicorn"];
const METHODS: [&str; 9] = ["GET", "GET", "POST", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"];
/// What hyper and all four take in a path, each as it stands.
const PATH: &[u8] = b"abzAZ09-._~!$&'()*+,;=:@|^[]{}\"\\";
const QUERY: &[u8] = b"abzAZ09-._~!$&'()*+,;=:@|^[]{}'\\/?`%";
const ESCAPES: [&str; 8] = ["%2F", "%2f", "%25", "%20", "%e2%82%ac", "%7E", "%0d%0a", "%3F"];
const NAME: &[u8] = b"abcXYZ019-_!#$&'*+.^`|~";
const VALUE: &[u8] = b"aZ09 \t\"(),/:;<=>?@[]{}\\-_.\xc3\xa9\xff\x80";

#[test]
fn four_foreign_servers_read_the_same_request_that_was_sent() {
    let count = if std::env::var_os("PAAS_LONG").is_some() { 2000 } else { 200 };
    let mut dice = Dice::thrown();
    let town = Town::start();
    for origin in ORIGINS {
        town.push(origin, origin).succeeds();
    }
    let mut connections: BTreeMap<&str, Connection> =
        ORIGINS.map(|origin| (origin, town.connect(origin).expect("connect"))).into();
    let mut differences = Vec::new();
    for number in 0..count {
        let request = Request::drawn(&mut dice, number);
        for origin in ORIGINS {
            let connection = connections.get_mut(origin).expect("one for each");
            if let Err(why) = agrees(&request, origin, connection, town.http().port()) {
                differences.push(format!("request {number}, {origin}: {why}"));
                connections.insert(origin, town.connect(origin).expect("connect"));
            }
        }
    }
    println!("{count} requests into {} servers: {} differences", ORIGINS.len(), differences.len());
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
    town.doctor_is_clean();
}

struct Request {
    method: &'static str,
    target: String,
    fields: Vec<(String, Vec<u8>)>,
    body: Option<Vec<u8>>,
    /// Sizes of its chunks, when it is sent in chunks.
    chunks: Vec<usize>,
}

impl Request {
    fn drawn(dice: &mut Dice, number: u64) -> Self {
        let method = dice.of(&METHODS);
        let has_body = !matches!(method, "GET" | "OPTIONS") || dice.below(4) == 0;
        let body = has_body.then(|| {
            let most = dice.of(&[0, 10, 1000, 70_000]);
            dice.some(most, &[0, 1, b'\r', b'\n', b'a', b'0', 0x7f, 0xff])
        });
        let chunks =
            if dice.below(2) == 0 { vec![] } else { vec![1, 2 + usize::try_from(dice.below(5000)).unwrap_or(0)] };
        Self { method, target: target(dice), fields: fields(dice, number), body, chunks }
    }

    fn bytes(&self, host: &str) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\nHost: {host}\r\n", self.method, self.target).into_bytes();
        for (name, value) in &self.fields {
            bytes.extend(name.as_bytes());
            bytes.extend(b": ");
            bytes.extend(value);
            bytes.extend(b"\r\n");
        }
        match &self.body {
            None => bytes.extend(b"\r\n"),
            Some(body) if self.chunks.is_empty() => {
                bytes.extend(format!("Content-Length: {}\r\n\r\n", body.len()).bytes());
                bytes.extend(body);
            }
            Some(body) => {
                bytes.extend(b"Transfer-Encoding: chunked\r\n\r\n");
                let (mut rest, mut sizes) = (body.as_slice(), self.chunks.iter().cycle());
                while !rest.is_empty() {
                    let size = rest.len().min(*sizes.next().expect("they go round"));
                    bytes.extend(format!("{size:x}\r\n").bytes());
                    bytes.extend(&rest[..size]);
                    bytes.extend(b"\r\n");
                    rest = &rest[size..];
                }
                bytes.extend(b"0\r\n\r\n");
            }
        }
        bytes
    }
}

fn target(dice: &mut Dice) -> String {
    let mut target = String::new();
    for _ in 0..=dice.below(4) {
        target.push('/');
        let mut segment = String::new();
        for _ in 0..dice.below(4) {
            segment.push_str(&super::latin1(&dice.some(12, PATH)));
            if dice.below(3) == 0 {
                segment.push_str(dice.of(&ESCAPES));
            }
        }
        // What would climb: two dots in any spelling.
        target.push_str(if segment == ".." { "..." } else { &segment });
    }
    if dice.below(2) == 0 {
        target.push('?');
        target.push('q');
        target.push_str(&super::latin1(&dice.some(30, QUERY)));
    }
    target
}

fn fields(dice: &mut Dice, number: u64) -> Vec<(String, Vec<u8>)> {
    let mut fields = vec![("X-Number".to_owned(), number.to_string().into_bytes())];
    for _ in 0..dice.below(12) {
        let name = match dice.below(4) {
            0 => dice
                .of(&["Accept", "Cookie", "X-A", "x-a", "User-Agent", "Referer", "Range", "Authorization"])
                .to_owned(),
            _ => format!("X{}", super::latin1(&dice.some(20, NAME))),
        };
        // nginx bears one of these only.
        let is_single = ["User-Agent", "Referer", "Range", "Authorization"].contains(&name.as_str());
        if is_single && fields.iter().any(|(other, _)| *other == name) {
            continue;
        }
        let value = dice.some(60, VALUE);
        let trimmed: &[u8] = value.trim_ascii();
        fields.push((name, trimmed.to_vec()));
    }
    fields
}

fn agrees(request: &Request, origin: &str, connection: &mut Connection, port: u16) -> Result<(), String> {
    let bytes = request.bytes(&format!("{origin}.localhost"));
    let (sent, _) = message::read(&bytes).ok_or("the generator made no whole message")?;
    connection.write(&bytes).map_err(|error| error.to_string())?;
    let answer = connection.answer_to(request.method).map_err(|error| format!("no answer: {error}"))?;
    if answer.status != 200 {
        return Err(format!("{} for {:?}", answer.status, super::latin1(&bytes[..bytes.len().min(600)])));
    }
    let read = message::read_told(&answer.body).ok_or("it told no message")?;
    let read = read.checked(&sent, port)?.joined();
    let wanted = sent.passed_on().joined();
    if read == wanted { Ok(()) } else { Err(difference(&read, &wanted)) }
}

fn difference(read: &Message, wanted: &Message) -> String {
    if read.body != wanted.body {
        return format!("a body of {} bytes, and {} were sent", read.body.len(), wanted.body.len());
    }
    format!(
        "it read {} {} {:?},\n  and {} {} {:?} was sent",
        read.method, read.target, read.fields, wanted.method, wanted.target, wanted.fields
    )
}
