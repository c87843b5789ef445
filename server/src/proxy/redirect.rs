//! Visitors who are sent on, with the path and query they asked for: from a name that an app had before to the one it has
//! now, and from http to https.
use super::body::ReplyBody;
use super::entrance;
use super::exchange::{Client, Exchange};
use super::headers::X_REQUEST_ID;
use crate::domain::Moment;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

/// Sends a visitor of an app on; `origin` is scheme and host.
pub(super) fn answer(mut exchange: Exchange, head: &Parts, origin: &str) -> Response<ReplyBody> {
    let response = response(head, origin, &exchange.request_id);
    exchange.answered(response.status().as_u16());
    exchange.succeed();
    response
}

/// GET and HEAD by 301, which everything understands; other methods by 308, which repeats them with their body.
pub(super) fn response(head: &Parts, origin: &str, id: &HeaderValue) -> Response<ReplyBody> {
    let is_plain = head.method == Method::GET || head.method == Method::HEAD;
    let status = if is_plain { StatusCode::MOVED_PERMANENTLY } else { StatusCode::PERMANENT_REDIRECT };
    let path = head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let mut response = Response::new(ReplyBody::Empty);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::from_str(&format!("{origin}{path}")) {
        headers.insert(header::LOCATION, location);
    }
    // The name may be freed, the certificate may go.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(X_REQUEST_ID, id.clone());
    response
}

/// Where the new name `to` is visited: by https if the visitor came so and a certificate lives for it, else by http, at
/// the port that they named. Behind a trusted proxy that ends TLS itself the certificates are that one's matter.
pub(super) fn origin_of(client: &Client, to: &str, headers: &HeaderMap, now: Moment) -> String {
    let tls = client.worker.shared.tls.as_ref().filter(|_| client.secured.is_some());
    match tls {
        Some(tls) if tls.has_certificate(to, now) => entrance::https_origin(client, to),
        Some(_) => format!("http://{to}{}", client.worker.http_port_suffix()),
        None => {
            let scheme = if entrance::came_by_https(client, headers) { "https" } else { "http" };
            format!("{scheme}://{to}{}", port_of(headers.get(header::HOST).map_or(b"", HeaderValue::as_bytes)))
        }
    }
}

/// `:8080` where the visitor named a port; they go on at the same one.
fn port_of(host: &[u8]) -> &str {
    let digits = host.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    let at = host.len() - digits;
    let has_port = digits > 0 && at > 0 && host[at - 1] == b':';
    if has_port { std::str::from_utf8(&host[at - 1..]).unwrap_or_default() } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_the_one_that_the_visitor_named() {
        for (host, port) in [("a.test:8080", ":8080"), ("a.test", ""), ("a1", ""), ("a.test:", ""), ("", "")] {
            assert_eq!(port_of(host.as_bytes()), port, "{host}");
        }
    }
}
