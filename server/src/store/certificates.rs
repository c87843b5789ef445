//! Certificates that are served: uploaded ones, and those that a CA gave out by ACME. Keys are sealed.
use super::{Result, Store, parsed};
use crate::domain::certificate::{CertificateSource, StoredCertificate};
use crate::domain::{Certificate, CertificateHost, Hostname, Moment, Secret};

impl Store {
    /// All of them, by host.
    pub async fn certificates(&self) -> Result<Vec<StoredCertificate>> {
        let rows = sqlx::query_as!(
            Row,
            r#"SELECT host, wildcard AS "wildcard: bool", source, chain, sealed_key, not_before, not_after, added_at
               FROM certificates ORDER BY host, wildcard"#
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(|row| self.certificate_of(row)).collect()
    }

    /// Keeps a certificate for its host, in the place of the one before. `false`: an uploaded one stands there, which
    /// one by ACME never replaces.
    pub async fn put_certificate(&self, new: &StoredCertificate) -> Result<bool> {
        let (host, wildcard) = columns(&new.host);
        let (source, chain) = (new.source.word(), &new.certificate.chain_pem);
        let sealed_key = self.seal.seal(&place(&new.host), new.certificate.key_pem.reveal().as_bytes())?;
        let (from, until, at) = (new.not_before.unix_ms(), new.not_after.unix_ms(), new.added_at.unix_ms());
        let put = sqlx::query!(
            "INSERT INTO certificates (host, wildcard, source, chain, sealed_key, not_before, not_after, added_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (host, wildcard) DO UPDATE
             SET source = ?3, chain = ?4, sealed_key = ?5, not_before = ?6, not_after = ?7, added_at = ?8
             WHERE excluded.source = 'uploaded' OR certificates.source = 'acme'",
            host,
            wildcard,
            source,
            chain,
            sealed_key,
            from,
            until,
            at
        )
        .execute(&self.pool)
        .await?
        .rows_affected();
        self.announce_certificates();
        Ok(put == 1)
    }

    /// `false`: there is none of this source.
    pub async fn remove_certificate(&self, host: &CertificateHost, source: CertificateSource) -> Result<bool> {
        let ((host, wildcard), source) = (columns(host), source.word());
        let removed = sqlx::query!(
            "DELETE FROM certificates WHERE host = ? AND wildcard = ? AND source = ?",
            host,
            wildcard,
            source
        )
        .execute(&self.pool)
        .await?
        .rows_affected();
        self.announce_certificates();
        Ok(removed == 1)
    }

    fn certificate_of(&self, row: Row) -> Result<StoredCertificate> {
        let host: Hostname = parsed(&row.host, "certificates.host")?;
        let host = if row.wildcard { CertificateHost::Below(host) } else { CertificateHost::Exact(host) };
        let key_pem = Secret::new(self.seal.open(&place(&host), &row.sealed_key)?);
        Ok(StoredCertificate {
            host,
            source: parsed(&row.source, "certificates.source")?,
            certificate: Certificate { chain_pem: row.chain, key_pem },
            not_before: Moment::from_unix_ms(row.not_before),
            not_after: Moment::from_unix_ms(row.not_after),
            added_at: Moment::from_unix_ms(row.added_at),
        })
    }
}

struct Row {
    host: String,
    wildcard: bool,
    source: String,
    chain: String,
    sealed_key: Vec<u8>,
    not_before: i64,
    not_after: i64,
    added_at: i64,
}

fn columns(host: &CertificateHost) -> (&str, bool) {
    match host {
        CertificateHost::Exact(host) => (host.as_str(), false),
        CertificateHost::Below(host) => (host.as_str(), true),
    }
}

fn place(host: &CertificateHost) -> String {
    format!("certificates/{host}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::store;

    fn certificate(host: &str, source: CertificateSource, key: &str) -> StoredCertificate {
        StoredCertificate {
            host: host.parse().unwrap(),
            source,
            certificate: Certificate { chain_pem: format!("chain of {host}"), key_pem: Secret::new(key.to_owned()) },
            not_before: Moment::from_unix_ms(1),
            not_after: Moment::from_unix_ms(2),
            added_at: Moment::from_unix_ms(3),
        }
    }

    #[tokio::test]
    async fn a_certificate_is_read_back_and_the_file_does_not_show_its_key() {
        let (store, dir) = store().await;
        let exact = certificate("example.com", CertificateSource::Acme, "canary-4712");
        let below = certificate("*.example.com", CertificateSource::Uploaded, "canary-4712");
        assert!(store.put_certificate(&exact).await.unwrap());
        assert!(store.put_certificate(&below).await.unwrap());
        let all = store.certificates().await.unwrap();
        assert!(all == [exact, below]);
        store.close().await;
        for file in std::fs::read_dir(dir.path()).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            assert!(!bytes.windows(11).any(|w| w == b"canary-4712"));
        }
    }

    #[tokio::test]
    async fn an_uploaded_certificate_is_replaced_and_removed_by_people_alone() {
        let (store, _dir) = store().await;
        let host: CertificateHost = "example.com".parse().unwrap();
        let of = |source, key| certificate("example.com", source, key);
        assert!(store.put_certificate(&of(CertificateSource::Acme, "a")).await.unwrap());
        assert!(store.put_certificate(&of(CertificateSource::Acme, "b")).await.unwrap());
        assert!(store.put_certificate(&of(CertificateSource::Uploaded, "c")).await.unwrap());
        assert!(!store.put_certificate(&of(CertificateSource::Acme, "d")).await.unwrap());
        assert!(!store.remove_certificate(&host, CertificateSource::Acme).await.unwrap());
        assert_eq!(store.certificates().await.unwrap()[0].certificate.key_pem.reveal(), "c");
        assert!(store.put_certificate(&of(CertificateSource::Uploaded, "e")).await.unwrap());
        assert!(store.remove_certificate(&host, CertificateSource::Uploaded).await.unwrap());
        assert!(store.certificates().await.unwrap().is_empty());
    }
}
