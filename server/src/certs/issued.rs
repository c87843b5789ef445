//! What a CA gave us, checked before it is served: as an uploaded one is, and with the key that we asked with.
use crate::domain::certificate::{CertificateSource, StoredCertificate};
use crate::domain::{CertificateHost, Moment, upload};
use anyhow::{Context, ensure};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};

/// A fresh key, and the request by which a CA certifies it (DER).
pub(super) struct Wanted {
    key: KeyPair,
    pub(super) request: Vec<u8>,
}

impl Wanted {
    pub(super) fn make(host: &CertificateHost) -> anyhow::Result<Self> {
        let mut params = CertificateParams::new(vec![host.to_string()]).context("name the host in a request")?;
        params.distinguished_name = DistinguishedName::new();
        let key = KeyPair::generate().context("make a key")?;
        let request = params.serialize_request(&key).context("sign the request")?.der().to_vec();
        Ok(Self { key, request })
    }

    /// Takes the CA's chain when it is what was asked for.
    pub(super) fn take(
        &self,
        host: &CertificateHost,
        chain_pem: &str,
        now: Moment,
    ) -> anyhow::Result<StoredCertificate> {
        ensure!(!chain_pem.contains("PRIVATE KEY-----"), "there is a private key in it, which cannot be ours");
        let checked = upload::check(&format!("{chain_pem}\n{}", self.key.serialize_pem()), host, now)?;
        Ok(StoredCertificate { source: CertificateSource::Acme, ..checked })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{Issuer, date_time_ymd};

    /// A CA that signs for this name and this key, from 2020 on.
    fn sign(name: &str, wanted: &Wanted, until: i32) -> String {
        let issuer = Issuer::new(CertificateParams::new(Vec::new()).unwrap(), KeyPair::generate().unwrap());
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        params.signed_by(&wanted.key, &issuer).unwrap().pem()
    }

    #[test]
    fn what_was_asked_for_is_taken_and_nothing_else() {
        let host: CertificateHost = "*.example.com".parse().unwrap();
        let (wanted, now) = (Wanted::make(&host).unwrap(), Moment::from_unix_ms(1_700_000_000_000));
        let stored = wanted.take(&host, &sign("*.example.com", &wanted, 2100), now).unwrap();
        assert!(stored.host == host && stored.not_before.unix_ms() == 1_577_836_800_000 && stored.added_at == now);
        assert_eq!(stored.source, CertificateSource::Acme);
        let refuse = |chain: String, why: &str| {
            let error = wanted.take(&host, &chain, now).err().expect("it is refused");
            assert!(format!("{error:#}").contains(why), "{error:#}");
        };
        refuse(sign("*.example.com", &wanted, 2021), "expired");
        refuse(String::new(), "no certificate");
        refuse("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned(), "cannot be read");
        refuse(sign("*.example.com", &Wanted::make(&host).unwrap(), 2100), "does not belong");
        refuse(format!("{}{}", sign("*.example.com", &wanted, 2100), wanted.key.serialize_pem()), "private key");
        let other: CertificateHost = "www.example.org".parse().unwrap();
        let error = wanted.take(&other, &sign("*.example.com", &wanted, 2100), now).err().expect("it is refused");
        assert!(error.to_string().contains("not for www.example.org"), "{error:#}");
    }
}
