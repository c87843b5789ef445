//! What a CA that comes to check is shown, as long as its check lasts: files, certificates for its greeting, records in DNS.
use super::Publisher;
use super::dns_program::DnsProgram;
use crate::domain::{Certificate, ChallengeTable, Hostname, Secret};
use anyhow::Context;
use instant_acme::KeyAuthorization;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use std::sync::{Arc, Mutex, PoisonError};

/// The one owner of the published table.
pub(super) struct Challenges {
    table: Mutex<ChallengeTable>,
    publisher: Arc<dyn Publisher>,
}

/// Something that is shown until this is dropped.
pub(super) struct Shown<'a> {
    challenges: &'a Challenges,
    what: What,
}

enum What {
    Token(String),
    Handshake(Hostname),
}

impl Challenges {
    pub(super) fn new(publisher: Arc<dyn Publisher>) -> Self {
        Self { table: Mutex::default(), publisher }
    }

    /// HTTP-01: the token's file holds the key authorization.
    pub(super) fn show_token(&self, token: &str, authorization: &KeyAuthorization) -> Shown<'_> {
        self.change(|table| table.tokens.insert(token.to_owned(), authorization.as_str().to_owned()));
        Shown { challenges: self, what: What::Token(token.to_owned()) }
    }

    /// TLS-ALPN-01: a greeting for `acme-tls/1` is answered with a certificate that carries the digest (RFC 8737).
    pub(super) fn show_handshake(
        &self,
        host: &Hostname,
        authorization: &KeyAuthorization,
    ) -> anyhow::Result<Shown<'_>> {
        let certificate = Arc::new(proving(host, authorization.digest().as_ref())?);
        self.change(|table| table.handshakes.insert(host.clone(), certificate));
        Ok(Shown { challenges: self, what: What::Handshake(host.clone()) })
    }

    fn change<T>(&self, change: impl FnOnce(&mut ChallengeTable) -> T) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut table);
        // Under the lock: what was changed last is what is published last.
        self.publisher.set_challenges(&table);
    }
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        self.challenges.change(|table| match &self.what {
            What::Token(token) => drop(table.tokens.remove(token)),
            What::Handshake(host) => drop(table.handshakes.remove(host)),
        });
    }
}

fn proving(host: &Hostname, digest: &[u8]) -> anyhow::Result<Certificate> {
    let mut params = CertificateParams::new(vec![host.to_string()]).context("name the host in a certificate")?;
    params.distinguished_name = DistinguishedName::new();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate().context("make a key")?;
    let certificate = params.self_signed(&key).context("sign a certificate for the CA's check")?;
    Ok(Certificate { chain_pem: certificate.pem(), key_pem: Secret::new(key.serialize_pem()) })
}

/// DNS-01: a record that has to be taken back by [`Record::take_back`].
pub(super) struct Record<'a> {
    program: &'a DnsProgram,
    name: String,
    value: String,
}

impl<'a> Record<'a> {
    /// Takes it back itself when the program fails half-way.
    pub(super) async fn set(
        program: &'a DnsProgram,
        host: &Hostname,
        authorization: &KeyAuthorization,
    ) -> anyhow::Result<Self> {
        let record = Self { program, name: format!("_acme-challenge.{host}"), value: authorization.dns_value() };
        match program.run("present", &record.name, &record.value).await {
            Ok(()) => Ok(record),
            Err(error) => {
                record.take_back().await;
                Err(error)
            }
        }
    }

    pub(super) async fn take_back(self) {
        if let Err(error) = self.program.run("cleanup", &self.name, &self.value).await {
            tracing::warn!("the record {} was not taken back: {error:#}", self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use x509_parser::prelude::{FromDer, X509Certificate};

    #[test]
    fn a_certificate_for_a_check_carries_the_digest_critically() {
        let made = proving(&"www.example.com".parse().unwrap(), &[7; 32]).unwrap();
        let (_, pem) = x509_parser::pem::parse_x509_pem(made.chain_pem.as_bytes()).unwrap();
        let (_, parsed) = X509Certificate::from_der(&pem.contents).unwrap();
        let proof = parsed.extensions().iter().find(|extension| extension.oid.to_id_string() == "1.3.6.1.5.5.7.1.31");
        let proof = proof.expect("RFC 8737's extension");
        assert!(proof.critical);
        assert_eq!(proof.value, [[4, 32].as_slice(), &[7; 32]].concat());
        let parts = crate::domain::certificate_pem::Parts::of(&made).unwrap();
        assert!(parts.certified_key().is_ok(), "the proxy can show it, though nobody knows its critical extension");
    }
}
