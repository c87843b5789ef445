//! A volume: files of an app that outlive its instances and releases.
use super::{AppId, Moment};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Volumes that one app may own.
pub const VOLUMES_MAX: usize = 8;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum VolumeError {
    #[error(
        "volume name `{0}` may hold only a-z, 0-9 and inner dashes (at most {max} characters)",
        max = VolumeName::LENGTH_MAX
    )]
    Name(String),
    #[error("`{0}` is no path for a volume: it starts with `/`, such as /data")]
    Relative(String),
    #[error("`{0}` is no plain path: write it without `.`, `..`, doubled slashes or a slash at its end")]
    NotPlain(String),
    #[error(
        "path `{0}` may hold only letters, digits, `-`, `_`, `.` and `/` (at most {max} characters)",
        max = MountPath::LENGTH_MAX
    )]
    Characters(String),
    #[error("a volume at {0} would hide what the image or the system keeps there; choose another path, such as /data")]
    Reserved(String),
}

/// Name of a volume within its app.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VolumeName(String);

impl VolumeName {
    pub const LENGTH_MAX: usize = 40;

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for VolumeName {
    type Err = VolumeError;

    fn from_str(text: &str) -> Result<Self, VolumeError> {
        let is_plain = text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        // A number alone is how a volume without an app is named.
        let is_number = text.bytes().all(|b| b.is_ascii_digit());
        let fits = is_plain && !is_number && !text.starts_with('-') && !text.ends_with('-');
        if fits && text.len() <= Self::LENGTH_MAX {
            Ok(Self(text.to_owned()))
        } else {
            Err(VolumeError::Name(text.to_owned()))
        }
    }
}

/// Where a volume appears inside the instances: absolute, plain, and nowhere that an image or a system needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MountPath(String);

impl MountPath {
    pub const LENGTH_MAX: usize = 200;
    /// Neither these nor anything below them.
    const RESERVED: [&str; 12] =
        ["/proc", "/sys", "/dev", "/etc", "/run", "/boot", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/usr"];
    /// These themselves; below them is fine. `/app` is where our images keep an app's files.
    const RESERVED_ROOTS: [&str; 8] = ["/app", "/home", "/root", "/opt", "/srv", "/tmp", "/var", "/var/run"];

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether one lies inside the other, or is it.
    pub fn overlaps(&self, other: &Self) -> bool {
        is_at_or_below(&self.0, &other.0) || is_at_or_below(&other.0, &self.0)
    }

    /// The folder that holds it, and its own name.
    pub fn split(&self) -> (&str, &str) {
        let (parent, name) = self.0.rsplit_once('/').unwrap_or(("", &self.0));
        (if parent.is_empty() { "/" } else { parent }, name)
    }
}

fn is_at_or_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl FromStr for MountPath {
    type Err = VolumeError;

    fn from_str(text: &str) -> Result<Self, VolumeError> {
        let given = || text.to_owned();
        let Some(inner) = text.strip_prefix('/') else { return Err(VolumeError::Relative(given())) };
        if inner.is_empty() {
            return Err(VolumeError::Reserved(given()));
        }
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_./".contains(&b);
        if text.len() > Self::LENGTH_MAX || !text.bytes().all(fits) {
            return Err(VolumeError::Characters(given()));
        }
        if inner.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(VolumeError::NotPlain(given()));
        }
        let is_reserved = Self::RESERVED.iter().any(|folder| is_at_or_below(text, folder));
        if is_reserved || Self::RESERVED_ROOTS.contains(&text) || is_at_or_below(text, "/var/run") {
            return Err(VolumeError::Reserved(given()));
        }
        Ok(Self(given()))
    }
}

macro_rules! checked_text {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl TryFrom<String> for $name {
            type Error = VolumeError;
            fn try_from(text: String) -> Result<Self, VolumeError> {
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
checked_text!(VolumeName);
checked_text!(MountPath);

/// What the engine calls a volume: `paas-<app key>-<number>`, made from internal ids and never changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeKey(String);

impl VolumeKey {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VolumeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A volume as the store knows it.
#[derive(Clone, Debug)]
pub struct Volume {
    /// Its number on this server, by which one without an app is named.
    pub id: i64,
    pub key: VolumeKey,
    pub name: VolumeName,
    pub owner: Owner,
    /// Where the app's instances see it; `None`: nowhere.
    pub path: Option<MountPath>,
    pub stage: Stage,
    pub created_at: Moment,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    App(AppId),
    /// The app of this name was destroyed and left it.
    Nobody {
        was: String,
    },
}

/// Whether an instance has had it yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its root belongs to nobody yet: the first instance's user gets it.
    Fresh,
    /// Holds an app's data: its owner is never changed again, and it is never made anew.
    Used,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volume_names_are_plain_words_and_no_numbers() {
        for good in ["data", "a", "7days", "uploads-2"] {
            assert_eq!(good.parse::<VolumeName>().unwrap().as_str(), good);
        }
        let long = "a".repeat(41);
        for bad in ["", "-a", "a-", "A", "a b", "a/b", "../x", "12", "ä", "--all", "a\0", long.as_str()] {
            assert!(bad.parse::<VolumeName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn paths_that_hide_nothing_are_kept_as_they_are() {
        for good in ["/data", "/app/data", "/var/lib/blog", "/home/app/.cache", "/srv/x", "/procs"] {
            let path: MountPath = good.parse().unwrap();
            assert_eq!(path.as_str(), good);
        }
        assert_eq!("/data".parse::<MountPath>().unwrap().split(), ("/", "data"));
        assert_eq!("/app/data".parse::<MountPath>().unwrap().split(), ("/app", "data"));
    }

    #[test]
    fn other_paths_are_refused_with_the_reason() {
        use VolumeError::{Characters, NotPlain, Relative, Reserved};
        let of = |text: &str| text.parse::<MountPath>().unwrap_err();
        for relative in ["", "data", "./data", "~"] {
            assert_eq!(of(relative), Relative(relative.to_owned()));
        }
        for not_plain in ["//", "/data/", "/data//x", "/data/../etc", "/./data", "/.."] {
            assert_eq!(of(not_plain), NotPlain(not_plain.to_owned()));
        }
        for reserved in ["/", "/proc", "/proc/1", "/etc", "/etc/ssl", "/dev/shm", "/app", "/usr/local", "/var/run/x"] {
            assert_eq!(of(reserved), Reserved(reserved.to_owned()));
        }
        let long = format!("/{}", "a".repeat(200));
        for odd in ["/a b", "/a:ro", "/a,b", "/ä", "/a\0", "/a\n", "/$HOME", long.as_str()] {
            assert_eq!(of(odd), Characters(odd.to_owned()));
        }
    }

    #[test]
    fn paths_overlap_when_one_holds_the_other() {
        let path = |text: &str| text.parse::<MountPath>().unwrap();
        assert!(path("/data").overlaps(&path("/data")));
        assert!(path("/data").overlaps(&path("/data/x")) && path("/data/x").overlaps(&path("/data")));
        assert!(!path("/data").overlaps(&path("/data2")));
    }
}
