//! An SSH key that may push, and who acted.
use super::{KeyId, Moment};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A key in the store. Until there are users, every key is an owner.
#[derive(Clone, Debug)]
pub struct Key {
    pub id: KeyId,
    pub name: String,
    /// `SHA256:…` as `ssh-keygen -l` prints it.
    pub fingerprint: String,
    /// OpenSSH one-line form without the comment.
    pub public_key: String,
    pub added_at: Moment,
}

/// Who asked for something: shown on releases, in logs and in the audit trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pusher {
    Key {
        id: KeyId,
        name: String,
    },
    /// A person on the host itself, by the local socket; the file's permission is the authority.
    Host {
        uid: u32,
    },
}

impl fmt::Display for Pusher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key { name, .. } => f.write_str(name),
            Self::Host { uid: 0 } => f.write_str("root@host"),
            Self::Host { uid } => write!(f, "uid {uid}@host"),
        }
    }
}
