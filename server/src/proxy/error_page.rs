//! What visitors read when there is no answer of an app: neutral, in the form they asked for. The cause is for the
//! owner, in the router's line; here stand a code and the request id to find it by.
use super::body::ReplyBody;
use super::fault::Fault;
use super::headers::X_REQUEST_ID;
use askama::Template;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Html,
    /// RFC 9457.
    Problem,
    Text,
    /// Nothing that we have was named: text, or an app's own page.
    Any,
}

impl Format {
    /// By what Accept weighs most of what we have, and names first of that.
    pub(super) fn asked_by(headers: &HeaderMap) -> Self {
        let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        let mut best = (0.0, Self::Any);
        for part in accept.split(',') {
            let mut words = part.split(';').map(str::trim);
            let known = match words.next().unwrap_or_default().to_ascii_lowercase().as_str() {
                "text/html" | "application/xhtml+xml" => Self::Html,
                "application/json" | "application/problem+json" => Self::Problem,
                "text/plain" => Self::Text,
                _ => continue,
            };
            let weight = words.find_map(|word| word.strip_prefix("q=")).and_then(|weight| weight.parse().ok());
            let weight: f32 = weight.unwrap_or(1.0);
            if weight > best.0 {
                best = (weight, known);
            }
        }
        best.1
    }

    fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Html => "text/html; charset=utf-8",
            Self::Problem => "application/problem+json",
            Self::Text | Self::Any => "text/plain; charset=utf-8",
        })
    }
}

pub(super) struct Page {
    status: StatusCode,
    code: &'static str,
    request_id: HeaderValue,
    retry_after_s: Option<u64>,
    /// HTML of the app's own.
    own: Option<Bytes>,
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    status: u16,
    title: &'a str,
    advice: &'a str,
    code: &'a str,
    request_id: &'a str,
}

#[derive(serde::Serialize)]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    code: &'a str,
    request_id: &'a str,
}

impl Page {
    pub(super) fn of_fault(fault: Fault, request_id: HeaderValue) -> Self {
        let retry_after_s = fault.retry_after_s().map(u64::from);
        Self { status: fault.status(), code: fault.code(), request_id, retry_after_s, own: None }
    }

    /// For requests that concern no app.
    pub(super) fn of_status(status: StatusCode, request_id: HeaderValue) -> Self {
        Self { status, code: "", request_id, retry_after_s: None, own: None }
    }

    /// Tells when to come again.
    pub(super) fn wait(&mut self, wait: Option<Duration>) {
        if let Some(wait) = wait {
            self.retry_after_s = Some(wait.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX).max(1));
        }
    }

    /// Shows the app's own page to who takes HTML.
    pub(super) fn replace_by(&mut self, own: Option<Bytes>) {
        self.own = own;
    }

    pub(super) fn response(self, format: Format) -> Response<ReplyBody> {
        let (body, kind) = match &self.own {
            Some(own) if matches!(format, Format::Html | Format::Any) => (own.clone(), Format::Html.content_type()),
            Some(_) | None => (Bytes::from(self.text(format)), format.content_type()),
        };
        let mut response = Response::new(ReplyBody::Page(Some(body)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, kind);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
        }
        headers.insert(X_REQUEST_ID, self.request_id);
        response
    }

    fn text(&self, format: Format) -> String {
        let (status, code) = (self.status.as_u16(), self.code);
        let request_id = self.request_id.to_str().unwrap_or("-");
        let (title, detail) = if self.code == Fault::Maintenance.code() { MAINTENANCE } else { words(self.status) };
        match format {
            Format::Html => {
                let page = ErrorPage { status, title, advice: detail, code, request_id };
                page.render().unwrap_or_else(|_| title.to_owned())
            }
            Format::Problem => {
                let problem = Problem { kind: "about:blank", title, status, detail, code, request_id };
                serde_json::to_string(&problem).unwrap_or_default()
            }
            Format::Text | Format::Any => {
                let code = if code.is_empty() { String::new() } else { format!("code: {code}\n") };
                format!("{status} {title}\n\n{detail}\n\n{code}request id: {request_id}\n")
            }
        }
    }
}

/// The same for an app whose owner asked for it.
const MAINTENANCE: (&str, &str) =
    ("Under maintenance", "The application is being worked on and will be back. Please try again in a few minutes.");

/// Title and advice, for somebody who knows nothing of what runs here.
fn words(status: StatusCode) -> (&'static str, &'static str) {
    match status.as_u16() {
        401 => ("Login required", "This application asks for a name and a password."),
        403 => ("Forbidden", "This application is not open to your address."),
        404 => ("Not found", "There is nothing at this address."),
        405 => ("Method not allowed", "This request method is not served here."),
        408 => ("Request timeout", "The request did not arrive in time."),
        413 => ("Content too large", "The body of this request is too large."),
        414 => ("Address too long", "The address of this request is too long."),
        417 => ("Expectation failed", "The request expects something that is not served here."),
        421 => ("Misdirected request", "The certificate of this connection is not for this host. Please try again."),
        429 => ("Too many requests", "Please try again a little later."),
        431 => ("Request head too large", "The head of this request is too large."),
        500 => ("Internal error", "The request could not be answered. Please try again later."),
        502 => ("Bad gateway", "The application gave no proper answer. Please try again later."),
        503 => ("Service unavailable", "The application is not available right now. Please try again soon."),
        504 => ("Gateway timeout", "The application did not answer in time. Please try again later."),
        505 => ("HTTP version not supported", "Only HTTP/1.0 and HTTP/1.1 are served here."),
        _ => ("Bad request", "The request could not be understood."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(accept: &'static str) -> Format {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        Format::asked_by(&headers)
    }

    #[test]
    fn the_format_follows_accept() {
        assert_eq!(asked("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"), Format::Html);
        assert_eq!(asked("application/json"), Format::Problem);
        assert_eq!(asked("application/problem+json; q=1"), Format::Problem);
        assert_eq!(asked("text/html;q=0.1, application/json;q=0.9"), Format::Problem);
        assert_eq!(asked("application/json;q=0, text/plain;q=0.5"), Format::Text);
        assert_eq!(asked("*/*"), Format::Any);
        assert_eq!(Format::asked_by(&HeaderMap::new()), Format::Any);
    }

    #[test]
    fn every_format_shows_the_code_and_the_request_id() {
        for format in [Format::Html, Format::Problem, Format::Text] {
            let page = Page::of_fault(Fault::BootTimeout, HeaderValue::from_static("0123456789-id"));
            let text = page.text(format);
            for shown in ["503", "H20", "0123456789-id"] {
                assert!(text.contains(shown), "{format:?}: {text}");
            }
            let response = page.response(format);
            assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
            assert_eq!(response.headers()[header::RETRY_AFTER], "5");
            assert_eq!(response.headers()[X_REQUEST_ID], "0123456789-id");
        }
    }
}
