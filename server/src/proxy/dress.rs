//! Gives a request the shape that its instance's protocol wants. A request that is sent again may go to an instance of
//! another protocol, so this goes both ways.
use super::body::SentBody;
use crate::domain::Protocol;
use http::header::{self, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Uri, Version};
use hyper::body::Body;

/// `host` is the name under which the app was found: it stands in where the request's own spelling is none for a URI.
pub(super) fn dress(request: &mut Request<SentBody>, protocol: Protocol, host: &str) {
    match protocol {
        Protocol::Http1 => for_http1(request),
        Protocol::H2c => for_http2(request, host),
    }
}

/// Origin form with a Host; a body of unknown length in chunks, which hyper would drop behind a GET.
fn for_http1(request: &mut Request<SentBody>) {
    *request.version_mut() = Version::HTTP_11;
    if let Some(authority) = request.uri().authority().cloned() {
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
        if let Ok(host) = HeaderValue::from_str(authority.as_str()) {
            request.headers_mut().insert(header::HOST, host);
        }
    }
    let has_length = request.headers().contains_key(header::CONTENT_LENGTH);
    if !has_length && request.body().size_hint().exact().is_none() {
        request.headers_mut().insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

/// `:scheme` and `:authority` in place of Host.
fn for_http2(request: &mut Request<SentBody>, host: &str) {
    *request.version_mut() = Version::HTTP_2;
    request.headers_mut().remove(header::TRANSFER_ENCODING);
    let Some(named) = request.headers_mut().remove(header::HOST) else { return };
    let authority = Authority::try_from(named.as_bytes()).or_else(|_| Authority::try_from(host));
    let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let whole = |authority| Uri::builder().scheme(Scheme::HTTP).authority(authority).path_and_query(path).build().ok();
    if let Some(uri) = authority.ok().and_then(whole) {
        *request.uri_mut() = uri;
    }
}
