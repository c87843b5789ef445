//! Certificates in the store are what visitors are shown, whoever put them there.
use crate::{PATIENCE, Town};
use paas::clock::Clock;
use paas::domain::certificate::{CertificateSource, StoredCertificate};
use paas::domain::{Certificate, Secret};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

const HOST: &str = "blog.example.test";

/// Whether a visitor is shown what only this certificate's holder can show.
fn is_shown(address: SocketAddr, certificate: &rcgen::Certificate) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(builder.with_root_certificates(roots).with_no_client_auth());
    let mut visitor = ClientConnection::new(config, ServerName::try_from(HOST).unwrap()).unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    while visitor.is_handshaking() {
        if visitor.complete_io(&mut stream).is_err() {
            return false;
        }
    }
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_put_or_replaced_or_removed_in_the_store_is_followed_by_the_proxy() {
    let town = Town::new().await;
    let https = town.proxy.https_addr().unwrap();
    let put = async |made: &rcgen::CertifiedKey<rcgen::KeyPair>| {
        let certificate =
            Certificate { chain_pem: made.cert.pem(), key_pem: Secret::new(made.signing_key.serialize_pem()) };
        let now = town.clock.now();
        let stored = StoredCertificate {
            host: HOST.parse().unwrap(),
            source: CertificateSource::Acme,
            certificate,
            not_before: now,
            not_after: now.plus(std::time::Duration::from_hours(1)),
            added_at: now,
        };
        assert!(town.store.put_certificate(&stored).await.unwrap());
    };
    let make = || rcgen::generate_simple_self_signed([HOST.to_owned()]).unwrap();
    let (first, second) = (make(), make());
    let shows = async |what: &rcgen::Certificate| tokio::task::block_in_place(|| is_shown(https, what));
    assert!(!shows(&first.cert).await, "there is none yet");
    put(&first).await;
    town.until("the first is shown", async || shows(&first.cert).await).await;
    put(&second).await;
    town.until("the second is shown", async || shows(&second.cert).await).await;
    assert!(!shows(&first.cert).await);
    assert!(town.store.remove_certificate(&HOST.parse().unwrap(), CertificateSource::Acme).await.unwrap());
    town.until("none is shown", async || !shows(&second.cert).await).await;
}
