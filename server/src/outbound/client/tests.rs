//! Against a server with TLS of its own on loopback.
use super::*;
use http::StatusCode;
use std::net::Ipv4Addr;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

async fn answering(answer: String) -> (u16, Vec<u8>) {
    crate::outbound::testing::answering(move |head| answer.replace("ECHO", head)).await
}

async fn get(outbound: &Outbound, uri: &str) -> Result<Response<Bytes>, OutboundError> {
    outbound.send(Request::get(uri).body(Bytes::new()).unwrap()).await
}

#[tokio::test]
async fn a_server_is_asked_by_path_and_host_and_its_answer_is_read_whole() {
    let (port, certificate) = answering("HTTP/1.1 404 Not Found\r\nx-a: b\r\n\r\nECHO".to_owned()).await;
    let outbound = Outbound::new(Some(certificate), Some(LOOPBACK));
    let answer = get(&outbound, &format!("https://127.0.0.1:{port}/a/b?c=d")).await.unwrap();
    assert_eq!((answer.status(), answer.headers()["x-a"].as_bytes()), (StatusCode::NOT_FOUND, b"b".as_slice()));
    let asked = String::from_utf8_lossy(answer.body()).to_lowercase();
    assert!(asked.starts_with("get /a/b?c=d http/1.1\r\n") && asked.contains(&format!("host: 127.0.0.1:{port}\r\n")));
}

#[tokio::test]
async fn addresses_of_this_machine_and_its_site_are_refused_before_a_byte_is_sent() {
    let outbound = Outbound::new(None, None);
    for host in ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "10.0.0.1", "localhost"] {
        let refused = get(&outbound, &format!("https://{host}:1/")).await;
        assert!(matches!(refused, Err(OutboundError::Private { .. })), "{host}: {refused:?}");
    }
    // One that is allowed opens no other.
    let outbound = Outbound::new(None, Some(LOOPBACK));
    assert!(matches!(get(&outbound, "https://127.0.0.2:1/").await, Err(OutboundError::Private { .. })));
}

#[tokio::test]
async fn nothing_but_https_is_spoken() {
    for uri in ["http://127.0.0.1/", "/path", "ftp://127.0.0.1/"] {
        let refused = get(&Outbound::new(None, Some(LOOPBACK)), uri).await;
        assert!(matches!(refused, Err(OutboundError::NotHttps(_))), "{uri}: {refused:?}");
    }
}

#[tokio::test]
async fn a_stranger_s_certificate_is_refused() {
    let (port, _) = answering("HTTP/1.1 200 OK\r\n\r\n".to_owned()).await;
    let (_, other) = answering(String::new()).await;
    let refused = get(&Outbound::new(Some(other), Some(LOOPBACK)), &format!("https://127.0.0.1:{port}/")).await;
    assert!(matches!(refused, Err(OutboundError::Tls { .. })), "{refused:?}");
}

#[tokio::test]
async fn redirects_and_endless_answers_are_errors() {
    let (port, certificate) =
        answering("HTTP/1.1 302 Found\r\nlocation: https://127.0.0.1:1/\r\n\r\n".to_owned()).await;
    let redirect = get(&Outbound::new(Some(certificate), Some(LOOPBACK)), &format!("https://127.0.0.1:{port}/")).await;
    assert!(matches!(redirect, Err(OutboundError::Redirect { to, .. }) if to == "https://127.0.0.1:1/"));
    let (port, certificate) =
        answering(format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(USUAL_LIMITS.body_bytes + 1))).await;
    let long = get(&Outbound::new(Some(certificate), Some(LOOPBACK)), &format!("https://127.0.0.1:{port}/")).await;
    assert!(matches!(long, Err(OutboundError::Body { .. })));
    let (port, certificate) =
        answering(format!("HTTP/1.1 200 OK\r\nx-long: {}\r\n\r\n", "x".repeat(4 * HEAD_BYTES_MAX))).await;
    let long = get(&Outbound::new(Some(certificate), Some(LOOPBACK)), &format!("https://127.0.0.1:{port}/")).await;
    assert!(matches!(long, Err(OutboundError::Http { .. })));
}

#[tokio::test]
async fn an_answer_has_as_much_time_and_room_as_it_is_given() {
    let (port, certificate) = answering("HTTP/1.1 200 OK\r\n\r\n0123456789".to_owned()).await;
    let outbound = Outbound::new(Some(certificate), Some(LOOPBACK));
    let ask = async |port: u16, limits: AnswerLimits| {
        let request = Request::get(format!("https://127.0.0.1:{port}/")).body(Bytes::new()).unwrap();
        outbound.send_within(request, limits).await
    };
    let time = Duration::from_secs(20);
    assert_eq!(ask(port, AnswerLimits { time, body_bytes: 10 }).await.unwrap().body().len(), 10);
    let long = ask(port, AnswerLimits { time, body_bytes: 9 }).await;
    assert!(matches!(long, Err(OutboundError::Body { body_bytes_max: 9, .. })), "{long:?}");
    // It accepts, and says nothing.
    let silent = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let silent_port = silent.local_addr().unwrap().port();
    let slow = ask(silent_port, AnswerLimits { time: Duration::from_millis(50), body_bytes: 10 }).await;
    assert!(matches!(slow, Err(OutboundError::Slow { .. })), "{slow:?}");
}
