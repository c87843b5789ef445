//! A newtype for every id, so that one can never stand where another is meant.
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);
    };
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

number_id!(/// Row id of an app; never reused.
    AppId(i64));
number_id!(/// Row id of a build; what users see as `#12`.
    BuildId(i64));
number_id!(/// Row id of an SSH key.
    KeyId(i64));
number_id!(/// Number of a release within its app: v1, v2 …
    ReleaseNo(u32));

text_id!(/// The app's secret random id (32 hex digits): disks, containers, images and caches carry it, never the name.
    AppKey);
text_id!(/// The engine's id of a container. Instances are keyed by it and never by address: addresses are reused.
    ContainerId);
text_id!(/// The engine's id of an image (`sha256:…`).
    ImageId);
text_id!(/// The random id of this installation: what does not carry it is never touched.
    InstallationId);

impl FromStr for AppKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_plain = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() == 32 && text.bytes().all(is_plain) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("`{text}` is no app's key, which has 32 hex digits"))
    }
}

impl ContainerId {
    /// The first twelve characters, as Docker prints ids.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl fmt::Display for ReleaseNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

impl FromStr for ReleaseNo {
    type Err = String;

    /// Accepts `v12` and `12`.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix('v').unwrap_or(text).parse::<u32>() {
            Ok(no) if no > 0 => Ok(Self(no)),
            _ => Err(format!("`{text}` is no release number; releases are v1, v2 …")),
        }
    }
}

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// A git object id in full: 40 lower-case hex digits (SHA-1 repositories only, as git-receive-pack makes them here).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Oid(String);

impl Oid {
    /// What git writes where there is no object: 40 zeroes.
    pub fn zero() -> Self {
        Self("0".repeat(40))
    }

    pub fn is_zero(&self) -> bool {
        self.0.bytes().all(|b| b == b'0')
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first seven digits, as git abbreviates.
    pub fn short(&self) -> &str {
        &self.0[..7]
    }
}

impl FromStr for Oid {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_hex = text.len() == 40 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if is_hex { Ok(Self(text.to_owned())) } else { Err(format!("`{text}` is no object id (40 hex digits)")) }
    }
}

impl TryFrom<String> for Oid {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Oid> for String {
    fn from(oid: Oid) -> Self {
        oid.0
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
