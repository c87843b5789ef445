//! Header fields on their way through: what concerns one hop is removed, what we say is ours alone. RFC 9110, section 7.6.
use super::exchange::Exchange;
use http::header::{self, Entry, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Version};

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_REQUEST_START: HeaderName = HeaderName::from_static("x-request-start");
pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(super) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(super) const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
/// Not a field of HTTP: CGI programs would take it for their proxy setting ("httpoxy").
const PROXY: HeaderName = HeaderName::from_static("proxy");

/// The protocol a request asks to change to, if we pass that on. Only where nothing else could be meant: HTTP/1.1, no
/// body, named by Connection. Never h2c, which would carry requests past us.
pub(super) fn asked_upgrade(method: &Method, version: Version, headers: &HeaderMap) -> Option<HeaderValue> {
    let protocol = headers.get(header::UPGRADE)?;
    let is_h2c = protocol.as_bytes().windows(3).any(|part| part.eq_ignore_ascii_case(b"h2c"));
    let has_body = headers.contains_key(header::TRANSFER_ENCODING)
        || headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0");
    let fits = version == Version::HTTP_11 && *method == Method::GET && !has_body && !is_h2c;
    (fits && tokens(headers, &header::CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade")))
        .then(|| protocol.clone())
}

/// Makes a client's head into what the app gets. `upgrade` is what [`asked_upgrade`] said.
pub(super) fn prepare_request(headers: &mut HeaderMap, exchange: &Exchange, upgrade: Option<HeaderValue>) {
    let wants_trailers = tokens(headers, &header::TE).any(|token| token.eq_ignore_ascii_case("trailers"));
    strip_hop_by_hop(headers);
    for ours in [&header::FORWARDED, &header::EXPECT, &PROXY] {
        headers.remove(ours);
    }
    if wants_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if let Some(protocol) = upgrade {
        headers.insert(header::UPGRADE, protocol);
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
    let (worker, visitor) = (&exchange.client.worker, &exchange.visitor);
    if let Some(host) = visitor.host.as_ref().or_else(|| headers.get(header::HOST)).cloned() {
        headers.insert(X_FORWARDED_HOST, host);
    }
    headers.insert(X_FORWARDED_FOR, visitor.address.clone());
    headers.insert(X_REAL_IP, visitor.address.clone());
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(visitor.scheme));
    headers.insert(X_FORWARDED_PORT, visitor.port.clone());
    headers.insert(X_REQUEST_ID, exchange.request_id.clone());
    headers.insert(X_REQUEST_START, HeaderValue::from(worker.shared.clock.now().unix_ms()));
}

/// Makes an app's head into what the client gets.
pub(super) fn prepare_response(headers: &mut HeaderMap, exchange: &Exchange) {
    strip_hop_by_hop(headers);
    headers.insert(X_REQUEST_ID, exchange.request_id.clone());
    if let Some(cookie) = exchange.instance_cookie() {
        headers.append(header::SET_COOKIE, cookie);
    }
}

/// Trailers on their way through: none of them may frame, route or authorise a message after the fact. RFC 9110, 6.5.1.
pub(super) fn prepare_trailers(trailers: &mut HeaderMap) {
    strip_hop_by_hop(trailers);
    for name in [&header::HOST, &header::CONTENT_LENGTH, &header::TRAILER, &header::AUTHORIZATION, &header::COOKIE] {
        trailers.remove(name);
    }
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        strip_named(headers);
    }
    for name in [&KEEP_ALIVE, &PROXY_CONNECTION, &header::TE, &header::TRANSFER_ENCODING, &header::UPGRADE] {
        headers.remove(name);
    }
}

/// Removes Connection and what it names. What frames or routes the message is not its to remove.
fn strip_named(headers: &mut HeaderMap) {
    let is_plain = |value: &HeaderValue| value == "keep-alive" || value == "close" || value == "Keep-Alive";
    if !headers.get_all(header::CONNECTION).iter().all(is_plain) {
        let named: Vec<HeaderName> =
            tokens(headers, &header::CONNECTION).filter_map(|token| token.parse().ok()).collect();
        for name in named {
            if ![header::HOST, header::CONTENT_LENGTH, header::TRANSFER_ENCODING].contains(&name)
                && let Entry::Occupied(entry) = headers.entry(name)
            {
                entry.remove_entry_mult();
            }
        }
    }
    headers.remove(header::CONNECTION);
}

/// The members of a list field.
pub(super) fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}
