//! Who may pass: same origin for what changes or goes on, a session where one is wanted, a form token for forms
//! (security rules R7 and R11). Apps are same-site with the pages, so a cookie's SameSite protects nothing by itself.
use super::Room;
use super::fields::Fields;
use super::house::Visitor;
use super::problem::Problem;
use super::routes::{Access, Kind};
use super::session::{self, Caller};
use crate::visit::BODY_BYTES_MAX;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const HX_REQUEST: HeaderName = HeaderName::from_static("hx-request");
const HX_REDIRECT: HeaderName = HeaderName::from_static("hx-redirect");
const LOGIN: HeaderValue = HeaderValue::from_static("/login");

/// What every answer carries.
const HARDENED: [(HeaderName, &str); 8] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=(), payment=()"),
    (HeaderName::from_static("x-robots-tag"), "noindex"),
];

/// What a route wants.
#[derive(Clone)]
pub(super) struct Rule {
    pub(super) room: Room,
    pub(super) access: Access,
    pub(super) kind: Kind,
}

pub(super) async fn pass(State(rule): State<Rule>, request: Request, next: Next) -> Response {
    match admit(&rule, request).await {
        Ok(request) => next.run(request).await,
        Err(response) => *response,
    }
}

async fn admit(rule: &Rule, mut request: Request) -> Result<Request, Box<Response>> {
    let refuse = |problem: Problem| Box::new(problem.into_response());
    let visitor = *request.extensions().get::<Visitor>().ok_or_else(|| refuse(Problem::NotFound))?;
    if matches!(rule.kind, Kind::Form | Kind::Stream) && !is_same_origin(request.headers(), visitor) {
        return Err(refuse(Problem::said(StatusCode::FORBIDDEN, "this request did not come from one of these pages")));
    }
    let caller = session::caller(&rule.room, request.headers(), visitor.transport).await.map_err(refuse)?;
    if let Access::Holder(permission) = rule.access {
        let Some(caller) = &caller else { return Err(Box::new(ask_to_log_in(rule.kind, request.headers()))) };
        if !permission.is_granted_to(&caller.session.who) {
            return Err(refuse(Problem::NotFound));
        }
    }
    if rule.kind == Kind::Form {
        let holder = caller.as_ref().filter(|_| rule.access != Access::Anybody);
        request = read_form(request, holder).await.map_err(refuse)?;
    }
    if let Some(caller) = caller {
        request.extensions_mut().insert(caller);
    }
    Ok(request)
}

/// By what the browser says of the page that asks. Old browsers, and insecure addresses, name the origin instead.
fn is_same_origin(headers: &HeaderMap, visitor: Visitor) -> bool {
    if let Some(site) = headers.get(SEC_FETCH_SITE) {
        return site == "same-origin" && headers.get_all(SEC_FETCH_SITE).iter().count() == 1;
    }
    let one = |name: HeaderName| -> Option<&str> {
        let mut values = headers.get_all(name).iter();
        values.next().filter(|_| values.next().is_none())?.to_str().ok()
    };
    let (Some(origin), Some(host)) = (one(header::ORIGIN), one(header::HOST)) else { return false };
    origin.eq_ignore_ascii_case(&format!("{}://{host}", visitor.transport.scheme()))
}

fn ask_to_log_in(kind: Kind, headers: &HeaderMap) -> Response {
    // A script's request would follow a redirect and put the login page where a part of this one was.
    if headers.contains_key(HX_REQUEST) {
        return (StatusCode::UNAUTHORIZED, [(HX_REDIRECT, LOGIN)]).into_response();
    }
    match kind {
        Kind::Page => (StatusCode::SEE_OTHER, [(header::LOCATION, LOGIN)]).into_response(),
        Kind::Stream | Kind::Form => Problem::said(StatusCode::UNAUTHORIZED, "you are not logged in, or no longer")
            .next("run `paas login` and open its link")
            .into_response(),
    }
}

/// Reads a form and checks its token; where nobody is logged in, what it carries must speak for itself.
async fn read_form(request: Request, caller: Option<&Caller>) -> Result<Request, Problem> {
    let (mut head, body) = request.into_parts();
    let is_form = |kind: &HeaderValue| kind.as_bytes().starts_with(b"application/x-www-form-urlencoded");
    if !head.headers.get(header::CONTENT_TYPE).is_some_and(is_form) {
        return Err(Problem::said(StatusCode::UNSUPPORTED_MEDIA_TYPE, "this is no form of these pages"));
    }
    let bytes = to_bytes(body, BODY_BYTES_MAX).await;
    let bytes = bytes.map_err(|_| Problem::said(StatusCode::PAYLOAD_TOO_LARGE, "the form is too long"))?;
    let fields = Fields::parse(&bytes);
    if let Some(caller) = caller
        && !fields.one("form")?.is_some_and(|given| caller.token.is_form_token(given))
    {
        return Err(Problem::said(StatusCode::FORBIDDEN, "the form is not of your session")
            .next("go back, reload the page and try again"));
    }
    head.extensions.insert(fields);
    Ok(Request::from_parts(head, axum::body::Body::empty()))
}

/// Adds what keeps a browser from doing more with an answer than showing it.
pub(super) fn harden(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in HARDENED {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::visit::Transport;

    fn asked(fields: &[(&'static str, &'static str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        is_same_origin(&headers, Visitor { peer: [127, 0, 0, 1].into(), transport: Transport::Plain })
    }

    #[test]
    fn only_our_own_pages_are_of_our_origin() {
        assert!(asked(&[("sec-fetch-site", "same-origin")]));
        assert!(asked(&[("host", "paas.localhost:8080"), ("origin", "http://paas.localhost:8080")]));
        for bad in [
            &[][..],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "none")],
            &[("sec-fetch-site", "cross-site"), ("host", "a"), ("origin", "http://a")],
            &[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "same-site")],
            &[("host", "paas.localhost"), ("origin", "null")],
            &[("host", "paas.localhost"), ("origin", "https://paas.localhost")],
            &[("host", "paas.localhost"), ("origin", "http://blog.localhost")],
            &[("host", "paas.localhost:80"), ("origin", "http://paas.localhost:81")],
            &[("host", "paas.localhost")],
        ] {
            assert!(!asked(bad), "{bad:?}");
        }
    }
}
