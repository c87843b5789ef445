//! The other end of a channel: what it sends, what it is told, and that it may leave at any time.
use bytes::Bytes;
use russh::server::Msg;
use russh::{Channel, ChannelReadHalf, ChannelWriteHalf};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

/// SSH's number for standard error (RFC 4254, section 5.2).
const STANDARD_ERROR: u32 = 1;

/// Which of the client's two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Output,
    Error,
}

pub(super) struct Client {
    /// What it sends.
    pub(super) from: ChannelReadHalf,
    pub(super) to: Speaker,
    /// Cancelled when the client has left the channel, or the connection is over.
    pub(super) left: CancellationToken,
    /// The channel's place among those that the connection may have.
    _place: OwnedSemaphorePermit,
}

/// Says things to the client, as fast as it takes them.
pub(super) struct Speaker {
    write: ChannelWriteHalf<Msg>,
    left: CancellationToken,
}

impl Client {
    pub(super) fn new(channel: Channel<Msg>, left: CancellationToken, place: OwnedSemaphorePermit) -> Self {
        let (from, write) = channel.split();
        Self { from, to: Speaker { write, left: left.clone() }, left, _place: place }
    }

    /// Says a last text on standard error and closes the channel.
    pub(super) async fn refuse(self, text: impl Into<Bytes>, code: u8) {
        self.to.say(Stream::Error, text).await;
        self.finish(code).await;
    }

    /// Gives the exit code and closes the channel.
    pub(super) async fn finish(self, code: u8) {
        let parting = async {
            let _ = self.to.write.exit_status(u32::from(code)).await;
            let _ = self.to.write.eof().await;
            let _ = self.to.write.close().await;
        };
        self.left.run_until_cancelled(parting).await;
        self.left.cancel();
    }
}

impl Speaker {
    /// `false` when the client has left.
    pub(super) async fn say(&self, stream: Stream, bytes: impl Into<Bytes>) -> bool {
        let saying = async {
            match stream {
                Stream::Output => self.write.data_bytes(bytes).await,
                Stream::Error => self.write.extended_data_bytes(STANDARD_ERROR, bytes).await,
            }
        };
        matches!(self.left.run_until_cancelled(saying).await, Some(Ok(())))
    }
}
