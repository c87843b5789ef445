//! The terminal that `paas` was typed on, in the hands of a program in an instance.
use crate::domain::terminal::WindowSize;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::io::Stdin;

/// Raw as long as this lives, and then as it was before.
pub(super) struct RawTerminal {
    stdin: Stdin,
    before: Termios,
}

impl RawTerminal {
    pub(super) fn take() -> std::io::Result<Self> {
        let stdin = std::io::stdin();
        let before = tcgetattr(&stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Now, &raw)?;
        Ok(Self { stdin, before })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // A terminal that is gone needs no restoring.
        let _ = tcsetattr(&self.stdin, OptionalActions::Drain, &self.before);
    }
}

/// `None` where standard input is no terminal.
pub(super) fn window_size() -> Option<WindowSize> {
    let size = tcgetwinsize(std::io::stdin()).ok()?;
    Some(WindowSize { columns: size.ws_col, rows: size.ws_row })
}
