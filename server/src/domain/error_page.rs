//! Pages of an app's own, for visitors whom nothing answers.
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// When a page is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PageKind {
    #[serde(rename = "502")]
    BadGateway,
    #[serde(rename = "503")]
    Unavailable,
    #[serde(rename = "504")]
    Timeout,
    #[serde(rename = "maintenance")]
    Maintenance,
}

impl PageKind {
    pub const ALL: [Self; 4] = [Self::BadGateway, Self::Unavailable, Self::Timeout, Self::Maintenance];

    pub fn word(self) -> &'static str {
        match self {
            Self::BadGateway => "502",
            Self::Unavailable => "503",
            Self::Timeout => "504",
            Self::Maintenance => "maintenance",
        }
    }
}

impl FromStr for PageKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|kind| kind.word() == text);
        found.ok_or_else(|| format!("`{text}` is no page; there are {}", Self::ALL.map(Self::word).join(", ")))
    }
}

impl fmt::Display for PageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// HTML of bounded size, sent as it is. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ErrorPage(Arc<str>);

impl ErrorPage {
    pub const BYTES_MAX: usize = 64 << 10;

    pub fn html(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ErrorPage {
    type Error = String;

    fn try_from(html: String) -> Result<Self, String> {
        if html.trim().is_empty() {
            return Err("the page is empty".to_owned());
        }
        if html.len() > Self::BYTES_MAX {
            return Err(format!("the page is longer than {} KiB", Self::BYTES_MAX >> 10));
        }
        Ok(Self(html.into()))
    }
}

impl From<ErrorPage> for String {
    fn from(page: ErrorPage) -> Self {
        page.0.as_ref().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_a_size_and_a_known_kind() {
        assert_eq!(ErrorPage::try_from("<h1>soon</h1>".to_owned()).unwrap().html(), "<h1>soon</h1>");
        assert!(ErrorPage::try_from(" \n".to_owned()).is_err());
        assert!(ErrorPage::try_from("x".repeat(ErrorPage::BYTES_MAX + 1)).is_err());
        for kind in PageKind::ALL {
            assert_eq!(kind.word().parse(), Ok(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.word());
        }
        assert!("500".parse::<PageKind>().is_err());
    }
}
