//! Apps and clients that misbehave: what the other side sees, and what the router's line says.
use super::*;
use crate::domain::instance::Traffic;

fn answering(bytes: &'static [u8]) -> Instance {
    Instance::new("one", move |_, stream| {
        let _ = stream.get_mut().write_all(bytes);
        Then::Close
    })
}

#[test]
fn an_app_that_says_nothing_or_nonsense_is_a_bad_gateway() {
    for (bytes, code) in [
        (&b""[..], "H13"),
        (b"nonsense\r\n\r\n", "H17"),
        (b"HTTP/1.1 200 OK\r\ncontent-le", "H13"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", "H17"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\na", "H17"),
        (b"HTTP/1.1 200 OK\ncontent-length: 1\n\na", "H17"),
        (b"HTTP/1.1 200 OK\r\nx: a\r\n b\r\ncontent-length: 1\r\n\r\na", "H17"),
        (b"HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 1\r\n\r\na", "H17"),
        (b"HTTP/1.1 200 OK\r\nx : a\r\ncontent-length: 1\r\n\r\na", "H17"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\na", "H17"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", "H17"),
        (b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", "H17"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx\r\n", "H17"),
        (b"HTTP/1.1 204 No\r\ncontent-length: 1\r\n\r\na", "H17"),
        (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", "H17"),
    ] {
        let town = Town::serving(&answering(bytes));
        let answer = town.get("blog.test", "/");
        assert_eq!(answer.status, 502, "{:?}", String::from_utf8_lossy(bytes));
        assert!(answer.text().contains(code), "{:?}: {}", String::from_utf8_lossy(bytes), answer.text());
        town.line_with(&["at=error", code, "status=502"]);
    }
}

#[test]
fn an_app_that_dies_within_its_answer_never_looks_whole() {
    for bytes in [
        &b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"[..],
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc",
    ] {
        let town = Town::serving(&answering(bytes));
        assert!(!town.get("blog.test", "/").is_whole);
        town.line_with(&["at=error code=H18", "status=200 bytes=3"]);
        let mut old = town.client();
        old.send("GET / HTTP/1.0\r\nhost: blog.test\r\n\r\n");
        assert!(read_head(&mut old.stream).is_none_or(|head| !read_body(&mut old.stream, &head).1), "reset, not ended");
    }
}

#[test]
fn a_flaw_behind_the_head_of_an_answer_breaks_it_and_is_told() {
    let app = Instance::new("one", |_, stream| {
        let stream = stream.get_mut();
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n").unwrap();
        thread::sleep(Duration::from_millis(50));
        let _ = stream.write_all(b"0\r\ncontent-length: 5\r\n\r\n");
        Then::Keep
    });
    let town = Town::serving(&app);
    let answer = town.get("blog.test", "/");
    assert!(!answer.is_whole && answer.status == 200, "{answer:?}");
    town.line_with(&["at=error code=H17", "status=200 bytes=3"]);
}

#[test]
fn bytes_behind_an_answer_are_nobodys_and_their_connection_is_not_used_again() {
    let app = Instance::new("one", |_, stream| {
        let both = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngoodHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
        let _ = stream.get_mut().write_all(both.as_bytes());
        Then::Keep
    });
    let town = Town::serving(&app);
    let mut client = town.client();
    for _ in 0..20 {
        assert_eq!(client.get("blog.test", "/").text(), "good");
    }
    client.send("HEAD / HTTP/1.1\r\nhost: blog.test\r\n\r\n");
    assert!(client.head().starts_with("HTTP/1.1 200"));
    assert_eq!(client.get("blog.test", "/").text(), "good");
    assert_eq!((app.count(), app.connections.load(SeqCst)), (22, 22));
}

#[test]
fn interim_answers_are_passed_over_and_the_answer_is_the_apps_own() {
    let app = Instance::new("one", |_, stream| {
        let _ = stream.get_mut().write_all(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n");
        let _ = stream.get_mut().write_all(b"HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nmine");
        Then::Keep
    });
    let town = Town::new();
    let mut rules = policy(&[]);
    let own = crate::domain::error_page::ErrorPage::try_from("<h1>ours</h1>".to_owned()).unwrap();
    rules.pages.insert(crate::domain::error_page::PageKind::Unavailable, own);
    town.route_under(&rules, Maintenance::Off, Backends::Ready(vec![app.backend()]));
    let answer = town.client().get_with("accept: text/html\r\n", "/");
    assert_eq!((answer.status, answer.text().as_str()), (503, "mine"));
}

#[test]
fn an_app_that_is_too_slow_ends_with_h12() {
    let app = Instance::new("one", |_, _| {
        thread::sleep(Duration::from_secs(2));
        Then::Close
    });
    let town = Town::with(Spans { first_byte: Duration::from_millis(80), ..spans() });
    town.route_to(&app);
    let answer = town.get("blog.test", "/");
    assert_eq!(answer.status, 504);
    town.line_with(&["code=H12 desc=\"Request timeout\"", "status=504"]);
}

#[test]
fn an_answer_that_stalls_is_cut_with_h15() {
    let app = Instance::new("one", |_, stream| {
        stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc").unwrap();
        thread::sleep(Duration::from_secs(2));
        Then::Close
    });
    let town = Town::with(Spans { body_idle: Duration::from_millis(80), ..spans() });
    town.route_to(&app);
    assert!(!town.get("blog.test", "/").is_whole);
    town.line_with(&["code=H15", "bytes=3"]);
}

#[test]
fn a_client_that_stops_sending_is_told_and_the_app_not_kept() {
    let app = Instance::new("one", |_, stream| {
        let _ = stream.read_to_end(&mut Vec::new());
        Then::Close
    });
    let town = Town::with(Spans { body_idle: Duration::from_millis(80), ..spans() });
    town.route_to(&app);
    let mut client = town.client();
    client.send("POST / HTTP/1.1\r\nhost: blog.test\r\ncontent-length: 10\r\n\r\nabc");
    assert_eq!(client.answer().status, 408);
    town.line_with(&["code=H28"]);
}

#[test]
fn a_client_that_leaves_frees_the_instance_and_is_logged_as_499() {
    let app = Instance::new("one", |_, stream| {
        let _ = stream.read_to_end(&mut Vec::new());
        Then::Close
    });
    let town = Town::serving(&app);
    let mut client = town.client();
    client.send("GET / HTTP/1.1\r\nhost: blog.test\r\n\r\n");
    eventually("the request", || app.count() == 1);
    town.route(&[]);
    assert_eq!(town.proxy.traffic(&app.container()), Traffic::Draining);
    drop(client);
    eventually("quiet", || town.proxy.traffic(&app.container()) == Traffic::Quiet);
    town.line_with(&["code=H27 desc=\"Client Request Interrupted\"", "status=499"]);
}

#[test]
fn a_broken_upload_is_refused_and_never_completes_at_the_app() {
    let app = Instance::new("one", |_, stream| {
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        assert!(!all.ends_with(b"0\r\n\r\n"), "the app saw a whole body");
        Then::Close
    });
    let town = Town::serving(&app);
    let mut client = town.client();
    client.send("POST / HTTP/1.1\r\nhost: blog.test\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n");
    eventually("the request", || app.count() == 1);
    client.send("zz\r\n");
    let head = read_head(&mut client.stream);
    assert!(head.is_none_or(|head| head.starts_with("HTTP/1.1 400")));
    town.line_with(&["at=error code=H2"]);
}

#[test]
fn an_app_that_hangs_up_on_every_connection_is_not_asked_forever() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = accepted.clone();
    thread::spawn(move || {
        for _ in listener.incoming() {
            count.fetch_add(1, SeqCst);
        }
    });
    let town = Town::with(Spans { connect_budget: Duration::from_millis(200), ..spans() });
    let backend = Backend { address, ..Instance::named("one").backend() };
    town.route(&[("blog.test", BLOG, Backends::Ready(vec![backend]))]);
    let answer = town.get("blog.test", "/");
    assert_eq!(answer.status, 502, "{}", answer.text());
    assert!(accepted.load(SeqCst) < 20, "{} connections", accepted.load(SeqCst));
}
