//! `apps:rename`: the same instances under another name, and the old one leads there.
use crate::harness::{Town, eventually};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_renamed_app_answers_at_both_names_and_nothing_restarts() {
    let mut town = Town::start();
    let work = town.work("echo", "blog");
    work.push().succeeds();
    let served_by = town.get("blog", "/pid").text();
    let mut visitor = town.connect("blog").expect("connect");
    visitor.send("GET", "/slow?ms=2000", &[], b"").expect("send a slow request");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Whoever comes by either name is served or sent on, at every moment.
        let visits = scope.spawn(|| {
            let mut strange = Vec::new();
            while !stop.load(Ordering::SeqCst) {
                let status = town.get("blog", "/").status;
                if status != 200 && status != 301 {
                    strange.push(status);
                }
            }
            strange
        });
        town.ssh("apps:rename news -a blog").succeeds().says("renamed blog to news").says("/news` in its checkouts");
        assert_eq!(town.get("news", "/pid").text(), served_by, "the same instance answers");
        stop.store(true, Ordering::SeqCst);
        assert_eq!(visits.join().expect("no panic"), Vec::<u16>::new());
    });
    assert_eq!(visitor.answer().expect("a request under way ends well").status, 200);

    let port = town.http().port();
    let moved = town.get("blog", "/a%2Fb/c?d=e&f");
    let to = format!("http://news.localhost:{port}/a%2Fb/c?d=e&f");
    assert_eq!(
        (moved.status, moved.header("location")),
        (301, Some("http://news.localhost/a%2Fb/c?d=e&f")),
        "{moved:?}"
    );
    let mut named = town.connect_to_host(&format!("blog.localhost:{port}")).expect("connect");
    assert_eq!(named.get("/a%2Fb/c?d=e&f").expect("an answer").header("location"), Some(to.as_str()));
    let posted = named.post("/ledger", b"id").expect("an answer");
    assert_eq!(posted.status, 308, "{posted:?}");

    let old = town.paas(&["apps:info", "-a", "blog", "--json"]);
    assert_eq!(old.json()["name"], "news");
    assert_eq!(old.json()["former_names"], serde_json::json!(["blog"]));
    assert!(old.stderr.contains("note: blog is called news now; run `git remote set-url paas ssh://"), "{old:?}");
    work.set_version("echo v2").push().succeeds().says("blog is called news now").says("Live: v2 serves");
    town.shows("news", "echo v2");
    town.paas(&["apps:create", "blog"]).fails_with(1, "run `paas apps:free blog -a news`");
    town.paas(&["apps:create", "shop"]).succeeds();
    town.paas(&["apps:rename", "shop", "news"]).fails_with(1, "is taken");
    town.paas(&["apps:rename", "shop", "paas"]).fails_with(2, "reserved");
    town.paas(&["apps:rename", "shop"]).fails_with(2, "--app");
    town.paas(&["logs", "-a", "news"]).succeeds().says("status=301");

    town.kill9();
    town.start_again(&[]);
    assert_eq!(town.get("blog", "/").status, 301, "the next server knows it too");
    town.paas(&["apps:free", "blog", "-a", "news"]).succeeds();
    assert_eq!(town.get("blog", "/").status, 404);
    town.push("hello-shell", "blog").succeeds();
    eventually("a new app has the name", SOON, || town.get("blog", "/").status == 200);
    town.shows("news", "echo v2");
    town.doctor_is_clean();
}
