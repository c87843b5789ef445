//! Visitors of a name that an app had before are sent on to the one it has now, with the path and query they asked for.
use super::body::ReplyBody;
use super::exchange::Exchange;
use super::headers::X_REQUEST_ID;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, header};

/// GET and HEAD by 301, which everything understands; other methods by 308, which repeats them with their body.
pub(super) fn answer(mut exchange: Exchange, head: &Parts, to: &str) -> Response<ReplyBody> {
    let is_plain = head.method == Method::GET || head.method == Method::HEAD;
    let status = if is_plain { StatusCode::MOVED_PERMANENTLY } else { StatusCode::PERMANENT_REDIRECT };
    let host = head.headers.get(header::HOST).map(HeaderValue::as_bytes).unwrap_or_default();
    let path = head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let location = format!("http://{to}{}{path}", port_of(host));
    let mut response = Response::new(ReplyBody::Empty);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::from_str(&location) {
        headers.insert(header::LOCATION, location);
    }
    // The name may be freed, and be another app's one day.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(X_REQUEST_ID, exchange.request_id.clone());
    exchange.answered(status.as_u16());
    exchange.succeed();
    response
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
