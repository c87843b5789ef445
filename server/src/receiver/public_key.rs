//! Reads a pasted public key for `keys:add`: one line, as `ssh-keygen` writes it.
use super::limits::PUBLIC_KEY_BYTES_MAX;
use crate::logs::printable;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, HashAlg, PublicKey};

/// Smaller RSA keys can be broken.
const RSA_BITS_MIN: u32 = 2048;

/// A public key that may be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedKey {
    /// `SHA256:…` as `ssh-keygen -l` prints it.
    pub fingerprint: String,
    /// `type base64`, without the comment.
    pub public_key: String,
    /// What stood behind the key, often `user@machine`; safe to print.
    pub comment: Option<String>,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("no key given; pass the public key on standard input: `paas keys:add NAME < ~/.ssh/id_ed25519.pub`")]
    Empty,
    #[error(
        "this is a private key, which must never leave your machine; pass the file that ends in `.pub` (and consider this key known to others now)"
    )]
    Private,
    #[error("this is more than one line; pass one public key at a time")]
    SeveralLines,
    #[error("this key is in another program's format; convert it with `ssh-keygen -i -f FILE`")]
    OtherFormat,
    #[error("options before the key are not supported; begin the line with the key type, such as `ssh-ed25519`")]
    Options,
    #[error("`{0}` keys are not accepted; make one with `ssh-keygen -t ed25519`")]
    Type(String),
    #[error("this RSA key has {0} bits, fewer than {RSA_BITS_MIN}; make one with `ssh-keygen -t ed25519`")]
    RsaTooShort(u32),
    #[error("this is a certificate; pass the plain public key, the file that ends in `.pub` and not in `-cert.pub`")]
    Certificate,
    #[error("this is no public key: {0}; it looks like `ssh-ed25519 AAAA… you@machine`")]
    Malformed(String),
}

/// Parses one line of OpenSSH's public key form.
pub fn parse_public_key(line: &str) -> Result<ParsedKey, KeyError> {
    let text = line.strip_prefix('\u{feff}').unwrap_or(line).trim();
    if text.is_empty() {
        return Err(KeyError::Empty);
    }
    if text.contains("PRIVATE KEY") || text.starts_with("PuTTY-User-Key-File") {
        return Err(KeyError::Private);
    }
    if text.starts_with("----") {
        return Err(KeyError::OtherFormat);
    }
    if text.contains(['\n', '\r']) {
        return Err(KeyError::SeveralLines);
    }
    if text.len() > PUBLIC_KEY_BYTES_MAX {
        return Err(KeyError::Malformed(format!("longer than {} KiB", PUBLIC_KEY_BYTES_MAX >> 10)));
    }
    known_type(text)?;
    let key = PublicKey::from_openssh(text).map_err(|error| KeyError::Malformed(error.to_string()))?;
    strong_enough(&key)?;
    let comment = printable(key.comment().as_str_lossy().trim()).into_owned();
    let bare = PublicKey::new(key.key_data().clone(), "");
    let public_key = bare.to_openssh().map_err(|error| KeyError::Malformed(error.to_string()))?.trim().to_owned();
    Ok(ParsedKey { fingerprint: fingerprint(&key), public_key, comment: (!comment.is_empty()).then_some(comment) })
}

/// The name that the store knows a key by.
pub(super) fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

fn known_type(text: &str) -> Result<(), KeyError> {
    let mut words = text.split_whitespace();
    let first = words.next().unwrap_or_default();
    if first.contains("-cert-v0") {
        return Err(KeyError::Certificate);
    }
    if is_key_type(first) {
        return Ok(());
    }
    if words.any(is_key_type) {
        return Err(KeyError::Options);
    }
    if first.starts_with("ssh-") {
        return Err(KeyError::Type(printable(first).chars().take(40).collect()));
    }
    Err(KeyError::Malformed("it does not begin with a key type".to_owned()))
}

fn is_key_type(word: &str) -> bool {
    matches!(
        word,
        "ssh-ed25519"
            | "ssh-rsa"
            | "ecdsa-sha2-nistp256"
            | "ecdsa-sha2-nistp384"
            | "ecdsa-sha2-nistp521"
            | "sk-ssh-ed25519@openssh.com"
            | "sk-ecdsa-sha2-nistp256@openssh.com"
    )
}

fn strong_enough(key: &PublicKey) -> Result<(), KeyError> {
    match (key.algorithm(), key.key_data()) {
        (Algorithm::Rsa { .. }, KeyData::Rsa(rsa)) if rsa.key_size() < RSA_BITS_MIN => {
            Err(KeyError::RsaTooShort(rsa.key_size()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";
    const FINGERPRINT: &str = "SHA256:UCUiLr7Pjs9wFFJMDByLgc3NrtdU344OgUM45wZPcIQ";

    #[test]
    fn a_key_is_kept_without_its_comment() {
        let key = parse_public_key(&format!("{ED25519} me@laptop\n")).unwrap();
        assert_eq!(key.public_key, ED25519);
        assert_eq!(key.fingerprint, FINGERPRINT);
        assert_eq!(key.comment.as_deref(), Some("me@laptop"));
        assert_eq!(parse_public_key(ED25519).unwrap().comment, None);
    }

    #[test]
    fn a_comment_cannot_play_with_the_terminal() {
        let key = parse_public_key(&format!("{ED25519} me\u{202e}x")).unwrap();
        assert_eq!(key.comment.as_deref(), Some("me\\u{202e}x"));
    }

    #[test]
    fn what_is_no_single_public_key_is_refused_for_what_it_is() {
        let table = [
            (" \n", KeyError::Empty),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blbn", KeyError::Private),
            ("PuTTY-User-Key-File-3: ssh-ed25519", KeyError::Private),
            ("---- BEGIN SSH2 PUBLIC KEY ----\nAAAA", KeyError::OtherFormat),
            (&format!("{ED25519}\n{ED25519}"), KeyError::SeveralLines),
            (&format!("command=\"sh\" {ED25519}"), KeyError::Options),
            (&format!("no-pty {ED25519}"), KeyError::Options),
            ("ssh-dss AAAAB3NzaC1kc3MAAACBAP", KeyError::Type("ssh-dss".to_owned())),
            ("ssh-ed25519-cert-v01@openssh.com AAAA", KeyError::Certificate),
        ];
        for (text, expected) in table {
            assert_eq!(parse_public_key(text), Err(expected), "{text}");
        }
        for text in ["hello", "ssh-ed25519", "ssh-ed25519 AAAA", "ssh-ed25519 !!!", &"a".repeat(20_000)] {
            assert!(matches!(parse_public_key(text), Err(KeyError::Malformed(_))), "{text}");
        }
    }

    #[test]
    fn the_body_must_be_of_the_type_in_front() {
        let lying = ED25519.replace("ssh-ed25519", "ssh-rsa");
        assert!(matches!(parse_public_key(&lying), Err(KeyError::Malformed(_))));
    }
}
