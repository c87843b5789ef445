//! The checks of a certificate that somebody uploads: what would fail at a visitor's fails here, and says why.
use super::certificate::{CertificateHost, CertificateSource, StoredCertificate};
use super::certificate_pem::{CertificateError, Leaf, parts};
use super::moment::{Moment, date};

/// Judges PEM text that holds a chain and its key, for `host`.
pub fn check(text: &str, host: &CertificateHost, now: Moment) -> Result<StoredCertificate, CertificateError> {
    let parts = parts(text)?;
    let leaf = parts.leaf()?;
    parts.certified_key()?;
    parts.check_order()?;
    check_leaf(&leaf, host, now)?;
    Ok(StoredCertificate {
        host: host.clone(),
        source: CertificateSource::Uploaded,
        certificate: parts.certificate(),
        not_before: leaf.not_before,
        not_after: leaf.not_after,
        added_at: now,
    })
}

fn check_leaf(leaf: &Leaf, host: &CertificateHost, now: Moment) -> Result<(), CertificateError> {
    if leaf.names.is_empty() {
        return Err(CertificateError::NoNames);
    }
    if !leaf.is_for(host) {
        let names: Vec<String> = leaf.names.iter().map(ToString::to_string).collect();
        return Err(CertificateError::OtherNames { host: host.to_string(), names: names.join(", ") });
    }
    if leaf.not_after <= now {
        return Err(CertificateError::Expired(date(leaf.not_after)));
    }
    if leaf.not_before > now {
        return Err(CertificateError::NotYet(date(leaf.not_before)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::authority::Authority;

    /// Noon of the first of June 2026.
    const NOW: Moment = Moment::from_unix_ms(1_780_315_200_000);

    /// (certificate, key), valid in the year before `until`.
    fn issued(ca: &Authority, names: &[&str], until: i32) -> (String, String) {
        let certificate = ca.issue_in(names, until - 1, until);
        (certificate.chain_pem, certificate.key_pem.reveal().clone())
    }

    fn verdict(text: &str, host: &str) -> String {
        match check(text, &host.parse().unwrap(), NOW) {
            Ok(_) => "good".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_chain_with_its_key_is_kept_without_anything_else() {
        let ca = Authority::named("Test CA");
        let (leaf, key) = issued(&ca, &["example.com", "*.example.com"], 2027);
        for text in
            [format!("{leaf}{key}"), format!("{key}{leaf}{}", ca.pem()), format!("a comment\n{}{key}", leaf.trim_end())]
        {
            let stored = check(&text, &"example.com".parse().unwrap(), NOW).unwrap();
            assert!(!stored.certificate.chain_pem.contains("PRIVATE"));
            assert_eq!(stored.not_after, Moment::from_unix_ms(1_798_761_600_000), "the first of January 2027");
            let again = format!("{}{}", stored.certificate.chain_pem, stored.certificate.key_pem.reveal());
            assert_eq!(verdict(&again, "*.example.com"), "good");
            assert_eq!(verdict(&again, "www.example.com"), "good");
            assert!(verdict(&again, "a.b.example.com").contains("not for a.b.example.com, but for example.com, *."));
        }
    }

    #[test]
    fn what_visitors_would_refuse_is_refused_by_name() {
        let (ca, other) = (Authority::named("Test CA"), Authority::named("Other CA"));
        let (leaf, key) = issued(&ca, &["example.com"], 2027);
        let (_, strange_key) = issued(&ca, &["example.com"], 2027);
        let (old, old_key) = issued(&ca, &["example.com"], 2026);
        let (new, new_key) = issued(&ca, &["example.com"], 2028);
        let (nameless, nameless_key) = issued(&ca, &[], 2027);
        let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let cut = &leaf[..leaf.len() - 40];
        for (text, said) in [
            (String::new(), "no private key"),
            (leaf.clone(), "no private key"),
            (key.clone(), "no certificate"),
            (format!("{leaf}{locked}"), "passphrase"),
            (format!("{leaf}{key}{strange_key}"), "2 private keys"),
            (format!("{leaf}{strange_key}"), "does not belong to its first certificate"),
            (format!("{}{leaf}{key}", ca.pem()), "belongs to certificate 2, which must come first"),
            (format!("{leaf}{}{key}", other.pem()), "certificate 2 did not issue certificate 1"),
            (format!("{old}{old_key}"), "expired on 2026-01-01"),
            (format!("{new}{new_key}"), "not valid before 2027-01-01"),
            (format!("{nameless}{nameless_key}"), "names no hosts"),
            (format!("{key}{cut}"), "a section has no `-----END` line"),
            (format!("{}{key}", leaf.repeat(11)), "more than 10 certificates"),
            (
                format!("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n{key}"),
                "certificate 1 cannot be read",
            ),
        ] {
            let found = verdict(&text, "example.com");
            assert!(found.contains(said), "{said}: {found}");
        }
    }
}
