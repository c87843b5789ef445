//! How the network bridges of our apps are called: the firewall knows them by their names alone, from the first packet on.
use super::{AppId, InstallationId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What the bridges of every installation begin with.
pub const ANY_INSTALLATION: &str = "paas";
/// Letters of the installation's id in the name: Linux allows 15 in all, and the app's id takes up to six.
const ID_LENGTH: usize = 5;

/// What the bridges of one installation begin with: `paas` and five letters of its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BridgePrefix(String);

impl BridgePrefix {
    pub fn of(installation: &InstallationId) -> Self {
        let letters = installation.as_str().chars().filter(|c| is_letter(*c)).take(ID_LENGTH);
        Self(ANY_INSTALLATION.chars().chain(letters).collect())
    }

    /// The bridge of an app. The engine refuses a second network with the same bridge, so that an app never has two.
    pub fn bridge(&self, app: AppId) -> String {
        format!("{}{:x}", self.0, app.0 & 0xff_ffff)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for BridgePrefix {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let letters = text.strip_prefix(ANY_INSTALLATION).unwrap_or_default();
        match letters.len() == ID_LENGTH && letters.chars().all(is_letter) {
            true => Ok(Self(text)),
            false => Err("a bridge prefix is `paas` and five letters or digits".to_owned()),
        }
    }
}

impl From<BridgePrefix> for String {
    fn from(prefix: BridgePrefix) -> Self {
        prefix.0
    }
}

impl fmt::Display for BridgePrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_letter(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bridge_names_its_installation_and_app_in_fifteen_letters() {
        let prefix = BridgePrefix::of(&InstallationId::new("0123456789abcdef0123456789abcdef"));
        assert_eq!(prefix.as_str(), "paas01234");
        assert_eq!(prefix.bridge(AppId(7)), "paas012347");
        assert_eq!(prefix.bridge(AppId(i64::MAX)).len(), 15);
    }

    #[test]
    fn only_a_whole_prefix_is_read_back() {
        let read = |text: &str| serde_json::from_value::<BridgePrefix>(text.into());
        assert_eq!(read("paas01234").unwrap().as_str(), "paas01234");
        for wrong in ["", "paas", "paas0123", "paas012345", "docker012", "paas012*\"", "paas01A34", "paas0 234"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
