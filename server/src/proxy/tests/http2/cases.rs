//! What is refused, by whom and how: one table of frames and their outcome. A stream that is refused must leave its
//! connection usable, and must not have reached the app.
use super::super::super::limits::{FIELDS_MAX, LINE_BYTES_MAX, METHOD_BYTES_MAX, URI_BYTES_MAX};
use super::super::*;
use super::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GET, GOAWAY, HEADERS, Outcome, PREFACE, Raw, SETTINGS, WINDOW_UPDATE,
    block, frame, get, headers, request,
};
use super::open_door;

const SERVED: Outcome = Outcome::Status(200);
const BAD: Outcome = Outcome::Status(400);
/// `PROTOCOL_ERROR` of the stream alone: "malformed" in the words of RFC 9113.
const MALFORMED: Outcome = Outcome::Reset(1);
/// The same of the connection, which the library gives up where it cannot decode a field or a frame.
const PROTOCOL: Outcome = Outcome::GoAway(1);
const FRAME_SIZE: Outcome = Outcome::GoAway(6);

type Case = (&'static str, Vec<u8>, Outcome);

/// GET with one of its pseudo-fields changed, or left out.
fn pseudo(name: &str, value: Option<&str>) -> Vec<u8> {
    let fields = GET.iter().filter_map(|known| match value {
        Some(value) if known.0 == name => Some((name, value)),
        None if known.0 == name => None,
        Some(_) | None => Some(*known),
    });
    request(&fields.collect::<Vec<_>>())
}

fn post(extra: &[(&str, &str)], flags: u8, data: &[u8]) -> Vec<u8> {
    let fields = [&[(":method", "POST")][..], &GET[1..], extra].concat();
    [headers(1, 0, &block(&fields)), frame(DATA, flags, 1, data)].concat()
}

fn hosts() -> Vec<Case> {
    let without_authority = |hosts: &[(&str, &str)]| request(&[&GET[..2], &GET[3..], hosts].concat());
    vec![
        ("a plain request", get(&[]), SERVED),
        ("Host says the same", get(&[("host", "Blog.test")]), SERVED),
        ("Host says something else", get(&[("host", "other.test")]), BAD),
        ("Host says another port", get(&[("host", "blog.test:8080")]), BAD),
        ("Host is empty", get(&[("host", "")]), BAD),
        ("two Hosts", get(&[("host", "blog.test"), ("host", "blog.test")]), BAD),
        ("Host alone", without_authority(&[("host", "blog.test")]), SERVED),
        ("two Hosts alone", without_authority(&[("host", "blog.test"), ("host", "blog.test")]), BAD),
        ("no host at all", without_authority(&[]), BAD),
        ("a user in :authority", pseudo(":authority", Some("user@blog.test")), BAD),
        (":authority in another spelling", pseudo(":authority", Some("BLOG.test:443")), SERVED),
        (":authority is empty", pseudo(":authority", Some("")), MALFORMED),
        (":authority with a blank", pseudo(":authority", Some("blog.test evil")), MALFORMED),
        (":authority with a path", pseudo(":authority", Some("blog.test/x")), MALFORMED),
        ("a host that nothing is routed for", pseudo(":authority", Some("other.test")), Outcome::Status(404)),
    ]
}

fn pseudo_fields() -> Vec<Case> {
    let without_path = |extra: &[(&str, &str)]| request(&[&GET[..2], extra].concat());
    let extended = [(":method", "CONNECT"), (":protocol", "websocket")];
    vec![
        ("no :method", pseudo(":method", None), MALFORMED),
        ("no :scheme", pseudo(":scheme", None), MALFORMED),
        ("no :path", pseudo(":path", None), MALFORMED),
        ("neither :path nor :authority", without_path(&[("host", "blog.test")]), BAD),
        (":path is empty", pseudo(":path", Some("")), MALFORMED),
        (":path without a slash", pseudo(":path", Some("x")), MALFORMED),
        (":path is a whole address", pseudo(":path", Some("http://blog.test/")), MALFORMED),
        (":path with a blank", pseudo(":path", Some("/a b")), MALFORMED),
        (":path with a line end", pseudo(":path", Some("/a\r\nx: y")), MALFORMED),
        ("an asterisk to GET", pseudo(":path", Some("*")), BAD),
        (
            "an asterisk to OPTIONS",
            request(&[&[(":method", "OPTIONS"), (":path", "*")][..], &GET[1..3]].concat()),
            SERVED,
        ),
        (":path twice", request(&[&GET[..], &[(":path", "/")]].concat()), MALFORMED),
        (":method twice", request(&[&GET[..], &[(":method", "GET")]].concat()), MALFORMED),
        (":status in a request", request(&[&GET[..], &[(":status", "200")]].concat()), MALFORMED),
        ("an unknown pseudo-field", request(&[&GET[..], &[(":x", "y")]].concat()), PROTOCOL),
        ("a pseudo-field behind a field", request(&[&GET[..3], &[("a", "b")], &GET[3..]].concat()), MALFORMED),
        ("a scheme of another world", pseudo(":scheme", Some("ftp")), BAD),
        ("TRACE", pseudo(":method", Some("TRACE")), Outcome::Status(405)),
        ("CONNECT", request(&[(":method", "CONNECT"), GET[2]]), Outcome::Status(405)),
        ("CONNECT with a path", request(&[&[(":method", "CONNECT")][..], &GET[1..]].concat()), MALFORMED),
        ("extended CONNECT", request(&[&extended[..], &GET[1..]].concat()), MALFORMED),
        ("a method that is no token", pseudo(":method", Some("G T")), PROTOCOL),
        ("a method of any token", pseudo(":method", Some("PROPFIND")), SERVED),
        ("a method too long", pseudo(":method", Some(&"M".repeat(METHOD_BYTES_MAX + 1))), BAD),
    ]
}

fn fields() -> Vec<Case> {
    let many = |count: usize| request(&[GET.to_vec(), vec![("a", "b"); count]].concat());
    let large = |size: usize| "x".repeat(size);
    let list = |count: usize| {
        let value = large(10_000);
        get(&vec![("a", value.as_str()); count])
    };
    vec![
        ("connection", get(&[("connection", "close")]), MALFORMED),
        ("keep-alive", get(&[("keep-alive", "timeout=5")]), MALFORMED),
        ("proxy-connection", get(&[("proxy-connection", "keep-alive")]), MALFORMED),
        ("transfer-encoding", post(&[("transfer-encoding", "chunked")], END_STREAM, b"0\r\n\r\n"), MALFORMED),
        ("upgrade", get(&[("upgrade", "websocket")]), MALFORMED),
        ("te", get(&[("te", "gzip")]), MALFORMED),
        ("te: trailers", get(&[("te", "trailers")]), SERVED),
        ("an expectation nobody knows", get(&[("expect", "foo")]), Outcome::Status(417)),
        ("a name in upper case", get(&[("X-Upper", "a")]), PROTOCOL),
        ("a name with a blank", get(&[("a b", "c")]), PROTOCOL),
        ("a name with a line end", get(&[("a\r\nb", "c")]), PROTOCOL),
        ("a name with a colon", get(&[("a:b", "c")]), PROTOCOL),
        ("an empty name", get(&[("", "c")]), PROTOCOL),
        ("a carriage return", get(&[("a", "b\rc")]), PROTOCOL),
        ("a line feed", get(&[("a", "b\nhost: evil")]), PROTOCOL),
        ("a NUL", get(&[("a", "b\0c")]), PROTOCOL),
        ("a DEL", get(&[("a", "b\x7fc")]), PROTOCOL),
        ("blanks before a value", get(&[("a", " b")]), BAD),
        ("blanks behind a value", get(&[("a", "b\t")]), BAD),
        ("as many fields as may be", many(FIELDS_MAX), SERVED),
        ("one field too many", many(FIELDS_MAX + 1), Outcome::Status(431)),
        ("a field too long", get(&[("a", &large(LINE_BYTES_MAX))]), Outcome::Status(431)),
        ("a target as long as may be", pseudo(":path", Some(&format!("/{}", large(URI_BYTES_MAX - 1)))), SERVED),
        ("a target too long", pseudo(":path", Some(&format!("/{}", large(URI_BYTES_MAX)))), Outcome::Status(414)),
        ("a list too large", list(7), Outcome::Status(431)),
        ("a list far too large", list(60), Outcome::GoAway(11)),
    ]
}

fn lengths() -> Vec<Case> {
    let trailers = |fields: &[(&str, &str)]| [post(&[], 0, b"abc"), headers(1, END_STREAM, &block(fields))].concat();
    vec![
        ("data as long as said", post(&[("content-length", "3")], END_STREAM, b"abc"), SERVED),
        ("less data than said", post(&[("content-length", "4")], END_STREAM, b"abc"), MALFORMED),
        ("more data than said", post(&[("content-length", "2")], END_STREAM, b"abc"), MALFORMED),
        ("no data where some was said", get(&[("content-length", "1")]), MALFORMED),
        ("two lengths that agree", get(&[("content-length", "0"), ("content-length", "0")]), BAD),
        ("two lengths that differ", get(&[("content-length", "0"), ("content-length", "1")]), MALFORMED),
        ("a length with a sign", post(&[("content-length", "+3")], END_STREAM, b"abc"), MALFORMED),
        ("a list of lengths", post(&[("content-length", "3, 3")], END_STREAM, b"abc"), MALFORMED),
        ("a length of nothing", post(&[("content-length", "")], END_STREAM, b"abc"), MALFORMED),
        ("trailers", trailers(&[("x-sum", "1")]), SERVED),
        // It is dropped.
        ("a pseudo-field in trailers", trailers(&[(":path", "/x")]), SERVED),
        ("a connection's field in trailers", trailers(&[("transfer-encoding", "chunked")]), MALFORMED),
        (
            "trailers that do not end the stream",
            [post(&[], 0, b"abc"), headers(1, 0, &block(&[("a", "b")]))].concat(),
            MALFORMED,
        ),
    ]
}

fn connections() -> Vec<Case> {
    let settings = |name: u8, value: u32| [&[0, name][..], &value.to_be_bytes()].concat();
    vec![
        ("data on a stream that is not open", frame(DATA, 0, 1, b"abc"), PROTOCOL),
        ("a stream with an even number", headers(2, END_STREAM, &block(&GET)), PROTOCOL),
        ("headers of no stream", headers(0, END_STREAM, &block(&GET)), PROTOCOL),
        ("a block that goes on after nothing", frame(CONTINUATION, END_HEADERS, 1, &block(&GET)), PROTOCOL),
        (
            "another frame within a block",
            [frame(HEADERS, END_STREAM, 1, &block(&GET)), frame(DATA, 0, 1, b"")].concat(),
            PROTOCOL,
        ),
        ("a block that cannot be decoded", frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0xff; 12]), PROTOCOL),
        ("a frame larger than agreed", frame(DATA, 0, 1, &[0; 16_385]), FRAME_SIZE),
        ("settings of an odd size", frame(SETTINGS, 0, 0, &[0; 5]), PROTOCOL),
        ("settings for a stream", frame(SETTINGS, 0, 1, b""), PROTOCOL),
        ("a window that is too large", frame(SETTINGS, 0, 0, &settings(4, 1 << 31)), PROTOCOL),
        ("a ping of an odd size", frame(super::frames::PING, 0, 0, &[0; 7]), PROTOCOL),
        ("more room for nothing", frame(WINDOW_UPDATE, 0, 0, &[0; 4]), PROTOCOL),
        ("a promise of a client", frame(5, END_HEADERS, 1, &[0, 0, 0, 2, 0x82]), PROTOCOL),
    ]
}

/// Answers only what it should get, and reads bodies.
fn origin() -> Instance {
    Instance::new("one", |head, stream| {
        let (_, is_whole) = match (field(head, "content-length"), field(head, "transfer-encoding")) {
            (None, None) => (Vec::new(), true),
            _ => read_body(stream, head),
        };
        if !is_whole {
            return Then::Close;
        }
        respond(stream.get_mut(), "", b"one");
        Then::Keep
    })
}

#[test]
fn every_case_has_its_outcome_and_a_refused_stream_leaves_the_others_alone() {
    let app = origin();
    let town = Town::serving(&app);
    let door = open_door(&town);
    let mut wrong = Vec::new();
    let mut reached = 0;
    for (name, bytes, expected) in [hosts(), pseudo_fields(), fields(), lengths(), connections()].concat() {
        let mut raw = Raw::begun(door);
        raw.send(&bytes);
        let outcome = raw.outcome(1);
        if outcome != expected {
            wrong.push(format!("{name}: {outcome:?} and not {expected:?}"));
        }
        if let Outcome::Status(_) | Outcome::Reset(_) = outcome {
            reached += usize::from(outcome == SERVED) + 1;
            raw.send(&headers(3, END_STREAM, &block(&GET)));
            let next = std::iter::from_fn(|| raw.next()).find(|next| next.stream == 3 || next.kind == GOAWAY);
            if next.as_ref().is_none_or(|next| next.kind != HEADERS) {
                wrong.push(format!("{name}: the next request met {next:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    eventually("the requests", || app.count() >= reached);
    let odd = app.heads.lock().unwrap().iter().find(|head| head.contains("evil") || head.contains("x: y")).cloned();
    assert_eq!(odd, None);
}

#[test]
fn a_wrong_preface_ends_the_connection_and_the_plain_port_takes_none() {
    let town = Town::serving(&origin());
    let mut raw = Raw::connect(open_door(&town));
    raw.send(b"GET / HTTP/1.1\r\nhost: blog.test\r\n\r\n");
    assert!(matches!(raw.outcome(1), Outcome::Closed | PROTOCOL));
    let mut plain = town.client();
    plain.send([PREFACE, &frame(SETTINGS, 0, 0, b""), &get(&[])].concat());
    assert_eq!(plain.answer().status, 505);
    assert!(plain.is_ended());
}
