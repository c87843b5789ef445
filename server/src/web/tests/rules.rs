//! Who may do what: every route, without a login and with a wrong one (security rules R7, R8 and R11).
use super::super::routes::{self, Access, Kind, Route};
use super::{NOW, Town};
use crate::domain::{Moment, Pusher};
use http::{Method, StatusCode};

const OURS: (&str, &str) = ("sec-fetch-site", "same-origin");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// An address of a route, with things that exist.
fn address(route: &Route) -> String {
    let path = route.path.replace("{app}", "blog").replace("{release}", "v1").replace("{deploy}", "1");
    assert!(!path.contains('{') || route.access == Access::Anybody, "{path} is tried with a real address");
    path
}

fn method(route: &Route) -> Method {
    match route.kind {
        Kind::Page | Kind::Stream => Method::GET,
        Kind::Form => Method::POST,
    }
}

#[test]
fn only_logging_in_is_for_anybody() {
    let open: Vec<(&str, Kind)> = routes::all()
        .iter()
        .filter(|route| route.access == Access::Anybody)
        .map(|route| (route.path, route.kind))
        .collect();
    assert_eq!(open, [("/login", Kind::Page), ("/login", Kind::Form), ("/static/{file}", Kind::Page)]);
}

#[tokio::test]
async fn no_route_answers_without_a_session_or_with_a_wrong_one() {
    let town = Town::new().await;
    town.release("ok#1", "Push", &[]).await;
    town.queue(&town.blog).await;
    let wrong = format!("paas_session={}", "0".repeat(64));
    let nowhere = town.ask(Method::GET, "/nowhere", &[], "").await;
    for route in routes::all().iter().filter(|route| route.access != Access::Anybody) {
        let path = address(route);
        for cookie in ["", "paas_session=x", &wrong, "__Host-paas_session=x"] {
            let headers = [("cookie", cookie), OURS, FORM];
            let answer = town.ask(method(route), &path, &headers, "form=x").await;
            match route.kind {
                Kind::Page => {
                    assert_eq!(
                        (answer.status, &answer.headers["location"]),
                        (StatusCode::SEE_OTHER, &"/login".parse().unwrap()),
                        "{path}"
                    );
                    assert_eq!(
                        (answer.status, &answer.text),
                        (nowhere.status, &nowhere.text),
                        "what is not there reads the same"
                    );
                }
                Kind::Stream | Kind::Form => assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}"),
            }
        }
    }
}

#[tokio::test]
async fn what_changes_or_goes_on_wants_our_origin_and_forms_want_their_token() {
    let town = Town::new().await;
    town.release("ok#1", "Push", &[]).await;
    town.queue(&town.blog).await;
    let cookie = town.cookie();
    for route in routes::all().iter().filter(|route| route.kind != Kind::Page) {
        let path = address(route);
        let body = format!("form={}", town.token.form_token());
        for foreign in ["same-site", "cross-site", "none", ""] {
            let headers = [("cookie", cookie.as_str()), ("sec-fetch-site", foreign), FORM];
            let answer = town.ask(method(route), &path, &headers, &body).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path} from {foreign}");
        }
        if route.kind == Kind::Form && route.access != Access::Anybody {
            for body in ["", "form=", "form=x", &format!("{body}&{body}")] {
                let answer = town.ask(Method::POST, &path, &[("cookie", cookie.as_str()), OURS, FORM], body).await;
                assert!(answer.status.is_client_error(), "{path} with `{body}`: {}", answer.status);
            }
            let headers = [("cookie", cookie.as_str()), OURS, ("content-type", "text/plain")];
            let answer = town.ask(Method::POST, &path, &headers, &body).await;
            assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{path}");
        }
    }
    // None of it did anything.
    assert_eq!(town.page("/").await.status, StatusCode::OK);
    assert_eq!(town.store.queued_builds().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_form_that_is_too_long_is_refused_and_one_at_the_limit_is_read() {
    let town = Town::new().await;
    town.release("ok#1", "Push", &[]).await;
    let path = "/apps/blog/rollback/v1";
    let form = format!("form={}&padding=", town.token.form_token());
    let padded = |length: usize| format!("padding={}", "x".repeat(length - form.len()));
    let answer = town.submit(path, &padded(crate::visit::BODY_BYTES_MAX + 1)).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(answer.text.contains("the form is too long"), "{}", answer.text);
    assert_ne!(town.submit(path, &padded(crate::visit::BODY_BYTES_MAX)).await.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_build_belongs_to_its_app() {
    let town = Town::new().await;
    let other = town.store.create_app(&"other".parse().unwrap(), NOW).await.unwrap();
    town.room.tools().repos.ensure(&other.key).unwrap();
    let build = town.queue(&other).await.0;
    assert_eq!(town.page(&format!("/apps/other/deploys/{build}")).await.status, StatusCode::OK);
    let foreign = town.page(&format!("/apps/blog/deploys/{build}")).await;
    let missing = town.page("/apps/blog/deploys/999").await;
    let no_app = town.page("/apps/nobody").await;
    assert_eq!(foreign.status, StatusCode::NOT_FOUND);
    assert_eq!((&foreign.text, foreign.status), (&missing.text, missing.status));
    assert_eq!((&foreign.text, foreign.status), (&no_app.text, no_app.status));
    assert_eq!(town.submit(&format!("/apps/blog/deploys/{build}/cancel"), "").await.status, StatusCode::NOT_FOUND);
    assert_eq!(town.store.queued_builds().await.unwrap().len(), 1);
    let ours = town.submit(&format!("/apps/other/deploys/{build}/cancel"), "").await;
    assert_eq!(ours.status, StatusCode::SEE_OTHER);
    assert!(town.store.queued_builds().await.unwrap().is_empty());
}

#[tokio::test]
async fn every_answer_is_hardened() {
    let town = Town::new().await;
    for path in ["/", "/login", "/nowhere", super::super::assets::path_of("app.js"), "/apps/nobody"] {
        let headers = town.page(path).await.headers;
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'self';") && !policy.contains("unsafe"), "{path}");
        assert!(policy.contains("frame-ancestors 'none'"), "{path}");
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["cross-origin-opener-policy"], "same-origin", "{path}");
    }
    let page = town.page("/").await;
    assert_eq!(page.headers["cache-control"], "no-store");
    assert!(!page.text.contains("style=") && !page.text.contains("onclick") && !page.text.contains("<style"));
}

#[tokio::test]
async fn a_link_logs_in_once_and_a_logout_ends_it() {
    let town = Town::new().await;
    let link = town.store.add_login_link(&Pusher::Host { uid: 0 }, NOW).await.unwrap();
    let opened = town.ask(Method::GET, &format!("/login?token={}", link.reveal()), &[], "").await;
    assert!(opened.text.contains("Log in as root@host"), "opening the link uses nothing up");
    let body = format!("token={}", link.reveal());
    let answer = town.ask(Method::POST, "/login", &[OURS, FORM], &body).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    let cookie = answer.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    assert_eq!(town.ask(Method::GET, "/", &[("cookie", &cookie)], "").await.status, StatusCode::OK);
    assert_eq!(town.ask(Method::POST, "/login", &[OURS, FORM], &body).await.status, StatusCode::FORBIDDEN);
    let out = town.submit("/logout", "").await;
    assert!(out.headers["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    assert_eq!(town.page("/").await.status, StatusCode::SEE_OTHER);
    assert_eq!(town.ask(Method::GET, "/", &[("cookie", &cookie)], "").await.status, StatusCode::OK);
}

#[tokio::test]
async fn who_guesses_links_has_to_wait() {
    let town = Town::new().await;
    let guess = format!("token={}", "1".repeat(64));
    let mut statuses = Vec::new();
    for _ in 0..25 {
        statuses.push(town.ask(Method::POST, "/login", &[OURS, FORM], &guess).await.status);
    }
    assert_eq!(statuses[0], StatusCode::FORBIDDEN);
    assert_eq!(statuses[24], StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(town.page("/").await.status, StatusCode::OK, "who is logged in is not in the way");
}

#[tokio::test]
async fn before_the_first_key_there_is_nothing() {
    let town = Town::new().await;
    town.store.remove_key("laptop").await.unwrap();
    for path in ["/", "/login", "/static/app.css", "/apps/blog"] {
        let answer = town.page(path).await;
        assert_eq!((answer.status, answer.text.as_str()), (StatusCode::NOT_FOUND, "there is nothing at this address"));
    }
}

#[tokio::test]
async fn an_old_session_is_over() {
    let town = Town::new().await;
    let long_ago = Moment::from_unix_ms(NOW.unix_ms() - 31 * 24 * 3_600_000);
    let link = town.store.add_login_link(&town.key, long_ago).await.unwrap();
    let (token, _) = town.store.open_session(&link.hash(), long_ago).await.unwrap().unwrap();
    let cookie = format!("paas_session={}", token.reveal());
    assert_eq!(town.ask(Method::GET, "/", &[("cookie", &cookie)], "").await.status, StatusCode::SEE_OTHER);
}
