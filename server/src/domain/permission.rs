//! What may be done, and by whom: declared by every command, page and stream (security rule R7).
use super::Pusher;

/// What a command or a page does. Until there are users, every key is an owner and may do all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Permission {
    ReadApp,
    ChangeApp,
    ReadServer,
    ChangeServer,
    /// What only root may do, on the server's own machine.
    Host,
}

impl Permission {
    /// Every authenticated key and everybody who may open the local socket is an owner.
    pub fn is_granted_to(self, who: &Pusher) -> bool {
        match (self, who) {
            (Self::Host, who) => matches!(who, Pusher::Host { uid: 0 }),
            (
                Self::ReadApp | Self::ChangeApp | Self::ReadServer | Self::ChangeServer,
                Pusher::Key { .. } | Pusher::Host { .. },
            ) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::KeyId;

    #[test]
    fn what_is_for_root_on_the_host_is_for_nobody_else() {
        let key = Pusher::Key { id: KeyId(1), name: "laptop".to_owned() };
        for (who, is_granted) in [(Pusher::Host { uid: 0 }, true), (Pusher::Host { uid: 1000 }, false), (key, false)] {
            assert_eq!(Permission::Host.is_granted_to(&who), is_granted, "{who}");
            assert!(Permission::ChangeServer.is_granted_to(&who));
        }
    }
}
