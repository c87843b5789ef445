//! The hosts that builds may fetch from: git repositories and archives, by https.
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::str::FromStr;

const USUAL_PORT: u16 = 443;
/// Where most public repositories are, for who sets nothing.
const USUAL: [&str; 5] = ["github.com", "codeload.github.com", "gitlab.com", "bitbucket.org", "codeberg.org"];

/// A list of hosts and ports. An address of this machine or its site is meant by itself alone, never by a name that leads
/// to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchAllow(Vec<Allowed>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Allowed {
    host: String,
    port: u16,
}

impl Default for FetchAllow {
    fn default() -> Self {
        Self(USUAL.map(|host| Allowed { host: host.to_owned(), port: USUAL_PORT }).into())
    }
}

impl FetchAllow {
    /// Reads words such as `github.com` and `127.0.0.1:8443`.
    pub fn parse(words: &[String]) -> Result<Self, String> {
        words.iter().map(|word| word.trim().parse()).collect::<Result<_, _>>().map(Self)
    }

    pub fn permits(&self, host: &str, port: u16) -> bool {
        self.0.iter().any(|allowed| allowed.port == port && allowed.host.eq_ignore_ascii_case(host))
    }

    /// The address that may be connected to although it is no public one.
    pub fn private_address(&self, host: &str, port: u16) -> Option<IpAddr> {
        host.parse().ok().filter(|_| self.permits(host, port))
    }
}

impl FromStr for Allowed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || format!("`{text}` is no host; write it like git.example.com, or 127.0.0.1:8443");
        let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, rest)) => (host, rest.strip_prefix(':')),
            None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
        };
        let port = port.map_or(Ok(USUAL_PORT), str::parse).map_err(|_| refuse())?;
        let is_name = !host.is_empty()
            && host.len() <= 253
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'));
        if !(is_name || host.parse::<IpAddr>().is_ok()) || port == 0 {
            return Err(refuse());
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(words: &[&str]) -> Result<FetchAllow, String> {
        FetchAllow::parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_host_is_permitted_at_its_port_alone_and_an_address_by_itself() {
        let allow = list(&["Git.example.com", "127.0.0.1:8443", "[::1]:9", "a.example:8080"]).unwrap();
        assert!(allow.permits("git.EXAMPLE.com", 443) && allow.permits("a.example", 8080) && allow.permits("::1", 9));
        for (host, port) in [("git.example.com", 8443), ("x.git.example.com", 443), ("127.0.0.1", 443)] {
            assert!(!allow.permits(host, port), "{host}:{port}");
        }
        assert!(allow.private_address("127.0.0.1", 8443).is_some());
        assert!(allow.private_address("127.0.0.2", 8443).is_none());
        assert!(allow.private_address("git.example.com", 443).is_none());
        assert!(FetchAllow::default().permits("github.com", 443));
        assert!(!list(&[]).unwrap().permits("github.com", 443));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for word in ["", "https://a.example", "a.example:x", "a.example:0", "a.example:99999", "a b", "*", "[::1"] {
            assert!(list(&[word]).unwrap_err().contains("is no host"), "{word}");
        }
    }
}
