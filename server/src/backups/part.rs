//! The parts of a backup, each an entry of the archive under a path of its own. Nothing else is taken out of one.
use crate::domain::AppKey;
use std::fmt;
use std::str::FromStr;

/// What goes into one entry of a big part: a repository's pack, a volume's content.
pub(super) const CHUNK_BYTES: usize = 4 << 20;
/// Digits of a chunk's number: 40 TB of chunks.
const NUMBER_DIGITS: usize = 7;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// First: what this is. JSON.
    Manifest,
    Database,
    HostKey,
    /// Only in an encrypted backup.
    SealKey,
    /// Where an app's branches point. JSON.
    Refs {
        app: AppKey,
    },
    /// The objects of an app's repository, as one git pack in numbered chunks.
    Pack {
        app: AppKey,
        chunk: u32,
    },
    /// A volume's content, as one tar in numbered chunks.
    Volume {
        volume: String,
        chunk: u32,
    },
    /// Last: length and SHA-256 of everything before. JSON.
    Checksums,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest => f.write_str("manifest.json"),
            Self::Database => f.write_str("paas.db"),
            Self::HostKey => f.write_str("keys/ssh_host_ed25519"),
            Self::SealKey => f.write_str("keys/seal.key"),
            Self::Refs { app } => write!(f, "repos/{app}/refs.json"),
            Self::Pack { app, chunk } => write!(f, "repos/{app}/pack.{chunk:0NUMBER_DIGITS$}"),
            Self::Volume { volume, chunk } => write!(f, "volumes/{volume}/tar.{chunk:0NUMBER_DIGITS$}"),
            Self::Checksums => f.write_str("checksums.json"),
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("it holds `{0}`, which no backup of ours does")]
pub(super) struct StrangePart(String);

impl FromStr for Part {
    type Err = StrangePart;

    fn from_str(path: &str) -> Result<Self, StrangePart> {
        let refuse = || StrangePart(path.to_owned());
        let pieces: Vec<&str> = path.split('/').collect();
        let number = |name: &str, stem: &str| -> Option<u32> {
            let digits = name.strip_prefix(stem).filter(|digits| digits.len() == NUMBER_DIGITS)?;
            digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
        };
        let app = |text: &str| text.parse::<AppKey>().map_err(|_| refuse());
        match pieces.as_slice() {
            ["manifest.json"] => Ok(Self::Manifest),
            ["paas.db"] => Ok(Self::Database),
            ["keys", "ssh_host_ed25519"] => Ok(Self::HostKey),
            ["keys", "seal.key"] => Ok(Self::SealKey),
            ["checksums.json"] => Ok(Self::Checksums),
            ["repos", key, "refs.json"] => Ok(Self::Refs { app: app(key)? }),
            ["repos", key, pack] => Ok(Self::Pack { app: app(key)?, chunk: number(pack, "pack.").ok_or_else(refuse)? }),
            ["volumes", volume, tar] if is_volume_id(volume) => {
                Ok(Self::Volume { volume: (*volume).to_owned(), chunk: number(tar, "tar.").ok_or_else(refuse)? })
            }
            _ => Err(refuse()),
        }
    }
}

/// Engine names of our volumes: internal ids, never people's words.
fn is_volume_id(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.len() <= 64 && !text.starts_with('-') && text.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_read_as_it_is_written() {
        let app: AppKey = "0192f3c4a5b67c8d9e0f1a2b3c4d5e6f".parse().unwrap();
        for part in [
            Part::Manifest,
            Part::Database,
            Part::HostKey,
            Part::SealKey,
            Part::Refs { app: app.clone() },
            Part::Pack { app, chunk: 12 },
            Part::Volume { volume: "paas-0192f3-1".to_owned(), chunk: 0 },
            Part::Checksums,
        ] {
            assert_eq!(part.to_string().parse::<Part>().unwrap(), part);
        }
    }

    #[test]
    fn nothing_else_is_taken_out() {
        for path in [
            "",
            "/etc/passwd",
            "../paas.db",
            "keys/../paas.db",
            "repos/../../x/refs.json",
            "repos/UPPER/refs.json",
            "volumes/../tar.0000000",
            "volumes/-x/tar.0000000",
            "volumes/x/tar.1",
            "volumes/x/tar.+000001",
            "paas.db/",
            "manifest.json\0",
        ] {
            assert!(path.parse::<Part>().is_err(), "{path:?}");
        }
    }
}
