//! The router as an app's owner sets it: in effect at once, over a restart of the server, and without one of the app.
use crate::harness::{Connection, Response, Town};

fn ask(town: &Town, host: &str, method: &str, path: &str, fields: &[&str], body: &[u8]) -> Response {
    let mut visitor: Connection = town.connect_to_host(host).expect("connect");
    visitor.send(method, path, fields, body).expect("send");
    visitor.answer().expect("an answer")
}

fn get(town: &Town, fields: &[&str]) -> Response {
    ask(town, "blog.localhost", "GET", "/", fields, b"")
}

#[test]
fn what_is_set_about_the_router_holds_at_once_and_over_a_restart_and_touches_no_instance() {
    let mut town = Town::start();
    town.push("echo", "blog").succeeds();
    let instances = town.engine.instances(&[]);
    let listed = town.paas(&["router", "-a", "blog", "--json"]).json();
    let first = &listed[0];
    assert_eq!((&first["key"], &first["value"]), (&"first-byte".into(), &"30 s".into()));
    assert!(listed.as_array().expect("a list").iter().all(|setting| setting["is_default"] == true), "{listed}");

    town.ssh("router:set body-limit=1K allow=203.0.113.0/24 -a blog").succeeds().says("body-limit of blog: 1.0 KiB");
    assert_eq!(get(&town, &[]).status, 403);
    town.paas(&["router:unset", "allow", "-a", "blog"]).succeeds().says("allow of blog: everybody (default)");
    assert_eq!(get(&town, &[]).status, 200);
    assert_eq!(ask(&town, "blog.localhost", "POST", "/upload", &[], &[b'x'; 1025]).status, 413);
    assert_eq!(ask(&town, "blog.localhost", "POST", "/upload", &[], &[b'x'; 1024]).status, 200);
    for (words, code, said) in [
        (&["router:set", "first-byte=0s"][..], 2, "first-byte"),
        (&["router:set", "nonsense=1"], 2, "no setting of the router"),
        (&["router:set", "body-limit=1K", "body-limit=2K"], 1, "named twice"),
        (&["router:set", "allow=10.0.0.1/8"], 2, "did you mean 10.0.0.0/8?"),
        (&["router:unset", "nonsense"], 2, "no setting of the router"),
        (&["router:set"], 2, "KEY=VALUE"),
        (&["auth:remove", "alice"], 1, "has no login alice"),
        (&["auth:set", "a:b"], 2, "no name for a login"),
        (&["errors:unset", "502"], 1, "no page of its own"),
        (&["errors:set", "500"], 2, "no page"),
    ] {
        town.paas(&[words, &["-a", "blog"]].concat()).fails_with(code, said);
    }
    town.kill9();
    town.start_again(&[]);
    assert_eq!(
        ask(&town, "blog.localhost", "POST", "/upload", &[], &[b'x'; 1025]).status,
        413,
        "the next server knows it"
    );
    assert_eq!(town.engine.instances(&[]), instances, "no instance was exchanged for this");
    town.doctor_is_clean();
}

#[test]
fn logins_pages_redirects_and_the_way_past_a_maintenance_do_what_they_say() {
    let town = Town::start();
    town.push("echo", "blog").succeeds();
    town.paas_with_input(&["auth:set", "alice", "-a", "blog"], b"short\n").fails_with(1, "8 to 256");
    town.paas_with_input(&["auth:set", "alice", "-a", "blog"], b"").fails_with(1, "no password came");
    town.paas_with_input(&["auth:set", "alice", "-a", "blog"], b"correct horse\n").succeeds().says("alice may");
    let refused = get(&town, &[]);
    assert!(refused.status == 401 && refused.header("www-authenticate").is_some_and(|it| it.starts_with("Basic ")));
    // alice:correct horse
    assert_eq!(get(&town, &["Authorization: Basic YWxpY2U6Y29ycmVjdCBob3JzZQ=="]).status, 200);
    assert_eq!(town.paas(&["auth", "-a", "blog", "--json"]).json()[0], "alice");
    let database = std::fs::read(town.data_dir().join("paas.db")).expect("read the database");
    assert!(!database.windows(13).any(|window| window == b"correct horse"), "the password is kept nowhere");
    town.paas(&["auth:remove", "alice", "-a", "blog"]).succeeds().says("everybody may visit");
    assert_eq!(get(&town, &[]).status, 200);

    town.paas_with_input(&["errors:set", "maintenance", "-a", "blog"], b"<h1>paint is wet</h1>\n").succeeds();
    let on = town.paas(&["maintenance:on", "-a", "blog"]);
    let link = on.succeeds().stdout.split_whitespace().last().expect("a link").to_owned();
    assert_eq!(get(&town, &["Accept: text/html"]).text(), "<h1>paint is wet</h1>\n");
    let path =
        link.split_once(".localhost").and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..])).expect("a path");
    let opened = ask(&town, "blog.localhost", "GET", path, &[], b"");
    let cookie = opened.header("set-cookie").and_then(|it| it.split(';').next()).expect("a cookie").to_owned();
    assert_eq!(opened.status, 303);
    assert_eq!(get(&town, &[&format!("Cookie: {cookie}")]).status, 200);
    assert_eq!(get(&town, &[]).status, 503);
    town.paas(&["maintenance:on", "-a", "blog"]).succeeds();
    assert_eq!(get(&town, &[&format!("Cookie: {cookie}")]).status, 503, "each maintenance has a link of its own");
    town.paas(&["maintenance:off", "-a", "blog"]).succeeds();

    town.paas(&["domains:add", "example.com", "-a", "blog"]).succeeds();
    town.paas(&["domains:redirect", "www.example.com", "example.com", "-a", "blog"]).fails_with(1, "has no domain");
    town.paas(&["domains:add", "www.example.com", "-a", "blog"]).succeeds();
    town.ssh("domains:redirect www.example.com example.com -a blog").succeeds().says("sent on to http://example.com");
    let sent = ask(&town, "www.example.com:8080", "GET", "/a?b=c", &[], b"");
    assert_eq!((sent.status, sent.header("location")), (301, Some("http://example.com:8080/a?b=c")));
    assert_eq!(ask(&town, "www.example.com", "POST", "/", &[], b"x").status, 308);
    town.doctor_is_clean();
    for (words, said) in [
        (&["domains:redirect", "example.com", "www.example.com"][..], "sent on to example.com themselves"),
        (&["domains:redirect", "example.com", "evil.example"], "does not answer at evil.example"),
        (&["domains:redirect", "example.com", "example.com"], "would lead to itself"),
        (&["domains:remove", "example.com"], "visitors of www.example.com are sent on to example.com"),
    ] {
        town.paas(&[words, &["-a", "blog"]].concat()).fails_with(1, said);
    }
    town.paas(&["domains:redirect", "www.example.com", "--off", "-a", "blog"]).succeeds().says("itself");
    assert_eq!(ask(&town, "www.example.com", "GET", "/", &[], b"").status, 200);
    town.doctor_is_clean();
}
