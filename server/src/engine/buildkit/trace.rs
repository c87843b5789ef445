//! The progress message of BuildKit (`moby.buildkit.v1.StatusResponse`, protobuf), as far as we read it: see
//! api/services/control/control.proto in moby/buildkit. By hand, because the field numbers are frozen and a protobuf
//! library would drag in more code than is here. Unknown fields are passed over; what is read borrows from the message.

/// One message: what is new since the last one.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Trace<'a> {
    pub(super) vertices: Vec<Vertex<'a>>,
    pub(super) logs: Vec<Output<'a>>,
}

/// A node of the build graph, sent anew whenever it changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Vertex<'a> {
    pub(super) digest: &'a str,
    pub(super) name: &'a str,
    pub(super) cached: bool,
    pub(super) started: bool,
    /// Empty where none.
    pub(super) error: &'a str,
}

/// Output of a running vertex.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Output<'a> {
    pub(super) vertex: &'a str,
    /// 1 standard output, 2 standard error.
    pub(super) stream: u64,
    pub(super) bytes: &'a [u8],
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("progress message of the build is no protobuf")]
pub(super) struct Malformed;

pub(super) fn decode(message: &[u8]) -> Result<Trace<'_>, Malformed> {
    let mut trace = Trace::default();
    for field in Fields(message) {
        match field? {
            (1, Value::Bytes(vertex)) => trace.vertices.push(decode_vertex(vertex)?),
            (3, Value::Bytes(output)) => trace.logs.push(decode_output(output)?),
            _other_field => {}
        }
    }
    Ok(trace)
}

fn decode_vertex(message: &[u8]) -> Result<Vertex<'_>, Malformed> {
    let mut vertex = Vertex::default();
    for field in Fields(message) {
        match field? {
            (1, Value::Bytes(digest)) => vertex.digest = text(digest)?,
            (3, Value::Bytes(name)) => vertex.name = text(name)?,
            (4, Value::Number(cached)) => vertex.cached = cached != 0,
            (5, Value::Bytes(_timestamp)) => vertex.started = true,
            (7, Value::Bytes(error)) => vertex.error = text(error)?,
            _other_field => {}
        }
    }
    Ok(vertex)
}

fn decode_output(message: &[u8]) -> Result<Output<'_>, Malformed> {
    let mut output = Output::default();
    for field in Fields(message) {
        match field? {
            (1, Value::Bytes(vertex)) => output.vertex = text(vertex)?,
            (3, Value::Number(stream)) => output.stream = stream,
            (4, Value::Bytes(bytes)) => output.bytes = bytes,
            _other_field => {}
        }
    }
    Ok(output)
}

fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed)
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Fixed-width numbers, of which we read none.
    Other,
}

/// The fields of one message, in order; ends after the first malformed one.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field().ok_or(Malformed);
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?),
            1 => self.take(8).map(|_| Value::Other)?,
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Value::Other)?,
            _groups_and_reserved => return None,
        };
        Some((tag >> 3, value))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;

    /// Recorded from Docker 20.10.24: the first of the two log entries of a message.
    const ONE_LINE: &str = "GmcKR3NoYTI1NjoxZjZkZTk4OTRmNDJhYmU1OWFiZmFkNGU5MzY4ZGYyOGE5MDhlZDhkNTdiNDhiYWE1Mjc3N2JlN2M5MTlmN2JjEgwIqLCR2AYQ/u7BmAEYASIMaGVsbG8tMjUyMzUK";
    /// A whole message of the same build: `[one 1/2] FROM docker.io/library/debian:trixie-slim`, cached.
    const CACHED: &str = "CpwBCkdzaGEyNTY6ZDMzMDFjMjcyNjFiYTllYTk2MDA2MjRlYzljYzA4NTNkNWQ2OWM0YWVlZjM1NGZlYzg2NzZhYWIyNGQyZTcyMBozW29uZSAxLzJdIEZST00gZG9ja2VyLmlvL2xpYnJhcnkvZGViaWFuOnRyaXhpZS1zbGltIAEqDAinsJHYBhDFz8mrAjIMCKewkdgGEILMyqsC";

    fn recorded(base64: &str) -> Vec<u8> {
        base64::engine::general_purpose::STANDARD.decode(base64).unwrap()
    }

    #[test]
    fn recorded_messages_are_read() {
        let message = recorded(ONE_LINE);
        let trace = decode(&message).unwrap();
        assert_eq!((trace.logs.len(), trace.logs[0].stream, trace.logs[0].bytes), (1, 1, &b"hello-25235\n"[..]));

        let message = recorded(CACHED);
        let vertex = &decode(&message).unwrap().vertices[0];
        assert_eq!(vertex.name, "[one 1/2] FROM docker.io/library/debian:trixie-slim");
        assert!(vertex.cached && vertex.started && vertex.error.is_empty());
    }

    #[test]
    fn fields_we_do_not_know_are_passed_over() {
        // Field 9 varint, field 10 fixed64, field 11 fixed32, field 4 bytes; then a vertex with digest `d`.
        let message = b"\x48\x96\x01\x51\0\0\0\0\0\0\0\0\x5d\0\0\0\0\x22\x02hi\x0a\x03\x0a\x01d";
        assert_eq!(decode(message).unwrap().vertices, [Vertex { digest: "d", ..Vertex::default() }]);
    }

    #[test]
    fn malformed_messages_are_refused() {
        let endless_varint = [0xff; 11];
        let length_beyond_end = [0x0a, 0x7f, 0x01];
        let group = [0x0b];
        let text_not_utf8 = [0x0a, 0x03, 0x0a, 0x01, 0xff];
        for message in [&endless_varint[..], &length_beyond_end, &group, &text_not_utf8] {
            assert_eq!(decode(message), Err(Malformed), "{message:?}");
        }
    }

    #[test]
    fn no_cut_of_a_real_message_panics() {
        let message = recorded(CACHED);
        for end in 0..message.len() {
            let _ = decode(&message[..end]);
        }
    }
}
