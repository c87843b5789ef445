//! Which CA is asked for certificates, in whose name, and how our hosts are shown to be ours (RFC 8555).
use super::certificate_plan::Proof;
use super::{AppName, CertificateHost, Hostname, Secret, Site};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Let's Encrypt's directory of certificates that browsers trust.
pub const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// A CA and how it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acme {
    /// Its directory's https address.
    pub directory: String,
    /// Where the CA may write to. That it is set says that the CA's terms of service are agreed to.
    pub email: String,
    pub challenge: Challenge,
    /// The program that sets records in DNS, an absolute path first, then its words.
    pub dns_program: Option<Vec<String>>,
    /// Where the CA knows us from, if it takes nobody else.
    pub external_account: Option<ExternalAccount>,
}

/// An account at the CA that was made elsewhere, to which ours is bound (RFC 8555, section 7.3.4).
#[derive(Clone, PartialEq, Eq)]
pub struct ExternalAccount {
    pub id: String,
    pub key: Secret<Vec<u8>>,
}

/// Why no CA is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcmeOff {
    SwitchedOff,
    LocalBaseDomain,
    NoEmail,
    NoHttps,
}

/// How single hosts are shown to be ours; a wildcard never but by DNS-01.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Challenge {
    /// The CA asks port 80 of the host for a file (RFC 8555, section 8.3).
    #[default]
    Http,
    /// The CA greets port 443 of the host by TLS (RFC 8737).
    TlsAlpn,
    /// The CA asks DNS for a record (RFC 8555, section 8.4).
    Dns,
}

impl AcmeOff {
    pub fn reason(self) -> &'static str {
        match self {
            Self::SwitchedOff => "`acme_directory` is off",
            Self::LocalBaseDomain => "`base_domain` is local, and `acme_directory` is not set",
            Self::NoHttps => "`https_listen` is off",
            Self::NoEmail => "`acme_email` is not set; setting it agrees to the CA's terms of service",
        }
    }
}

impl fmt::Debug for ExternalAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExternalAccount").field("id", &self.id).finish_non_exhaustive()
    }
}

impl FromStr for Challenge {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "http-01" => Ok(Self::Http),
            "tls-alpn-01" => Ok(Self::TlsAlpn),
            "dns-01" => Ok(Self::Dns),
            _ => Err("write http-01, tls-alpn-01 or dns-01"),
        }
    }
}

impl Acme {
    /// The address that the directory names in the place of a host, if it does.
    pub fn address(&self) -> Option<IpAddr> {
        let rest = self.directory.strip_prefix("https://")?;
        let authority = rest.split(['/', '?']).next()?;
        let literal = authority.strip_prefix('[').and_then(|rest| rest.split(']').next());
        literal.unwrap_or_else(|| authority.split(':').next().unwrap_or_default()).parse().ok()
    }

    /// How this host is shown to be ours.
    pub fn challenge_for(&self, host: &CertificateHost) -> Challenge {
        match host {
            CertificateHost::Exact(_) => self.challenge,
            CertificateHost::Below(_) => Challenge::Dns,
        }
    }

    /// The hosts that shall have a certificate: domains of apps, names of apps below a public base domain, the dashboard's.
    /// With a program for DNS one wildcard stands for all that are right below the base domain.
    pub fn wanted(
        &self,
        domains: &[Hostname],
        names: &[AppName],
        site: &Site,
        admin_host: &Hostname,
    ) -> BTreeMap<CertificateHost, Proof> {
        let base = &site.base_domain;
        // Of an app that was not renamed since the base domain became longer, the name may be too long: it has no host.
        let own = names.iter().filter_map(|name| site.host(name).ok());
        let hosts = domains.iter().cloned().chain(own).chain([admin_host.clone()]);
        let wildcard = self.dns_program.is_some() && is_public(base);
        hosts
            .filter(is_public)
            .map(|host| match host.as_str().split_once('.') {
                Some((_, above)) if wildcard && above == base.as_str() => CertificateHost::Below(base.clone()),
                Some(_) | None => CertificateHost::Exact(host),
            })
            .map(|host| (host.clone(), self.proof_of(&host)))
            .collect()
    }

    fn proof_of(&self, host: &CertificateHost) -> Proof {
        match self.challenge_for(host) {
            Challenge::Http | Challenge::TlsAlpn => Proof::Visit,
            Challenge::Dns => Proof::Record,
        }
    }
}

/// Whether a host is one that a public CA could know.
pub fn is_public(host: &Hostname) -> bool {
    let text = host.as_str();
    text.contains('.') && !text.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acme(dns_program: Option<&str>) -> Acme {
        Acme {
            directory: LETS_ENCRYPT.to_owned(),
            email: "a@example.com".to_owned(),
            challenge: Challenge::Http,
            dns_program: dns_program.map(|program| vec![program.to_owned()]),
            external_account: None,
        }
    }

    fn wanted(acme: &Acme, base: &str) -> Vec<String> {
        let site = Site { base_domain: base.parse().unwrap(), http_port: 80, ssh_port: 22, https: None };
        let domains = ["www.example.org", "www.example.com", "deep.www.example.com"].map(|host| host.parse().unwrap());
        let names = ["blog", "shop"].map(|name| name.parse().unwrap());
        let admin_host = format!("paas.{base}").parse().unwrap();
        acme.wanted(&domains, &names, &site, &admin_host).keys().map(ToString::to_string).collect()
    }

    #[test]
    fn every_public_host_is_wanted() {
        assert_eq!(
            wanted(&acme(None), "example.com"),
            [
                "blog.example.com",
                "deep.www.example.com",
                "paas.example.com",
                "shop.example.com",
                "www.example.com",
                "www.example.org"
            ]
        );
        let domains_alone = ["deep.www.example.com", "www.example.com", "www.example.org"];
        assert_eq!(wanted(&acme(None), "localhost"), domains_alone);
        assert_eq!(wanted(&acme(Some("/dns")), "apps.localhost"), domains_alone);
    }

    #[test]
    fn one_wildcard_stands_for_what_is_right_below_the_base_domain() {
        assert_eq!(
            wanted(&acme(Some("/dns")), "example.com"),
            ["deep.www.example.com", "www.example.org", "*.example.com"]
        );
    }

    #[test]
    fn only_an_address_is_an_address() {
        let address = |directory: &str| Acme { directory: directory.to_owned(), ..acme(None) }.address();
        assert_eq!(address("https://127.0.0.1:14000/dir"), Some("127.0.0.1".parse().unwrap()));
        assert_eq!(address("https://[::1]:14000/dir"), Some("::1".parse().unwrap()));
        assert_eq!(address(LETS_ENCRYPT), None);
        assert_eq!(address("https://localhost/127.0.0.1"), None);
    }

    #[test]
    fn a_wildcard_is_proven_by_dns_alone() {
        let acme = acme(Some("/dns"));
        assert_eq!(acme.challenge_for(&"*.example.com".parse().unwrap()), Challenge::Dns);
        assert_eq!(acme.challenge_for(&"www.example.com".parse().unwrap()), Challenge::Http);
    }
}
