//! The service behind every client connection: one request in, one answer out, whatever happens.
use super::body::{AppBody, ReplyBody};
use super::control::Stop;
use super::error_page::{Format, Page};
use super::exchange::{Client, Exchange};
use super::fault::Fault;
use super::flight::{Class, Stage};
use super::forward::{self, Reply};
use super::host::{self, Found};
use super::refusal::Refusal;
use super::snapshot::Destination;
use super::tunnel::AppSide;
use super::{admin, admission, entrance, headers, redirect, request_id, tunnel};
use http::response::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header};
use hyper::body::{Body, Incoming};
use hyper::upgrade::OnUpgrade;
use std::rc::Rc;

pub(super) async fn answer(client: Rc<Client>, request: Request<Incoming>) -> Response<ReplyBody> {
    let worker = client.worker.clone();
    let now = worker.shared.clock.now();
    let id = request_id::keep_or_make(request.headers().get(headers::X_REQUEST_ID), now, &worker.random);
    if let Some(status) = Refusal::heard(request.method(), request.uri()) {
        return closing(&client, refuse(&client, status, Format::Text, &id));
    }
    if let Some(response) = entrance::challenge(&client, &request, &id) {
        return closing_unless_running(&client, response);
    }
    let format = Format::asked_by(request.headers());
    let found = host::find(&worker.shared.snapshot.load(), request.uri(), request.headers());
    let is_misdirected = matches!(&found, Found::Destination(to) if entrance::is_misdirected(&client, to));
    // Only an app takes one up, and its exchange says how that ended.
    let is_of_app = matches!(found, Found::Destination(Destination::App { .. } | Destination::Redirect { .. }));
    if (is_misdirected || !is_of_app) && request.headers().contains_key(header::UPGRADE) {
        client.wire.decline_upgrade();
    }
    let (app, host) = match found {
        Found::Destination(_) if is_misdirected => {
            return refuse(&client, StatusCode::MISDIRECTED_REQUEST, format, &id);
        }
        Found::Destination(destination)
            if entrance::is_sent_to_https(&client, request.headers(), &destination, now) =>
        {
            let (head, _) = request.into_parts();
            let origin = entrance::https_origin(&client, destination.host());
            return closing_unless_running(&client, send_on(&client, destination, &head, &origin, id));
        }
        Found::Destination(Destination::App { app, host }) => (app, host),
        Found::Destination(Destination::Redirect { app, host, to }) => {
            let (head, _) = request.into_parts();
            let origin = redirect::origin_of(&client, &to, &head.headers, now);
            let exchange = Exchange::new(client.clone(), app, host, &head, id);
            return closing_unless_running(&client, redirect::answer(exchange, &head, &origin));
        }
        Found::Destination(Destination::Admin { .. }) => {
            let response = match Box::pin(admin::answer(&client, request, &id)).await {
                Ok(response) => response,
                // A body that was not read stands in the way of the next request.
                Err(StatusCode::NOT_FOUND) => refuse(&client, StatusCode::NOT_FOUND, format, &id),
                Err(status) => closing(&client, refuse(&client, status, format, &id)),
            };
            return closing_unless_running(&client, response);
        }
        Found::Unknown => {
            return refuse(&client, StatusCode::NOT_FOUND, format, &id);
        }
        Found::Invalid => return closing(&client, refuse(&client, StatusCode::BAD_REQUEST, format, &id)),
    };
    let (head, body) = request.into_parts();
    let hsts = entrance::hsts_of(&client, &head.headers, &app);
    let exchange = Box::new(Exchange::new(client.clone(), app, host, &head, id));
    let mut response = serve(exchange, Request::from_parts(head, body), format).await;
    entrance::add_hsts(&mut response, hsts);
    closing_unless_running(&client, response)
}

/// The same path and query, at another origin.
fn send_on(
    client: &Rc<Client>,
    destination: Destination,
    head: &http::request::Parts,
    origin: &str,
    id: HeaderValue,
) -> Response<ReplyBody> {
    match destination {
        Destination::App { app, host } | Destination::Redirect { app, host, .. } => {
            redirect::answer(Exchange::new(client.clone(), app, host, head, id), head, origin)
        }
        Destination::Admin { .. } => {
            client.wire.rest();
            redirect::response(head, origin, &id)
        }
    }
}

/// The answer to a head that is refused before anything is done with it.
pub(super) fn turn_away(client: &Client, headers: &HeaderMap, refusal: Refusal) -> Response<ReplyBody> {
    let worker = &client.worker;
    let now = worker.shared.clock.now();
    let id = request_id::keep_or_make(headers.get(headers::X_REQUEST_ID), now, &worker.random);
    closing(client, refuse(client, refusal.status(), Format::asked_by(headers), &id))
}

fn closing_unless_running(client: &Client, response: Response<ReplyBody>) -> Response<ReplyBody> {
    if client.worker.stop.get() != Stop::Running && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return closing(client, response);
    }
    response
}

async fn serve(mut exchange: Box<Exchange>, mut request: Request<Incoming>, format: Format) -> Response<ReplyBody> {
    let mut expected = request.headers().get_all(header::EXPECT).iter();
    if expected.any(|it| !it.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        let client = exchange.client.clone();
        return closing(&client, give_up(exchange, Fault::UnknownExpectation, format));
    }
    if !request.body().is_end_stream() {
        exchange.body_bytes = request.body().size_hint().upper().unwrap_or(u64::MAX);
    }
    if let Some(rules) = exchange.app.rules.clone()
        && let Err(turned) = Box::pin(admission::admit(&rules, &mut exchange, &mut request)).await
    {
        let response = turned.response(&mut exchange, format);
        return drop_body(response, &exchange);
    }
    let upgrade = headers::asked_upgrade(request.method(), request.version(), request.headers());
    let on_upgrade = upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
    headers::prepare_request(request.headers_mut(), &exchange, upgrade);
    *request.version_mut() = http::Version::HTTP_11;
    if request.uri().authority().is_some() {
        *request.uri_mut() = origin_form(request.uri());
    }
    match forward::forward(&mut exchange, request).await {
        Ok(reply) if reply.head.status == StatusCode::SWITCHING_PROTOCOLS => {
            match on_upgrade.zip(reply.lane.into_tunnel()) {
                Some((client, app)) => switch(exchange, reply.head, client, app),
                None => {
                    exchange.flight.end(Fault::PoorResponse);
                    give_up(exchange, Fault::PoorResponse, format)
                }
            }
        }
        Ok(reply) => pass_on(exchange, reply),
        Err(fault) => give_up(exchange, fault, format),
    }
}

/// The app's answer, streamed.
fn pass_on(mut exchange: Box<Exchange>, reply: Reply) -> Response<ReplyBody> {
    let Reply { mut head, mut lane } = reply;
    lane.heed_keep_alive(&head.headers);
    headers::prepare_response(&mut head.headers, &exchange);
    let is_event_stream = head.headers.get(header::CONTENT_TYPE).is_some_and(|kind| {
        kind.as_bytes().get(..17).is_some_and(|kind| kind.eq_ignore_ascii_case(b"text/event-stream"))
    });
    if is_event_stream {
        exchange.flight.set_class(Class::EventStream);
    }
    exchange.flight.enter(Stage::Streaming);
    exchange.answered(head.status.as_u16());
    head.version = http::Version::HTTP_11;
    let (client, leaves_sender) = (exchange.client.clone(), exchange.leaves_sender());
    let response = Response::from_parts(head, ReplyBody::App(AppBody::new(exchange, lane)));
    if leaves_sender { closing(&client, response) } else { response }
}

/// The app took the upgrade up: from here on both sides are joined.
fn switch(mut exchange: Box<Exchange>, mut head: Parts, client: OnUpgrade, app: AppSide) -> Response<ReplyBody> {
    let protocol = head.headers.remove(header::UPGRADE);
    headers::prepare_response(&mut head.headers, &exchange);
    head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(protocol) = protocol {
        head.headers.insert(header::UPGRADE, protocol);
    }
    let is_websocket =
        head.headers.get(header::UPGRADE).is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"websocket"));
    if is_websocket {
        let lot = exchange.client.worker.random.next().to_be_bytes()[0];
        exchange.flight.set_class(Class::WebSocket { lot });
    } else {
        exchange.flight.set_class(Class::Tunnel);
    }
    exchange.answered(head.status.as_u16());
    tunnel::open(exchange, client, app);
    Response::from_parts(head, ReplyBody::Empty)
}

fn give_up(mut exchange: Box<Exchange>, fault: Fault, format: Format) -> Response<ReplyBody> {
    let mut page = Page::of_fault(fault, exchange.request_id.clone());
    page.replace_by(exchange.rules().and_then(|rules| rules.page(fault)));
    let response = page.response(format);
    if let ReplyBody::Page(Some(page)) = response.body() {
        exchange.bytes = page.len() as u64;
    }
    exchange.fail(fault);
    drop_body(response, &exchange)
}

/// Behind an answer of ours the rest of a body is read and dropped, so that its sender gets to read the answer.
fn drop_body(response: Response<ReplyBody>, exchange: &Exchange) -> Response<ReplyBody> {
    let flight = &exchange.flight;
    let is_sent = matches!(flight.stage(), Stage::Waiting | Stage::Streaming | Stage::Tunnel) && !flight.has_leftover();
    // A stream of many ends by itself, and the connection goes on.
    if exchange.body_bytes == 0 || is_sent || exchange.client.is_stream {
        return response;
    }
    exchange.client.wire.linger();
    closing(&exchange.client, response)
}

/// A request that concerns no app.
fn refuse(client: &Client, status: StatusCode, format: Format, id: &HeaderValue) -> Response<ReplyBody> {
    tracing::debug!("answered {status} to {:?}, request {id:?}", client.address);
    client.wire.rest();
    Page::of_status(status, id.clone()).response(format)
}

/// The connection ends behind this answer. A stream of many says nothing of it: there GOAWAY does.
fn closing(client: &Client, mut response: Response<ReplyBody>) -> Response<ReplyBody> {
    if !client.is_stream {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn origin_form(uri: &Uri) -> Uri {
    let path = uri.path_and_query().cloned();
    path.map_or_else(|| Uri::from_static("/"), Uri::from)
}
