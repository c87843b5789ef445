//! What an app's owner sets about the router: limits, times, who may visit, and what visitors read when nothing answers.
//!
//! A setting that was never set is `None`, and has the default that [`Key::facts`] tells.
use super::Cidr;
use super::bounded::{Bytes, Count, Seconds};
use super::error_page::{ErrorPage, PageKind};
use super::login::{LoginName, PasswordHash};
use super::rate::Rate;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// End of the request's body to the answer's first byte, unless set.
pub const FIRST_BYTE: Duration = Duration::from_secs(30);
/// No byte moved within a body, unless set.
pub const BODY_IDLE: Duration = Duration::from_secs(55);
/// How long a WebSocket stays on an instance that leaves, unless set.
pub const WS_DRAIN: Duration = Duration::from_secs(30);
/// A request that waits for an instance with room, unless set; also the most.
pub const QUEUE: Duration = Duration::from_secs(10);
/// Requests of an app that wait at a time, unless set.
pub const HOLD_REQUESTS: u32 = 1000;
/// Bytes that they may take up, unless set.
pub const HOLD_BYTES: u64 = 64 << 20;
/// Ranges that an allow list may have.
pub const ALLOWED_MAX: usize = 100;
/// Names that may log in to an app.
pub const LOGINS_MAX: usize = 20;

pub type Wait = Seconds<1, 3600>;
pub type WsDrain = Seconds<0, 3600>;
pub type QueueTime = Seconds<0, 10>;
pub type BodyLimit = Bytes<0, { 1 << 40 }>;
pub type Concurrency = Count<1, 10_000>;
pub type HoldRequests = Count<1, 10_000>;
pub type HoldSize = Bytes<{ 64 << 10 }, { 1 << 30 }>;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RouterPolicy {
    pub first_byte: Option<Wait>,
    pub body_idle: Option<Wait>,
    pub body_limit: Option<BodyLimit>,
    /// Requests that an instance gets at a time.
    pub concurrency: Option<Concurrency>,
    pub queue: Option<QueueTime>,
    pub hold_requests: Option<HoldRequests>,
    pub hold_size: Option<HoldSize>,
    pub ws_drain: Option<WsDrain>,
    pub sticky: Sticky,
    /// Of one client address.
    pub rate_limit: Option<Rate>,
    /// Addresses that may visit; empty: all.
    pub allow: Vec<Cidr>,
    pub access_log: AccessLog,
    /// Who may visit with which password; empty: everybody.
    pub logins: BTreeMap<LoginName, PasswordHash>,
    pub pages: BTreeMap<PageKind, ErrorPage>,
    /// SHA-256 in hex of the token that lets its bearer past a maintenance.
    pub bypass: Option<String>,
}

/// Whether a visitor's requests go to one instance as long as it is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sticky {
    #[default]
    Off,
    On,
}

/// What the app's log gets of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessLog {
    /// Heroku's router line.
    #[default]
    On,
    /// Method, path, status, time and request id.
    Short,
    /// Nothing of requests that went well.
    Off,
}

/// A setting by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    FirstByte,
    BodyIdle,
    BodyLimit,
    Concurrency,
    Queue,
    HoldRequests,
    HoldSize,
    WsDrain,
    Sticky,
    RateLimit,
    Allow,
    AccessLog,
}

/// What is to be known about a setting. `LIMITS.md` says the same; a test compares.
pub struct Facts {
    pub name: &'static str,
    pub default: String,
    pub range: String,
    pub meaning: &'static str,
}

impl Key {
    pub const ALL: [Self; 12] = [
        Self::FirstByte,
        Self::BodyIdle,
        Self::BodyLimit,
        Self::Concurrency,
        Self::Queue,
        Self::HoldRequests,
        Self::HoldSize,
        Self::WsDrain,
        Self::Sticky,
        Self::RateLimit,
        Self::Allow,
        Self::AccessLog,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::FirstByte => "first-byte",
            Self::BodyIdle => "body-idle",
            Self::BodyLimit => "body-limit",
            Self::Concurrency => "concurrency",
            Self::Queue => "queue",
            Self::HoldRequests => "hold-requests",
            Self::HoldSize => "hold-size",
            Self::WsDrain => "ws-drain",
            Self::Sticky => "sticky",
            Self::RateLimit => "rate-limit",
            Self::Allow => "allow",
            Self::AccessLog => "access-log",
        }
    }

    pub fn facts(self) -> Facts {
        let seconds = |span: Duration| format!("{} s", span.as_secs());
        let none = || "no limit".to_owned();
        let (default, range, meaning) = match self {
            Self::FirstByte => {
                (seconds(FIRST_BYTE), Wait::range(), "end of a request to the first byte of its answer; then 504 H12")
            }
            Self::BodyIdle => (seconds(BODY_IDLE), Wait::range(), "no byte moved within a body; then H15 or H28"),
            Self::BodyLimit => (none(), BodyLimit::range(), "a request's body; beyond it 413"),
            Self::Concurrency => {
                (none(), Concurrency::range(), "requests that an instance gets at a time; others queue")
            }
            Self::Queue => (seconds(QUEUE), QueueTime::range(), "wait for an instance with room; then 503 H11"),
            Self::HoldRequests => (
                HOLD_REQUESTS.to_string(),
                HoldRequests::range(),
                "requests that wait at a time, for a start or for room; then 503 H11",
            ),
            Self::HoldSize => {
                (super::Size(HOLD_BYTES).to_string(), HoldSize::range(), "what they may take up; then 503 H11")
            }
            Self::WsDrain => (
                seconds(WS_DRAIN),
                WsDrain::range(),
                "a WebSocket stays on an instance that leaves; then it is closed with 1012",
            ),
            Self::Sticky => ("off".to_owned(), "on or off".to_owned(), "keep a visitor on one instance, by a cookie"),
            Self::RateLimit => (none(), Rate::range(), "requests of one client address; then 429"),
            Self::Allow => (
                "everybody".to_owned(),
                format!("up to {ALLOWED_MAX} ranges"),
                "addresses that may visit; others get 403",
            ),
            Self::AccessLog => (
                "on".to_owned(),
                "on, short or off".to_owned(),
                "a line for each request in the app's log; failures are told always",
            ),
        };
        Facts { name: self.name(), default, range, meaning }
    }
}

impl FromStr for Key {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = || Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|key| key.name() == text);
        found.ok_or_else(|| format!("`{text}` is no setting of the router; there are {}", known()))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl RouterPolicy {
    /// Sets a setting as it is written.
    pub fn set(&mut self, key: Key, text: &str) -> Result<(), String> {
        match key {
            Key::FirstByte => self.first_byte = Some(text.parse()?),
            Key::BodyIdle => self.body_idle = Some(text.parse()?),
            Key::BodyLimit => self.body_limit = Some(text.parse()?),
            Key::Concurrency => self.concurrency = Some(text.parse()?),
            Key::Queue => self.queue = Some(text.parse()?),
            Key::HoldRequests => self.hold_requests = Some(text.parse()?),
            Key::HoldSize => self.hold_size = Some(text.parse()?),
            Key::WsDrain => self.ws_drain = Some(text.parse()?),
            Key::Sticky => self.sticky = text.parse()?,
            Key::RateLimit => self.rate_limit = Some(text.parse()?),
            Key::Allow => self.allow = ranges(text)?,
            Key::AccessLog => self.access_log = text.parse()?,
        }
        Ok(())
    }

    /// A setting as people read it; `None` where it has its default.
    pub fn shown(&self, key: Key) -> Option<String> {
        match key {
            Key::FirstByte => self.first_byte.map(|it| it.to_string()),
            Key::BodyIdle => self.body_idle.map(|it| it.to_string()),
            Key::BodyLimit => self.body_limit.map(|it| it.to_string()),
            Key::Concurrency => self.concurrency.map(|it| it.to_string()),
            Key::Queue => self.queue.map(|it| it.to_string()),
            Key::HoldRequests => self.hold_requests.map(|it| it.to_string()),
            Key::HoldSize => self.hold_size.map(|it| it.to_string()),
            Key::WsDrain => self.ws_drain.map(|it| it.to_string()),
            Key::Sticky => (self.sticky == Sticky::On).then(|| "on".to_owned()),
            Key::RateLimit => self.rate_limit.map(|it| it.to_string()),
            Key::Allow => {
                let ranges: Vec<String> = self.allow.iter().map(ToString::to_string).collect();
                (!ranges.is_empty()).then(|| ranges.join(","))
            }
            Key::AccessLog => match self.access_log {
                AccessLog::On => None,
                AccessLog::Short => Some("short".to_owned()),
                AccessLog::Off => Some("off".to_owned()),
            },
        }
    }
}

fn ranges(text: &str) -> Result<Vec<Cidr>, String> {
    let ranges: Result<Vec<Cidr>, _> = text.split(',').map(str::parse).collect();
    let ranges = ranges.map_err(|error| error.to_string())?;
    if ranges.len() > ALLOWED_MAX {
        return Err(format!("{} ranges are more than {ALLOWED_MAX}", ranges.len()));
    }
    Ok(ranges)
}

impl FromStr for Sticky {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "on" => Ok(Self::On),
            "off" => Ok(Self::Off),
            _ => Err(format!("`{text}` is not on or off")),
        }
    }
}

impl FromStr for AccessLog {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "on" => Ok(Self::On),
            "short" => Ok(Self::Short),
            "off" => Ok(Self::Off),
            _ => Err(format!("`{text}` is not on, short or off")),
        }
    }
}

/// One word of a command line: `first-byte=60s`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    pub key: Key,
    /// Fits the key.
    text: String,
}

impl Setting {
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let (key, text) = word.split_once('=').ok_or("write KEY=VALUE, such as first-byte=60s")?;
        let key = key.parse()?;
        RouterPolicy::default().set(key, text).map_err(|error| format!("{key}: {error}"))?;
        Ok(Self { key, text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_read_shown_and_has_facts() {
        let written = [
            ("first-byte=2m", "2 min"),
            ("body-idle=90s", "90 s"),
            ("body-limit=10M", "10.0 MiB"),
            ("concurrency=5", "5"),
            ("queue=0s", "0 s"),
            ("hold-requests=7", "7"),
            ("hold-size=1M", "1.0 MiB"),
            ("ws-drain=1h", "1 h"),
            ("sticky=on", "on"),
            ("rate-limit=10/s", "10/s"),
            ("allow=10.0.0.0/8,::1", "10.0.0.0/8,::1/128"),
            ("access-log=short", "short"),
        ];
        let mut policy = RouterPolicy::default();
        assert!(Key::ALL.iter().all(|key| policy.shown(*key).is_none() && !key.facts().meaning.is_empty()));
        for ((word, shown), key) in written.into_iter().zip(Key::ALL) {
            let setting: Setting = word.parse().unwrap();
            assert_eq!(setting.key, key);
            policy.set(key, setting.text()).unwrap();
            assert_eq!(policy.shown(key).as_deref(), Some(shown));
        }
        let json = serde_json::to_string(&policy).unwrap();
        assert_eq!(serde_json::from_str::<RouterPolicy>(&json).unwrap(), policy);
    }

    #[test]
    fn what_does_not_fit_its_key_is_refused_by_name() {
        for bad in [
            "first-byte=0s",
            "first-byte=61m",
            "queue=11s",
            "body-limit=-1",
            "concurrency=0",
            "sticky=yes",
            "allow=",
            "allow=10.0.0.1/8",
            "rate-limit=0/s",
            "access-log=long",
            "hold-size=1",
            "first-byte",
            "=1s",
            "FIRST-BYTE=1s",
        ] {
            assert!(bad.parse::<Setting>().is_err(), "{bad} was accepted");
        }
        assert!("body_limit=1".parse::<Setting>().unwrap_err().contains("there are first-byte, body-idle"));
        let many = vec!["10.0.0.0/8"; ALLOWED_MAX + 1].join(",");
        assert!(format!("allow={many}").parse::<Setting>().is_err());
    }
}
