//! The build context on its way to the engine: a channel of chunks as request body. A full engine slows the sender down.
use bytes::Bytes;
use hyper::body::{Body, Frame};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// Ends when the sender is dropped; a sender that fails must say so by an `Err`, else a cut context looks whole.
pub(super) struct ContextBody(mpsc::Receiver<std::io::Result<Bytes>>);

impl ContextBody {
    pub(super) fn new(chunks: mpsc::Receiver<std::io::Result<Bytes>>) -> Self {
        Self(chunks)
    }
}

impl Body for ContextBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(cx).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
    }
}
