//! The head gate: as a pure state machine, byte by byte and at once, and before a real proxy.
use super::super::head_gate::{HeadGate, Ruling};
use super::super::limits::{FIELDS_MAX, HEAD_BYTES_MAX, URI_BYTES_MAX};
use super::super::refusal::Refusal;
use super::*;

/// All at once, then every byte alone: a head must be judged the same however it comes.
fn judge(bytes: &[u8]) -> Result<usize, u16> {
    let at_once = outcome(&HeadGate::default().examine(bytes));
    let mut gate = HeadGate::default();
    let (mut passed, mut dripped) = (0, Ok(0));
    for end in 1..=bytes.len() {
        dripped = match gate.examine(&bytes[passed..end]) {
            Ruling::Pass(more) => {
                passed += more;
                Ok(passed)
            }
            refused => outcome(&refused),
        };
        if dripped.is_err() {
            break;
        }
    }
    assert_eq!(at_once, dripped, "{:?}", String::from_utf8_lossy(bytes));
    at_once
}

fn outcome(ruling: &Ruling) -> Result<usize, u16> {
    match ruling {
        Ruling::Pass(passed) => Ok(*passed),
        Ruling::Refuse(_, refusal) => Err(refusal.status().as_u16()),
        Ruling::Broken(..) => Err(0),
    }
}

#[test]
fn plain_requests_pass_whole() {
    for good in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a%00b//../c?x=\"y\" HTTP/1.0\r\nhost:a\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "PROPFIND / HTTP/1.1\r\nHost: a\r\nX: \tb \t\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: v\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        assert_eq!(judge(good.as_bytes()), Ok(good.len()), "{good:?}");
    }
}

#[test]
fn an_unfinished_head_is_held_and_a_body_is_not() {
    assert_eq!(judge(b"GET / HTTP/1.1\r\nHost: a\r\n"), Ok(0));
    let request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc";
    assert_eq!(judge(request), Ok(request.len()));
    let pipelined = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HT";
    assert_eq!(judge(pipelined), Ok(pipelined.len() - 8));
}

#[test]
fn ambiguous_and_malformed_heads_are_refused() {
    for bad in [
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\x7fb\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
        "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET a HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / http/1.1\r\nHost: a\r\n\r\n",
        "GET /\r\nHost: a\r\n\r\n",
        "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\x16\x03\x01\x02",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 01\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        assert_eq!(judge(bad.as_bytes()), Err(400), "{bad:?}");
    }
}

#[test]
fn methods_and_versions_that_are_not_served_are_refused() {
    assert_eq!(judge(b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n"), Err(405));
    assert_eq!(judge(b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n"), Err(405));
    assert_eq!(judge(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Err(505));
    assert_eq!(judge(b"GET / HTTP/0.9\r\nHost: a\r\n\r\n"), Err(505));
}

#[test]
fn broken_chunks_break_the_body() {
    for bad in [
        "x\r\n",
        "\r\n",
        "-1\r\n",
        "3 \r\nabc\r\n",
        "3\nabc",
        "3\r\nabcd\r\n",
        "3;a\rb\r\n",
        "1ffffffffffffffff\r\n",
        "0\r\nContent-Length: 1\r\n\r\n",
        "0\r\ntransfer-encoding: chunked\r\n\r\n",
        "0\r\nA : b\r\n\r\n",
        "0\r\nA: b\n\r\n",
    ] {
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{bad}");
        assert_eq!(judge(request.as_bytes()), Err(0), "{bad:?}");
    }
}

#[test]
fn each_limit_holds_at_its_edge() {
    let target = |size: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(size - 1));
    assert!(HeadGate::default().examine(target(URI_BYTES_MAX).as_bytes()) == Ruling::Pass(target(URI_BYTES_MAX).len()));
    let refused = |head: String| match HeadGate::default().examine(head.as_bytes()) {
        Ruling::Refuse(0, refusal) => Some(refusal),
        Ruling::Refuse(..) | Ruling::Pass(_) | Ruling::Broken(..) => None,
    };
    assert_eq!(refused(target(URI_BYTES_MAX + 1)), Some(Refusal::UriTooLong));
    assert_eq!(refused(format!("GET /{}", "a".repeat(URI_BYTES_MAX * 2))), Some(Refusal::UriTooLong));
    let fields = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "a: b\r\n".repeat(count - 1));
    assert_eq!(refused(fields(FIELDS_MAX)), None);
    assert_eq!(refused(fields(FIELDS_MAX + 1)), Some(Refusal::HeadTooLarge));
    let line = "x".repeat(16 * 1024);
    assert_eq!(refused(format!("GET / HTTP/1.1\r\nHost: a\r\nA: {line}\r\n\r\n")), Some(Refusal::HeadTooLarge));
    let large = "x".repeat(16_000);
    let head =
        format!("GET / HTTP/1.1\r\nHost: a\r\n{}", format!("A: {large}\r\n").repeat(HEAD_BYTES_MAX / 16_000 + 1));
    assert_eq!(refused(head), Some(Refusal::HeadTooLarge));
}

#[test]
fn a_refused_head_behind_a_good_one_is_answered_in_order_and_never_reaches_the_app() {
    let app = Instance::named("one");
    let town = Town::serving(&app);
    let mut client = town.client();
    client.send("GET /a HTTP/1.1\r\nhost: blog.test\r\n\r\nGET /b HTTP/1.1\r\nhost: blog.test\r\nhost: x\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    let refusal = client.answer();
    assert_eq!(refusal.status, 400);
    assert_eq!(refusal.header("connection").as_deref(), Some("close"));
    assert!(client.is_ended());
    assert_eq!(app.count(), 1);
}

#[test]
fn each_refusal_has_its_status_on_the_wire() {
    let town = Town::serving(&Instance::named("one"));
    let long = "a".repeat(URI_BYTES_MAX + 1);
    let many = "a: b\r\n".repeat(FIELDS_MAX + 1);
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        (format!("GET /{long} HTTP/1.1\r\nhost: blog.test\r\n\r\n"), 414),
        (format!("GET / HTTP/1.1\r\nhost: blog.test\r\n{many}\r\n"), 431),
        ("TRACE / HTTP/1.1\r\nhost: blog.test\r\n\r\n".to_owned(), 405),
        ("CONNECT blog.test:443 HTTP/1.1\r\nhost: blog.test\r\n\r\n".to_owned(), 405),
        ("GET / HTTP/3.0\r\nhost: blog.test\r\n\r\n".to_owned(), 505),
        ("GET http://other.test/ HTTP/1.1\r\nhost: blog.test\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nhost: blog.test\r\nexpect: foo\r\n\r\n".to_owned(), 417),
        ("GET / HTTP/1.1\r\nhost: blog.test\r\nexpect: 100-continue\r\nexpect: foo\r\n\r\n".to_owned(), 417),
    ] {
        let mut client = town.client();
        client.send(&request);
        assert_eq!(client.answer().status, status, "{request:.60}");
        assert!(client.is_ended(), "{request:.60}");
    }
}

#[test]
fn a_slow_head_is_refused_and_an_idle_connection_ended() {
    let spans = Spans { head: Duration::from_millis(100), keep_alive_idle: Duration::from_millis(200), ..spans() };
    let town = Town::with(spans);
    let app = Instance::named("one");
    town.route_to(&app);
    let mut slow = town.client();
    slow.send("GET / HTTP/1.1\r\nhost: bl");
    assert_eq!(slow.answer().status, 408);
    let mut idle = town.client();
    assert_eq!(idle.get("blog.test", "/").status, 200);
    assert!(idle.is_ended());
}

#[test]
fn a_head_in_pieces_is_served() {
    let town = Town::serving(&Instance::named("one"));
    let mut client = town.client();
    client.stream.get_ref().set_nodelay(true).unwrap();
    for piece in ["GET / HT", "TP/1.1\r", "\nhost: blo", "g.test\r\n\r", "\n"] {
        client.send(piece);
        thread::sleep(Duration::from_millis(3));
    }
    assert_eq!(client.answer().text(), "one");
    assert_eq!(client.get("blog.test", "/").text(), "one");
}
