//! What TLS changes about a request before its app is asked: which hosts a connection may name, who is sent on to https,
//! what a CA that is checking is told, and what browsers are told to remember.
use super::body::ReplyBody;
use super::exchange::Client;
use super::headers::X_REQUEST_ID;
use super::snapshot::{App, Destination};
use super::visitor::Visitor;
use crate::domain::Moment;
use crate::visit::Transport;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};

/// RFC 8555, section 8.3.
const CHALLENGES: &str = "/.well-known/acme-challenge/";

/// The answer to a CA that is checking, for an exact token of ours; anything else goes the usual way.
pub(super) fn challenge<B>(client: &Client, request: &Request<B>, id: &HeaderValue) -> Option<Response<ReplyBody>> {
    let token = request.uri().path().strip_prefix(CHALLENGES)?;
    if *request.method() != Method::GET && *request.method() != Method::HEAD {
        return None;
    }
    let text = client.worker.shared.tls.as_ref()?.key_authorization(token)?;
    if request.headers().contains_key(header::UPGRADE) {
        client.wire.decline_upgrade();
    }
    client.wire.rest();
    let mut response = Response::new(ReplyBody::Page(Some(Bytes::from(text))));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(X_REQUEST_ID, id.clone());
    Some(response)
}

/// Whether the connection's certificate is not the one for this host: another connection has to be made for it.
pub(super) fn is_misdirected(client: &Client, destination: &Destination) -> bool {
    client.secured.as_ref().is_some_and(|secured| !secured.covers(destination.host()))
}

/// Whether the request came by http and is better made by https.
pub(super) fn is_sent_to_https(client: &Client, headers: &HeaderMap, destination: &Destination, now: Moment) -> bool {
    let Some(tls) = client.worker.shared.tls.as_ref().filter(|_| client.secured.is_none()) else { return false };
    // Behind a proxy that ends TLS itself, the visitor would be sent on for ever.
    if came_by_https(client, headers) {
        return false;
    }
    let is_wanted = match destination {
        Destination::App { app, .. } => app.redirects_to_https,
        // The new name's own visit decides.
        Destination::Redirect { .. } => false,
        // Who comes through a tunnel is served as before.
        Destination::Admin { .. } => !client.peer().is_some_and(|peer| peer.is_loopback()),
    };
    is_wanted && tls.has_certificate(destination.host(), now)
}

/// Whether the visitor did, to us or to a trusted proxy before us.
pub(super) fn came_by_https(client: &Client, headers: &HeaderMap) -> bool {
    if client.is_trusted {
        Visitor::of(client, headers).scheme == Transport::Tls.scheme()
    } else {
        client.secured.is_some()
    }
}

/// `https://blog.example.com`, with the port where it is not the usual one.
pub(super) fn https_origin(client: &Client, host: &str) -> String {
    match client.worker.shared.https_port {
        Some(443) | None => format!("https://{host}"),
        Some(port) => format!("https://{host}:{port}"),
    }
}

/// What browsers are told to remember of an app (RFC 6797); over plain http they would not listen.
pub(super) fn hsts_of(client: &Client, headers: &HeaderMap, app: &App) -> Option<HeaderValue> {
    app.hsts.as_ref().filter(|_| came_by_https(client, headers)).cloned()
}

pub(super) fn add_hsts(response: &mut Response<ReplyBody>, hsts: Option<HeaderValue>) {
    if let Some(hsts) = hsts {
        // What the app itself says stands.
        response.headers_mut().entry(header::STRICT_TRANSPORT_SECURITY).or_insert(hsts);
    }
}
