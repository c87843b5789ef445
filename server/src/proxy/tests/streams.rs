//! Bodies, event streams and upgrades: nothing is collected on the way.
use super::*;
use std::sync::mpsc;

#[test]
fn an_event_stream_arrives_event_by_event() {
    let (next, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let app = Instance::new("one", move |_, stream| {
        let stream = stream.get_mut();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            .unwrap();
        for number in 0..3 {
            let event = format!("data: {number}\n\n");
            stream.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes()).unwrap();
            wait.lock().unwrap().recv().unwrap();
        }
        stream.write_all(b"0\r\n\r\n").unwrap();
        Then::Keep
    });
    let town = Town::serving(&app);
    let mut client = town.client();
    client.send("GET /events HTTP/1.1\r\nhost: blog.test\r\n\r\n");
    client.head();
    for number in 0..3 {
        assert_eq!(read_chunk(&mut client.stream).unwrap(), format!("data: {number}\n\n").into_bytes());
        next.send(()).unwrap();
    }
    assert_eq!(read_chunk(&mut client.stream).unwrap(), b"");
    assert_eq!(town.proxy.traffic(&app.container()), crate::domain::instance::Traffic::Routed);
}

#[test]
fn an_upload_reaches_the_app_while_it_is_still_being_sent() {
    let (seen, heard) = mpsc::channel::<usize>();
    let app = Instance::new("one", move |_, stream| {
        let mut total = 0;
        while let Some(chunk) = read_chunk(stream) {
            total += chunk.len();
            seen.send(chunk.len()).unwrap();
            if chunk.is_empty() {
                break;
            }
        }
        respond(stream.get_mut(), "", total.to_string().as_bytes());
        Then::Keep
    });
    let town = Town::serving(&app);
    let mut client = town.client();
    client.send("POST / HTTP/1.1\r\nhost: blog.test\r\ntransfer-encoding: chunked\r\n\r\n");
    for size in [10, 2000, 60_000] {
        client.send(format!("{size:x}\r\n{}\r\n", "x".repeat(size)));
        let mut arrived = 0;
        while arrived < size {
            arrived += heard.recv_timeout(PATIENCE).unwrap();
        }
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.answer().text(), "62010");
    client.send("POST / HTTP/1.1\r\nhost: blog.test\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n");
    assert_eq!(client.answer().text(), "0", "the next request is framed on its own");
}

#[test]
fn a_large_body_arrives_whole_both_ways() {
    let app = Instance::new("one", |head, stream| {
        let mut body = vec![0; field(head, "content-length").unwrap().parse().unwrap()];
        stream.read_exact(&mut body).unwrap();
        respond(stream.get_mut(), "", &body);
        Then::Keep
    });
    let town = Town::serving(&app);
    let body: Vec<u8> = (0..8_000_000u32).map(|at| (at % 251) as u8).collect();
    let mut client = town.client();
    client.send(format!("PUT / HTTP/1.1\r\nhost: blog.test\r\ncontent-length: {}\r\n\r\n", body.len()));
    client.send(&body);
    let answer = client.answer();
    assert!(answer.is_whole && answer.body == body);
    town.line_with(&["method=PUT", "bytes=8000000"]);
}

#[test]
fn continue_is_said_only_once_an_instance_is_there() {
    let app = Instance::new("one", |_, stream| {
        let mut body = [0; 2];
        stream.read_exact(&mut body).unwrap();
        respond(stream.get_mut(), "", &body);
        Then::Keep
    });
    let town = Town::new();
    town.route(&[("blog.test", BLOG, Backends::Starting)]);
    let mut client = town.client();
    client.send("POST / HTTP/1.1\r\nhost: blog.test\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n");
    client.stream.get_ref().set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert!(client.stream.fill_buf().is_err(), "something was said while the request was held");
    client.stream.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
    town.route_to(&app);
    assert!(client.head().starts_with("HTTP/1.1 100"));
    client.send("hi");
    assert_eq!(client.answer().text(), "hi");
    assert!(field(&app.last_head(), "expect").is_none());
}

/// Takes any upgrade up and echoes.
fn echoing() -> Instance {
    Instance::new("echo", |head, stream| {
        if field(head, "upgrade").is_none() {
            respond(stream.get_mut(), "", b"plain");
            return Then::Keep;
        }
        stream
            .get_mut()
            .write_all(b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n")
            .unwrap();
        let mut piece = [0; 100];
        while let Ok(size @ 1..) = stream.read(&mut piece) {
            if stream.get_mut().write_all(&piece[..size]).is_err() {
                break;
            }
        }
        Then::Close
    })
}

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nhost: blog.test\r\nconnection: keep-alive, Upgrade\r\nupgrade: websocket\r\n\
                       sec-websocket-key: x\r\n\r\n";

#[test]
fn an_upgrade_joins_both_sides_and_early_bytes_are_kept() {
    let app = echoing();
    let town = Town::serving(&app);
    let mut client = town.client();
    // What follows the head would be no HTTP at all.
    client.send([UPGRADE.as_bytes(), b"\x81\x85\0\n\nearly"].concat());
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert_eq!(field(&head, "upgrade").as_deref(), Some("websocket"));
    assert_eq!(field(&head, "connection").as_deref(), Some("upgrade"));
    let mut echo = [0; 10];
    client.stream.read_exact(&mut echo).unwrap();
    assert_eq!(&echo, b"\x81\x85\0\n\nearly");
    client.send(b"GET nonsense\n\n");
    let mut echo = [0; 14];
    client.stream.read_exact(&mut echo).unwrap();
    assert_eq!(&echo, b"GET nonsense\n\n");
    client.stream.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
    assert!(client.is_ended());
    town.line_with(&["path=\"/ws\"", "status=101", "at=info"]);
}

#[test]
fn an_upgrade_that_is_not_taken_up_stays_http() {
    let app = Instance::named("one");
    let town = Town::serving(&app);
    let mut client = town.client();
    client.send([UPGRADE, "GET /next HTTP/1.1\r\nhost: blog.test\r\n\r\n"].concat());
    assert_eq!(client.answer().text(), "one");
    assert_eq!(client.answer().text(), "one");
    assert!(app.last_head().starts_with("GET /next"));
    assert_eq!(client.get("blog.test", "/again").text(), "one");
}

#[test]
fn an_upgrade_behind_another_request_is_taken_up_too() {
    let town = Town::serving(&echoing());
    let mut client = town.client();
    client.send(["GET /first HTTP/1.1\r\nhost: blog.test\r\n\r\n", UPGRADE, "\x01early\n"].concat());
    assert_eq!(client.answer().text(), "plain");
    assert!(client.head().starts_with("HTTP/1.1 101"));
    let mut echo = [0; 7];
    client.stream.read_exact(&mut echo).unwrap();
    assert_eq!(&echo, b"\x01early\n");
}

#[test]
fn an_upgrade_for_an_unknown_host_leaves_the_connection_usable() {
    let town = Town::serving(&Instance::named("one"));
    let mut client = town.client();
    client.send(UPGRADE.replace("blog.test", "other.test"));
    assert_eq!(client.answer().status, 404);
    assert_eq!(client.get("blog.test", "/").text(), "one");
}

#[test]
fn h2c_is_not_passed_on() {
    let app = echoing();
    let town = Town::serving(&app);
    let mut client = town.client();
    client.send("GET / HTTP/1.1\r\nhost: blog.test\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: x\r\n\r\n");
    assert_eq!(client.answer().text(), "plain");
    assert!(!app.last_head().contains("h2c") && !app.last_head().contains("http2-settings"));
}

#[test]
fn head_and_no_content_have_no_body_and_keep_the_connection() {
    let app = Instance::new("one", |head, stream| {
        let answer: &[u8] = if head.starts_with("HEAD") {
            b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"
        } else {
            b"HTTP/1.1 204 No Content\r\n\r\n"
        };
        stream.get_mut().write_all(answer).unwrap();
        Then::Keep
    });
    let town = Town::serving(&app);
    let mut client = town.client();
    for _ in 0..3 {
        client.send("HEAD / HTTP/1.1\r\nhost: blog.test\r\n\r\n");
        let head = client.head();
        assert_eq!(field(&head, "content-length").as_deref(), Some("5"));
        client.send("DELETE / HTTP/1.1\r\nhost: blog.test\r\n\r\n");
        assert!(client.head().starts_with("HTTP/1.1 204"));
    }
    assert!(app.connections.load(SeqCst) <= 2);
}

#[test]
fn http_1_0_clients_get_a_plain_answer() {
    let app = Instance::new("one", |_, stream| {
        stream
            .get_mut()
            .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
            .unwrap();
        Then::Keep
    });
    let town = Town::serving(&app);
    let mut client = town.client();
    client.send("GET / HTTP/1.0\r\nhost: blog.test\r\n\r\n");
    let answer = client.answer();
    assert!(answer.header("transfer-encoding").is_none());
    assert_eq!(answer.text(), "abc");
    town.line_with(&["protocol=http1.0"]);
}
