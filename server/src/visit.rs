//! A request for the pages, on its way from the proxy's thread to the room that answers, and the answer on its way back.
//! Only bytes and channels cross: no socket, no body of hyper's.
use bytes::Bytes;
use std::net::IpAddr;
use tokio::sync::{mpsc, oneshot};

/// Visits that may wait to be answered; more are turned away.
pub const QUEUE_VISITS: usize = 64;
/// Longest body of a request for a page, in bytes: pages have small forms only.
pub const BODY_BYTES_MAX: usize = 64 << 10;

#[derive(Debug)]
pub struct Visit {
    pub head: http::request::Parts,
    pub body: Bytes,
    /// The other end of the connection.
    pub peer: IpAddr,
    pub transport: Transport,
    pub answer: oneshot::Sender<Answer>,
}

/// How the visitor reached us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Let in from loopback only (security rule R11).
    Plain,
    Tls,
}

impl Transport {
    pub fn scheme(self) -> &'static str {
        match self {
            Self::Plain => "http",
            Self::Tls => "https",
        }
    }
}

pub type Answer = http::Response<AnswerBody>;

#[derive(Debug)]
pub enum AnswerBody {
    Whole(Bytes),
    /// Ends with its sender; the sender hears when the visitor has left.
    Stream(mpsc::Receiver<Bytes>),
}
