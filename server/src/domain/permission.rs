//! What may be done, and by whom: declared by every command, page and stream (security rule R7).
use super::Pusher;

/// What a command or a page does. Until there are users, every key is an owner and may do all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Permission {
    ReadApp,
    ChangeApp,
    ReadServer,
    ChangeServer,
}

impl Permission {
    /// Every authenticated key and everybody who may open the local socket is an owner.
    pub fn is_granted_to(self, who: &Pusher) -> bool {
        match (self, who) {
            (
                Self::ReadApp | Self::ChangeApp | Self::ReadServer | Self::ChangeServer,
                Pusher::Key { .. } | Pusher::Host { .. },
            ) => true,
        }
    }
}
