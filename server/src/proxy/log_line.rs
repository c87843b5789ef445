//! The router's line: Heroku's keys, verbatim, so that existing tools read it.
use super::fault::Fault;
use super::limits::LOGGED_PATH_BYTES_MAX;
use crate::visit::Transport;
use http::{Method, Version};
use std::fmt::Write;
use std::time::Duration;

/// A usual line without its path, in bytes.
const TEXT_BYTES: usize = 320;

pub(super) struct LogLine<'a> {
    pub(super) fault: Option<Fault>,
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
    pub(super) host: &'a str,
    pub(super) request_id: &'a str,
    pub(super) client: &'a str,
    pub(super) process: &'a str,
    pub(super) connect: Duration,
    pub(super) service: Duration,
    pub(super) status: u16,
    pub(super) bytes: u64,
    pub(super) version: Version,
    pub(super) transport: Transport,
}

impl LogLine<'_> {
    pub(super) fn text(&self) -> String {
        let mut line = String::with_capacity(TEXT_BYTES + self.path.len());
        self.push_beginning(&mut line);
        for (key, value) in [("\" host=", self.host), (" request_id=", self.request_id), (" fwd=\"", self.client)] {
            line.push_str(key);
            line.push_str(value);
        }
        let protocol = match self.version {
            Version::HTTP_10 => "http1.0",
            Version::HTTP_2 => "http2",
            _ => "http1.1",
        };
        // Digits by hand: this is done for every request.
        line.push_str("\" process=");
        line.push_str(self.process);
        for (key, number, unit) in [
            (" connect=", millis(self.connect), "ms"),
            (" service=", millis(self.service), "ms"),
            (" status=", u64::from(self.status), ""),
            (" bytes=", self.bytes, ""),
        ] {
            line.push_str(key);
            push_number(&mut line, number);
            line.push_str(unit);
        }
        line.push_str(" protocol=");
        line.push_str(protocol);
        line.push_str(if self.transport == Transport::Tls { " tls=true" } else { " tls=false" });
        line
    }

    /// The same keys, but only what most people look for.
    pub(super) fn short_text(&self) -> String {
        let mut line = String::with_capacity(128 + self.path.len());
        self.push_beginning(&mut line);
        let (service, status, id) = (self.service.as_millis(), self.status, self.request_id);
        let _ = write!(line, "\" status={status} service={service}ms request_id={id}");
        line
    }

    fn push_beginning(&self, line: &mut String) {
        match self.fault {
            None => line.push_str("at=info method="),
            Some(fault) => {
                let (level, code, description) = (fault.level(), fault.code(), fault.description());
                let _ = write!(line, "at={level} code={code} desc=\"{description}\" method=");
            }
        }
        line.push_str(self.method.as_str());
        line.push_str(" path=\"");
        push_path(line, self.path);
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn push_number(line: &mut String, number: u64) {
    if number >= 10 {
        push_number(line, number / 10);
    }
    line.push(char::from(b'0' + (number % 10) as u8));
}

/// A path cannot hold a blank or a control character, but it can hold the quote that would end it here.
fn push_path(line: &mut String, path: &str) {
    let mut end = path.len().min(LOGGED_PATH_BYTES_MAX);
    while !path.is_char_boundary(end) {
        end -= 1;
    }
    for (number, part) in path[..end].split('"').enumerate() {
        if number > 0 {
            line.push_str("%22");
        }
        line.push_str(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(fault: Option<Fault>, status: u16) -> LogLine<'static> {
        LogLine {
            fault,
            method: &Method::GET,
            path: "/a?b=\"c\"",
            host: "blog.example.com",
            request_id: "0189-id",
            client: "203.0.113.7",
            process: "web.1",
            connect: Duration::ZERO,
            service: Duration::from_millis(18),
            status,
            bytes: 13_000,
            version: Version::HTTP_11,
            transport: if fault.is_none() { Transport::Tls } else { Transport::Plain },
        }
    }

    fn line(fault: Option<Fault>, status: u16) -> String {
        logged(fault, status).text()
    }

    #[test]
    fn a_short_line_has_fewer_of_the_same_keys() {
        assert_eq!(
            logged(None, 200).short_text(),
            "at=info method=GET path=\"/a?b=%22c%22\" status=200 service=18ms request_id=0189-id"
        );
        assert!(logged(Some(Fault::Forbidden), 403).short_text().starts_with("at=info code=P01 desc="));
    }

    #[test]
    fn a_line_has_herokus_keys_in_herokus_order() {
        assert_eq!(
            line(None, 200),
            "at=info method=GET path=\"/a?b=%22c%22\" host=blog.example.com request_id=0189-id fwd=\"203.0.113.7\" \
             process=web.1 connect=0ms service=18ms status=200 bytes=13000 protocol=http1.1 tls=true"
        );
        assert!(
            line(Some(Fault::RequestTimeout), 504)
                .starts_with("at=error code=H12 desc=\"Request timeout\" method=GET path=")
        );
        assert!(line(Some(Fault::RequestTimeout), 504).ends_with("protocol=http1.1 tls=false"));
    }
}
