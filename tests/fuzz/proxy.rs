//! Fuzz targets: the head gate with its chunk decoder, beside hyper, which reads what the gate passes; and the search for
//! a host.
#[path = "../cases/table.rs"]
mod table;

use super::super::head_gate::{HeadGate, Ruling};
use super::super::host::{self, Found};
use super::super::snapshot::{Destination, Snapshot};
use crate::mutate;
use http::{HeaderMap, HeaderValue, Request, Response, Uri, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Stands for a status where a body is broken.
const BROKEN: u16 = 0;
const BLOG: &str = "blog.example.com";

#[test]
fn fuzz_heads_and_chunks() {
    let rows = table::rows(include_str!("../cases/requests.txt"), 2, "mirror.localhost");
    let seeds = rows.into_iter().map(|row| {
        assert!(!row.cells.is_empty(), "line {}, {}: no outcome", row.line, row.name);
        row.bytes
    });
    let seeds: Vec<Vec<u8>> = seeds.collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("make a runtime");
    mutate::fuzz("heads and chunks", &seeds, |input| {
        let (passed, end) = ruling(&HeadGate::default().examine(input));
        for step in [1, 7] {
            let (passed_in_steps, end_in_steps) = examine_in_steps(input, step);
            assert_eq!(end_in_steps, end, "in steps of {step}");
            // Of a line that breaks a body, the beginning may have passed already; of a head, nothing ever does.
            assert!(passed_in_steps == passed || (end == Some(BROKEN) && passed_in_steps > passed));
        }
        let read = runtime.block_on(read_by_hyper(&input[..passed]));
        is_read_alike(&messages(&input[..passed]), &read);
    });
}

/// How far it passes, and the status of a refusal, if it is one.
fn ruling(ruling: &Ruling) -> (usize, Option<u16>) {
    match ruling {
        Ruling::Pass(passed) => (*passed, None),
        Ruling::Refuse(passed, refusal) => (*passed, Some(refusal.status().as_u16())),
        Ruling::Broken(passed, _) => (*passed, Some(BROKEN)),
    }
}

fn examine_in_steps(input: &[u8], step: usize) -> (usize, Option<u16>) {
    let (mut gate, mut passed) = (HeadGate::default(), 0);
    for end in (0..input.len()).step_by(step).skip(1).chain([input.len()]) {
        let (more, refused) = ruling(&gate.examine(&input[passed..end]));
        passed += more;
        if refused.is_some() {
            return (passed, refused);
        }
    }
    (passed, None)
}

/// One request, as it was read.
#[derive(Debug, PartialEq, Eq)]
struct Message {
    method: String,
    target: String,
    body: Vec<u8>,
    /// Nothing behind it is read, or it cannot be represented.
    is_last: bool,
}

/// What stands in bytes that are beyond doubt: whole messages, and perhaps the beginning of one.
fn messages(bytes: &[u8]) -> Vec<Message> {
    let (mut found, mut rest) = (Vec::new(), bytes);
    while let Some((message, behind)) = message(rest) {
        found.push(message);
        rest = behind;
    }
    found
}

fn message(bytes: &[u8]) -> Option<(Message, &[u8])> {
    let bytes = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
    let end = find(bytes, b"\r\n\r\n")?;
    let head: String = bytes[..end].iter().map(|byte| char::from(*byte)).collect();
    let mut lines = head.split("\r\n");
    let mut words = lines.next()?.split(' ').map(str::to_owned);
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    let fields: Vec<(String, &str)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim_matches([' ', '\t'])))
        .collect();
    let field = |wanted: &str| fields.iter().find(|(name, _)| name == wanted).map(|(_, value)| *value);
    let connection: Vec<String> = fields
        .iter()
        .filter(|(name, _)| name == "connection")
        .flat_map(|(_, value)| value.split(',').map(|token| token.trim().to_ascii_lowercase()))
        .collect();
    let is_last = version == "HTTP/1.0" || connection.iter().any(|token| token == "close") || !is_a_uri(&target);
    let rest = &bytes[end + 4..];
    let (body, rest) = match field("transfer-encoding") {
        Some(_) => unchunk(rest)?,
        None => {
            let length = field("content-length").map_or(Some(0), |length| length.parse().ok())?;
            (rest.get(..length)?.to_vec(), &rest[length..])
        }
    };
    Some((Message { method, target, body, is_last }, rest))
}

/// hyper refuses targets that cannot be a `Uri`.
fn is_a_uri(target: &str) -> bool {
    let bytes: Vec<u8> = target.chars().filter_map(|character| u8::try_from(u32::from(character)).ok()).collect();
    Uri::try_from(bytes).is_ok()
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn unchunk(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let (mut body, mut rest) = (Vec::new(), bytes);
    loop {
        let end = find(rest, b"\r\n")?;
        let digits: String = rest[..end].iter().map(|b| char::from(*b)).take_while(char::is_ascii_hexdigit).collect();
        let size = usize::from_str_radix(&digits, 16).ok()?;
        rest = &rest[end + 2..];
        if size == 0 {
            let trailers = if rest.starts_with(b"\r\n") { 0 } else { find(rest, b"\r\n\r\n")? + 2 };
            return Some((body, &rest[trailers + 2..]));
        }
        body.extend(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}

/// What the parser behind the gate makes of the same bytes.
async fn read_by_hyper(bytes: &[u8]) -> Vec<Message> {
    let read = Rc::new(RefCell::new(Vec::new()));
    let (mut near, far) = tokio::io::duplex(1 << 16);
    near.write_all(bytes).await.expect("it fits");
    near.shutdown().await.expect("end the input");
    let service = service_fn(|request: Request<Incoming>| {
        let read = read.clone();
        async move {
            let (head, body) = request.into_parts();
            if let Ok(body) = body.collect().await {
                let (method, target) = (head.method.to_string(), head.uri.to_string());
                let body = body.to_bytes().to_vec();
                read.borrow_mut().push(Message { method, target, body, is_last: false });
            }
            Ok::<_, Infallible>(Response::new(Empty::<bytes::Bytes>::new()))
        }
    });
    let mut builder = http1::Builder::new();
    builder.max_headers(super::super::limits::FIELDS_MAX).half_close(true);
    // How it ends says nothing: the input stops wherever it does.
    let _ = builder.serve_connection(TokioIo::new(far), service).await;
    let mut answers = Vec::new();
    let _ = near.read_to_end(&mut answers).await;
    read.take()
}

/// hyper read the same messages, up to where it stops reading for a reason of its own.
fn is_read_alike(passed: &[Message], read: &[Message]) {
    assert!(read.len() <= passed.len(), "hyper made {read:?} of {passed:?}");
    for (meant, read) in passed.iter().zip(read) {
        assert_eq!((&meant.method, &meant.body), (&read.method, &read.body));
        if meant.target.starts_with('/') && meant.target.is_ascii() {
            assert_eq!(meant.target, read.target);
        }
    }
    let stops = passed.iter().position(|message| message.is_last);
    let wanted = stops.unwrap_or(passed.len());
    assert!(read.len() >= wanted, "hyper read only {} of {passed:?}", read.len());
}

#[test]
fn fuzz_hosts() {
    let mut snapshot = Snapshot::default();
    for known in [BLOG, "xn--bcher-kva.example"] {
        snapshot.hosts.insert(known.into(), Destination::Admin { host: known.into() });
    }
    let seeds: Vec<Vec<u8>> = include_str!("hosts.txt").lines().map(|line| line.as_bytes().to_vec()).collect();
    mutate::fuzz("hosts", &seeds, |input| {
        let at = input.iter().position(|byte| *byte == b' ').unwrap_or(0);
        let (target, host) = (&input[..at], input.get(at + 1..).unwrap_or_default());
        let (Ok(uri), Ok(_)) = (Uri::try_from(target), HeaderValue::from_bytes(host)) else { return };
        let found = outcome(&snapshot, &uri, host);
        for other in [host.to_ascii_uppercase(), host.to_ascii_lowercase()] {
            assert_eq!(outcome(&snapshot, &uri, &other), found, "in another case");
        }
        if found != "invalid" && !host.ends_with(b".") && !host.contains(&b':') {
            assert_eq!(outcome(&snapshot, &uri, &[host, b".:8080"].concat()), found, "with a dot and a port");
        }
        if let (Some(authority), "found") = (uri.authority(), found) {
            assert!(!authority.as_str().contains('@'));
            assert_eq!(outcome(&snapshot, &Uri::from_static("/"), authority.as_str().as_bytes()), "found");
        }
        if found == "found" && host.is_ascii() {
            let lower = String::from_utf8_lossy(host).to_lowercase();
            assert!(lower.starts_with(BLOG) || lower.starts_with("xn--bcher-kva.example"), "{lower} was found");
        }
    });
}

fn outcome(snapshot: &Snapshot, uri: &Uri, host: &[u8]) -> &'static str {
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, HeaderValue::from_bytes(host).expect("it was one before"));
    match host::find(snapshot, uri, &headers) {
        Found::Destination(_) => "found",
        Found::Unknown => "unknown",
        Found::Invalid => "invalid",
    }
}
