//! Requests that wait: for an exchange of instances that may not overlap, or for an owner who paused the app.
use super::*;
use crate::domain::instance::Traffic;

const GET: &str = "GET / HTTP/1.1\r\nhost: blog.test\r\n\r\n";

/// Publishes `backends` for the blog under `maintenance`.
fn publish(town: &Town, backends: Backends, maintenance: Maintenance) {
    town.route_under(&RouterPolicy::default(), maintenance, backends);
}

fn hold(town: &Town) {
    publish(town, Backends::Held, Maintenance::Off);
}

fn serve(town: &Town, app: &Instance) {
    publish(town, Backends::Ready(vec![app.backend()]), Maintenance::Off);
}

/// Answers `GET /slow` only after `go` was said.
fn slow_instance(id: &'static str) -> (Instance, Arc<AtomicUsize>) {
    let go = Arc::new(AtomicUsize::new(0));
    let gate = go.clone();
    let app = Instance::new(id, move |head, stream| {
        if head.starts_with("GET /slow") {
            eventually("the test lets it go on", || gate.load(SeqCst) > 0);
        }
        respond(stream.get_mut(), "", id.as_bytes());
        Then::Keep
    });
    (app, go)
}

#[test]
fn during_a_hold_old_requests_end_on_the_old_instance_and_new_ones_wait_for_the_new_one() {
    let ((old, go), new) = (slow_instance("old"), Instance::named("new"));
    let town = Town::new();
    serve(&town, &old);
    let mut early = town.client();
    early.send("GET /slow HTTP/1.1\r\nhost: blog.test\r\n\r\n");
    eventually("it is under way", || old.count() == 1);
    hold(&town);
    assert_eq!(town.proxy.traffic(&old.container()), Traffic::Draining);
    let mut late: Vec<Client> = (0..50).map(|_| town.client()).collect();
    for client in &mut late {
        client.send(GET);
    }
    // A body is not read while its request waits; it arrives whole all the same.
    let body = "x".repeat(200_000);
    let mut upload = town.client();
    upload.send(format!("POST / HTTP/1.1\r\nhost: blog.test\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
    go.store(1, SeqCst);
    assert_eq!(early.answer().text(), "old");
    eventually("the old one is quiet", || town.proxy.traffic(&old.container()) == Traffic::Quiet);
    eventually("all wait", || town.proxy.waiting(BLOG) == 51);
    serve(&town, &new);
    assert!(late.iter_mut().all(|client| client.answer().text() == "new"));
    assert_eq!(upload.answer().text(), "new");
    assert_eq!((old.count(), town.proxy.waiting(BLOG)), (1, 0));
    let report = town.proxy.last_hold(BLOG).expect("a hold is over");
    assert_eq!((report.requests, report.lost), (51, 0));
    assert!(report.took > Duration::ZERO);
}

#[test]
fn no_more_than_a_thousand_requests_wait() {
    let town = Town::new();
    hold(&town);
    let mut clients: Vec<Client> = (0..2000).map(|_| town.client()).collect();
    for client in &mut clients {
        client.send(GET);
    }
    eventually("the limit is reached", || town.proxy.waiting(BLOG) == 1000);
    eventually("the others were told", || {
        let lines = town.told.lines.lock().unwrap();
        lines.iter().filter(|line| line.contains("code=H11")).count() == 1000
    });
    publish(&town, Backends::Off, Maintenance::Off);
    let answers: Vec<Answer> = clients.iter_mut().map(Client::answer).collect();
    let with = |code: &str| answers.iter().filter(|answer| answer.text().contains(code)).count();
    assert_eq!((with("H11"), with("H14")), (1000, 1000));
    assert!(answers.iter().all(|answer| answer.status == 503));
    let report = town.proxy.last_hold(BLOG).expect("a hold is over");
    assert_eq!(report.requests, 2000);
    assert!(report.lost >= 1000, "{report:?}");
}

#[test]
fn an_owner_bounds_what_waits_in_number_and_in_bytes() {
    let town = Town::new();
    let waits = |count: usize| eventually("they wait", || town.proxy.waiting(BLOG) == count);
    town.route_under(&policy(&["hold-requests=2"]), Maintenance::Off, Backends::Starting);
    let mut clients: Vec<Client> = (0..2).map(|_| town.client()).collect();
    for client in &mut clients {
        client.send(GET);
    }
    waits(2);
    assert!(town.get("blog.test", "/").text().contains("H11"));
    drop(clients);
    waits(0);
    // Each counts with what is read ahead of its body: 8 KiB and 100 KiB are more than half of 128 KiB.
    town.route_under(&policy(&["hold-size=128K"]), Maintenance::Off, Backends::Starting);
    let upload = format!("POST / HTTP/1.1\r\nhost: blog.test\r\ncontent-length: {}\r\n\r\n", 100 << 10);
    let (mut one, mut other) = (town.client(), town.client());
    one.send(&upload);
    waits(1);
    other.send(&upload);
    assert!(other.answer().text().contains("H11"));
    let mut small = town.client();
    small.send(GET);
    waits(2);
    drop(one);
    waits(1);
    let mut again = town.client();
    again.send(&upload);
    waits(2);
}

#[test]
fn a_client_that_leaves_while_it_waits_is_dropped_at_once() {
    let town = Town::new();
    hold(&town);
    let mut stays = town.client();
    stays.send(GET);
    let mut leaves = town.client();
    leaves.send(GET);
    eventually("both wait", || town.proxy.waiting(BLOG) == 2);
    drop(leaves);
    eventually("one waits", || town.proxy.waiting(BLOG) == 1);
    town.line_with(&["code=H27", "status=499", "method=GET"]);
    // A body that nobody reads does not hide it.
    let mut uploads = town.client();
    uploads.send(format!("POST / HTTP/1.1\r\nhost: blog.test\r\ncontent-length: 30000\r\n\r\n{}", "x".repeat(20_000)));
    eventually("two wait", || town.proxy.waiting(BLOG) == 2);
    drop(uploads);
    eventually("one waits", || town.proxy.waiting(BLOG) == 1);
    town.line_with(&["code=H27", "status=499", "method=POST"]);
    let app = Instance::named("one");
    serve(&town, &app);
    assert_eq!((stays.answer().text().as_str(), app.count()), ("one", 1));
    let report = town.proxy.last_hold(BLOG).expect("a hold is over");
    assert_eq!((report.requests, report.lost), (3, 2));
}

#[test]
fn a_wait_has_an_end_which_says_when_to_come_again() {
    let town = Town::with(Spans { hold: Duration::from_millis(80), ..spans() });
    hold(&town);
    let answer = town.get("blog.test", "/");
    assert!(answer.status == 503 && answer.text().contains("H20"), "{answer:?}");
    assert_eq!(answer.header("retry-after").as_deref(), Some("5"));
    publish(&town, Backends::Ready(vec![Instance::named("one").backend()]), Maintenance::Pause);
    let answer = town.get("blog.test", "/");
    assert!(answer.status == 503 && answer.text().contains("H80"), "{answer:?}");
    assert_eq!(answer.header("retry-after").as_deref(), Some("60"));
    assert_eq!(town.proxy.waiting(BLOG), 0);
}

#[test]
fn what_an_old_instance_still_carries_is_cut_after_the_short_drain_of_a_hold() {
    let (old, go) = slow_instance("old");
    // A drain that began before the hold is hurried too.
    for publish_before in [Backends::Starting, Backends::Held] {
        let town = Town::with(Spans { drain_hold: Duration::from_millis(80), ..spans() });
        serve(&town, &old);
        let seen = old.count();
        let mut early = town.client();
        early.send("GET /slow HTTP/1.1\r\nhost: blog.test\r\n\r\n");
        eventually("it is under way", || old.count() == seen + 1);
        publish(&town, publish_before, Maintenance::Off);
        hold(&town);
        let answer = early.answer();
        assert!(answer.status == 503 && answer.text().contains("H24"), "{answer:?}");
        eventually("the old one is quiet", || town.proxy.traffic(&old.container()) == Traffic::Quiet);
        assert_eq!(town.proxy.drained(&old.container()).expect("its drain is over").forced, 1);
    }
    go.store(1, SeqCst);
}

#[test]
fn a_paused_app_keeps_its_instances_and_lets_its_visitors_in_again() {
    let app = Instance::named("one");
    let town = Town::new();
    serve(&town, &app);
    publish(&town, Backends::Ready(vec![app.backend()]), Maintenance::Pause);
    assert_eq!(town.proxy.traffic(&app.container()), Traffic::Routed);
    let mut client = town.client();
    client.send(GET);
    eventually("it waits", || town.proxy.waiting(BLOG) == 1);
    assert_eq!(app.count(), 0);
    serve(&town, &app);
    assert_eq!(client.answer().text(), "one");
    assert_eq!(town.proxy.last_hold(BLOG).map(|report| report.requests), Some(1));
    // Of an app that is off nobody need wait.
    publish(&town, Backends::Off, Maintenance::Pause);
    assert!(town.get("blog.test", "/").text().contains("H14"));
}

#[test]
fn maintenance_answers_new_requests_itself_and_lets_old_ones_end() {
    let (app, go) = slow_instance("one");
    let town = Town::new();
    serve(&town, &app);
    let mut early = town.client();
    early.send("GET /slow HTTP/1.1\r\nhost: blog.test\r\n\r\n");
    eventually("it is under way", || app.count() == 1);
    publish(&town, Backends::Ready(vec![app.backend()]), Maintenance::On);
    for accept in ["text/html", "application/json", "text/plain"] {
        let mut client = town.client();
        client.send(format!("GET / HTTP/1.1\r\nhost: blog.test\r\naccept: {accept}\r\n\r\n"));
        let answer = client.answer();
        assert_eq!((answer.status, answer.header("retry-after").as_deref()), (503, Some("60")));
        assert!(answer.text().contains("Under maintenance") && answer.text().contains("H80"), "{answer:?}");
        assert_eq!(answer.header("cache-control").as_deref(), Some("no-store"));
    }
    town.line_with(&["at=error code=H80 desc=\"Maintenance mode\"", "status=503"]);
    assert_eq!((town.proxy.traffic(&app.container()), app.count()), (Traffic::Routed, 1));
    go.store(1, SeqCst);
    assert_eq!(early.answer().text(), "one");
    serve(&town, &app);
    assert_eq!(town.get("blog.test", "/").text(), "one");
}
