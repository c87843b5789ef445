//! Judges the head of an HTTP/2 request, which the library has decoded, as `head_scan` judges one of HTTP/1.1 on its raw
//! bytes, and brings it into the same shape: origin form, exactly one Host. Source: RFC 9113, section 8.
//!
//! The library refuses by itself, by a reset of the stream: pseudo-fields that are missing, twice, unknown, or behind
//! other fields; fields of the connection (`connection`, `transfer-encoding`, `te` but `trailers` …); lengths that differ
//! from the data. Names in upper case and control characters cost the connection. `tests/http2/cases.rs` holds it to that.
use super::limits::{FIELDS_MAX, LINE_BYTES_MAX, METHOD_BYTES_MAX, URI_BYTES_MAX};
use super::refusal::Refusal;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Uri};

/// `name: value` in a line of HTTP/1.1.
const FIELD_EXTRA_BYTES: usize = ": ".len();

pub(super) fn settle<B>(request: &mut Request<B>) -> Result<(), Refusal> {
    check_method(request.method())?;
    check_target(request.method(), request.uri())?;
    check_fields(request.headers())?;
    let host = agreed_host(request.uri(), request.headers())?;
    if let Some(path) = request.uri().path_and_query().cloned() {
        *request.uri_mut() = Uri::from(path);
    }
    let headers = request.headers_mut();
    headers.insert(header::HOST, host);
    join_cookies(headers)
}

fn check_method(method: &Method) -> Result<(), Refusal> {
    if *method == Method::CONNECT || *method == Method::TRACE {
        return Err(Refusal::MethodNotAllowed);
    }
    if method.as_str().len() > METHOD_BYTES_MAX {
        return Err(Refusal::Malformed("method"));
    }
    Ok(())
}

fn check_target(method: &Method, uri: &Uri) -> Result<(), Refusal> {
    if uri.scheme_str().is_some_and(|scheme| scheme != "http" && scheme != "https") {
        return Err(Refusal::Malformed(":scheme"));
    }
    // Empty where `:path` is missing altogether: the library lets that pass when `:authority` is missing too.
    if uri.path().is_empty() {
        return Err(Refusal::Malformed("no :path"));
    }
    let target = uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str);
    if target.len() > URI_BYTES_MAX {
        return Err(Refusal::UriTooLong);
    }
    let fits = target.starts_with('/') || (target == "*" && *method == Method::OPTIONS);
    if fits { Ok(()) } else { Err(Refusal::Malformed(":path")) }
}

fn check_fields(headers: &HeaderMap) -> Result<(), Refusal> {
    if headers.len() > FIELDS_MAX {
        return Err(Refusal::HeadTooLarge);
    }
    for (name, value) in headers {
        if name.as_str().len() + FIELD_EXTRA_BYTES + value.len() > LINE_BYTES_MAX {
            return Err(Refusal::HeadTooLarge);
        }
        if let [b' ' | b'\t', ..] | [.., b' ' | b'\t'] = value.as_bytes() {
            return Err(Refusal::Malformed("blanks around a field value"));
        }
    }
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    if let Some(length) = lengths.next() {
        super::head_scan::parse_length(length.as_bytes())?;
    }
    if lengths.next().is_some() {
        return Err(Refusal::Malformed("two Content-Length"));
    }
    Ok(())
}

/// `:authority`, or else the one Host; where both are there they must say the same.
fn agreed_host(uri: &Uri, headers: &HeaderMap) -> Result<HeaderValue, Refusal> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let named = hosts.next();
    if hosts.next().is_some() {
        return Err(Refusal::Malformed("two Host"));
    }
    let Some(authority) = uri.authority() else {
        return named.cloned().ok_or(Refusal::Malformed("neither :authority nor Host"));
    };
    let authority = authority.as_str();
    if authority.contains('@') {
        return Err(Refusal::Malformed("user in :authority"));
    }
    if named.is_some_and(|named| !named.as_bytes().eq_ignore_ascii_case(authority.as_bytes())) {
        return Err(Refusal::Malformed(":authority differs from Host"));
    }
    HeaderValue::from_str(authority).map_err(|_| Refusal::Malformed(":authority"))
}

/// HTTP/2 may split a cookie for its compression; HTTP/1.1 knows one field alone. RFC 9113, section 8.2.3.
fn join_cookies(headers: &mut HeaderMap) -> Result<(), Refusal> {
    if headers.get_all(header::COOKIE).iter().nth(1).is_none() {
        return Ok(());
    }
    let crumbs: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    let whole = crumbs.join(&b"; "[..]);
    if header::COOKIE.as_str().len() + FIELD_EXTRA_BYTES + whole.len() > LINE_BYTES_MAX {
        return Err(Refusal::HeadTooLarge);
    }
    let whole = HeaderValue::from_bytes(&whole).map_err(|_| Refusal::Malformed("cookie"))?;
    headers.insert(header::COOKIE, whole);
    Ok(())
}
