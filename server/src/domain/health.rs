//! How a new web instance is asked whether it is ready: where, what counts as a good answer, and for how long.
use super::Hostname;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// What a person set for an app; `None` is the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    #[serde(default)]
    pub path: Option<HealthPath>,
    #[serde(default)]
    pub timeout: Option<ReadyTimeout>,
}

/// A path that nobody declared need not be one of the app's: anything but a server error is a good answer there.
const UNDECLARED_BAD_FROM: u16 = 500;

impl Health {
    /// What is set here, and for the rest what `other` says.
    #[must_use]
    pub fn or(self, other: &Self) -> Self {
        Self { path: self.path.or_else(|| other.path.clone()), timeout: self.timeout.or(other.timeout) }
    }

    pub fn path(&self) -> &str {
        self.path.as_ref().map_or("/", HealthPath::as_str)
    }

    /// How long web may take from its start to being ready.
    pub fn ready_budget(&self) -> Duration {
        self.timeout.unwrap_or(ReadyTimeout::DEFAULT).0
    }

    /// Whether an answer shows that the instance is ready. A declared path must answer 2xx, or redirect within `host`.
    pub fn accepts(&self, status: u16, location: Option<&str>, host: &Hostname) -> bool {
        match (&self.path, status) {
            (None, status) => status < UNDECLARED_BAD_FROM,
            (Some(_), 200..=299) => true,
            (Some(_), 301 | 302 | 303 | 307 | 308) => location.is_some_and(|location| leads_to(location, host)),
            (Some(_), _) => false,
        }
    }
}

/// Whether a Location stays on `host`: a path of its own, or an address that names the same host.
fn leads_to(location: &str, host: &Hostname) -> bool {
    let authority = if let Some((_, rest)) = location.split_once("://").filter(|(scheme, _)| is_scheme(scheme)) {
        rest
    } else if let Some(rest) = location.strip_prefix("//") {
        rest
    } else {
        return true;
    };
    let end = authority.find(['/', '?', '#']).unwrap_or(authority.len());
    let name = authority[..end].rsplit('@').next().unwrap_or_default();
    let name = name.split(':').next().unwrap_or_default();
    name.parse::<Hostname>().is_ok_and(|named| named == *host)
}

fn is_scheme(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

/// A path, with a query if need be, as it stands in a request line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HealthPath(String);

impl HealthPath {
    const BYTES_MAX: usize = 1024;

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for HealthPath {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<HealthPath> for String {
    fn from(path: HealthPath) -> Self {
        path.0
    }
}

impl FromStr for HealthPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fits = text.starts_with('/')
            && text.len() <= Self::BYTES_MAX
            && text.bytes().all(|b| b.is_ascii_graphic() && !b"\"#<>\\^`{|}".contains(&b));
        if fits {
            return Ok(Self(text.to_owned()));
        }
        let shown: String = text.chars().take(100).collect();
        Err(format!("`{shown}` is no path that can be asked for; write one like /health"))
    }
}

impl fmt::Display for HealthPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// From 1 s to 10 min.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct ReadyTimeout(Duration);

impl ReadyTimeout {
    const DEFAULT: Self = Self(Duration::from_mins(1));
    const LEAST: Duration = Duration::from_secs(1);
    const MOST: Duration = Duration::from_mins(10);

    pub fn new(span: Duration) -> Option<Self> {
        (Self::LEAST..=Self::MOST).contains(&span).then_some(Self(span))
    }

    pub const fn span(self) -> Duration {
        self.0
    }
}

/// In seconds.
impl TryFrom<u64> for ReadyTimeout {
    type Error = String;

    fn try_from(secs: u64) -> Result<Self, String> {
        Self::new(Duration::from_secs(secs)).ok_or_else(|| format!("{secs} s is no time from 1s to 10m"))
    }
}

impl From<ReadyTimeout> for u64 {
    fn from(timeout: ReadyTimeout) -> Self {
        timeout.0.as_secs()
    }
}

impl FromStr for ReadyTimeout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || format!("`{text}` is no time from 1s to 10m; write it like 90s or 2m");
        let (number, unit_secs) = match (text.strip_suffix('s'), text.strip_suffix('m')) {
            (Some(number), _) => (number, 1),
            (None, Some(number)) => (number, 60),
            (None, None) => return Err(refuse()),
        };
        let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        let number: u64 = number.parse().ok().filter(|_| is_number).ok_or_else(refuse)?;
        Self::new(Duration::from_secs(number.saturating_mul(unit_secs))).ok_or_else(refuse)
    }
}

impl fmt::Display for ReadyTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.0.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declared_path_must_answer_well_and_any_answer_but_an_error_will_do_elsewhere() {
        let host: Hostname = "blog.example.com".parse().unwrap();
        let (undeclared, declared) =
            (Health::default(), Health { path: Some("/health".parse().unwrap()), timeout: None });
        for (status, location, by_default, by_path) in [
            (200, None, true, true),
            (204, None, true, true),
            (404, None, true, false),
            (401, None, true, false),
            (500, None, false, false),
            (503, None, false, false),
            (302, None, true, false),
            (302, Some("/login"), true, true),
            (301, Some("https://blog.example.com/health"), true, true),
            (301, Some("https://Blog.Example.com:443?a"), true, true),
            (301, Some("//blog.example.com/x"), true, true),
            (301, Some("https://login.example.com/"), true, false),
            (301, Some("//evil.example/blog.example.com"), true, false),
            (308, Some("https://blog.example.com@evil.example/"), true, false),
            (304, Some("/"), true, false),
        ] {
            assert_eq!(undeclared.accepts(status, location, &host), by_default, "{status} {location:?}");
            assert_eq!(declared.accepts(status, location, &host), by_path, "{status} {location:?}");
        }
    }

    #[test]
    fn paths_and_times_are_checked_at_the_door() {
        for good in ["/", "/health", "/a/b?c=d&e=%20", "/~x/y;z=1,2"] {
            assert_eq!(good.parse::<HealthPath>().unwrap().as_str(), good);
        }
        for bad in ["", "health", "http://x/", "/a b", "/a\r\nHost: x", "/a#b", "/ä", "/\u{7f}", "/a\0"] {
            assert!(bad.parse::<HealthPath>().is_err(), "{bad:?} was accepted");
        }
        assert!(format!("/{}", "a".repeat(1024)).parse::<HealthPath>().is_err());
        for (text, secs) in [("1s", 1), ("90s", 90), ("10m", 600), ("600s", 600)] {
            assert_eq!(text.parse::<ReadyTimeout>().unwrap().span(), Duration::from_secs(secs));
        }
        for bad in ["", "s", "0s", "601s", "11m", "60", "1h", "-1s", "+1s", "1.5s", "99999999999999999999m"] {
            assert!(bad.parse::<ReadyTimeout>().is_err(), "{bad:?} was accepted");
        }
    }
}
