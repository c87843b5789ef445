//! Finding the app: hosts, holding, retries, and what travels in the heads.
use super::*;

#[test]
fn more_connections_than_a_thread_carries_wait_until_one_has_ended() {
    let app = Instance::named("one");
    let town = Town::with_settings(spans(), ProxySettings { connections_max: 1, ..ProxySettings::default() });
    town.route_to(&app);
    // Two threads, one connection each.
    let mut served = [town.client(), town.client()];
    for client in &mut served {
        assert_eq!(client.get("blog.test", "/").text(), "one");
    }
    let mut third = town.client();
    third.send("GET / HTTP/1.1\r\nhost: blog.test\r\n\r\n");
    third.stream.get_ref().set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(third.stream.fill_buf().is_err(), "it was served beside the two");
    third.stream.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
    drop(served);
    assert_eq!(third.answer().text(), "one");
}

#[test]
fn each_host_reaches_its_own_app() {
    let (blog, shop) = (Instance::named("blog"), Instance::named("shop"));
    let town = Town::new();
    town.route(&[
        ("blog.test", BLOG, Backends::Ready(vec![blog.backend()])),
        ("shop.test", AppId(2), Backends::Ready(vec![shop.backend()])),
    ]);
    let mut client = town.client();
    assert_eq!(client.get("blog.test", "/").text(), "blog");
    assert_eq!(client.get("SHOP.test.:8080", "/").text(), "shop");
    client.send("GET http://blog.test/x?y HTTP/1.1\r\nhost: blog.test\r\n\r\n");
    assert_eq!(client.answer().text(), "blog");
    assert!(blog.last_head().starts_with("GET /x?y HTTP/1.1\r\n"), "{}", blog.last_head());
}

#[test]
fn hosts_without_an_app_read_the_same_neutral_page() {
    let town = Town::new();
    for host in ["other.test", "127.0.0.1", "admin.test"] {
        let answer = town.get(host, "/");
        assert_eq!((answer.status, answer.header("cache-control").as_deref()), (404, Some("no-store")), "{host}");
        assert!(answer.header("x-request-id").is_some());
    }
    assert!(town.told.lines.lock().unwrap().is_empty());
}

#[test]
fn error_pages_come_in_the_form_asked_for() {
    let town = Town::new();
    town.route(&[("blog.test", BLOG, Backends::Crashed)]);
    for (accept, kind, shown) in [
        ("text/html", "text/html; charset=utf-8", "<!doctype html>"),
        ("application/json", "application/problem+json", "\"code\":\"H10\""),
        ("*/*", "text/plain; charset=utf-8", "code: H10"),
    ] {
        let mut client = town.client();
        client.send(format!("GET / HTTP/1.1\r\nhost: blog.test\r\naccept: {accept}\r\n\r\n"));
        let answer = client.answer();
        assert_eq!(answer.status, 503);
        assert_eq!(answer.header("content-type").as_deref(), Some(kind));
        assert!(answer.text().contains(shown), "{}", answer.text());
        assert!(answer.text().contains(&answer.header("x-request-id").unwrap()));
        assert!(answer.header("retry-after").is_some());
        assert!(!answer.text().contains("app1"));
    }
    town.line_with(&["at=error code=H10 desc=\"App crashed\" method=GET path=\"/\" host=blog.test", "status=503"]);
}

#[test]
fn a_request_is_held_until_its_app_has_started() {
    let town = Town::new();
    town.route(&[("blog.test", BLOG, Backends::Starting)]);
    let mut client = town.client();
    client.send("POST / HTTP/1.1\r\nhost: blog.test\r\ncontent-length: 0\r\n\r\n");
    thread::sleep(Duration::from_millis(50));
    let app = Instance::named("one");
    town.route_to(&app);
    assert_eq!(client.answer().text(), "one");
}

#[test]
fn a_held_request_ends_with_h20_and_an_app_that_is_off_with_h14() {
    let town = Town::with(Spans { hold: Duration::from_millis(80), ..spans() });
    town.route(&[("blog.test", BLOG, Backends::Starting), ("off.test", AppId(2), Backends::Off)]);
    let answer = town.get("blog.test", "/");
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("H20") && answer.header("retry-after").is_some());
    assert!(town.get("off.test", "/").text().contains("H14"));
}

#[test]
fn a_held_request_hears_at_once_that_its_app_crashed() {
    let town = Town::new();
    town.route(&[("blog.test", BLOG, Backends::Starting)]);
    let mut client = town.client();
    client.send("GET / HTTP/1.1\r\nhost: blog.test\r\n\r\n");
    thread::sleep(Duration::from_millis(30));
    town.route(&[("blog.test", BLOG, Backends::Crashed)]);
    assert!(client.answer().text().contains("H10"));
}

#[test]
fn a_refused_connect_goes_to_the_next_instance() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let app = Instance::named("one");
    let dead = Backend { container: ContainerId::new("dead"), address: closed, ..app.backend() };
    let town = Town::new();
    town.route(&[("blog.test", BLOG, Backends::Ready(vec![dead, app.backend()]))]);
    for _ in 0..20 {
        let mut client = town.client();
        client.send("POST / HTTP/1.1\r\nhost: blog.test\r\ncontent-length: 2\r\n\r\nhi");
        assert_eq!(client.answer().text(), "one");
    }
}

#[test]
fn refused_connects_alone_end_with_h21() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let dead = Backend { address: closed, ..Instance::named("one").backend() };
    let town = Town::with(Spans { connect_budget: Duration::from_millis(100), ..spans() });
    town.route(&[("blog.test", BLOG, Backends::Ready(vec![dead]))]);
    assert!(town.get("blog.test", "/").text().contains("H21"));
}

#[test]
fn what_a_client_claims_about_itself_is_overwritten() {
    let app = Instance::named("one");
    let town = Town::serving(&app);
    let mut client = town.client();
    client.send(
        "GET /a%2Fb/../c?d=%20 HTTP/1.1\r\nHost: blog.test\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n\
         X-Forwarded-Host: evil\r\nX-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nProxy: evil\r\n\
         Connection: keep-alive, X-Forwarded-For, X-Mine, Host\r\nX-Mine: 1\r\nX-Kept: 1\r\nTE: gzip, trailers\r\n\
         Keep-Alive: timeout=5\r\nX-Request-Id: 0123456789-0123456789\r\n\r\n",
    );
    let answer = client.answer();
    let head = app.last_head();
    assert!(head.starts_with("GET /a%2Fb/../c?d=%20 HTTP/1.1\r\n"), "{head}");
    for (name, value) in [
        ("host", "blog.test"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-real-ip", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "blog.test"),
        ("x-forwarded-port", &town.proxy.local_addr().port().to_string()),
        ("x-request-id", "0123456789-0123456789"),
        ("x-kept", "1"),
        ("te", "trailers"),
    ] {
        assert_eq!(field(&head, name).as_deref(), Some(value), "{head}");
    }
    for gone in ["forwarded:", "proxy:", "x-mine:", "keep-alive:", "connection:"] {
        assert!(!head.to_lowercase().contains(&format!("\n{gone}")), "{gone} in {head}");
    }
    assert!(!head.contains("6.6.6.6") && !head.contains("evil"));
    assert!(field(&head, "x-request-start").unwrap().parse::<i64>().unwrap() > 1_600_000_000_000);
    assert_eq!(answer.header("x-request-id").as_deref(), Some("0123456789-0123456789"));
    town.line_with(&[
        "request_id=0123456789-0123456789 fwd=\"127.0.0.1\" process=web.1 connect=",
        "status=200 bytes=3",
    ]);
}

#[test]
fn what_concerns_one_hop_is_removed_from_answers() {
    let app = Instance::new("one", |_, stream| {
        let fields = "Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=9\r\nX-Stays: 1\r\n";
        respond(stream.get_mut(), fields, b"");
        Then::Keep
    });
    let answer = Town::serving(&app).get("blog.test", "/");
    assert!(answer.header("x-hop").is_none() && answer.header("keep-alive").is_none(), "{}", answer.head);
    assert_eq!(answer.header("x-stays").as_deref(), Some("1"));
    assert_eq!(answer.header("x-request-id").unwrap().len(), 36);
}

#[test]
fn connections_to_instances_are_used_again() {
    let app = Instance::named("one");
    let town = Town::serving(&app);
    let mut client = town.client();
    for _ in 0..20 {
        assert_eq!(client.get("blog.test", "/").status, 200);
    }
    assert!(app.connections.load(SeqCst) <= 3, "{} connections", app.connections.load(SeqCst));
}

#[test]
fn a_connection_that_died_while_idle_costs_no_request() {
    // The instance closes behind every answer without saying so, as servers do when their own time is over.
    let app = Instance::new("one", |_, stream| {
        respond(stream.get_mut(), "", b"one");
        Then::Close
    });
    let town = Town::serving(&app);
    let mut client = town.client();
    for _ in 0..50 {
        assert_eq!(client.get("blog.test", "/").text(), "one");
    }
    assert_eq!(app.count(), 50);
}

#[test]
fn a_reused_connection_that_dies_unanswered_is_tried_once_more_and_only_where_that_is_safe() {
    // Every second request on a connection is read and then left without a byte.
    let app = Instance::new("one", |head, stream| {
        let mut body = vec![0; field(head, "content-length").map_or(0, |length| length.parse().unwrap())];
        stream.read_exact(&mut body).unwrap();
        if head.contains("/second") {
            return Then::Close;
        }
        respond(stream.get_mut(), "", b"one");
        Then::Keep
    });
    let town = Town::serving(&app);
    let mut client = town.client();
    assert_eq!(client.get("blog.test", "/first").status, 200);
    let answer = client.get("blog.test", "/second");
    assert_eq!(answer.status, 502, "the fresh connection died too: no third time");
    assert!(answer.text().contains("H13"));
    assert_eq!(app.heads.lock().unwrap().iter().filter(|head| head.contains("/second")).count(), 2);
    assert_eq!(client.get("blog.test", "/first").status, 200);
    client.send("POST /second HTTP/1.1\r\nhost: blog.test\r\ncontent-length: 2\r\n\r\nhi");
    assert_eq!(client.answer().status, 502);
    assert_eq!(app.heads.lock().unwrap().iter().filter(|head| head.contains("POST /second")).count(), 1);
}

#[test]
fn who_waits_at_the_listener_before_the_proxy_starts_is_routed() {
    let app = Instance::named("one");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut waiting: Vec<Client> = (0..10).map(|_| Client::new(listener.local_addr().unwrap())).collect();
    for client in &mut waiting {
        client.send("GET / HTTP/1.1\r\nhost: blog.test\r\n\r\n");
    }
    let routes = table(&[("blog.test", BLOG, Backends::Ready(vec![app.backend()]))]);
    let settings = ProxySettings { threads: 2, routes, ..ProxySettings::default() };
    let told = Arc::new(Told::default());
    let _proxy = start_with(&listener, settings, spans(), SystemClock::shared(), told.clone(), told).unwrap();
    for client in &mut waiting {
        assert_eq!(client.answer().text(), "one");
    }
}
