//! The room over a real store, against CAs that say no.
use super::*;
use crate::clock::SystemClock;
use crate::domain::acme::Challenge;
use crate::domain::certificate::{CertificateSource, StoredCertificate};
use crate::domain::certificate_state::Effort;
use crate::domain::{Certificate, Moment, Secret};
use crate::outbound::testing::answering;
use crate::store::testing::store;
use std::time::Duration;

const DAY: Duration = Duration::from_hours(24);

struct Deaf;

#[async_trait]
impl Publisher for Deaf {
    fn set_challenges(&self, _table: &ChallengeTable) {}
    async fn certificates_changed(&self) {}
}

/// Wants `*.example.test` alone, from a CA at this port of loopback.
fn tools(store: &Store, port: u16, certificate: Vec<u8>) -> Tools {
    let acme = Acme {
        directory: format!("https://127.0.0.1:{port}/dir"),
        email: "a@example.com".to_owned(),
        challenge: Challenge::Dns,
        dns_program: Some(vec!["/bin/true".to_owned()]),
        external_account: None,
    };
    Tools {
        store: store.clone(),
        clock: SystemClock::shared(),
        outbound: Outbound::new(Some(certificate), acme.address()),
        publisher: Arc::new(Deaf),
        site: Site { base_domain: "example.test".parse().unwrap(), http_port: 80, ssh_port: 22, https: None },
        admin_host: "paas.example.test".parse().unwrap(),
        acme: Ok(acme),
        tracker: TaskTracker::new(),
        stop: CancellationToken::new(),
    }
}

async fn failure(certs: &Certs) -> (String, Moment) {
    let (host, mut board) = ("paas.example.test".parse().unwrap(), certs.board.clone());
    let failed = board.wait_for(|board| matches!(board.state(&host).effort, Effort::Failed { .. }));
    let failed = tokio::time::timeout(Duration::from_secs(20), failed).await.expect("it fails in time").unwrap();
    match failed.state(&host).effort {
        Effort::Failed { complaint, next_try, .. } => (complaint, next_try),
        other => panic!("{other:?}"),
    }
}

/// A CA whose account resource answers so.
async fn authority(refusal: &str) -> (u16, Vec<u8>) {
    let refusal = refusal.to_owned();
    answering(move |head| {
        let host = head.to_lowercase();
        let host = host.split("host: ").nth(1).unwrap_or_default().lines().next().unwrap_or_default().to_owned();
        let at = |path: &str| format!("https://{host}/{path}");
        if head.starts_with("GET /dir") {
            let directory = serde_json::json!({
                "newNonce": at("nonce"), "newAccount": at("account"), "newOrder": at("order"),
                "revokeCert": at("revoke"), "keyChange": at("key"),
            });
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{directory}")
        } else if head.starts_with("HEAD /nonce") {
            "HTTP/1.1 200 OK\r\nreplay-nonce: bm9uY2U\r\n\r\n".to_owned()
        } else {
            refusal.clone()
        }
    })
    .await
}

#[tokio::test]
async fn a_rate_limit_is_told_in_the_ca_s_words_and_waited_out() {
    let problem = serde_json::json!({
        "type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many\u{202e} of you", "status": 429,
    });
    let refusal = format!(
        "HTTP/1.1 429 Too Many Requests\r\nretry-after: 7200\r\ncontent-type: application/problem+json\r\n\r\n{problem}"
    );
    let ((store, _dir), (port, certificate)) = (store().await, authority(&refusal).await);
    let tools = tools(&store, port, certificate);
    let now = tools.clock.now();
    let certs = Certs::start(tools);
    let (complaint, next_try) = failure(&certs).await;
    assert_eq!(complaint, "too many\\u{202e} of you (rateLimited)");
    assert!(next_try >= now.plus(Duration::from_hours(2)));
    let refused = certs.renew("blog.example.test".parse().unwrap()).await.unwrap_err().to_string();
    assert!(refused.contains("wants not to be asked") && refused.contains("too many"), "{refused}");
}

#[tokio::test]
async fn a_ca_that_speaks_nonsense_or_is_away_is_named() {
    let ((store, _dir), (port, certificate)) =
        (store().await, authority("HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/html\r\n\r\n<html>").await);
    let certs = Certs::start(tools(&store, port, certificate));
    assert!(failure(&certs).await.0.contains("the CA answered 502 Bad Gateway"));
    let (store, _dir) = crate::store::testing::store().await;
    let (_, certificate) = authority("").await;
    let certs = Certs::start(tools(&store, 1, certificate));
    let said = failure(&certs).await.0;
    assert!(said.contains("connect to 127.0.0.1"), "{said}");
}

#[tokio::test]
async fn a_failure_leaves_the_certificate_that_serves_and_shows_both() {
    let ((store, _dir), (port, certificate)) = (store().await, authority("HTTP/1.1 500 No\r\n\r\n").await);
    let tools = tools(&store, port, certificate);
    let now = tools.clock.now();
    let old = StoredCertificate {
        host: "*.example.test".parse().unwrap(),
        source: CertificateSource::Acme,
        certificate: Certificate { chain_pem: "chain".to_owned(), key_pem: Secret::new("key".to_owned()) },
        not_before: Moment::from_unix_ms(now.unix_ms() - 80 * 24 * 3_600_000),
        not_after: now.plus(DAY * 10),
        added_at: Moment::from_unix_ms(now.unix_ms() - 80 * 24 * 3_600_000),
    };
    store.put_certificate(&old).await.unwrap();
    let certs = Certs::start(tools);
    failure(&certs).await;
    let state = certs.state(&"blog.example.test".parse().unwrap());
    assert_eq!((state.word(), state.live.unwrap().ends_at), ("Live", old.not_after));
    assert!(store.certificates().await.unwrap() == [old]);
}

#[tokio::test]
async fn hosts_that_are_nobody_s_and_a_ca_that_is_off_are_refused() {
    let ((store, _dir), (port, certificate)) = (store().await, authority("").await);
    let certs = Certs::start(tools(&store, port, certificate.clone()));
    assert!(
        certs.renew("www.example.org".parse().unwrap()).await.unwrap_err().to_string().contains("no host of an app")
    );
    let certs = Certs::start(Tools { acme: Err(AcmeOff::NoEmail), ..tools(&store, port, certificate) });
    assert!(certs.renew("www.example.org".parse().unwrap()).await.unwrap_err().to_string().contains("acme_email"));
    assert_eq!(certs.state(&"blog.example.test".parse().unwrap()).word(), "None");
}

#[tokio::test]
async fn of_a_ca_that_talks_without_end_the_beginning_is_kept() {
    let problem = serde_json::json!({
        "type": "urn:ietf:params:acme:error:unauthorized", "detail": "no".repeat(5000), "status": 403,
    });
    let refusal = format!("HTTP/1.1 403 Forbidden\r\ncontent-type: application/problem+json\r\n\r\n{problem}");
    let ((store, _dir), (port, certificate)) = (store().await, authority(&refusal).await);
    let (complaint, _) = failure(&Certs::start(tools(&store, port, certificate))).await;
    assert_eq!(complaint, "no".repeat(500));
}
