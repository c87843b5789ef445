//! Who may visit an app that asks for a name and a password: names, and what is kept of passwords.
use super::hex::hex;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Length of a salt and of a hash, in bytes.
pub const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
/// Cost of scrypt: 2^14 rounds of 8 blocks take 16 MiB and some tens of milliseconds.
const LOG_ROUNDS: u8 = 14;
const BLOCKS: u32 = 8;

/// Printable ASCII without the colon that ends it in a request (RFC 7617).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LoginName(String);

impl LoginName {
    const BYTES_MAX: usize = 64;

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LoginName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fits =
            (1..=Self::BYTES_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic() && b != b':');
        fits.then(|| Self(text.to_owned())).ok_or_else(|| {
            let shown: String = text.chars().take(100).collect();
            format!("`{shown}` is no name for a login; use 1 to {} letters, digits and signs but `:`", Self::BYTES_MAX)
        })
    }
}

impl fmt::Display for LoginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for LoginName {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<LoginName> for String {
    fn from(name: LoginName) -> Self {
        name.0
    }
}

/// What is kept of a password: `scrypt$SALT$HASH`, both in hex. Slow to make, on purpose.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Bytes of a password that are accepted.
    pub const PASSWORD_BYTES_MIN: usize = 8;
    pub const PASSWORD_BYTES_MAX: usize = 256;

    /// `None`: the password is too short or too long.
    pub fn of(password: &[u8], salt: &[u8; SALT_BYTES]) -> Option<Self> {
        let fits = (Self::PASSWORD_BYTES_MIN..=Self::PASSWORD_BYTES_MAX).contains(&password.len());
        fits.then(|| Self::derived(password, &hex(salt)))
    }

    /// Takes as long as making it did, whatever comes of it.
    pub fn is_of(&self, password: &[u8]) -> bool {
        let salt = self.0.split('$').nth(1).unwrap_or_default();
        let other = Self::derived(password, salt);
        // Without a way out at the first byte that differs.
        self.0.len() == other.0.len() && self.0.bytes().zip(other.0.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn derived(password: &[u8], salt: &str) -> Self {
        let mut hash = [0; HASH_BYTES];
        let params = scrypt::Params::new(LOG_ROUNDS, BLOCKS, 1, HASH_BYTES).expect("constants that scrypt takes");
        scrypt::scrypt(password, salt.as_bytes(), &params, &mut hash).expect("a length that scrypt takes");
        Self(format!("scrypt${salt}${}", hex(&hash)))
    }
}

/// Never printed by accident: not a secret, but a way to one.
impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

impl FromStr for PasswordHash {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('$').collect();
        let is_hex = |part: &str, bytes: usize| part.len() == bytes * 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
        match parts[..] {
            ["scrypt", salt, hash] if is_hex(salt, SALT_BYTES) && is_hex(hash, HASH_BYTES) => Ok(Self(text.to_owned())),
            _ => Err("no hash of a password".to_owned()),
        }
    }
}

impl TryFrom<String> for PasswordHash {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<PasswordHash> for String {
    fn from(hash: PasswordHash) -> Self {
        hash.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_itself_is_recognised() {
        let hash = PasswordHash::of(b"correct horse", &[7; SALT_BYTES]).unwrap();
        assert!(hash.is_of(b"correct horse"));
        assert!(!hash.is_of(b"correct Horse") && !hash.is_of(b""));
        assert_eq!(hash.as_str().parse::<PasswordHash>().unwrap(), hash);
        assert!(!hash.as_str().contains("horse"));
        assert_ne!(PasswordHash::of(b"correct horse", &[8; SALT_BYTES]).unwrap(), hash);
        assert!(PasswordHash::of(b"short", &[0; SALT_BYTES]).is_none());
        assert!(PasswordHash::of(&[b'x'; 257], &[0; SALT_BYTES]).is_none());
        for bad in ["", "scrypt$$", "scrypt$00$00", "plain$x$y"] {
            assert!(bad.parse::<PasswordHash>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_login_name_has_no_colon() {
        assert!("alice@example.com".parse::<LoginName>().is_ok());
        for bad in ["", "a:b", "a b", "ä", &"x".repeat(65)] {
            assert!(bad.parse::<LoginName>().is_err(), "{bad}");
        }
    }
}
