//! git's pkt-lines (gitprotocol-common(5)) in memory: four hex digits of length, then the bytes.
use super::{FetchError, unusable};

const LENGTH_DIGITS: usize = 4;

/// A line, or one of the marks between them.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packet<'a> {
    Line(&'a [u8]),
    /// `0000`
    Flush,
    /// `0001`
    Delimiter,
}

/// Takes the next packet off the front; `None` at the end.
pub(super) fn next<'a>(from: &mut &'a [u8]) -> Result<Option<Packet<'a>>, FetchError> {
    if from.is_empty() {
        return Ok(None);
    }
    let broken = || unusable("its server does not speak git's protocol");
    let (digits, rest) = from.split_at_checked(LENGTH_DIGITS).ok_or_else(broken)?;
    let digits = std::str::from_utf8(digits).map_err(|_| broken())?;
    let length = usize::from_str_radix(digits, 16).map_err(|_| broken())?;
    let packet = match length {
        0 | 1 => {
            *from = rest;
            if length == 0 { Packet::Flush } else { Packet::Delimiter }
        }
        length => {
            let length = length.checked_sub(LENGTH_DIGITS).ok_or_else(broken)?;
            let (line, rest) = rest.split_at_checked(length).ok_or_else(broken)?;
            *from = rest;
            Packet::Line(line)
        }
    };
    if let Packet::Line(line) = &packet
        && let Some(said) = line.strip_prefix(b"ERR ")
    {
        let said: String = String::from_utf8_lossy(said).trim().chars().take(200).collect();
        return Err(unusable(format!("its server said: {said}")));
    }
    Ok(Some(packet))
}

/// A line without its line end.
pub(super) fn text(line: &[u8]) -> &str {
    std::str::from_utf8(line).unwrap_or_default().trim_end_matches('\n')
}

/// A request of protocol version 2: a command, and its arguments.
pub(super) fn request(command: &str, arguments: &[String]) -> Vec<u8> {
    let line = |text: &str| format!("{:04x}{text}\n", text.len() + LENGTH_DIGITS + 1);
    let mut body = line(&format!("command={command}"));
    body.push_str("0001");
    for argument in arguments {
        body.push_str(&line(argument));
    }
    body.push_str("0000");
    body.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_come_one_after_the_other_and_broken_ones_are_errors() {
        let mut from = &b"0006a\n00010005b0000"[..];
        let mut packets = Vec::new();
        while let Some(packet) = next(&mut from).unwrap() {
            packets.push(packet);
        }
        assert_eq!(packets, [Packet::Line(b"a\n"), Packet::Delimiter, Packet::Line(b"b"), Packet::Flush]);
        for broken in ["000", "zzzz", "0003", "0009a", "<htm"] {
            assert!(next(&mut broken.as_bytes()).is_err(), "{broken}");
        }
        let said = next(&mut &b"000fERR no such"[..]).unwrap_err().to_string();
        assert_eq!(said, "its server said: no such");
        let body = String::from_utf8(request("fetch", &["done".to_owned()])).unwrap();
        assert_eq!(body, "0012command=fetch\n00010009done\n0000");
    }
}
