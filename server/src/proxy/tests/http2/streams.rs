//! Requests as streams of one connection: answered like any other, and each for itself.
use super::super::super::limits::H2_STREAMS_MAX;
use super::*;
use crate::domain::instance::Traffic;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;

#[test]
fn a_request_by_http2_is_answered_and_reaches_the_app_as_http1() {
    let app = Instance::new("one", |_, stream| {
        respond(stream.get_mut(), "connection: x-hop\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\nx-stays: 1\r\n", b"one");
        Then::Keep
    });
    let town = Town::serving(&app);
    let visitor = Visitor::new(open_door(&town));
    let mut request = ask("GET", "/a%2Fb/../c?d=%20");
    for (name, value) in
        [("cookie", "a=1"), ("cookie", "b=2"), ("x-forwarded-for", "6.6.6.6"), ("te", "trailers"), ("proxy", "evil")]
    {
        request.headers_mut().append(name, value.parse().unwrap());
    }
    let (answer, _) = visitor.send(request, true);
    let reply = visitor.reply(answer);
    assert_eq!((reply.status, reply.text().as_str()), (200, "one"));
    assert!(
        reply.broken.is_none() && reply.headers.get("x-hop").is_none() && reply.headers.get("keep-alive").is_none()
    );
    assert_eq!(reply.headers["x-stays"], "1");
    assert_eq!(reply.headers["x-request-id"].len(), 36);
    let head = app.last_head();
    assert!(head.starts_with("GET /a%2Fb/../c?d=%20 HTTP/1.1\r\n"), "{head}");
    for (name, value) in [
        ("host", "blog.test"),
        ("cookie", "a=1; b=2"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "blog.test"),
        ("te", "trailers"),
    ] {
        assert_eq!(field(&head, name).as_deref(), Some(value), "{head}");
    }
    assert!(!head.contains("6.6.6.6") && !head.contains("evil") && !head.contains("transfer-encoding"), "{head}");
    town.line_with(&[
        "at=info method=GET path=\"/a%2Fb/../c?d=%20\" host=blog.test",
        "status=200 bytes=3 protocol=http2",
    ]);
}

#[test]
fn a_hundred_streams_at_once_over_swaps_meet_no_failure_on_one_connection() {
    const SWAPS: usize = 10;
    let town = Town::new();
    let apps = ["one", "two"].map(|id| {
        let is_drained = Arc::new(AtomicBool::new(false));
        let seen = is_drained.clone();
        let app = Instance::new(id, move |head, stream| {
            let (body, _) =
                if field(head, "content-length").is_some() { read_body(stream, head) } else { (vec![], true) };
            thread::sleep(Duration::from_millis(2));
            let status = if seen.load(SeqCst) { "500 Late" } else { "200 OK" };
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.get_mut().write_all(&[head.as_bytes(), &body].concat()).unwrap();
            Then::Keep
        });
        (app, is_drained)
    });
    town.route_to(&apps[0].0);
    let visitor = Visitor::new(open_door(&town));
    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let callers: Vec<_> = (0..100)
        .map(|number| {
            let (sender, stop, served) = (visitor.sender.clone(), stop.clone(), served.clone());
            visitor.runtime.spawn(async move {
                while !stop.load(SeqCst) {
                    let mut ready = sender.clone().ready().await.unwrap();
                    let body = format!("{number}");
                    let mut request = ask(if number % 2 == 0 { "GET" } else { "POST" }, "/");
                    if number % 2 == 1 {
                        request.headers_mut().insert("content-length", body.len().into());
                    }
                    let (answer, mut stream) = ready.send_request(request, number % 2 == 0).unwrap();
                    if number % 2 == 1 {
                        stream.send_data(Bytes::from(body.clone()), true).unwrap();
                    }
                    let mut answer = answer.await.unwrap();
                    assert_eq!(answer.status(), 200);
                    let mut echo = Vec::new();
                    while let Some(data) = answer.body_mut().data().await {
                        echo.extend(data.unwrap());
                    }
                    assert!(number % 2 == 0 || echo == body.as_bytes());
                    served.fetch_add(1, SeqCst);
                }
            })
        })
        .collect();
    for swap in 0..SWAPS {
        let (old, new) = (&apps[swap % 2], &apps[(swap + 1) % 2]);
        let before = served.load(SeqCst);
        eventually("requests", || served.load(SeqCst) > before + 100);
        new.1.store(false, SeqCst);
        town.route_to(&new.0);
        eventually("the drain", || town.proxy.traffic(&old.0.container()) == Traffic::Quiet);
        old.1.store(true, SeqCst);
        assert_eq!(town.proxy.drained(&old.0.container()).unwrap().forced, 0);
    }
    stop.store(true, SeqCst);
    visitor.runtime.block_on(async {
        for caller in callers {
            caller.await.unwrap();
        }
    });
    assert!(!visitor.connection.is_finished(), "a swap touched the client's connection");
    assert!(town.told.lines.lock().unwrap().iter().all(|line| line.starts_with("at=info")));
}

/// Answers `/` at once, and everything else not at all.
fn silent_but_for_the_root() -> Instance {
    Instance::new("one", |head, stream| {
        if head.starts_with("GET / ") {
            respond(stream.get_mut(), "", b"one");
            return Then::Keep;
        }
        let _ = stream.read_to_end(&mut Vec::new());
        Then::Close
    })
}

#[test]
fn a_client_that_resets_its_stream_frees_the_instance_and_the_others_go_on() {
    let app = silent_but_for_the_root();
    let town = Town::serving(&app);
    let visitor = Visitor::new(open_door(&town));
    let (answer, mut stream) = visitor.send(ask("GET", "/never"), true);
    eventually("the request", || app.count() == 1);
    stream.send_reset(h2::Reason::CANCEL);
    town.line_with(&[
        "code=H27 desc=\"Client Request Interrupted\"",
        "path=\"/never\"",
        "status=499",
        "protocol=http2",
    ]);
    assert_eq!(visitor.get("/").text(), "one");
    drop(answer);
    town.route(&[]);
    eventually("quiet", || town.proxy.traffic(&app.container()) == Traffic::Quiet);
    assert_eq!(town.proxy.drained(&app.container()).unwrap().forced, 0);
}

#[test]
fn a_connection_that_breaks_ends_all_its_requests() {
    let app = silent_but_for_the_root();
    let town = Town::serving(&app);
    let visitor = Visitor::new(open_door(&town));
    let _answers: Vec<_> = (0..5).map(|_| visitor.send(ask("GET", "/never"), true)).collect();
    eventually("the requests", || app.count() == 5);
    town.route(&[]);
    visitor.connection.abort();
    eventually("quiet", || town.proxy.traffic(&app.container()) == Traffic::Quiet);
    let lines = town.told.lines.lock().unwrap().clone();
    assert_eq!(
        lines.iter().filter(|line| line.contains("code=H27") && line.contains("status=499")).count(),
        5,
        "{lines:?}"
    );
}

#[test]
fn an_app_that_dies_within_its_answer_resets_that_stream_alone() {
    let app = Instance::new("one", |head, stream| {
        if head.starts_with("GET / ") {
            respond(stream.get_mut(), "", b"one");
            return Then::Keep;
        }
        let framing = if head.contains("/chunked") {
            "transfer-encoding: chunked\r\n\r\n3\r\n"
        } else {
            "content-length: 9\r\n\r\n"
        };
        stream.get_mut().write_all(format!("HTTP/1.1 200 OK\r\n{framing}abc\r\n").as_bytes()).unwrap();
        // What was written arrives before the end does.
        thread::sleep(Duration::from_millis(50));
        Then::Close
    });
    let town = Town::serving(&app);
    let visitor = Visitor::new(open_door(&town));
    for path in ["/chunked", "/length"] {
        let reply = visitor.get(path);
        assert_eq!(reply.broken.as_ref().and_then(h2::Error::reason), Some(h2::Reason::INTERNAL_ERROR), "{path}");
        assert!(reply.body.starts_with(b"abc"));
        town.line_with(&["at=error code=H18", path, "status=200"]);
        assert_eq!(visitor.get("/").text(), "one");
    }
}

#[test]
fn faults_have_their_page_and_leave_the_connection() {
    let app = Instance::named("one");
    let town = Town::with(Spans { hold: Duration::from_millis(80), ..spans() });
    town.route(&[("blog.test", BLOG, Backends::Crashed)]);
    let visitor = Visitor::new(open_door(&town));
    for (backends, code) in [(Backends::Crashed, "H10"), (Backends::Off, "H14"), (Backends::Starting, "H20")] {
        town.route(&[("blog.test", BLOG, backends)]);
        let reply = visitor.get("/");
        assert_eq!(reply.status, 503);
        assert!(reply.text().contains(code) && reply.headers.get("connection").is_none(), "{}", reply.text());
    }
    town.route_to(&app);
    assert_eq!(visitor.get("/").text(), "one");
}

#[test]
fn trailers_go_both_ways() {
    let app = Instance::new("one", |head, stream| {
        assert!(head.contains("transfer-encoding: chunked"), "{head}");
        let (mut body, mut line) = (Vec::new(), String::new());
        while let Some(size) =
            stream.read_line(&mut line).ok().and_then(|_| usize::from_str_radix(line.trim(), 16).ok())
        {
            if size == 0 {
                break;
            }
            let mut chunk = vec![0; size + 2];
            stream.read_exact(&mut chunk).unwrap();
            body.extend_from_slice(&chunk[..size]);
            line.clear();
        }
        let trailers = read_head(stream).unwrap_or_default();
        let echoed = field(&trailers, "x-sum").unwrap_or_default();
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-answer, cookie\r\n\r\n";
        let body = format!("{head}4\r\nbody\r\n0\r\nx-answer: {echoed}\r\ncookie: evil\r\n\r\n");
        stream.get_mut().write_all(body.as_bytes()).unwrap();
        Then::Keep
    });
    let town = Town::serving(&app);
    let visitor = Visitor::new(open_door(&town));
    let mut request = ask("POST", "/");
    request.headers_mut().insert("te", "trailers".parse().unwrap());
    request.headers_mut().insert("trailer", "x-sum".parse().unwrap());
    let (answer, mut stream) = visitor.send(request, false);
    stream.send_data(Bytes::from_static(b"abc"), false).unwrap();
    stream.send_trailers(one("x-sum", "17")).unwrap();
    let reply = visitor.reply(answer);
    assert_eq!(reply.text(), "body");
    let trailers = reply.trailers.expect("trailers");
    assert_eq!(trailers["x-answer"], "17");
    assert!(trailers.get("cookie").is_none());
}

#[test]
fn a_body_of_unknown_length_arrives_behind_any_method_by_both_protocols() {
    let app = Instance::new("one", |head, stream| {
        let (body, _) = read_body(stream, head);
        respond(stream.get_mut(), "", &body);
        Then::Keep
    });
    let town = Town::serving(&app);
    let visitor = Visitor::new(open_door(&town));
    for method in ["GET", "POST", "DELETE"] {
        let (answer, mut stream) = visitor.send(ask(method, "/"), false);
        stream.send_data(Bytes::from_static(b"abc"), true).unwrap();
        assert_eq!(visitor.reply(answer).text(), "abc", "{method}");
        let mut client = town.client();
        client.send(format!(
            "{method} / HTTP/1.1\r\nhost: blog.test\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        ));
        assert_eq!(client.answer().text(), "abc", "{method}");
    }
}

#[test]
fn an_upload_that_is_reset_never_completes_at_the_app() {
    let (seen, heard) = mpsc::channel();
    let app = Instance::new("one", move |_, stream| {
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        seen.send(all.ends_with(b"0\r\n\r\n")).unwrap();
        Then::Close
    });
    let town = Town::serving(&app);
    let visitor = Visitor::new(open_door(&town));
    for (number, reason) in (1..).zip([h2::Reason::NO_ERROR, h2::Reason::CANCEL]) {
        let (_answer, mut stream) = visitor.send(ask("POST", "/"), false);
        stream.send_data(Bytes::from_static(b"abc"), false).unwrap();
        eventually("the request", || app.count() == number);
        stream.send_reset(reason);
        assert!(!heard.recv_timeout(PATIENCE).unwrap(), "the app saw a whole body after {reason:?}");
    }
}

#[test]
fn more_streams_than_allowed_are_refused_and_may_be_sent_again() {
    let app = silent_but_for_the_root();
    let town = Town::serving(&app);
    let mut raw = frames::Raw::begun(open_door(&town));
    let never = frames::block(&[&frames::GET[..3], &[(":path", "/never")]].concat());
    for number in 0..=H2_STREAMS_MAX {
        raw.send(&frames::headers(number * 2 + 1, frames::END_STREAM, &never));
    }
    assert_eq!(raw.outcome(H2_STREAMS_MAX * 2 + 1), frames::Outcome::Reset(7));
    eventually("the others", || app.count() == usize::try_from(H2_STREAMS_MAX).unwrap());
}
