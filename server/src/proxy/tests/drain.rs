//! The swap: nothing is lost, nothing reaches an instance after its drain was reported, and a drain has an end.
use super::super::limits::LANE_IDLE_MAX;
use super::*;
use crate::domain::instance::Traffic;
use std::sync::atomic::AtomicBool;

#[test]
fn swaps_under_load_drop_nothing_and_nothing_reaches_the_old_instance_after_its_drain() {
    const SWAPS: usize = 30;
    let town = Town::new();
    let apps: Vec<(Instance, Arc<AtomicBool>)> = ["one", "two"].map(counting).into();
    town.route_to(&apps[0].0);
    let (stop, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = town.client();
                while !stop.load(SeqCst) {
                    let answer = client.get("blog.test", "/");
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    served.fetch_add(1, SeqCst);
                }
            });
        }
        for swap in 0..SWAPS {
            let (old, new) = (&apps[swap % 2], &apps[(swap + 1) % 2]);
            let before = served.load(SeqCst);
            eventually("requests", || served.load(SeqCst) > before + 20);
            new.1.store(false, SeqCst);
            town.route_to(&new.0);
            eventually("the drain", || town.proxy.traffic(&old.0.container()) == Traffic::Quiet);
            // From here on the old one must not see a request: it would be a stopped container.
            old.1.store(true, SeqCst);
            assert_eq!(town.proxy.drained(&old.0.container()).unwrap().forced, 0);
        }
        stop.store(true, SeqCst);
    });
    assert!(town.told.lines.lock().unwrap().iter().all(|line| line.starts_with("at=info")));
    assert!(town.told.wakes.load(SeqCst) >= SWAPS);
}

/// An instance that fails the test when it is asked after it was drained.
fn counting(id: &'static str) -> (Instance, Arc<AtomicBool>) {
    let is_drained = Arc::new(AtomicBool::new(false));
    let seen = is_drained.clone();
    let instance = Instance::new(id, move |_, stream| {
        let status = if seen.load(SeqCst) { "500 Late" } else { "200 OK" };
        stream.get_mut().write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes()).unwrap();
        Then::Keep
    });
    (instance, is_drained)
}

/// Answers slowly enough that a swap finds the request under way.
fn slow(answer_after: Duration) -> Instance {
    Instance::new("slow", move |_, stream| {
        thread::sleep(answer_after);
        respond(stream.get_mut(), "", b"slow");
        Then::Keep
    })
}

#[test]
fn a_request_under_way_ends_on_the_old_instance_and_is_counted() {
    let (old, new) = (slow(Duration::from_millis(150)), Instance::named("new"));
    let town = Town::serving(&old);
    let mut client = town.client();
    client.send("GET / HTTP/1.1\r\nhost: blog.test\r\n\r\n");
    eventually("the request", || old.count() == 1);
    town.route_to(&new);
    assert_eq!(town.proxy.traffic(&old.container()), Traffic::Draining);
    assert_eq!(town.proxy.traffic(&new.container()), Traffic::Routed);
    assert!(town.proxy.drained(&old.container()).is_none());
    assert_eq!(town.get("blog.test", "/").text(), "new");
    assert_eq!(client.answer().text(), "slow");
    eventually("quiet", || town.proxy.traffic(&old.container()) == Traffic::Quiet);
    let report = town.proxy.drained(&old.container()).unwrap();
    assert_eq!((report.requests, report.forced), (1, 0));
    assert!(report.took >= Duration::from_millis(50), "{report:?}");
    assert_eq!(town.told.wakes.load(SeqCst), 1);
    assert_eq!(client.get("blog.test", "/").text(), "new");
    town.proxy.forget(&old.container());
    assert!(town.proxy.drained(&old.container()).is_none());
}

#[test]
fn a_drain_that_takes_too_long_is_forced() {
    let old = slow(Duration::from_secs(3));
    let town = Town::with(Spans { drain: Duration::from_millis(80), ..spans() });
    town.route_to(&old);
    let mut client = town.client();
    client.send("GET / HTTP/1.1\r\nhost: blog.test\r\n\r\n");
    eventually("the request", || old.count() == 1);
    town.route_to(&Instance::named("new"));
    let answer = client.answer();
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("H24"));
    eventually("quiet", || town.proxy.traffic(&old.container()) == Traffic::Quiet);
    let report = town.proxy.drained(&old.container()).unwrap();
    assert_eq!((report.requests, report.forced), (1, 1));
}

/// Streams for as long as somebody reads: one byte every few milliseconds.
fn endless(content_type: &'static str) -> Instance {
    Instance::new("endless", move |_, stream| {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n");
        let mut written = stream.get_mut().write_all(head.as_bytes());
        while written.is_ok() {
            thread::sleep(Duration::from_millis(5));
            written = stream.get_mut().write_all(b"1\r\nx\r\n");
        }
        Then::Close
    })
}

#[test]
fn an_event_stream_is_cut_where_a_moving_transfer_is_given_more_time() {
    let spans = Spans { drain: Duration::from_millis(100), drain_transfer: Duration::from_millis(600), ..spans() };
    let mut took = Vec::new();
    for content_type in ["text/event-stream; charset=utf-8", "video/mp4"] {
        let old = endless(content_type);
        let town = Town::with(spans);
        town.route_to(&old);
        let mut client = town.client();
        client.send("GET / HTTP/1.1\r\nhost: blog.test\r\n\r\n");
        let head = client.head();
        town.route(&[]);
        assert!(!read_body(&mut client.stream, &head).1, "a cut stream looked whole");
        eventually("quiet", || town.proxy.traffic(&old.container()) == Traffic::Quiet);
        let report = town.proxy.drained(&old.container()).unwrap();
        assert_eq!((report.requests, report.forced), (1, 1));
        took.push(report.took);
    }
    assert!(took[0] < Duration::from_millis(500) && took[1] >= Duration::from_millis(550), "{took:?}");
}

#[test]
fn an_upload_that_goes_on_behind_its_answer_counts_until_it_is_cut() {
    let old = Instance::new("early", |_, stream| {
        respond(stream.get_mut(), "", b"enough");
        let _ = stream.read_to_end(&mut Vec::new());
        Then::Close
    });
    let stall = Duration::from_millis(50);
    let town = Town::with(Spans { drain: Duration::from_millis(150), transfer_stall: stall, ..spans() });
    town.route_to(&old);
    let mut client = town.client();
    client.send("POST / HTTP/1.1\r\nhost: blog.test\r\ncontent-length: 1000\r\n\r\nabc");
    assert_eq!(client.answer().text(), "enough");
    town.route(&[]);
    eventually("quiet", || town.proxy.traffic(&old.container()) == Traffic::Quiet);
    assert!(town.proxy.drained(&old.container()).unwrap().took < Duration::from_secs(2));
}

#[test]
fn a_forgotten_instance_loses_its_requests_at_once() {
    let old = slow(Duration::from_secs(3));
    let town = Town::serving(&old);
    let mut client = town.client();
    client.send("GET / HTTP/1.1\r\nhost: blog.test\r\n\r\n");
    eventually("the request", || old.count() == 1);
    town.route(&[]);
    town.proxy.forget(&old.container());
    assert_eq!(client.answer().status, 503);
    assert_eq!(town.proxy.traffic(&old.container()), Traffic::Quiet);
}

#[test]
fn an_instance_that_comes_back_serves_again() {
    let (old, new) = (Instance::named("old"), Instance::named("new"));
    let town = Town::serving(&old);
    assert_eq!(town.get("blog.test", "/").text(), "old");
    town.route_to(&new);
    assert_eq!(town.get("blog.test", "/").text(), "new");
    town.route_to(&old);
    assert_eq!(town.proxy.traffic(&old.container()), Traffic::Routed);
    assert!(town.proxy.drained(&old.container()).is_none());
    assert_eq!(town.get("blog.test", "/").text(), "old");
}

/// Answers after a while, and notes when the connection it answered on ends.
fn noting_ends(answer_after: Duration) -> (Instance, Arc<AtomicUsize>) {
    let ended = Arc::new(AtomicUsize::new(0));
    let count = ended.clone();
    let instance = Instance::new("one", move |_, stream| {
        thread::sleep(answer_after);
        respond(stream.get_mut(), "", b"one");
        if stream.fill_buf().is_ok_and(<[u8]>::is_empty) {
            count.fetch_add(1, SeqCst);
        }
        Then::Close
    });
    (instance, ended)
}

/// Well before an idle connection would end by itself, which would hide one that was kept.
fn ends_at_once(ended: &AtomicUsize) {
    let since = Instant::now();
    eventually("the end of the connection", || ended.load(SeqCst) == 1);
    assert!(since.elapsed() < LANE_IDLE_MAX / 2, "it ended only after {:?}", since.elapsed());
}

#[test]
fn idle_connections_to_an_instance_end_with_its_route() {
    let (app, ended) = noting_ends(Duration::ZERO);
    let town = Town::serving(&app);
    assert_eq!(town.get("blog.test", "/").status, 200);
    assert_eq!(ended.load(SeqCst), 0);
    town.route(&[]);
    ends_at_once(&ended);
}

#[test]
fn a_connection_that_was_busy_when_its_instance_left_is_not_kept() {
    let (app, ended) = noting_ends(Duration::from_millis(100));
    let town = Town::serving(&app);
    let mut client = town.client();
    client.send("GET / HTTP/1.1\r\nhost: blog.test\r\n\r\n");
    eventually("the request", || app.count() == 1);
    town.route(&[]);
    assert_eq!(client.answer().text(), "one");
    ends_at_once(&ended);
}

#[test]
fn shutting_down_finishes_what_is_under_way_and_then_refuses() {
    let app = slow(Duration::from_millis(200));
    let town = Town::serving(&app);
    let (mut busy, mut idle) = (town.client(), town.client());
    busy.send("GET / HTTP/1.1\r\nhost: blog.test\r\n\r\n");
    eventually("the request", || app.count() == 1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| runtime.block_on(town.proxy.shut_down(PATIENCE, PATIENCE)));
        let answer = busy.answer();
        assert_eq!(answer.text(), "slow");
        assert_eq!(answer.header("connection").as_deref(), Some("close"));
        assert!(idle.is_ended());
    });
    let error = TcpStream::connect(town.proxy.local_addr()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[test]
fn shutting_down_cuts_what_outlives_its_grace() {
    let app = slow(Duration::from_secs(5));
    let town = Town::serving(&app);
    let mut busy = town.client();
    busy.send("GET / HTTP/1.1\r\nhost: blog.test\r\n\r\n");
    eventually("the request", || app.count() == 1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let since = Instant::now();
    runtime.block_on(town.proxy.shut_down(Duration::from_millis(200), Duration::ZERO));
    assert!(since.elapsed() < Duration::from_secs(2));
    assert!(busy.is_ended());
}
