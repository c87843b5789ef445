//! The keys about the CA, checked together: what one of them means depends on the others.
use crate::domain::acme::{Acme, AcmeOff, Challenge, ExternalAccount, LETS_ENCRYPT, is_public};
use crate::domain::{Hostname, Secret};
use anyhow::{Context, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use std::path::Path;

/// As they were given.
pub(super) struct AcmeKeys {
    pub(super) directory: Option<String>,
    pub(super) email: Option<String>,
    pub(super) challenge: Option<String>,
    pub(super) dns_program: Option<Vec<String>>,
    pub(super) external_account: Option<ExternalAccountKeys>,
}

/// What the CA shows its customer, for "external account binding".
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExternalAccountKeys {
    id: String,
    /// In base64url (RFC 8555, section 7.3.4).
    key: String,
}

impl AcmeKeys {
    pub(super) fn check(self, base_domain: &Hostname) -> anyhow::Result<Result<Acme, AcmeOff>> {
        let challenge = self.challenge.as_deref().map_or(Ok(Challenge::default()), str::parse);
        let challenge = challenge.map_err(anyhow::Error::msg).context("acme_challenge")?;
        let dns_program = self.dns_program.filter(|words| !words.is_empty());
        if let Some(program) = dns_program.as_deref().and_then(<[String]>::first)
            && !Path::new(program).is_absolute()
        {
            bail!(
                "acme_dns_program: `{program}` is no absolute path; write it like [\"/usr/local/bin/dns\", \"word\"]"
            );
        }
        if challenge == Challenge::Dns && dns_program.is_none() {
            bail!("acme_challenge: dns-01 needs acme_dns_program in the configuration file");
        }
        let external_account = self.external_account.map(ExternalAccountKeys::check).transpose()?;
        let directory = match self.directory {
            Some(text) if text == "off" => return Ok(Err(AcmeOff::SwitchedOff)),
            Some(text) => text,
            None if is_public(base_domain) => LETS_ENCRYPT.to_owned(),
            None => return Ok(Err(AcmeOff::LocalBaseDomain)),
        };
        check_url(&directory)?;
        let Some(email) = self.email else { return Ok(Err(AcmeOff::NoEmail)) };
        check_email(&email)?;
        Ok(Ok(Acme { directory, email, challenge, dns_program, external_account }))
    }
}

impl ExternalAccountKeys {
    /// Names the value never: it is a secret.
    fn check(self) -> anyhow::Result<ExternalAccount> {
        if self.id.is_empty() {
            bail!("acme_external_account: its id is empty; the CA shows it beside the key");
        }
        let key = URL_SAFE_NO_PAD.decode(self.key.trim_end_matches('=')).ok().filter(|key| !key.is_empty());
        let key = key.context("acme_external_account: its key is no base64url; copy it as the CA shows it")?;
        Ok(ExternalAccount { id: self.id, key: Secret::new(key) })
    }
}

fn check_url(directory: &str) -> anyhow::Result<()> {
    let uri = directory.parse::<http::Uri>().ok().filter(|uri| uri.scheme() == Some(&http::uri::Scheme::HTTPS));
    uri.with_context(|| format!("acme_directory: `{directory}` is no https address, nor `off`")).map(drop)
}

fn check_email(email: &str) -> anyhow::Result<()> {
    let is_address = |text: &str| matches!(text.split_once('@'), Some((of, at)) if !of.is_empty() && at.contains('.'));
    let is_plain = email.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '?' | ',' | '%' | '<' | '>'));
    if !is_address(email) || !is_plain {
        bail!("acme_email: `{email}` is no mail address; write one such as admin@example.com");
    }
    Ok(())
}
