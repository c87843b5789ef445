//! The head of an app's answer, judged line by line. Source: RFC 9112, sections 4 to 6.
use super::head_scan::{check_plain, parse_length, split_field};
use super::limits::ANSWER_FIELDS_MAX;
use super::refusal::Refusal;
use bytes::Bytes;
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version};
use hyper::ext::ReasonPhrase;
use std::ops::Range;

pub(super) const TOO_LARGE: &str = "head of an answer is too large";

/// One head, as far as it was read.
#[derive(Debug, Default)]
pub(super) struct Head {
    /// 0 before the first line.
    pub(super) status: u16,
    is_http10: bool,
    reason: Range<usize>,
    fields: Vec<Field>,
    pub(super) content_length: Option<u64>,
    pub(super) is_chunked: bool,
}

/// Where a field stands in its head.
#[derive(Debug)]
struct Field {
    name: Range<usize>,
    value: Range<usize>,
}

impl Head {
    /// Takes a line that begins at `start` of the head; whether it was the last one.
    pub(super) fn line(&mut self, line: &[u8], start: usize) -> Result<bool, &'static str> {
        let line = line.strip_suffix(b"\r").ok_or("bare line feed in the head of an answer")?;
        if self.status == 0 {
            self.status_line(line)?;
            return Ok(false);
        }
        if line.is_empty() {
            return self.whole().map(|()| true);
        }
        self.field(line, start).map_err(Refusal::flaw)?;
        Ok(false)
    }

    /// `HTTP/1.1 200 OK`; the reason, and the blank before it, may be missing.
    fn status_line(&mut self, line: &[u8]) -> Result<(), &'static str> {
        let flaw = "status line";
        let rest = match line.split_at_checked(9) {
            Some((b"HTTP/1.1 ", rest)) => rest,
            Some((b"HTTP/1.0 ", rest)) => {
                self.is_http10 = true;
                rest
            }
            Some(_) | None => return Err(flaw),
        };
        let (digits, reason) = rest.split_at_checked(3).ok_or(flaw)?;
        let is_status = matches!(digits, [b'1'..=b'9', b'0'..=b'9', b'0'..=b'9']);
        if !is_status || !matches!(reason.first(), None | Some(b' ')) {
            return Err(flaw);
        }
        check_plain(reason).map_err(Refusal::flaw)?;
        self.reason = (line.len() - reason.len() + 1).min(line.len())..line.len();
        self.status = digits.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
        Ok(())
    }

    fn field(&mut self, line: &[u8], start: usize) -> Result<(), Refusal> {
        if self.fields.len() == ANSWER_FIELDS_MAX {
            return Err(Refusal::HeadTooLarge);
        }
        let (name, value) = split_field(line)?;
        let value_start = start + value.as_ptr().addr() - line.as_ptr().addr();
        self.fields.push(Field { name: start..start + name.len(), value: value_start..value_start + value.len() });
        if name.eq_ignore_ascii_case(b"content-length") {
            if self.content_length.is_some() {
                return Err(Refusal::Malformed("two Content-Length"));
            }
            self.content_length = Some(parse_length(value)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Refusal::Malformed("Transfer-Encoding is not exactly `chunked`"));
            }
            self.is_chunked = true;
        }
        Ok(())
    }

    fn whole(&self) -> Result<(), &'static str> {
        match (self.content_length, self.is_chunked) {
            (Some(_), true) => Err("Content-Length beside Transfer-Encoding"),
            (None, true) if self.is_http10 => Err("Transfer-Encoding in HTTP/1.0"),
            (_, false) | (None, true) => Ok(()),
        }
    }

    pub(super) fn has_body(&self) -> bool {
        self.is_chunked || self.content_length.is_some_and(|length| length > 0)
    }
    /// Forgets all but the room it took.
    pub(super) fn clear(&mut self) {
        let mut fields = std::mem::take(&mut self.fields);
        fields.clear();
        *self = Self { fields, ..Self::default() };
    }

    /// `text` is the whole head.
    pub(super) fn build(&mut self, text: &Bytes) -> Result<Parts, &'static str> {
        let flaw = "field of an answer";
        let (mut parts, ()) = Response::new(()).into_parts();
        parts.status = StatusCode::from_u16(self.status).map_err(|_| "status line")?;
        parts.version = if self.is_http10 { Version::HTTP_10 } else { Version::HTTP_11 };
        let reason = &text[self.reason.clone()];
        if parts.status.canonical_reason().is_none_or(|usual| usual.as_bytes() != reason) && !reason.is_empty() {
            let reason = ReasonPhrase::try_from(text.slice(self.reason.clone())).map_err(|_| "status line")?;
            parts.extensions.insert(reason);
        }
        parts.headers = HeaderMap::with_capacity(self.fields.len());
        for Field { name, value } in self.fields.drain(..) {
            let name = HeaderName::from_bytes(&text[name]).map_err(|_| flaw)?;
            let value = HeaderValue::from_maybe_shared(text.slice(value)).map_err(|_| flaw)?;
            parts.headers.append(name, value);
        }
        Ok(parts)
    }
}
