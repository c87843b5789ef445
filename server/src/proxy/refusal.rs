//! Why a request head is refused before hyper sees it, and how the refusal reaches the one place that answers.
//!
//! Refusals must be answered in order, behind the answers to earlier pipelined requests. So the gate hands hyper a whole
//! head of our own instead: a TRACE, which it never lets pass from a client, with the refusal in its path.
use http::{Method, StatusCode, Uri};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Against the grammar, or ambiguous; the text says what.
    Malformed(&'static str),
    MethodNotAllowed,
    HeadTimeout,
    UriTooLong,
    HeadTooLarge,
    UnknownVersion,
}

impl Refusal {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::HeadTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::UnknownVersion => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
        }
    }

    /// The same said of an app's answer.
    pub(super) fn flaw(self) -> &'static str {
        match self {
            Self::Malformed(flaw) => flaw,
            Self::MethodNotAllowed
            | Self::HeadTimeout
            | Self::UriTooLong
            | Self::HeadTooLarge
            | Self::UnknownVersion => "head of an answer is too large",
        }
    }

    /// The head that stands for the refusal.
    pub(super) fn voice(self) -> &'static [u8] {
        match self {
            Self::Malformed(_) => b"TRACE /400 HTTP/1.1\r\nconnection: close\r\n\r\n",
            Self::MethodNotAllowed => b"TRACE /405 HTTP/1.1\r\nconnection: close\r\n\r\n",
            Self::HeadTimeout => b"TRACE /408 HTTP/1.1\r\nconnection: close\r\n\r\n",
            Self::UriTooLong => b"TRACE /414 HTTP/1.1\r\nconnection: close\r\n\r\n",
            Self::HeadTooLarge => b"TRACE /431 HTTP/1.1\r\nconnection: close\r\n\r\n",
            Self::UnknownVersion => b"TRACE /505 HTTP/1.1\r\nconnection: close\r\n\r\n",
        }
    }

    /// Whether this head is a refusal speaking, and its status.
    pub(super) fn heard(method: &Method, uri: &Uri) -> Option<StatusCode> {
        if *method != Method::TRACE {
            return None;
        }
        let status = uri.path().strip_prefix('/').and_then(|digits| digits.parse().ok());
        Some(status.unwrap_or(StatusCode::BAD_REQUEST))
    }
}
