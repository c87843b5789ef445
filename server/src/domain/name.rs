//! One parser per name (security rule R5): what holds one of these types has been checked.
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NameError {
    #[error("app name is empty; give it a name such as `blog`")]
    AppEmpty,
    #[error("app name is {0} characters long; at most {max} are allowed", max = AppName::LENGTH_MAX)]
    AppTooLong(usize),
    #[error("app name may hold only a-z, 0-9 and inner dashes, and starts with a letter or digit")]
    AppCharacters,
    #[error("app name `{0}` is reserved; choose another one")]
    AppReserved(String),
    #[error(
        "process type `{0}` may hold only letters, digits, `-` and `_`, and starts with a letter (at most 31 characters)"
    )]
    ProcessType(String),
    #[error(
        "config var name `{0}` may hold only letters, digits and `_`, and does not start with a digit (at most 128 characters)"
    )]
    Var(String),
    #[error("config var `{0}` is set by the platform itself; choose another name")]
    VarReserved(String),
}

macro_rules! checked_name {
    ($name:ident) => {
        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
    };
}

/// Name of an app: a DNS label of at most 40 characters, because it is the app's host name under the base domain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AppName(String);

impl AppName {
    pub const LENGTH_MAX: usize = 40;
    const RESERVED: [&str; 3] = ["www", "localhost", "paas"];
}

impl FromStr for AppName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::AppEmpty);
        }
        if text.chars().count() > Self::LENGTH_MAX {
            return Err(NameError::AppTooLong(text.chars().count()));
        }
        let characters = text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        // Punycode labels (`xn--`) would let a name look like another one in a browser.
        if !characters || text.starts_with('-') || text.ends_with('-') || text.starts_with("xn--") {
            return Err(NameError::AppCharacters);
        }
        if Self::RESERVED.contains(&text) {
            return Err(NameError::AppReserved(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}
checked_name!(AppName);

/// Name of a process type as the Procfile has it: `web`, `worker` …
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProcessType(String);

impl ProcessType {
    /// The one type that visitors reach.
    pub fn web() -> Self {
        Self("web".to_owned())
    }

    pub fn is_web(&self) -> bool {
        self.0 == "web"
    }
}

impl FromStr for ProcessType {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let fits = text.len() <= 31
            && text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if fits { Ok(Self(text.to_owned())) } else { Err(NameError::ProcessType(text.to_owned())) }
    }
}
checked_name!(ProcessType);

/// Name of a config var: what a shell accepts as a variable name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VarName(String);

impl VarName {
    /// Set on every instance by the platform; a user's value would be lost or lie.
    const RESERVED: [&str; 4] = ["PAAS_APP", "PAAS_RELEASE", "PAAS_PROCESS", "GIT_REV"];
}

impl FromStr for VarName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let fits = text.len() <= 128
            && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !fits {
            return Err(NameError::Var(text.to_owned()));
        }
        if Self::RESERVED.contains(&text) {
            return Err(NameError::VarReserved(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}
checked_name!(VarName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_app_names_are_refused() {
        let long = "a".repeat(70);
        for bad in [
            "",
            "../x",
            "a b",
            "-x",
            "x-",
            "x;id",
            long.as_str(),
            "blög",
            "WWW",
            "www",
            "localhost",
            "xn--bcher-kva",
            "a.b",
            "a\0b",
            "--help",
        ] {
            assert!(bad.parse::<AppName>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn good_app_names_are_kept_as_they_are() {
        for good in ["blog", "a", "7days", "my-app-2", "a".repeat(40).as_str()] {
            assert_eq!(good.parse::<AppName>().unwrap().as_str(), good);
        }
    }

    #[test]
    fn var_names_are_what_a_shell_accepts() {
        assert!("DATABASE_URL".parse::<VarName>().is_ok());
        for bad in ["", "1A", "A-B", "A B", "PAAS_APP", "Ä"] {
            assert!(bad.parse::<VarName>().is_err(), "{bad:?} was accepted");
        }
    }
}
