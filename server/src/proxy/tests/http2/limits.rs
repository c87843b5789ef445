//! What one connection may take: time, buffers, and the end of the server.
use super::frames::{END_STREAM, GET, HEADERS, Outcome, PREFACE, Raw, SETTINGS, block, frame, headers};
use super::*;
use crate::domain::instance::Traffic;
use std::sync::atomic::AtomicU64;

/// Streams without end behind `/endless`, as fast as it is read; counts what it wrote.
fn fountain() -> (Instance, Arc<AtomicU64>) {
    let written = Arc::new(AtomicU64::new(0));
    let count = written.clone();
    let app = Instance::new("one", move |head, stream| {
        if !head.contains("/endless") {
            respond(stream.get_mut(), "", b"one");
            return Then::Keep;
        }
        let piece = [b"4000\r\n".to_vec(), vec![b'x'; 0x4000], b"\r\n".to_vec()].concat();
        let mut sent = stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        while sent.is_ok() {
            sent = stream.get_mut().write_all(&piece);
            count.fetch_add(piece.len() as u64, SeqCst);
        }
        Then::Close
    });
    (app, written)
}

#[test]
fn a_slow_reader_stops_its_own_stream_alone_until_its_time_is_over() {
    // What the kernel holds between us and the app is not ours; without a limit of ours this would have no end.
    const KERNEL_BYTES_MAX: u64 = 24 << 20;
    let (app, written) = fountain();
    let town = Town::with(Spans { body_idle: Duration::from_millis(1500), ..spans() });
    town.route_to(&app);
    let visitor = Visitor::new(open_door(&town));
    let (answer, _) = visitor.send(ask("GET", "/endless"), true);
    let unread = visitor.head(answer).unwrap().into_body();
    let mut before = u64::MAX;
    eventually("a standstill", || {
        thread::sleep(Duration::from_millis(200));
        std::mem::replace(&mut before, written.load(SeqCst)) == before
    });
    assert!(written.load(SeqCst) < KERNEL_BYTES_MAX, "{} bytes went somewhere", written.load(SeqCst));
    assert_eq!(visitor.get("/").text(), "one", "another stream of the connection is stuck too");
    town.line_with(&["at=error code=H15", "/endless", "protocol=http2"]);
    let broken = visitor.drink(unread);
    assert!(broken.is_some_and(|error| error.is_reset()), "a stream that was cut looked whole");
    assert_eq!(visitor.get("/").text(), "one");
    town.route(&[]);
    eventually("quiet", || town.proxy.traffic(&app.container()) == Traffic::Quiet);
}

#[test]
fn an_upload_that_is_not_read_is_buffered_within_its_window() {
    let app = Instance::new("one", |head, stream| {
        if head.starts_with("GET") {
            respond(stream.get_mut(), "", b"one");
            return Then::Keep;
        }
        thread::sleep(PATIENCE);
        Then::Close
    });
    let town = Town::new();
    town.route(&[("blog.test", BLOG, Backends::Starting)]);
    let visitor = Visitor::new(open_door(&town));
    // Held: nobody reads it.
    let (_answer, mut stream) = visitor.send(ask("POST", "/"), false);
    stream.reserve_capacity(1 << 20);
    let window = usize::try_from(super::super::super::limits::H2_STREAM_WINDOW_BYTES).unwrap();
    let capacity = visitor.runtime.block_on(async {
        let grown = std::future::poll_fn(|cx| stream.poll_capacity(cx));
        let _ = tokio::time::timeout(Duration::from_millis(200), grown).await;
        stream.capacity()
    });
    assert!((1..=window).contains(&capacity), "{capacity} bytes may be sent");
    town.route_to(&app);
    assert_eq!(visitor.get("/").text(), "one", "another stream of the connection is stuck too");
}

#[test]
fn an_idle_connection_is_told_to_go_and_a_busy_one_is_not() {
    let app = Instance::new("one", |head, stream| {
        if head.contains("/slow") {
            thread::sleep(Duration::from_millis(600));
        }
        respond(stream.get_mut(), "", b"one");
        Then::Keep
    });
    let town = Town::with(Spans { keep_alive_idle: Duration::from_millis(200), ..spans() });
    town.route_to(&app);
    let visitor = Visitor::new(open_door(&town));
    assert_eq!(visitor.get("/slow").text(), "one");
    assert_eq!(visitor.get("/").text(), "one");
    let since = Instant::now();
    assert!(visitor.end().is_ok(), "an idle end is no error");
    assert!(since.elapsed() >= Duration::from_millis(150));
    let mut raw = Raw::begun(open_door(&town));
    assert_eq!(raw.outcome(1), Outcome::GoAway(0));
}

#[test]
fn a_slow_preface_and_a_slow_head_are_cut_also_beside_a_request_under_way() {
    let app = Instance::new("one", |_, stream| {
        let _ = stream.read_to_end(&mut Vec::new());
        Then::Close
    });
    let town = Town::with(Spans { head: Duration::from_millis(150), ..spans() });
    town.route_to(&app);
    let door = open_door(&town);
    let hello = [PREFACE, &frame(SETTINGS, 0, 0, b"")].concat();
    let head = headers(3, END_STREAM, &block(&GET));
    let busy = [&hello[..], &headers(1, END_STREAM, &block(&GET))].concat();
    let unended = frame(HEADERS, END_STREAM, 3, &block(&GET));
    for (what, bytes) in [
        ("nothing", Vec::new()),
        ("half a preface", PREFACE[..10].to_vec()),
        ("no settings", PREFACE.to_vec()),
        ("half a head", [&hello[..], &head[..20]].concat()),
        ("a block that does not end", [&hello[..], &unended].concat()),
        ("half a head beside a request", [&busy[..], &head[..20]].concat()),
    ] {
        let mut raw = Raw::connect(door);
        let since = Instant::now();
        for byte in &bytes {
            raw.send(&[*byte]);
        }
        while raw.next().is_some() {}
        let took = since.elapsed();
        assert!(took >= Duration::from_millis(100) && took < Duration::from_secs(3), "{what} took {took:?}");
    }
    let mut patient = Raw::begun(door);
    thread::sleep(Duration::from_millis(400));
    patient.send(&frame(super::frames::PING, 0, 0, b"12345678"));
    assert!(std::iter::from_fn(|| patient.next()).any(|next| next.kind == super::frames::PING), "it was only idle");
}

#[test]
fn a_forced_drain_resets_the_stream_and_leaves_the_connection() {
    let (old, _) = fountain();
    let limit = Duration::from_millis(100);
    let town = Town::with(Spans { drain: limit, drain_transfer: limit, ..spans() });
    town.route_to(&old);
    let visitor = Visitor::new(open_door(&town));
    let (answer, _) = visitor.send(ask("GET", "/endless"), true);
    let body = visitor.head(answer).unwrap().into_body();
    town.route_to(&Instance::named("new"));
    assert!(visitor.drink(body).is_some(), "a stream that was cut looked whole");
    town.line_with(&["code=H24", "/endless"]);
    eventually("quiet", || town.proxy.traffic(&old.container()) == Traffic::Quiet);
    assert_eq!(town.proxy.drained(&old.container()).unwrap().forced, 1);
    assert_eq!(visitor.get("/").text(), "new");
}

#[test]
fn shutting_down_says_so_and_finishes_what_is_under_way() {
    let app = Instance::new("one", |_, stream| {
        thread::sleep(Duration::from_millis(300));
        respond(stream.get_mut(), "", b"slow");
        Then::Keep
    });
    let town = Town::serving(&app);
    let (busy, idle) = (Visitor::new(open_door(&town)), Visitor::new(open_door(&town)));
    let (answer, _) = busy.send(ask("GET", "/"), true);
    eventually("the request", || app.count() == 1);
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let since = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| runtime.block_on(town.proxy.shut_down(PATIENCE, PATIENCE)));
        assert!(idle.end().is_ok());
        let reply = busy.reply(answer);
        assert_eq!((reply.text().as_str(), reply.broken.is_none()), ("slow", true));
        assert!(busy.end().is_ok());
    });
    assert!(since.elapsed() < PATIENCE / 2, "it waited for its grace to end");
}
