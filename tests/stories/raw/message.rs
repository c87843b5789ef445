//! What a request says, read as simply as can be, and what must be left of it when the router has passed it on.
use super::latin1;
use std::collections::BTreeMap;

/// A message, its bytes as characters of the same number.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) version: String,
    /// By name in small letters, the values in their order.
    pub(super) fields: BTreeMap<String, Vec<String>>,
    pub(super) body: String,
}

/// Reads one whole message; returns what stands behind it. For messages that are beyond doubt.
pub(super) fn read(bytes: &[u8]) -> Option<(Message, &[u8])> {
    let (mut message, rest) = head(bytes)?;
    let (body, rest) = if message.fields.contains_key("transfer-encoding") {
        unchunk(rest)?
    } else {
        let length = message.fields.get("content-length").and_then(|values| values[0].parse().ok()).unwrap_or(0);
        (rest.get(..length)?.to_vec(), &rest[length..])
    };
    message.body = latin1(&body);
    Some((message, rest))
}

/// Reads a message whose body is everything behind its head.
pub(super) fn read_told(bytes: &[u8]) -> Option<Message> {
    let (mut message, body) = head(bytes)?;
    message.body = latin1(body);
    Some(message)
}

fn head(bytes: &[u8]) -> Option<(Message, &[u8])> {
    let mut bytes = bytes;
    while let Some(rest) = bytes.strip_prefix(b"\r\n") {
        bytes = rest;
    }
    let end = find(bytes, b"\r\n\r\n")?;
    let (head, rest) = (latin1(&bytes[..end]), &bytes[end + 4..]);
    let mut lines = head.split("\r\n");
    let words: Vec<&str> = lines.next()?.split(' ').collect();
    let [method, target, version] = words[..] else { return None };
    let mut fields = BTreeMap::<String, Vec<String>>::new();
    for line in lines {
        let (name, value) = line.split_once(':')?;
        fields.entry(name.to_ascii_lowercase()).or_default().push(value.trim_matches([' ', '\t']).to_owned());
    }
    let [method, target, version] = [method, target, version].map(str::to_owned);
    Some((Message { method, target, version, fields, body: String::new() }, rest))
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn unchunk(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let (mut body, mut rest) = (Vec::new(), bytes);
    loop {
        let end = find(rest, b"\r\n")?;
        let digits: String = latin1(&rest[..end]).chars().take_while(char::is_ascii_hexdigit).collect();
        let size = usize::from_str_radix(&digits, 16).ok()?;
        rest = &rest[end + 2..];
        if size == 0 {
            let trailers = if rest.starts_with(b"\r\n") { 0 } else { find(rest, b"\r\n\r\n")? + 2 };
            return Some((body, &rest[trailers + 2..]));
        }
        body.extend(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}

impl Message {
    pub(super) fn has_token(&self, name: &str, token: &str) -> bool {
        self.tokens(name).any(|word| word == token)
    }

    fn tokens(&self, name: &str) -> impl Iterator<Item = String> {
        let values = self.fields.get(name).into_iter().flatten();
        values.flat_map(|value| value.split(',')).map(|token| token.trim().to_ascii_lowercase())
    }

    /// Whether the connection ends behind its answer.
    pub(super) fn closes(&self) -> bool {
        self.has_token("connection", "close")
            || (self.version == "HTTP/1.0" && !self.has_token("connection", "keep-alive"))
    }

    fn asks_upgrade(&self) -> bool {
        let is_h2c = self.tokens("upgrade").any(|protocol| protocol.contains("h2c"));
        let fits = self.method == "GET" && self.version == "HTTP/1.1" && self.body.is_empty() && !is_h2c;
        fits && self.fields.contains_key("upgrade") && self.has_token("connection", "upgrade")
    }

    /// The message as the app must have got it, but for the fields that are ours to say.
    pub(super) fn passed_on(mut self) -> Self {
        let upgrade = self.fields.get("upgrade").cloned().filter(|_| self.asks_upgrade());
        let trailers = self.has_token("te", "trailers");
        for named in self.tokens("connection").collect::<Vec<_>>() {
            if !["host", "content-length", "transfer-encoding"].contains(&named.as_str()) {
                self.fields.remove(&named);
            }
        }
        for hop in ["connection", "keep-alive", "proxy-connection", "te", "upgrade", "expect", "proxy", "forwarded"] {
            self.fields.remove(hop);
        }
        if trailers {
            self.fields.insert("te".to_owned(), vec!["trailers".to_owned()]);
        }
        if let Some(protocol) = upgrade {
            self.fields.insert("upgrade".to_owned(), protocol);
            self.fields.insert("connection".to_owned(), vec!["upgrade".to_owned()]);
        }
        if let Some((_, rest)) = self.target.split_once("://").filter(|(scheme, _)| !scheme.starts_with('/')) {
            let path = rest.find(['/', '?']).map_or("", |at| &rest[at..]);
            self.target = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        }
        "HTTP/1.1".clone_into(&mut self.version);
        self.only_theirs()
    }

    /// Without what we say, and in the form that both sides are compared in.
    fn only_theirs(mut self) -> Self {
        for name in OURS {
            self.fields.remove(name);
        }
        if let Some(values) = self.fields.get_mut("transfer-encoding") {
            for value in values {
                value.make_ascii_lowercase();
            }
        }
        // No body may be said in two ways.
        if self.fields.get("content-length").is_some_and(|values| *values == ["0"]) {
            self.fields.remove("content-length");
        }
        self
    }

    /// As servers agree on it: values of one name joined, and how the body was framed left to each hop.
    pub(super) fn joined(mut self) -> Self {
        for framing in ["content-length", "transfer-encoding"] {
            self.fields.remove(framing);
        }
        for values in self.fields.values_mut() {
            *values = vec![values.join(", ").trim_end().to_owned()];
        }
        self
    }

    /// What the app got: our fields stand in it exactly once, and say the truth.
    pub(super) fn checked(self, sent: &Message, port: u16) -> Result<Self, String> {
        let host = sent.fields.get("host").map(|values| values[0].as_str()).unwrap_or_default();
        let port = port.to_string();
        let kept = sent.fields.get("x-request-id").map(|values| values[0].as_str()).filter(|id| is_sane(id));
        for name in OURS {
            let values = self.fields.get(name).map(Vec::as_slice).unwrap_or_default();
            let [value] = values else { return Err(format!("{name} reached the app as {values:?}")) };
            let is_true = match name {
                "x-forwarded-for" | "x-real-ip" => value == "127.0.0.1",
                "x-forwarded-proto" => value == "http",
                "x-forwarded-host" => value == host,
                "x-forwarded-port" => *value == port,
                "x-request-id" => kept.map_or(value.len() == 36, |kept| value == kept),
                _ => value.parse::<u64>().is_ok(),
            };
            if !is_true {
                return Err(format!("{name} reached the app as {value:?}"));
            }
        }
        Ok(self.only_theirs())
    }
}

/// Only we say these, whatever the client sent.
const OURS: [&str; 7] = [
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-real-ip",
    "x-request-id",
    "x-request-start",
];

fn is_sane(id: &str) -> bool {
    (20..=200).contains(&id.len()) && id.chars().all(|c| c.is_ascii_alphanumeric() || "+/=-".contains(c))
}
