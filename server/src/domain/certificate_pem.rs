//! What stands in a certificate's PEM text: the chain, the key that goes with it, and what the first certificate says.
use super::certificate::{Certificate, CertificateHost};
use super::{Moment, Secret};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::{self, PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Certificates of a chain; public ones have two or three.
const CHAIN_MAX: usize = 10;

/// Why a certificate cannot be served.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CertificateError {
    #[error("the PEM text is damaged: {0}")]
    Damaged(&'static str),
    #[error("there is no certificate in it (`-----BEGIN CERTIFICATE-----`)")]
    NoCertificate,
    #[error("there are more than {CHAIN_MAX} certificates in it")]
    TooMany,
    #[error("there is no private key in it (`-----BEGIN PRIVATE KEY-----`)")]
    NoKey,
    #[error("its private key is locked by a passphrase; `openssl pkey -in FILE` prints it without")]
    LockedKey,
    #[error("there are {0} private keys in it, and nothing says which is meant")]
    SeveralKeys(usize),
    #[error("its private key cannot be used: {0} (RSA of 2048 bits or more, ECDSA P-256, P-384 or P-521, or Ed25519)")]
    UnusableKey(String),
    #[error("its private key does not belong to its first certificate")]
    WrongKey,
    #[error("its private key belongs to certificate {0}, which must come first")]
    WrongOrder(usize),
    #[error("certificate {at} cannot be read: {why}")]
    Unreadable { at: usize, why: String },
    #[error(
        "certificate {issuer} did not issue certificate {issued}, which names `{named}`; put each one behind what it issued"
    )]
    BrokenChain { issued: usize, issuer: usize, named: String },
    #[error("it names no hosts (subjectAltName), without which no browser takes it")]
    NoNames,
    #[error("it is not for {host}, but for {names}")]
    OtherNames { host: String, names: String },
    #[error("it expired on {0}")]
    Expired(String),
    #[error("it is not valid before {0}")]
    NotYet(String),
}

/// What is in PEM text.
pub struct Parts {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

/// What a certificate says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    pub names: Vec<CertificateHost>,
    pub subject: String,
    pub issuer: String,
    pub not_before: Moment,
    pub not_after: Moment,
}

impl Leaf {
    /// RFC 9525, section 6.3: a wildcard stands for one label.
    pub fn is_for(&self, host: &CertificateHost) -> bool {
        let below = match host {
            CertificateHost::Exact(host) => host.as_str().split_once('.').and_then(|(_, above)| above.parse().ok()),
            CertificateHost::Below(_) => None,
        };
        self.names.contains(host) || below.is_some_and(|above| self.names.contains(&CertificateHost::Below(above)))
    }
}

/// Takes PEM text apart. Sections of other kinds, such as the parameters of a curve, are passed over.
pub fn parts(text: &str) -> Result<Parts, CertificateError> {
    // `cat` joins the last line of a file that ends without a line end with the first line of the next one.
    let text = text.replace("----------BEGIN ", "-----\n-----BEGIN ");
    let (mut chain, mut keys) = (Vec::new(), Vec::new());
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text.as_bytes()) {
        let (kind, der) = section.map_err(|error| CertificateError::Damaged(flaw(&error)))?;
        match kind {
            SectionKind::Certificate => chain.push(CertificateDer::from(der)),
            kind => keys.extend(PrivateKeyDer::from_pem(kind, der)),
        }
    }
    let key = match (keys.len(), keys.pop()) {
        (1, Some(key)) => key,
        (0, _) | (_, None) if text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") => {
            return Err(CertificateError::LockedKey);
        }
        (0, _) | (_, None) => return Err(CertificateError::NoKey),
        (count, Some(_)) => return Err(CertificateError::SeveralKeys(count)),
    };
    match chain.len() {
        0 => Err(CertificateError::NoCertificate),
        1..=CHAIN_MAX => Ok(Parts { chain, key }),
        _ => Err(CertificateError::TooMany),
    }
}

/// In words of ours: the parser's may quote a line, which may be the key's.
fn flaw(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a section has no `-----END` line",
        pem::Error::IllegalSectionStart { .. } => "a `-----BEGIN` line is not as it should be",
        pem::Error::Base64Decode(_) => "what stands between `-----BEGIN` and `-----END` is no base64",
        _ => "it cannot be read",
    }
}

impl Parts {
    pub fn of(certificate: &Certificate) -> Result<Self, CertificateError> {
        parts(&format!("{}\n{}", certificate.chain_pem, certificate.key_pem.reveal()))
    }

    /// The same as it is kept: the chain apart from its key, and nothing else.
    pub fn certificate(&self) -> Certificate {
        let label = match self.key {
            PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
            PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
            _ => "PRIVATE KEY",
        };
        Certificate {
            chain_pem: self.chain.iter().map(|der| pem_of("CERTIFICATE", der)).collect(),
            key_pem: Secret::new(pem_of(label, self.key.secret_der())),
        }
    }

    /// The key ready to sign, if it is the one of the first certificate.
    pub fn certified_key(&self) -> Result<CertifiedKey, CertificateError> {
        let key = any_supported_type(&self.key).map_err(|error| CertificateError::UnusableKey(error.to_string()))?;
        let place = {
            let public = key.public_key();
            // Not by rustls' own comparison, which cannot read a certificate with a critical extension that it does not
            // know, such as the one that is shown to a CA (RFC 8737).
            let is_of = |at: usize, der: &CertificateDer<'_>| match &public {
                Some(public) => read(der, at + 1).is_ok_and(|certificate| *certificate.public_key().raw == **public),
                // A key that cannot show its public half is not judged.
                None => at == 0,
            };
            self.chain.iter().enumerate().position(|(at, der)| is_of(at, der))
        };
        match place {
            Some(0) => Ok(CertifiedKey::new(self.chain.clone(), key)),
            Some(at) => Err(CertificateError::WrongOrder(at + 1)),
            None => Err(CertificateError::WrongKey),
        }
    }

    pub fn leaf(&self) -> Result<Leaf, CertificateError> {
        let first = self.chain.first().ok_or(CertificateError::NoCertificate)?;
        let certificate = read(first, 1)?;
        let unreadable = |why: String| CertificateError::Unreadable { at: 1, why };
        let names = certificate.subject_alternative_name().map_err(|error| unreadable(error.to_string()))?;
        let names = names.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
            GeneralName::DNSName(name) => name.parse().ok(),
            _ => None,
        });
        let moment = |seconds: i64| Moment::from_unix_ms(seconds.saturating_mul(1000));
        Ok(Leaf {
            names: names.collect(),
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            not_before: moment(certificate.validity().not_before.timestamp()),
            not_after: moment(certificate.validity().not_after.timestamp()),
        })
    }

    /// Whether each certificate is by the next one, as far as their names say.
    pub fn check_order(&self) -> Result<(), CertificateError> {
        for (at, pair) in self.chain.windows(2).enumerate() {
            let (issued, issuer) = (read(&pair[0], at + 1)?, read(&pair[1], at + 2)?);
            if issued.issuer().as_raw() != issuer.subject().as_raw() {
                let named = issued.issuer().to_string();
                return Err(CertificateError::BrokenChain { issued: at + 1, issuer: at + 2, named });
            }
        }
        Ok(())
    }
}

fn read<'a>(der: &'a CertificateDer<'_>, at: usize) -> Result<X509Certificate<'a>, CertificateError> {
    match X509Certificate::from_der(der) {
        Ok((_, certificate)) => Ok(certificate),
        Err(error) => Err(CertificateError::Unreadable { at, why: error.to_string() }),
    }
}

/// RFC 7468.
fn pem_of(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
