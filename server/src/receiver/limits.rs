//! What a stranger, a key holder and a push may use at most (security rule R16).
use super::collection::CollectionLimits;
use crate::builder::TreeLimits;
use std::time::Duration;

/// The exec line of an SSH client, in bytes.
pub(super) const EXEC_LINE_BYTES_MAX: usize = 4 << 10;
/// What a client may send on a channel before it hears that it may send more.
pub(super) const WINDOW_BYTES: u32 = 2 << 20;
/// A pasted public key, in bytes; the longest RSA keys are below 3 KiB.
pub(super) const PUBLIC_KEY_BYTES_MAX: usize = 16 << 10;
/// One frame between a hook and the server, in bytes; a log line is at most 16 KiB and escapes to at most six times that.
pub(super) const FRAME_BYTES_MAX: usize = 128 << 10;
/// Refs of one push that a hook tells the server about; a push of more than one is refused anyway.
pub(super) const REFS_TOLD_MAX: usize = 64;
/// Refs that one push may name at all.
pub(super) const REFS_MAX: usize = 20_000;
/// A branch name, in bytes.
pub(super) const BRANCH_BYTES_MAX: usize = 200;
/// The reason in git's `! [remote rejected]` line, in bytes.
pub(super) const REASON_BYTES_MAX: usize = 900;
/// How long a hook may take to say who it is.
pub(super) const HOOK_HELLO: Duration = Duration::from_secs(10);
/// How long the pre-receive hook may look at a tree.
pub(super) const TREE_CHECK: Duration = Duration::from_mins(2);
/// How long a transcript may stay silent after its verdict before it counts as read. One that was closed before it was
/// opened here never says that it is over.
pub(super) const TRANSCRIPT_TAIL: Duration = Duration::from_millis(250);
/// How long git has to end by itself after SIGTERM.
pub(super) const TERMINATE_GRACE: Duration = Duration::from_secs(3);
/// How long a connection has to close after it was told to.
pub(super) const DISCONNECT_GRACE: Duration = Duration::from_secs(2);
/// How long sessions have to end by themselves when the server stops.
pub(super) const STOP_GRACE: Duration = Duration::from_secs(5);
/// Answering an unknown key takes at least this long, so that guessing stays slow; a person with five keys waits a second.
pub(super) const REJECTION: Duration = Duration::from_millis(200);

/// The limits that an operator may want to know or change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the first byte to a verified signature.
    pub handshake: Duration,
    /// Connections per address (per /64 for IPv6) that have not logged in yet.
    pub unauthenticated_per_address: usize,
    /// Connections in all.
    pub connections: usize,
    /// Signatures that may fail on one connection.
    pub auth_attempts: usize,
    /// Channels open at once on one connection.
    pub channels: usize,
    /// Bytes of one pushed pack.
    pub pack_bytes: u64,
    /// How long a push may be silent before a line says that it goes on.
    pub quiet: Duration,
    /// Bounds of a pushed tree.
    pub tree: TreeLimits,
    /// What becomes of what refused pushes have left.
    pub collection: CollectionLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(15),
            unauthenticated_per_address: 10,
            connections: 200,
            auth_attempts: 6,
            channels: 10,
            pack_bytes: 1 << 30,
            quiet: Duration::from_secs(15),
            tree: TreeLimits::default(),
            collection: CollectionLimits::default(),
        }
    }
}
