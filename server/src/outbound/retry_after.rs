//! `Retry-After` (RFC 9110, section 10.2.3): how long the other side wants to be left alone.
use crate::domain::Moment;
use http::{HeaderMap, header};
use std::time::Duration;

/// `None` when it does not say, or not so that it can be understood.
pub fn retry_after(headers: &HeaderMap, now: Moment) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(secs) = text.parse() {
        return Some(Duration::from_secs(secs));
    }
    let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    Some(Moment::from_unix_ms(at.as_millisecond()).since(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, text.parse().unwrap());
        retry_after(&headers, Moment::from_unix_ms(1_000_000_000_000))
    }

    #[test]
    fn seconds_and_dates_are_understood() {
        assert_eq!(read("120"), Some(Duration::from_mins(2)));
        assert_eq!(read("Sun, 09 Sep 2001 01:47:40 GMT"), Some(Duration::from_mins(1)));
        assert_eq!(read("Sun, 09 Sep 2001 01:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(read("soon"), None);
        assert_eq!(retry_after(&HeaderMap::new(), Moment::default()), None);
    }
}
