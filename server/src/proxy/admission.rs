//! Who is let in to an app whose owner set something about that, before an instance is looked for: address, rate, login,
//! size of the body, and the way past a maintenance.
use super::body::ReplyBody;
use super::cookies;
use super::error_page::{Format, Page};
use super::exchange::Exchange;
use super::fault::Fault;
use super::headers::X_REQUEST_ID;
use super::logins::Verdict;
use super::rules::Rules;
use crate::domain::Maintenance;
use crate::domain::maintenance::BYPASS_PATH;
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Body;
use std::time::Duration;

/// Why a request is answered here.
#[derive(Debug)]
pub(super) enum Turned {
    Away(Fault),
    /// Away for so long.
    Later(Duration),
    /// It brought the link past a maintenance: its token becomes a cookie.
    Bypass(String),
}

/// Lets the request in, without what is ours in it, or says why not.
pub(super) async fn admit<B: Body>(
    rules: &Rules,
    exchange: &mut Exchange,
    request: &mut Request<B>,
) -> Result<(), Turned> {
    let address = exchange.visitor.ip();
    if !rules.allow.is_empty() && !address.is_some_and(|ip| rules.allow.iter().any(|range| range.contains(ip))) {
        return Err(Turned::Away(Fault::Forbidden));
    }
    if let (Some(rate), Some(address)) = (&rules.rate, address) {
        rate.take(address).map_err(Turned::Later)?;
    }
    if let Some(token) = bypass_link(rules, exchange, request.uri().path()) {
        return Err(Turned::Bypass(token));
    }
    for name in rules.own_cookies() {
        let value = cookies::take(request.headers_mut(), name);
        match name {
            cookies::BYPASS => exchange.has_bypass = value.is_some_and(|token| rules.is_bypass(&token)),
            _ => exchange.stays_with = value,
        }
    }
    if let Some(logins) = &rules.logins {
        match logins.judge(request.headers(), address, &exchange.client.worker.known).await {
            Verdict::Welcome => request.headers_mut().remove(header::AUTHORIZATION),
            Verdict::Unknown => return Err(Turned::Away(Fault::LoginRequired)),
            Verdict::Later(wait) => return Err(Turned::Later(wait)),
        };
    }
    let declared = request.body().size_hint().lower();
    if rules.body_bytes_max.is_some_and(|max| declared > max) {
        return Err(Turned::Away(Fault::BodyTooLarge));
    }
    Ok(())
}

fn bypass_link(rules: &Rules, exchange: &Exchange, path: &str) -> Option<String> {
    let token = path.strip_prefix(BYPASS_PATH).filter(|_| exchange.app.maintenance == Maintenance::On)?;
    rules.is_bypass(token).then(|| token.to_owned())
}

impl Turned {
    pub(super) fn response(self, exchange: &mut Exchange, format: Format) -> Response<ReplyBody> {
        let (fault, wait) = match self {
            Self::Bypass(token) => return let_past(exchange, &token),
            Self::Away(fault) => (fault, None),
            Self::Later(wait) => (Fault::TooManyRequests, Some(wait)),
        };
        let mut page = Page::of_fault(fault, exchange.request_id.clone());
        page.wait(wait);
        let mut response = page.response(format);
        if fault == Fault::LoginRequired {
            let challenge = format!("Basic realm=\"{}\", charset=\"UTF-8\"", exchange.host());
            let challenge =
                HeaderValue::from_str(&challenge).unwrap_or(HeaderValue::from_static("Basic realm=\"app\""));
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let ReplyBody::Page(Some(page)) = response.body() {
            exchange.bytes = page.len() as u64;
        }
        exchange.fail(fault);
        response
    }
}

fn let_past(exchange: &mut Exchange, token: &str) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::Empty);
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, HeaderValue::from_static("/"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_REQUEST_ID, exchange.request_id.clone());
    if let Some(cookie) = cookies::set(cookies::BYPASS, token, exchange.visitor.scheme) {
        headers.insert(header::SET_COOKIE, cookie);
    }
    exchange.hide_path();
    exchange.answered(StatusCode::SEE_OTHER.as_u16());
    exchange.succeed();
    response
}
