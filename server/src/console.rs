//! What a command reads and writes, wherever it was typed: over SSH, over the local socket, later over the API.
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Chunks that may wait on either side.
pub const QUEUE_CHUNKS: usize = 64;

/// A chunk of a command's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    Standard(Bytes),
    Error(Bytes),
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
