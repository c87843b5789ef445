//! Proxies before us: whose word about visitors counts, and the PROXY protocol.
use super::*;
use crate::proxy::ProxyProtocol;

fn town_behind(trusted: &[&str], proxy_protocol: ProxyProtocol) -> (Town, Instance) {
    let trusted_proxies = trusted.iter().map(|range| range.parse().unwrap()).collect();
    let town =
        Town::with_settings(spans(), ProxySettings { trusted_proxies, proxy_protocol, ..ProxySettings::default() });
    let app = Instance::named("one");
    town.route_to(&app);
    (town, app)
}

const TOLD: &str = "x-forwarded-for: 6.6.6.6, 203.0.113.7, 10.1.1.1\r\nx-forwarded-proto: https\r\n\
                    x-forwarded-host: www.example.com\r\nx-real-ip: 6.6.6.6\r\nforwarded: for=6.6.6.6\r\n";

#[test]
fn a_trusted_proxy_is_believed_as_far_as_trust_goes() {
    let (town, app) = town_behind(&["127.0.0.0/8", "10.0.0.0/8"], ProxyProtocol::Off);
    assert_eq!(town.client().get_with(TOLD, "/").text(), "one");
    let head = app.last_head();
    for (name, value) in [
        ("x-forwarded-for", "203.0.113.7"),
        ("x-real-ip", "203.0.113.7"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-port", "443"),
        ("x-forwarded-host", "www.example.com"),
        ("host", "blog.test"),
    ] {
        assert_eq!(field(&head, name).as_deref(), Some(value), "{head}");
    }
    assert!(!head.contains("6.6.6.6"), "{head}");
    town.line_with(&["fwd=\"203.0.113.7\""]);
    // Rules about addresses are about visitors, and each request of a connection may have another one.
    let ready = Backends::Ready(vec![app.backend()]);
    town.route_under(&policy(&["allow=203.0.113.0/24"]), Maintenance::Off, ready);
    let mut client = town.client();
    assert_eq!(client.get_with(TOLD, "/").status, 200);
    assert_eq!(client.get_with("x-forwarded-for: 203.0.113.7, 6.6.6.6\r\n", "/").status, 403);
}

#[test]
fn who_came_by_https_to_a_trusted_proxy_is_kept_there() {
    let (town, app) = town_behind(&["127.0.0.0/8"], ProxyProtocol::Off);
    let mut table = table(&[("blog.test", BLOG, Backends::Ready(vec![app.backend()]))]);
    table.apps.get_mut(&BLOG).unwrap().tls.hsts_seconds = Some(300);
    let to = "blog.test".parse().unwrap();
    table.redirects.insert("old.test".parse().unwrap(), crate::domain::route::Redirect { app: BLOG, to });
    town.proxy.set_routes(&table);
    for (scheme, hsts) in [("https", Some("max-age=300")), ("http", None)] {
        let told = format!("x-forwarded-proto: {scheme}\r\n");
        let answer = town.client().get_with(&told, "/");
        assert_eq!(answer.header("strict-transport-security").as_deref(), hsts);
        let mut client = town.client();
        client.send(format!("GET /a?b HTTP/1.1\r\nhost: old.test\r\n{told}\r\n"));
        let head = read_head(&mut client.stream).unwrap();
        assert_eq!(field(&head, "location"), Some(format!("{scheme}://blog.test/a?b")), "{head}");
    }
}

#[test]
fn who_is_not_trusted_says_nothing_about_its_visitors() {
    let (town, app) = town_behind(&["10.0.0.0/8"], ProxyProtocol::Off);
    assert_eq!(town.client().get_with(TOLD, "/").text(), "one");
    let head = app.last_head();
    assert_eq!(field(&head, "x-forwarded-for").as_deref(), Some("127.0.0.1"), "{head}");
    assert_eq!(field(&head, "x-forwarded-proto").as_deref(), Some("http"), "{head}");
    assert!(!head.contains("6.6.6.6") && !head.contains("www.example.com"), "{head}");
}

fn get_behind(town: &Town, header: &[u8]) -> Option<Answer> {
    let mut client = town.client();
    client.send([header, b"GET / HTTP/1.1\r\nhost: blog.test\r\n\r\n"].concat());
    let head = read_head(&mut client.stream)?;
    let (body, is_whole) = read_body(&mut client.stream, &head);
    Some(Answer { status: head.split(' ').nth(1).unwrap().parse().unwrap(), head, body, is_whole })
}

#[test]
fn the_proxy_protocol_says_who_a_connection_is_from_and_nothing_else_is_served() {
    let (town, app) = town_behind(&[], ProxyProtocol::Required);
    let binary = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x08\x7f\0\0\x01\x12\x67\0\x50";
    for (header, address) in [
        (&b"PROXY TCP4 203.0.113.7 127.0.0.1 4711 80\r\n"[..], "203.0.113.7"),
        (b"PROXY TCP6 2001:db8::7 ::1 4711 80\r\n", "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
        (binary, "203.0.113.8"),
    ] {
        assert_eq!(get_behind(&town, header).unwrap().text(), "one");
        assert_eq!(field(&app.last_head(), "x-forwarded-for").as_deref(), Some(address), "{}", app.last_head());
    }
    let count = app.count();
    for bad in [&b""[..], b"PROXY TCP4 nonsense\r\n", b"\r\n\r\n\0\r\nQUIT\n\x11\x11\0\x0c"] {
        assert!(get_behind(&town, bad).is_none(), "{bad:?}");
    }
    assert_eq!(app.count(), count);
    // In pieces it is the same header.
    let mut client = town.client();
    client.stream.get_ref().set_nodelay(true).unwrap();
    for piece in ["PRO", "XY TCP4 203.0.113.9 127.0.", "0.1 4711 80\r", "\nGET / HTTP/1.1\r\nhost: blog.test\r\n\r\n"] {
        client.send(piece);
        thread::sleep(Duration::from_millis(3));
    }
    assert_eq!(client.answer().text(), "one");
    assert_eq!(field(&app.last_head(), "x-forwarded-for").as_deref(), Some("203.0.113.9"));
}

#[test]
fn a_header_of_the_proxy_protocol_is_no_request_where_it_is_not_spoken() {
    let (town, app) = town_behind(&[], ProxyProtocol::Off);
    let answer = get_behind(&town, b"PROXY TCP4 203.0.113.7 127.0.0.1 4711 80\r\n").unwrap();
    assert_eq!((answer.status, app.count()), (400, 0));
}
