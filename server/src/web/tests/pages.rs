//! What pages show.
use super::{CANARY, NOW, Town};
use crate::domain::{BuildState, Failure};
use crate::logs::TranscriptOf;
use http::{Method, StatusCode};

const EVIL: &str = "<script>alert(1)</script>\u{202e}\u{1b}[31m\"'&";

#[tokio::test]
async fn the_first_page_is_empty_and_says_what_to_do() {
    let town = Town::new().await;
    // The app of the town is not pushed yet, but it is there: the empty page is for a server without any.
    let page = town.page("/").await;
    assert!(page.text.contains("id=\"app-blog\"") && page.text.contains("state none\">empty"), "{}", page.text);
    let strangers = town.ask(Method::GET, "/login", &[], "").await;
    insta::assert_snapshot!("login", town.stable(&strangers.text));
}

#[tokio::test]
async fn an_app_is_shown_with_its_releases_and_the_names_of_its_config() {
    let town = Town::new().await;
    town.release("ok#1", "Push 1234567", &[("CANARY", CANARY)]).await;
    town.release("ok#2", "Set A", &[("A", "other")]).await;
    let app = town.page("/apps/blog").await;
    assert_eq!(app.status, StatusCode::OK);
    insta::assert_snapshot!("app", town.stable(&app.text));
    insta::assert_snapshot!("apps", town.stable(&town.page("/").await.text));
    let deploys = town.page("/apps/blog/deploys").await;
    insta::assert_snapshot!("deploys", town.stable(&deploys.text));
}

#[tokio::test]
async fn a_failed_push_shows_the_card_that_its_pusher_saw() {
    let town = Town::new().await;
    town.release("ok#1", "Push 1234567", &[]).await;
    let build = town.queue(&town.blog).await;
    let failure = Failure::BuildStep { step: "npm ci".to_owned(), reason: "no such package".to_owned(), advice: None };
    let card = crate::domain::card::card(&failure, Some(crate::domain::ReleaseNo(1)));
    let lines = ["-----> Building".to_owned(), EVIL.to_owned()].into_iter().chain(card);
    town.logs.transcribe(&town.blog.key, TranscriptOf::Build(build), lines);
    town.store.begin_build(build, NOW).await.unwrap();
    town.store.end_build(build, &BuildState::Failed { failure }, NOW).await.unwrap();
    let page = town.page("/apps/blog/deploys/1").await;
    insta::assert_snapshot!("failed_deploy", town.stable(&page.text));
    // Kept fresh, the page asks for its state alone.
    let part =
        town.ask(Method::GET, "/apps/blog/deploys/1", &[("cookie", &town.cookie()), ("hx-request", "true")], "").await;
    assert!(part.text.contains("id=\"card\"") && !part.text.contains("id=\"L1\""));
}

#[tokio::test]
async fn a_rollback_says_first_what_it_changes() {
    let town = Town::new().await;
    town.release("ok#1", "Push 1234567", &[("A", "one")]).await;
    town.release("ok#2", "Push 89abcde", &[("A", "two"), ("CANARY", CANARY)]).await;
    // The fake engine knows images that were built or made by it; none of these was.
    let gone = town.page("/apps/blog/rollback/v1").await;
    assert_eq!((gone.status, gone.text.contains("the image of v1 was removed")), (StatusCode::CONFLICT, true));
    assert!(gone.text.contains("push that commit again: 0000000000000000000000000000000000000000"), "the way back");
    let form = town.submit("/apps/blog/rollback/v1", "from=v2").await;
    assert_eq!((form.status, form.text.contains("push that commit again")), (StatusCode::CONFLICT, true));
    assert!(town.page("/apps/blog/rollback/v2").await.text.contains("v2 is live already"));
    let live = town.submit("/apps/blog/rollback/v2", "from=v2").await;
    assert_eq!(live.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn words_of_strangers_are_shown_and_never_obeyed() {
    let town = Town::new().await;
    town.release("ok#1", EVIL, &[("CANARY", CANARY)]).await;
    town.logs.say(&town.blog.key, "app[web.1]", EVIL);
    town.logs.transcribe(&town.blog.key, TranscriptOf::Release(crate::domain::ReleaseNo(1)), [EVIL.to_owned()]);
    let query = "?search=%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E&process=%27%3E%3Cb%3E";
    for path in [
        "/",
        "/apps/blog",
        "/apps/blog/deploys",
        "/apps/blog/deploys/v1",
        "/apps/blog/logs",
        &format!("/apps/blog/logs{query}"),
        "/apps/%3Cscript%3Ealert(1)%3C%2Fscript%3E",
        "/login?token=%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E",
    ] {
        let page = town.page(path).await;
        assert!(!page.text.contains("<script>") && !page.text.contains("'><b>"), "{path}: {}", page.text);
        assert!(!page.text.contains(['\u{202e}', '\u{1b}']), "{path} shows what it should make visible");
        assert!(!page.text.contains(CANARY), "{path} shows the value of a config var");
    }
    assert!(town.page("/apps/blog/logs").await.text.contains("\\u{202e}"));
}

#[tokio::test]
async fn the_log_is_filtered_by_its_address_and_downloaded_as_text() {
    let town = Town::new().await;
    for (source, text) in [("app[web.1]", "hay"), ("app[worker.1]", "needle"), ("router", "needle of the router")] {
        town.logs.say(&town.blog.key, source, text);
    }
    let page = town.page("/apps/blog/logs?source=app&search=needle").await.text;
    assert!(page.contains("app[worker.1]") && !page.contains("hay") && !page.contains("of the router"));
    assert!(page.contains("paas logs -f -a blog -s app --search needle"));
    let file = town.page("/apps/blog/logs/download?search=needle").await;
    assert_eq!(file.headers["content-disposition"], "attachment; filename=\"blog.log\"");
    assert_eq!(file.text.lines().count(), 2, "{}", file.text);
    assert_eq!(town.page("/apps/blog/logs?search=a&search=b").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_page_with_all_it_needs_is_small() {
    let town = Town::new().await;
    for no in 0..10 {
        town.release("ok#1", &format!("Push number {no}"), &[("CANARY", CANARY)]).await;
    }
    let assets = ["app.css", "app.js", "htmx.min.js", "icon.svg", "idiomorph-ext.min.js"];
    let carried: usize = assets.iter().map(|name| super::super::assets::packed_bytes(name)).sum();
    for path in ["/", "/apps/blog", "/apps/blog/deploys", "/apps/blog/deploys/v1", "/apps/blog/logs"] {
        let page = town.page(path).await.text.len();
        assert!(carried + page <= 40_000, "{path}: {page} bytes and {carried} bytes of files");
    }
}

#[tokio::test]
async fn files_are_carried_in_the_program_and_kept_for_good() {
    let town = Town::new().await;
    let path = super::super::assets::path_of("app.css");
    let plain = town.ask(Method::GET, path, &[], "").await;
    assert!(plain.text.starts_with(":root"));
    assert_eq!(plain.headers["cache-control"], "public, max-age=31536000, immutable");
    let packed = town.ask(Method::GET, path, &[("accept-encoding", "br, gzip")], "").await;
    assert_eq!(packed.headers["content-encoding"], "gzip");
    for missing in ["/static/app.css", "/static/..%2Fsecret", "/static/VENDORED.md"] {
        assert_eq!(town.ask(Method::GET, missing, &[], "").await.status, StatusCode::NOT_FOUND, "{missing}");
    }
}
