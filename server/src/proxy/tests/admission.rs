//! What an app's owner set about the router, as visitors meet it: who is let in, what is too much, what they read.
use super::*;
use crate::domain::error_page::{ErrorPage, PageKind};
use crate::domain::hex::hex;
use crate::domain::login::{PasswordHash, SALT_BYTES};
use base64::prelude::{BASE64_STANDARD, Engine};
use sha2::{Digest, Sha256};

fn town_under(policy: &RouterPolicy, app: &Instance) -> Town {
    let town = Town::new();
    town.route_under(policy, Maintenance::Off, Backends::Ready(vec![app.backend()]));
    town
}

#[test]
fn only_allowed_addresses_visit() {
    let app = Instance::named("one");
    let town = town_under(&policy(&["allow=203.0.113.0/24,::1"]), &app);
    let answer = town.get("blog.test", "/");
    assert_eq!((answer.status, app.count()), (403, 0));
    assert!(!answer.text().contains("203.0.113"), "{}", answer.text());
    town.line_with(&["at=info code=P01 desc=\"Address not allowed\"", "status=403"]);
    town.route_under(&policy(&["allow=127.0.0.0/8"]), Maintenance::Off, Backends::Ready(vec![app.backend()]));
    assert_eq!(town.get("blog.test", "/").text(), "one");
}

#[test]
fn an_address_that_comes_too_often_is_told_when_to_come_again() {
    let app = Instance::named("one");
    let town = town_under(&policy(&["rate-limit=5/h"]), &app);
    // Over the threads of the proxy together.
    let statuses: Vec<u16> = (0..12).map(|_| town.get("blog.test", "/").status).collect();
    assert_eq!(statuses, [[200; 5].as_slice(), &[429; 7]].concat());
    let answer = town.get("blog.test", "/");
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((600..=720).contains(&wait), "{wait}");
    town.line_with(&["at=info code=P03", "status=429"]);
    // A table with the same policy does not fill the bucket again.
    town.route_under(&policy(&["rate-limit=5/h"]), Maintenance::Off, Backends::Ready(vec![app.backend()]));
    assert_eq!(town.get("blog.test", "/").status, 429);
}

#[test]
fn a_login_is_asked_for_and_never_seen_by_the_app() {
    let app = Instance::named("one");
    let mut rules = policy(&[]);
    let hash = PasswordHash::of(b"correct horse", &[1; SALT_BYTES]).unwrap();
    rules.logins.insert("alice".parse().unwrap(), hash);
    let town = town_under(&rules, &app);
    let answer = town.get("blog.test", "/");
    assert_eq!(answer.status, 401);
    assert_eq!(answer.header("www-authenticate").as_deref(), Some("Basic realm=\"blog.test\", charset=\"UTF-8\""));
    let mut client = town.client();
    let with = |pair: &str| format!("authorization: Basic {}\r\n", BASE64_STANDARD.encode(pair));
    for wrong in ["alice:wrong", "bob:correct horse", "alice:", ""] {
        assert_eq!(client.get_with(&with(wrong), "/").status, 401, "{wrong}");
    }
    assert_eq!(app.count(), 0);
    for _ in 0..50 {
        assert_eq!(client.get_with(&with("alice:correct horse"), "/").text(), "one");
    }
    assert!(field(&app.last_head(), "authorization").is_none(), "{}", app.last_head());
    town.line_with(&["at=info code=P02 desc=\"Login required\"", "status=401"]);
    // Of an app that asks for none, what visitors say to it is its own.
    town.route_to(&app);
    assert_eq!(client.get_with("authorization: Bearer x\r\n", "/").text(), "one");
    assert_eq!(field(&app.last_head(), "authorization").as_deref(), Some("Bearer x"));
}

#[test]
fn a_body_that_says_it_is_too_large_is_refused_unread() {
    let app = Instance::new("one", |head, stream| {
        let mut body = vec![0; field(head, "content-length").map_or(0, |length| length.parse().unwrap())];
        stream.read_exact(&mut body).unwrap();
        respond(stream.get_mut(), "", b"one");
        Then::Keep
    });
    let town = town_under(&policy(&["body-limit=1000"]), &app);
    let mut client = town.client();
    client.send("POST / HTTP/1.1\r\nhost: blog.test\r\ncontent-length: 1001\r\nexpect: 100-continue\r\n\r\n");
    assert_eq!(client.answer().status, 413, "nothing of it was asked for");
    let mut client = town.client();
    // Sent whole without looking up: the answer must not be lost to a reset.
    client.send(format!("POST / HTTP/1.1\r\nhost: blog.test\r\ncontent-length: {}\r\n\r\n", 8 << 20));
    client.send(vec![b'x'; 8 << 20]);
    let answer = client.answer();
    assert_eq!((answer.status, answer.header("connection").as_deref()), (413, Some("close")));
    assert!(client.is_ended());
    assert_eq!(app.count(), 0);
    town.line_with(&["at=info code=P04 desc=\"Body too large\"", "status=413"]);
    let mut client = town.client();
    client.send(format!("POST / HTTP/1.1\r\nhost: blog.test\r\ncontent-length: 1000\r\n\r\n{}", "x".repeat(1000)));
    assert_eq!(client.answer().text(), "one");
}

#[test]
fn a_body_that_grows_too_large_on_its_way_is_refused_and_never_whole_at_the_app() {
    let app = Instance::new("one", |_, stream| {
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        assert!(!all.ends_with(b"0\r\n\r\n"), "the app saw a whole body");
        Then::Close
    });
    let town = town_under(&policy(&["body-limit=1000"]), &app);
    let mut client = town.client();
    client.send("POST / HTTP/1.1\r\nhost: blog.test\r\ntransfer-encoding: chunked\r\n\r\n");
    client.send(format!("1f4\r\n{}\r\n", "x".repeat(500)));
    eventually("the request", || app.count() == 1);
    client.send(format!("1f5\r\n{}\r\n0\r\n\r\n", "x".repeat(501)));
    assert_eq!(client.answer().status, 413);
    town.line_with(&["code=P04", "status=413"]);
}

#[test]
fn times_are_the_apps_own() {
    let app = Instance::new("one", |_, _| {
        thread::sleep(Duration::from_secs(4));
        Then::Close
    });
    let town = town_under(&policy(&["first-byte=1s"]), &app);
    let since = Instant::now();
    let answer = town.get("blog.test", "/");
    assert!(answer.status == 504 && since.elapsed() < Duration::from_secs(3), "{answer:?} {:?}", since.elapsed());
    let stalling = Instance::new("two", |_, stream| {
        stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc").unwrap();
        thread::sleep(Duration::from_secs(4));
        Then::Close
    });
    town.route_under(&policy(&["body-idle=1s"]), Maintenance::Off, Backends::Ready(vec![stalling.backend()]));
    assert!(!town.get("blog.test", "/").is_whole && since.elapsed() < Duration::from_secs(6));
    town.line_with(&["code=H15"]);
}

#[test]
fn a_visitor_stays_with_its_instance_until_that_is_gone() {
    let apps = ["one", "two", "three"].map(Instance::named);
    let town = Town::new();
    let rules = policy(&["sticky=on"]);
    let all = |apps: &[Instance]| Backends::Ready(apps.iter().map(Instance::backend).collect());
    town.route_under(&rules, Maintenance::Off, all(&apps));
    let mut client = town.client();
    let first = client.get_with("cookie: mine=1\r\n", "/");
    let cookie = first.header("set-cookie").unwrap();
    let (pair, rest) = cookie.split_once(';').unwrap();
    assert_eq!(rest, " Path=/; HttpOnly; SameSite=Lax");
    assert!(pair.starts_with("paas_instance=") && !pair.contains(&first.text()), "{pair}");
    for _ in 0..20 {
        let answer = client.get_with(&format!("cookie: mine=1; {pair}\r\n"), "/");
        assert_eq!(answer.text(), first.text());
        assert!(answer.header("set-cookie").is_none(), "{}", answer.head);
    }
    let stays = apps.iter().find(|app| app.id == first.text()).unwrap();
    assert_eq!(field(&stays.last_head(), "cookie").as_deref(), Some("mine=1"));
    let others: Vec<Backend> = apps.iter().filter(|app| app.id != first.text()).map(Instance::backend).collect();
    town.route_under(&rules, Maintenance::Off, Backends::Ready(others));
    let moved = client.get_with(&format!("cookie: {pair}\r\n"), "/");
    assert!(moved.status == 200 && moved.text() != first.text());
    assert_ne!(moved.header("set-cookie").unwrap().split(';').next().unwrap(), pair);
    // Of a cookie that names nobody nothing comes.
    assert_eq!(client.get_with("cookie: paas_instance=0123456789abcdef\r\n", "/").status, 200);
    town.route_under(&policy(&[]), Maintenance::Off, all(&apps));
    assert!(client.get("blog.test", "/").header("set-cookie").is_none());
}

#[test]
fn the_apps_own_pages_are_shown_to_who_takes_html() {
    let town = Town::new();
    let mut rules = policy(&[]);
    for (kind, html) in [(PageKind::Unavailable, "<h1>soon</h1>"), (PageKind::Maintenance, "<h1>paint is wet</h1>")] {
        rules.pages.insert(kind, ErrorPage::try_from(html.to_owned()).unwrap());
    }
    town.route_under(&rules, Maintenance::Off, Backends::Crashed);
    for (accept, is_own) in [("text/html", true), ("*/*", true), ("application/json", false), ("text/plain", false)] {
        let answer = town.client().get_with(&format!("accept: {accept}\r\n"), "/");
        assert_eq!((answer.status, answer.text() == "<h1>soon</h1>"), (503, is_own), "{accept}");
        assert!(answer.header("retry-after").is_some() && answer.header("x-request-id").is_some());
        assert_eq!(answer.header("cache-control").as_deref(), Some("no-store"));
        let is_html = answer.header("content-type").unwrap().starts_with("text/html");
        assert_eq!(is_html, is_own, "{accept}");
    }
    town.route_under(&rules, Maintenance::On, Backends::Crashed);
    assert_eq!(town.client().get_with("accept: text/html\r\n", "/").text(), "<h1>paint is wet</h1>");
    town.line_with(&["code=H80", "bytes=21"]);
}

#[test]
fn the_bearer_of_the_link_goes_past_a_maintenance() {
    let app = Instance::named("one");
    let town = Town::new();
    let rules = RouterPolicy { bypass: Some(hex(&Sha256::digest("t0ken"))), ..RouterPolicy::default() };
    let publish = |maintenance| town.route_under(&rules, maintenance, Backends::Ready(vec![app.backend()]));
    publish(Maintenance::On);
    let mut client = town.client();
    for (fields, path) in [("", "/"), ("", "/.well-known/paas-bypass/wrong"), ("cookie: paas_bypass=wrong\r\n", "/")] {
        assert_eq!(client.get_with(fields, path).status, 503, "{fields}{path}");
    }
    let opened = client.get_with("", "/.well-known/paas-bypass/t0ken");
    assert_eq!((opened.status, opened.header("location").as_deref()), (303, Some("/")));
    let cookie = opened.header("set-cookie").unwrap();
    assert_eq!(cookie, "paas_bypass=t0ken; Path=/; HttpOnly; SameSite=Lax");
    assert_eq!(client.get_with("cookie: a=1; paas_bypass=t0ken\r\n", "/").text(), "one");
    assert_eq!(field(&app.last_head(), "cookie").as_deref(), Some("a=1"));
    let lines = town.told.lines.lock().unwrap().clone();
    assert!(lines.iter().all(|line| !line.contains("t0ken")), "{lines:?}");
    // Without a maintenance the path is the app's own.
    publish(Maintenance::Off);
    assert_eq!(client.get("blog.test", "/.well-known/paas-bypass/t0ken").text(), "one");
}

#[test]
fn the_access_log_is_as_long_as_its_owner_wants_and_failures_are_told_always() {
    let app = Instance::named("one");
    let town = town_under(&policy(&["access-log=short"]), &app);
    assert_eq!(town.get("blog.test", "/short").status, 200);
    let line = town.line_with(&["path=\"/short\""]);
    assert!(line.contains("status=200") && !line.contains("fwd=") && !line.contains("process="), "{line}");
    town.route_under(&policy(&["access-log=off"]), Maintenance::Off, Backends::Ready(vec![app.backend()]));
    assert_eq!(town.get("blog.test", "/off").status, 200);
    town.route_under(&policy(&["access-log=off"]), Maintenance::Off, Backends::Crashed);
    assert_eq!(town.get("blog.test", "/crashed").status, 503);
    town.line_with(&["code=H10", "path=\"/crashed\""]);
    assert!(town.told.lines.lock().unwrap().iter().all(|line| !line.contains("/off")));
}
