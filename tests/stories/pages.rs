//! The pages, in a real browser: from the login to the log, and what they keep away.
use crate::harness::{Browser, Connection, Town, Work};

/// The one-time link of `paas login`.
fn link(town: &Town) -> String {
    town.paas(&["login", "--json"]).json()["url"].as_str().expect("a link").to_owned()
}

fn page(town: &Town, path: &str) -> String {
    format!("http://paas.localhost:{}{path}", town.http().port())
}

/// A checkout whose build says `tick 1` … and takes its time.
fn slow_to_build(town: &Town, app: &str, ticks: u32) -> Work {
    let work = town.work("hello-docker", app);
    slow_down(town, &work, ticks);
    work
}

fn slow_down(town: &Town, work: &Work, ticks: u32) {
    let dockerfile = std::fs::read_to_string(work.path("Dockerfile")).expect("read the Dockerfile");
    // The engine would remember a step of an earlier run.
    let salt = town.home().display();
    let steps = format!("RUN for i in $(seq {ticks}); do echo tick $i of {ticks}; sleep 0.4; done # {salt}\n");
    let kept: String = dockerfile.lines().filter(|line| !line.contains("tick")).flat_map(|line| [line, "\n"]).collect();
    work.write("Dockerfile", &kept.replace("WORKDIR /srv\n", &format!("WORKDIR /srv\n{steps}")));
}

#[test]
fn a_browser_sees_an_app_from_its_first_push_to_its_rollback() {
    let town = Town::start();
    let browser = Browser::open();

    // The link logs in by its button, once.
    let used = link(&town);
    browser.go(&used);
    browser.click("main form button");
    browser.waits_for("h1", "Apps");
    browser.waits_for("main", "Push a first app");
    browser.go(&used);
    browser.waits_for("[role=alert]", "used already or has expired");
    let complaints = browser.complaints();
    assert!(complaints.iter().all(|complaint| complaint.contains("403 (Forbidden)")), "{complaints:?}");
    browser.go(&page(&town, "/"));

    // The empty page becomes the first push, and that becomes live, without a reload.
    let work = slow_to_build(&town, "blog", 6);
    work.commit("hello <script>alert(1)</script> \u{202e}dlrow");
    let pushing = work.begin_push();
    browser.waits_for("#app-blog .what", "deploy #1 is under way");
    browser.click("#app-blog .what a");
    browser.waits_for("#log", "tick 2 of 6");
    assert!(!browser.text("#log").contains("tick 6 of 6"), "lines come as they are said");
    assert!(browser.text(".phases").contains("Build"), "{}", browser.text(".phases"));
    browser.waits_for(".head .state", "live");
    browser.waits_for("#log", "total");
    pushing.finish().succeeds();
    browser.go(&page(&town, "/"));
    browser.waits_for("#app-blog", "live");
    browser.waits_for("#app-blog .what", "hello <script>alert(1)</script> \\u{202e}dlrow");

    a_failing_push_is_told_in_the_same_words(&town, &browser, &work);
    a_push_is_cancelled_by_a_button(&town, &browser, &work);
    a_rollback_by_keyboard_alone(&town, &browser, &work);
    the_log_is_followed(&town, &browser);

    for path in ["/", "/apps/blog", "/apps/blog/deploys", "/apps/blog/deploys/1", "/apps/blog/logs"] {
        browser.set_width(400);
        browser.go(&page(&town, path));
        assert!(!browser.overflows(), "{path} is wider than 400 pixels");
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());

    // Who is logged out hears no more.
    town.paas(&["login", "--revoke"]).succeeds();
    browser.go(&page(&town, "/apps/blog"));
    browser.waits_for("h1", "Log in");
    town.doctor_is_clean();
}

fn a_failing_push_is_told_in_the_same_words(town: &Town, browser: &Browser, work: &Work) {
    let dockerfile = std::fs::read_to_string(work.path("Dockerfile")).expect("read the Dockerfile");
    work.write("Dockerfile", &format!("{dockerfile}\nRUN echo 'no such <b>luck</b>' && exit 3\n")).commit("broken");
    let push = work.push();
    push.is_rejected_with("v1 still serves");
    browser.go(&page(town, "/apps/blog/deploys"));
    browser.click("#deploy-2 a");
    browser.waits_for(".head .state", "failed");
    for line in browser.text("#card").lines().filter(|line| !line.is_empty()) {
        push.says(line);
    }
    assert!(browser.text("#card").contains("v1 still serves"), "{}", browser.text("#card"));
    browser.waits_for("#log", "no such <b>luck</b>");
    work.write("Dockerfile", &dockerfile);
}

fn a_push_is_cancelled_by_a_button(town: &Town, browser: &Browser, work: &Work) {
    slow_down(town, work, 100);
    work.commit("very slow");
    let pushing = work.begin_push();
    pushing.wait_for("tick 1 of 100");
    browser.go(&page(town, "/apps/blog/deploys/3"));
    browser.waits_for("#log", "tick 2 of 100");
    browser.click("form[action$='/cancel'] button");
    pushing.finish().is_rejected_with("cancelled by root@host");
    browser.waits_for(".head .state", "cancelled");
    slow_down(town, work, 1);
}

fn a_rollback_by_keyboard_alone(town: &Town, browser: &Browser, work: &Work) {
    town.paas(&["config:set", "CANARY=canary-value-4711", "-a", "blog"]).succeeds();
    work.set_version("two").push().succeeds();
    town.shows("blog", "two");
    browser.go(&page(town, "/apps/blog"));
    browser.waits_for(".chips", "CANARY");
    browser.tab_to_and_enter("Roll back to v1");
    browser.waits_for("h1", "Roll back blog to v1");
    browser.waits_for("main", "Config vars that go: CANARY.");
    browser.tab_to_and_enter("Roll back to v1");
    browser.waits_for("h1", "blog: deploy v4");
    browser.waits_for(".head .state", "live");
    browser.waits_for("#log", "v4");
    assert!(!town.get("blog", "/").text().contains("two"), "v1 is back");
}

fn the_log_is_followed(town: &Town, browser: &Browser) {
    browser.go(&page(town, "/apps/blog/logs?source=router&search=needle"));
    assert!(!browser.text("#log").contains("needle"));
    town.get("blog", "/hay");
    town.get("blog", "/needle");
    browser.waits_for("#log", "path=\"/needle\"");
    assert!(!browser.text("#log").contains("/hay"), "the filter holds for what comes, too");
    browser.go(&page(town, "/apps/blog/logs"));
    browser.waits_for("#log", "/hay");
}

/// One request to the pages, with what a browser would send, or not.
fn ask(town: &Town, host: &str, method: &str, path: &str, headers: &[&str], body: &str) -> (u16, String) {
    let mut connection = Connection::open(town.http(), host).expect("connect");
    connection.send(method, path, headers, body.as_bytes()).expect("send");
    let response = connection.answer().expect("an answer");
    (response.status, response.header("set-cookie").unwrap_or_default().to_owned() + &response.text())
}

const FORM: &str = "Content-Type: application/x-www-form-urlencoded";

#[test]
fn the_pages_answer_whom_they_should() {
    let town = Town::start();
    town.push("hello-shell", "blog").succeeds();
    town.paas(&["config:set", "CANARY=canary-value-4711", "-a", "blog"]).succeeds();
    let get = |host: &str, headers: &[&str]| ask(&town, host, "GET", "/", headers, "").0;
    assert_eq!(get("paas.localhost", &[]), 303);
    assert_eq!(get("other.localhost", &[]), 404);
    assert_eq!(get("127.0.0.1", &[]), 404);
    // A stranger behind a proxy on this machine comes from loopback as well.
    assert_eq!(get("paas.localhost", &["X-Forwarded-For: 203.0.113.9"]), 404);

    let link = town.ssh("login --json").json();
    let token = link["url"].as_str().expect("a link").split_once("token=").expect("a token").1.to_owned();
    let body = format!("token={token}");
    let login = |headers: &[&str]| ask(&town, "paas.localhost", "POST", "/login", &[&[FORM], headers].concat(), &body);
    assert_eq!(login(&[]).0, 403);
    assert_eq!(login(&["Sec-Fetch-Site: same-site"]).0, 403);
    assert_eq!(login(&["Origin: http://blog.localhost"]).0, 403);
    let (status, cookie) = login(&["Sec-Fetch-Site: same-origin"]);
    assert_eq!(status, 303);
    assert_eq!(login(&["Sec-Fetch-Site: same-origin"]).0, 403, "a link works once");
    let cookie = format!("Cookie: {}", cookie.split(';').next().unwrap_or_default());

    for path in
        ["/", "/apps/blog", "/apps/blog/deploys", "/apps/blog/deploys/1", "/apps/blog/deploys/v2", "/apps/blog/logs"]
    {
        let (status, text) = ask(&town, "paas.localhost", "GET", path, &[&cookie], "");
        assert_eq!(status, 200, "{path}: {text}");
        assert!(!text.contains("canary-value-4711"), "{path} shows the value of a config var");
    }
    for path in
        ["/apps/nobody", "/apps/..", "/apps/blog/deploys/99", "/apps/blog/deploys/v99", "/apps/blog/rollback/v99"]
    {
        assert_eq!(ask(&town, "paas.localhost", "GET", path, &[&cookie], "").0, 404, "{path}");
    }
    let restart = |headers: &[&str]| ask(&town, "paas.localhost", "POST", "/apps/blog/restart", headers, "form=x").0;
    assert_eq!(restart(&[FORM, &cookie]), 403);
    assert_eq!(restart(&[FORM, &cookie, "Sec-Fetch-Site: same-site"]), 403);
    assert_eq!(restart(&[FORM, &cookie, "Sec-Fetch-Site: same-origin"]), 403, "the form's token is another session's");
    let too_long = "form=".to_owned() + &"x".repeat(70_000);
    assert_eq!(ask(&town, "paas.localhost", "POST", "/logout", &[FORM, &cookie], &too_long).0, 413);

    // Removing the key ends what its login opened, also the stream that is open.
    let mut stream = Connection::open(town.http(), "paas.localhost").expect("connect");
    stream.send("GET", "/changes", &[&cookie, "Sec-Fetch-Site: same-origin"], b"").expect("send");
    assert_eq!(stream.head().expect("an answer").status, 200);
    town.make_key("spare");
    town.add_key("spare", "spare").succeeds();
    town.paas(&["keys:remove", "laptop"]).succeeds();
    while stream.chunk().expect("the stream ends properly").is_some() {}
    assert_eq!(ask(&town, "paas.localhost", "GET", "/", &[&cookie], "").0, 303);
}
