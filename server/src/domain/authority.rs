//! A certificate authority for tests.
use super::{Certificate, Secret};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use std::sync::Arc;

pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn named(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(crate) fn der(&self) -> rustls::pki_types::CertificateDer<'static> {
        self.0.der().clone()
    }

    /// Valid whenever tests run.
    pub(crate) fn issue(&self, names: &[&str]) -> Arc<Certificate> {
        Arc::new(self.issue_in(names, 2020, 2100))
    }

    /// Valid from the first of January of the one year to that of the other.
    pub(crate) fn issue_in(&self, names: &[&str], from: i32, until: i32) -> Certificate {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1));
        let key = KeyPair::generate().unwrap();
        let chain_pem = params.signed_by(&key, &self.0).unwrap().pem();
        Certificate { chain_pem, key_pem: Secret::new(key.serialize_pem()) }
    }
}
