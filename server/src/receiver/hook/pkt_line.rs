//! git's pkt-line framing (gitprotocol-common(5)): four hex digits of length, then the bytes; `0000` ends a section.
use anyhow::{Context, bail};
use std::io::{Read, Write};

/// The longest packet, with its four digits of length.
const PACKET_BYTES_MAX: usize = 65_520;

/// The next packet without its line end; `None` at a flush packet.
pub(super) fn read(input: &mut impl Read) -> anyhow::Result<Option<Vec<u8>>> {
    let mut digits = [0_u8; 4];
    input.read_exact(&mut digits).context("git ended in the middle of a packet")?;
    let length = std::str::from_utf8(&digits).ok().and_then(|digits| usize::from_str_radix(digits, 16).ok());
    match length {
        Some(0) => Ok(None),
        Some(length @ 4..=PACKET_BYTES_MAX) => {
            let mut packet = vec![0; length - 4];
            input.read_exact(&mut packet).context("git ended in the middle of a packet")?;
            packet.pop_if(|last| *last == b'\n');
            Ok(Some(packet))
        }
        Some(_) | None => bail!("git sent a packet with the length `{}`", String::from_utf8_lossy(&digits)),
    }
}

pub(super) fn write(output: &mut impl Write, packet: &[u8]) -> anyhow::Result<()> {
    if packet.len() + 4 > PACKET_BYTES_MAX {
        bail!("a packet of {} bytes is too long for git", packet.len());
    }
    write!(output, "{:04x}", packet.len() + 4)?;
    Ok(output.write_all(packet)?)
}

/// Ends a section and sends it off.
pub(super) fn flush(output: &mut impl Write) -> anyhow::Result<()> {
    output.write_all(b"0000")?;
    Ok(output.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut bytes = Vec::new();
        write(&mut bytes, b"version=1\0atomic").unwrap();
        write(&mut bytes, b"").unwrap();
        write(&mut bytes, b"line\n").unwrap();
        flush(&mut bytes).unwrap();
        assert_eq!(bytes, b"0014version=1\0atomic00040009line\n0000");
        let mut input = &bytes[..];
        assert_eq!(read(&mut input).unwrap().unwrap(), b"version=1\0atomic");
        assert_eq!(read(&mut input).unwrap().unwrap(), b"");
        assert_eq!(read(&mut input).unwrap().unwrap(), b"line");
        assert_eq!(read(&mut input).unwrap(), None);
        assert!(read(&mut input).is_err());
    }

    #[test]
    fn broken_packets_are_errors() {
        for bytes in ["0001", "0003", "zzzz", "fff1", "0009abc", "00"] {
            assert!(read(&mut bytes.as_bytes()).is_err(), "{bytes}");
        }
        assert!(write(&mut Vec::new(), &vec![b'a'; 65_517]).is_err());
    }
}
