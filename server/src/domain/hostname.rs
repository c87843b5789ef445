//! A host name as the router compares it: lower case, IDNA-encoded, without port and trailing dot; never an IP address.
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hostname(String);

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is no host name; give one such as `blog.example.com`")]
pub struct HostnameError(String);

impl Hostname {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Hostname {
    type Err = HostnameError;

    fn from_str(text: &str) -> Result<Self, HostnameError> {
        let refuse = || HostnameError(text.chars().take(260).collect());
        let bare = text.strip_suffix('.').unwrap_or(text);
        let ascii = idna::domain_to_ascii_strict(bare).map_err(|_| refuse())?;
        let label_fits = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        // A last label of digits only would be read as an IPv4 address by browsers (URL standard, "ends in a number").
        let ends_in_number = ascii.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
        if ascii.len() > 253 || ends_in_number || !ascii.split('.').all(label_fits) {
            return Err(refuse());
        }
        Ok(Self(ascii))
    }
}

impl TryFrom<String> for Hostname {
    type Error = HostnameError;
    fn try_from(text: String) -> Result<Self, HostnameError> {
        text.parse()
    }
}

impl From<Hostname> for String {
    fn from(host: Hostname) -> Self {
        host.0
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_compare_equal_in_any_spelling() {
        let plain: Hostname = "blog.example.com".parse().unwrap();
        assert_eq!("Blog.Example.COM.".parse::<Hostname>().unwrap(), plain);
        assert_eq!("bücher.example".parse::<Hostname>().unwrap().as_str(), "xn--bcher-kva.example");
    }

    #[test]
    fn addresses_and_nonsense_are_no_host_names() {
        for bad in [
            "",
            ".",
            "127.0.0.1",
            "[::1]",
            "a..b",
            "-a.example",
            "a b",
            "a/b",
            "a:80",
            "1.2.3.4.",
            "a\0b",
            "ex_ample.com",
        ] {
            assert!(bad.parse::<Hostname>().is_err(), "{bad:?} was accepted");
        }
    }
}
