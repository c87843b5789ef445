//! What a hook and the server say to each other: one JSON object per line over the hook socket.
use crate::builder::TreeLimits;
use crate::domain::{FetchAllow, Oid};
use serde::{Deserialize, Serialize};

/// The environment variable that carries a push session's token to its hooks.
pub(super) const TOKEN_VARIABLE: &str = "PAAS_PUSH";
/// The environment variable that says where the hook socket is.
pub(super) const SOCKET_VARIABLE: &str = "PAAS_HOOK_SOCKET";

/// One ref that a push asks to change, as git hands it to a hook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RefCommand {
    pub(super) old: Oid,
    pub(super) new: Oid,
    /// In full: `refs/heads/main`. Bytes that are not UTF-8 were replaced, which no rule lets pass.
    pub(super) reference: String,
}

/// The refs of a push: the first of them, and how many there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RefCommands {
    pub(super) told: Vec<RefCommand>,
    pub(super) count: usize,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub(super) enum FromHook {
    /// pre-receive begins: may these refs change, and what is to be looked at?
    Check { token: String, commands: RefCommands },
    /// pre-receive has looked at the tree; no sentence means that nothing is wrong.
    Findings { sentences: Vec<String> },
    /// proc-receive begins: deploy what was checked.
    Deploy { token: String, commands: RefCommands },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub(super) enum ToHook {
    /// Look at this commit's tree. `fetch_allow`: hosts that its submodules may come from.
    Inspect { commit: Oid, limits: TreeLimits, fetch_allow: FetchAllow },
    /// The check is over; these sentences are for the pusher.
    Noted { sentences: Vec<String> },
    /// A line of the deploy's progress.
    Line { text: String },
    /// How each ref fares, in the order told.
    Answers { answers: Vec<Answer> },
    /// The server will not talk to this hook.
    Sorry { reason: String },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub(super) enum Answer {
    /// The ref moved; `moved_from` where it was not where the pusher saw it.
    Moved {
        moved_from: Option<Oid>,
    },
    Refused {
        reason: String,
    },
}
