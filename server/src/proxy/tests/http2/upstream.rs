//! Instances that speak HTTP/2 in the clear, as gRPC servers do.
use super::*;
use h2::server::SendResponse;
use std::collections::BTreeSet;
use std::sync::mpsc;
use tokio::sync::Semaphore;

type Exchange = (Request<h2::RecvStream>, SendResponse<Bytes>);

/// An instance that speaks nothing but HTTP/2; each request is handled in a task of its own.
struct H2cInstance {
    instance: Instance,
    runtime: Option<Runtime>,
    /// Seen of requests: their connection's number and their head.
    seen: Arc<Mutex<Vec<(usize, String)>>>,
}

impl Drop for H2cInstance {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl H2cInstance {
    fn new<F: Future<Output = ()> + Send + 'static>(
        id: &'static str,
        handle: impl Fn(Exchange) -> F + Send + Sync + 'static,
    ) -> Self {
        Self::leaving_after(id, usize::MAX, handle)
    }

    /// Says GOAWAY on each connection after so many requests.
    fn leaving_after<F: Future<Output = ()> + Send + 'static>(
        id: &'static str,
        requests: usize,
        handle: impl Fn(Exchange) -> F + Send + Sync + 'static,
    ) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, connections) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let instance = Instance { id, address, heads: Arc::default(), connections: connections.clone() };
        let (handle, heard, handler) = (Arc::new(handle), seen.clone(), runtime.handle().clone());
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = connections.fetch_add(1, SeqCst);
                let (handle, heard, handler2) = (handle.clone(), heard.clone(), handler.clone());
                handler.spawn(async move {
                    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                    let mut count = 0;
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        let head = format!("{} {} {:?}", request.method(), request.uri(), request.headers());
                        heard.lock().unwrap().push((number, head));
                        handler2.spawn(handle((request, respond)));
                        count += 1;
                        if count == requests {
                            connection.graceful_shutdown();
                        }
                    }
                });
            }
        });
        Self { instance, runtime: Some(runtime), seen }
    }

    fn backend(&self) -> Backend {
        Backend { protocol: Protocol::H2c, ..self.instance.backend() }
    }

    fn route_in(&self, town: &Town) {
        town.route(&[("blog.test", BLOG, Backends::Ready(vec![self.backend()]))]);
    }

    fn connections(&self) -> usize {
        self.seen.lock().unwrap().iter().map(|(number, _)| *number).collect::<BTreeSet<_>>().len()
    }
}

/// Echoes a body and tells how it went in trailers, as a gRPC server does.
async fn echo((request, mut respond): Exchange) {
    let mut body = request.into_body();
    let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let Ok(mut answer) = respond.send_response(head, false) else { return };
    while let Some(Ok(data)) = body.data().await {
        let _ = body.flow_control().release_capacity(data.len());
        if answer.send_data(data, false).is_err() {
            return;
        }
    }
    let sum = body.trailers().await.ok().flatten().and_then(|trailers| trailers.get("x-sum").cloned());
    let mut trailers = one("grpc-status", "0");
    if let Some(sum) = sum {
        trailers.insert("x-sum", sum);
    }
    let _ = answer.send_trailers(trailers);
}

fn grpc_call() -> Request<()> {
    let mut request = ask("POST", "/chat.Chat/Say");
    request.headers_mut().insert("te", "trailers".parse().unwrap());
    request.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    request
}

#[test]
fn a_grpc_call_keeps_its_trailers_both_ways_and_the_calls_share_a_connection() {
    let app = H2cInstance::new("one", echo);
    let town = Town::new();
    app.route_in(&town);
    let visitor = Visitor::new(open_door(&town));
    let calls: Vec<_> = (0..50).map(|_| visitor.send(grpc_call(), false)).collect();
    for (number, (answer, mut stream)) in calls.into_iter().enumerate() {
        stream.send_data(Bytes::from(format!("message {number}")), false).unwrap();
        stream.send_trailers(one("x-sum", &number.to_string())).unwrap();
        let reply = visitor.reply(answer);
        assert_eq!((reply.status, reply.text()), (200, format!("message {number}")));
        let trailers = reply.trailers.expect("trailers");
        assert_eq!(trailers["grpc-status"], "0");
        assert_eq!(trailers["x-sum"], number.to_string());
    }
    assert_eq!(app.connections(), 1, "each thread has one connection to an instance");
    let (_, head) = app.seen.lock().unwrap()[0].clone();
    assert!(head.starts_with("POST http://blog.test/chat.Chat/Say") && head.contains("\"te\": \"trailers\""), "{head}");
    assert!(!head.contains("\"host\"") && !head.contains("transfer-encoding"), "{head}");
    town.line_with(&["path=\"/chat.Chat/Say\"", "process=web.1", "status=200", "protocol=http2"]);
}

#[test]
fn a_stream_of_messages_goes_both_ways_at_once() {
    let app = H2cInstance::new("one", echo);
    let town = Town::new();
    app.route_in(&town);
    let visitor = Visitor::new(open_door(&town));
    let (answer, mut stream) = visitor.send(grpc_call(), false);
    let mut body = visitor.head(answer).unwrap().into_body();
    for number in 0..20 {
        stream.send_data(Bytes::from(format!("{number}")), number == 19).unwrap();
        let echoed = visitor.runtime.block_on(async { tokio::time::timeout(PATIENCE, body.data()).await });
        assert_eq!(echoed.unwrap().unwrap().unwrap(), format!("{number}"));
    }
    assert!(visitor.runtime.block_on(body.trailers()).unwrap().is_some());
}

#[test]
fn a_client_of_http1_is_served_too() {
    let app = H2cInstance::new("one", echo);
    let town = Town::new();
    app.route_in(&town);
    let mut client = town.client();
    for _ in 0..3 {
        client.send("POST / HTTP/1.1\r\nhost: blog.test\r\nconnection: upgrade\r\nupgrade: websocket\r\ncontent-length: 3\r\n\r\nabc");
        assert_eq!(client.answer().text(), "abc");
    }
}

#[test]
fn resets_go_both_ways_with_their_reason() {
    let (seen, heard) = mpsc::channel();
    let app = H2cInstance::new("one", move |(request, mut respond)| {
        let seen = seen.clone();
        async move {
            match request.uri().path() {
                "/before" => respond.send_reset(h2::Reason::INTERNAL_ERROR),
                "/calm" | "/within" => {
                    let reason =
                        if request.uri().path() == "/calm" { h2::Reason::NO_ERROR } else { h2::Reason::CANCEL };
                    let mut answer = respond.send_response(Response::new(()), false).unwrap();
                    answer.send_data(Bytes::from_static(b"abc"), false).unwrap();
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    answer.send_reset(reason);
                }
                _ => {
                    seen.send(None).unwrap();
                    seen.send(std::future::poll_fn(|cx| respond.poll_reset(cx)).await.ok()).unwrap();
                }
            }
        }
    });
    let town = Town::new();
    app.route_in(&town);
    let visitor = Visitor::new(open_door(&town));
    assert_eq!(visitor.get("/before").status, 502);
    town.line_with(&["code=H13", "/before"]);
    let reply = visitor.get("/within");
    assert_eq!(reply.broken.and_then(|error| error.reason()), Some(h2::Reason::CANCEL));
    town.line_with(&["code=H18", "/within", "bytes=3"]);
    assert!(visitor.get("/calm").broken.is_some(), "an answer that was given up looked whole");
    let (_answer, mut stream) = visitor.send(ask("GET", "/never"), true);
    heard.recv_timeout(PATIENCE).unwrap();
    stream.send_reset(h2::Reason::CANCEL);
    assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), Some(h2::Reason::CANCEL));
    town.line_with(&["code=H27", "/never", "status=499"]);
    assert_eq!(app.connections(), 1, "a reset is of its stream alone");
}

#[test]
fn an_app_that_says_goaway_costs_no_request() {
    let app = H2cInstance::leaving_after("one", 3, echo);
    let town = Town::new();
    app.route_in(&town);
    let visitor = Visitor::new(open_door(&town));
    for _ in 0..30 {
        assert_eq!(visitor.get("/").status, 200);
    }
    assert!(app.connections() >= 5, "{} connections", app.connections());
}

#[test]
fn a_request_that_an_app_refuses_unseen_is_sent_again() {
    let refused = Arc::new(AtomicUsize::new(0));
    let count = refused.clone();
    let app = H2cInstance::new("one", move |(request, mut respond)| {
        let is_first = count.fetch_add(1, SeqCst) == 0;
        async move {
            if is_first {
                respond.send_reset(h2::Reason::REFUSED_STREAM);
            } else {
                echo((request, respond)).await;
            }
        }
    });
    let town = Town::new();
    app.route_in(&town);
    let visitor = Visitor::new(open_door(&town));
    let (answer, _) = visitor.send(ask("POST", "/"), true);
    assert_eq!(visitor.reply(answer).status, 200);
    assert_eq!(refused.load(SeqCst), 2);
}

#[test]
fn the_connection_ends_with_its_instances_route_once_nothing_is_under_way() {
    let gate = Arc::new(Semaphore::new(0));
    let waits = gate.clone();
    let old = H2cInstance::new("old", move |exchange| {
        let waits = waits.clone();
        async move {
            waits.acquire().await.unwrap().forget();
            echo(exchange).await;
        }
    });
    let town = Town::new();
    old.route_in(&town);
    let visitor = Visitor::new(open_door(&town));
    let (answer, mut stream) = visitor.send(grpc_call(), false);
    stream.send_data(Bytes::from_static(b"old"), true).unwrap();
    eventually("the call", || old.connections() == 1);
    town.route_to(&Instance::named("new"));
    assert_eq!(visitor.get("/").text(), "new", "from HTTP/2 to HTTP/1.1 within a swap");
    assert_eq!(town.proxy.traffic(&old.instance.container()), crate::domain::instance::Traffic::Draining);
    gate.add_permits(1);
    let reply = visitor.reply(answer);
    assert_eq!((reply.text().as_str(), reply.trailers.is_some()), ("old", true));
    eventually("quiet", || town.proxy.drained(&old.instance.container()).is_some());
    assert_eq!(town.proxy.drained(&old.instance.container()).unwrap().forced, 0);
}

#[test]
fn an_app_that_speaks_http1_only_is_a_bad_gateway() {
    let app = Instance::named("one");
    let town = Town::with(Spans { connect_budget: Duration::from_millis(200), ..spans() });
    let backend = Backend { protocol: Protocol::H2c, ..app.backend() };
    town.route(&[("blog.test", BLOG, Backends::Ready(vec![backend]))]);
    let answer = town.get("blog.test", "/");
    assert_eq!(answer.status, 502, "{}", answer.text());
}
