//! What a command reads and writes, wherever it was typed: over SSH, over the local socket, later over the API.
use crate::domain::terminal::{TermName, WindowSize};
use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// Chunks that may wait on either side.
pub const QUEUE_CHUNKS: usize = 64;

/// A chunk of a command's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    Standard(Bytes),
    Error(Bytes),
    /// A program has taken the person's terminal: what comes on standard output from here on is its own, byte by byte,
    /// and so is what is typed.
    TerminalTaken,
}

/// A terminal that the other end offers to a program.
pub struct Terminal {
    pub name: TermName,
    /// Changes when the person resizes the window.
    pub size: watch::Receiver<WindowSize>,
}

/// The command's end of a console.
pub struct Console {
    /// Standard input; ends with the sender.
    pub input: mpsc::Receiver<Bytes>,
    pub output: mpsc::Sender<Output>,
    /// Whether a person reads along on a terminal.
    pub is_terminal: bool,
    /// Cancelled when the other end has left.
    pub left: CancellationToken,
    /// Offered by who typed the command; only a program in an instance ever takes it (security rule R3).
    pub terminal: Option<Terminal>,
    /// Exit code of a command that was done: that of the program which it ran.
    pub exit_code: u8,
}

impl Console {
    /// Writes a line to standard output; `false` when nobody reads any more.
    pub async fn say(&self, line: &str) -> bool {
        self.write(Output::Standard, line).await
    }

    /// Writes a line to standard error.
    pub async fn complain(&self, line: &str) -> bool {
        self.write(Output::Error, line).await
    }

    async fn write(&self, kind: fn(Bytes) -> Output, line: &str) -> bool {
        self.output.send(kind(Bytes::from(format!("{line}\n")))).await.is_ok()
    }

    /// Takes the terminal for a program, if there is one.
    pub async fn take_terminal(&mut self) -> Option<Terminal> {
        let terminal = self.terminal.take()?;
        // A person who has left has no terminal.
        self.output.send(Output::TerminalTaken).await.ok().map(|()| terminal)
    }

    /// All of standard input, at most `limit_bytes`; `None` when there is more.
    pub async fn read_all(&mut self, limit_bytes: usize) -> Option<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(chunk) = self.input.recv().await {
            if all.len() + chunk.len() > limit_bytes {
                return None;
            }
            all.extend_from_slice(&chunk);
        }
        Some(all)
    }
}

/// Lines for a terminal that no line discipline mends any more: every line begins at its left edge.
pub fn with_returns(text: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(text.len() + 8);
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(line) => {
                out.extend_from_slice(line);
                out.extend_from_slice(b"\r\n");
            }
            None => out.extend_from_slice(line),
        }
    }
    Bytes::from(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_begin_at_the_left_edge() {
        assert_eq!(with_returns(b"a\n\nb"), Bytes::from_static(b"a\r\n\r\nb"));
        assert_eq!(with_returns(b""), Bytes::new());
    }
}
