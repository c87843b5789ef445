//! What streams tell, and where they go on.
use super::{NOW, Town};
use crate::domain::BuildId;
use crate::logs::TranscriptOf;
use axum::body::Body;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

struct Stream(Body, String);

impl Stream {
    async fn open(town: &Town, path: &str, again: &str) -> Self {
        let headers = [
            ("cookie", &town.cookie()),
            ("sec-fetch-site", &"same-origin".to_owned()),
            ("last-event-id", &again.to_owned()),
        ];
        let headers = headers.map(|(name, value)| (name, value.as_str()));
        let response = town.call(Method::GET, path, &headers, "").await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self(response.into_body(), String::new())
    }

    /// Reads until the stream has said `text`; returns all that it said.
    async fn until(&mut self, text: &str) -> &str {
        while !self.1.contains(text) {
            let frame = tokio::time::timeout(PATIENCE, self.0.frame()).await;
            let frame = frame.unwrap_or_else(|_| panic!("not `{text}` but {}", self.1)).expect("it goes on").unwrap();
            self.1.push_str(&String::from_utf8_lossy(frame.data_ref().unwrap()));
        }
        &self.1
    }
}

fn tell(town: &Town, build: BuildId, numbers: std::ops::Range<u32>) {
    town.logs.transcribe(&town.blog.key, TranscriptOf::Build(build), numbers.map(|n| format!("line {n}")));
}

#[tokio::test]
async fn a_deploys_log_goes_on_behind_the_last_line_that_came() {
    let town = Town::new().await;
    let build = town.queue(&town.blog).await;
    let transcript = town.logs.transcript(&town.blog.key, TranscriptOf::Build(build)).unwrap();
    tell(&town, build, 1..6);
    let page = town.page("/apps/blog/deploys/1").await.text;
    assert!(page.contains("data-last=\"5\"") && page.contains("id=\"L5\""));
    let mut stream = Stream::open(&town, "/apps/blog/deploys/1/stream?after=3", "").await;
    let said = stream.until("line 5").await;
    assert!(said.contains("id: 4\ndata: <li id=\"L4\">") && !said.contains("line 3"), "{said}");
    tell(&town, build, 6..8);
    stream.until("id: 7\n").await;
    // The browser's own word wins over the page's.
    let mut again = Stream::open(&town, "/apps/blog/deploys/1/stream?after=3", "6").await;
    assert!(!again.until("line 7").await.contains("line 6"));
    drop(transcript);
}

#[tokio::test]
async fn a_change_is_said_also_when_it_came_before_the_stream() {
    let town = Town::new().await;
    let seen = *town.store.changes().borrow();
    let mut quiet = Stream::open(&town, &format!("/changes?seen={seen}"), "").await;
    town.store.create_app(&"new".parse().unwrap(), NOW).await.unwrap();
    quiet.until("event: changed").await;
    let mut late = Stream::open(&town, &format!("/changes?seen={seen}"), "").await;
    late.until("event: changed").await;
}

#[tokio::test]
async fn a_log_goes_on_where_it_was_cut_off_and_keeps_its_filter() {
    let town = Town::new().await;
    let say = |text: &str| town.logs.say(&town.blog.key, "app[web.1]", text);
    say("needle 1");
    let mut stream = Stream::open(&town, "/apps/blog/logs/stream?search=needle", "").await;
    stream.until("retry").await;
    say("hay");
    say("needle 2");
    let said = stream.until("needle 2").await;
    assert!(!said.contains("hay") && !said.contains("needle 1"), "{said}");
    let place = said.split("id: ").nth(1).unwrap().lines().next().unwrap().to_owned();
    say("needle 3");
    let mut again = Stream::open(&town, "/apps/blog/logs/stream?search=needle", &place).await;
    assert!(!again.until("needle 3").await.contains("needle 2"));
}

#[tokio::test]
async fn a_session_has_so_many_streams_and_no_more() {
    let town = Town::new().await;
    let mut open = Vec::new();
    for _ in 0..16 {
        open.push(Stream::open(&town, "/changes", "").await);
    }
    let headers = [("cookie", &*town.cookie()), ("sec-fetch-site", "same-origin")];
    let refused = town.ask(Method::GET, "/changes", &headers, "").await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    open.pop();
    Stream::open(&town, "/changes", "").await.until("retry").await;
}

#[tokio::test]
async fn a_stream_ends_with_its_session() {
    let town = Town::new().await;
    let mut stream = Stream::open(&town, "/changes", "").await;
    stream.until("retry").await;
    town.store.remove_key("laptop").await.unwrap();
    let end = async { while stream.0.frame().await.is_some() {} };
    tokio::time::timeout(PATIENCE, end).await.expect("the stream ends");
}
