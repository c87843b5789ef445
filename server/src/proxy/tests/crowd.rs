//! Requests at a time: an instance gets no more than its app's owner wants, and others wait for room in order.
use super::*;
use crate::domain::instance::Traffic;
use std::sync::mpsc;

/// Counts how many requests it has at a time, and answers each when it is let go.
fn counting(id: &'static str) -> (Instance, Arc<AtomicUsize>, mpsc::Sender<()>) {
    let (go, wait) = mpsc::channel::<()>();
    let (wait, now, most) = (Mutex::new(wait), AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let seen = most.clone();
    let app = Instance::new(id, move |_, stream| {
        seen.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
        wait.lock().unwrap().recv().unwrap();
        now.fetch_sub(1, SeqCst);
        respond(stream.get_mut(), "", id.as_bytes());
        Then::Keep
    });
    (app, most, go)
}

const GET: &str = "GET / HTTP/1.1\r\nhost: blog.test\r\n\r\n";

#[test]
fn no_instance_gets_more_than_its_share_and_everybody_is_served() {
    let apps = [counting("one"), counting("two")];
    let town = Town::new();
    let backends = apps.iter().map(|(app, ..)| app.backend()).collect();
    town.route_under(&policy(&["concurrency=3"]), Maintenance::Off, Backends::Ready(backends));
    let mut clients: Vec<Client> = (0..40).map(|_| town.client()).collect();
    for client in &mut clients {
        client.send(GET);
    }
    let came = || apps.iter().map(|(app, ..)| app.count()).sum::<usize>();
    eventually("six are in", || came() == 6);
    thread::sleep(Duration::from_millis(50));
    assert_eq!(came(), 6, "the others wait");
    for (_, _, go) in &apps {
        (0..40).for_each(|_| go.send(()).unwrap());
    }
    assert!(clients.iter_mut().all(|client| client.answer().status == 200));
    for (app, most, _) in &apps {
        assert!(most.load(SeqCst) <= 3, "{} had {} at a time", app.id, most.load(SeqCst));
        assert_eq!(town.proxy.traffic(&app.container()), Traffic::Routed);
    }
}

#[test]
fn a_queue_has_an_end_in_time_and_in_number() {
    let (app, _, go) = counting("one");
    let town = Town::new();
    let ready = || Backends::Ready(vec![app.backend()]);
    town.route_under(&policy(&["concurrency=1", "queue=1s", "hold-requests=1"]), Maintenance::Off, ready());
    let (mut first, mut second) = (town.client(), town.client());
    first.send(GET);
    eventually("it is in", || app.count() == 1);
    second.send(GET);
    // One waits; nobody else may.
    eventually("no room to wait", || town.get("blog.test", "/").text().contains("H11"));
    let answer = second.answer();
    assert_eq!((answer.status, answer.header("retry-after").as_deref()), (503, Some("5")), "{}", answer.text());
    assert!(answer.text().contains("H11"));
    town.line_with(&["at=error code=H11 desc=\"Backlog too deep\"", "status=503"]);
    town.route_under(&policy(&["concurrency=1", "queue=0s"]), Maintenance::Off, ready());
    assert!(town.get("blog.test", "/").text().contains("H11"), "without a queue it is said at once");
    go.send(()).unwrap();
    assert_eq!(first.answer().text(), "one");
    assert_eq!(app.count(), 1);
}

#[test]
fn who_waits_goes_on_when_there_is_another_instance_or_more_room() {
    let (old, _, go) = counting("old");
    let town = Town::new();
    let limited = policy(&["concurrency=1"]);
    town.route_under(&limited, Maintenance::Off, Backends::Ready(vec![old.backend()]));
    let (mut first, mut second) = (town.client(), town.client());
    first.send(GET);
    eventually("it is in", || old.count() == 1);
    second.send(GET);
    thread::sleep(Duration::from_millis(30));
    let new = Instance::named("new");
    town.route_under(&limited, Maintenance::Off, Backends::Ready(vec![new.backend()]));
    assert_eq!(second.answer().text(), "new");
    town.route_under(&limited, Maintenance::Off, Backends::Ready(vec![old.backend()]));
    second.send(GET);
    thread::sleep(Duration::from_millis(30));
    assert_eq!(old.count(), 1);
    town.route_under(&policy(&[]), Maintenance::Off, Backends::Ready(vec![old.backend()]));
    eventually("both are in", || old.count() == 2);
    (0..2).for_each(|_| go.send(()).unwrap());
    assert_eq!((first.answer().text().as_str(), second.answer().text().as_str()), ("old", "old"));
}

#[test]
fn who_leaves_while_it_waits_keeps_no_place() {
    let (app, _, go) = counting("one");
    let town = Town::new();
    town.route_under(&policy(&["concurrency=1"]), Maintenance::Off, Backends::Ready(vec![app.backend()]));
    let (mut first, mut leaves, mut stays) = (town.client(), town.client(), town.client());
    first.send(GET);
    eventually("it is in", || app.count() == 1);
    leaves.send(GET);
    thread::sleep(Duration::from_millis(20));
    stays.send(GET);
    thread::sleep(Duration::from_millis(20));
    drop(leaves);
    town.line_with(&["code=H27", "status=499"]);
    (0..2).for_each(|_| go.send(()).unwrap());
    assert_eq!(first.answer().text(), "one");
    assert_eq!(stays.answer().text(), "one");
    assert_eq!(app.count(), 2);
}
