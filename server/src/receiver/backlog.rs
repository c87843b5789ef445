//! Input of commands that they have not read yet, over all channels of one connection, and what that means for its client.
//!
//! russh lets a client send more as soon as data has arrived, not when somebody has read it. Where nobody reads, something
//! must give: a connection that stops reading would not hear that the client is gone, nor that it can take more output
//! (`paas run cat < large-file` would stand still for ever). So the connection reads on, and the window that clients are
//! granted shrinks to next to nothing until the command has caught up.
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// From here on a client is slowed down.
const BYTES_MAX: usize = 4 << 20;
/// russh grants a window anew when less than half of it is left: every single byte asks again, one round trip each.
const WINDOW_MIN: u32 = 2;

#[derive(Clone, Default)]
pub(super) struct Backlog(Arc<AtomicUsize>);

impl Backlog {
    pub(super) fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes, Relaxed);
    }

    pub(super) fn take(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Relaxed);
    }

    /// The window to grant the next time.
    pub(super) fn window(&self, usual: u32) -> u32 {
        if self.0.load(Relaxed) > BYTES_MAX { WINDOW_MIN } else { usual }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_slowed_down_until_its_command_has_caught_up() {
        let backlog = Backlog::default();
        backlog.add(BYTES_MAX);
        assert_eq!(backlog.window(1 << 20), 1 << 20);
        backlog.add(1);
        assert_eq!(backlog.window(1 << 20), WINDOW_MIN);
        backlog.take(1);
        assert_eq!(backlog.window(1 << 20), 1 << 20);
    }
}
