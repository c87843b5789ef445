//! Who a connection is from when a load balancer passes it on: the header of the PROXY protocol, versions 1 and 2, which
//! stands before everything else. Strict, and read to its last byte and no further.
//! Source: haproxy.org, "The PROXY protocol", versions 1 & 2, sections 2.1 and 2.2.
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::io::{AsyncRead, AsyncReadExt};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Longest line of version 1, with its end, in bytes.
const LINE_BYTES_MAX: usize = 107;
/// Longest rest of a header of version 2 that is taken: addresses and what may stand behind them, in bytes.
const REST_BYTES_MAX: usize = 4096;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Relayed(SocketAddr),
    /// The balancer speaks for itself, or does not say for whom.
    Unsaid,
}

pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Origin> {
    let mut start = [0; SIGNATURE.len()];
    stream.read_exact(&mut start).await?;
    if start == *SIGNATURE {
        return read_binary(stream).await;
    }
    if start.starts_with(b"PROXY ") {
        return read_line(stream, &start).await;
    }
    Err(flaw("no header"))
}

async fn read_binary(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Origin> {
    let mut fixed = [0; 4];
    stream.read_exact(&mut fixed).await?;
    let [command, family, high, low] = fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > REST_BYTES_MAX {
        return Err(flaw("length"));
    }
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await?;
    match (command, family) {
        (0x20, _) | (0x21, 0x00) => Ok(Origin::Unsaid),
        (0x21, 0x11) => match rest.first_chunk::<12>() {
            Some([a, b, c, d, _, _, _, _, high, low, ..]) => Ok(relayed(Ipv4Addr::new(*a, *b, *c, *d), [*high, *low])),
            None => Err(flaw("length")),
        },
        (0x21, 0x21) => match (rest.first_chunk::<16>(), rest.get(32..34), rest.len() >= 36) {
            (Some(address), Some(&[high, low]), true) => Ok(relayed(Ipv6Addr::from(*address), [high, low])),
            _ => Err(flaw("length")),
        },
        (0x21, _) => Err(flaw("family")),
        _ => Err(flaw("version or command")),
    }
}

fn relayed(address: impl Into<IpAddr>, port: [u8; 2]) -> Origin {
    Origin::Relayed(SocketAddr::new(address.into(), u16::from_be_bytes(port)))
}

/// Byte by byte: what follows the line is not ours.
async fn read_line(stream: &mut (impl AsyncRead + Unpin), start: &[u8]) -> io::Result<Origin> {
    let mut line = start.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() >= LINE_BYTES_MAX || line.last() == Some(&b'\n') {
            return Err(flaw("line"));
        }
        line.push(stream.read_u8().await?);
    }
    let text = std::str::from_utf8(&line[..line.len() - 2]).map_err(|_| flaw("line"))?;
    parse_line(text).ok_or_else(|| flaw("line"))
}

fn parse_line(line: &str) -> Option<Origin> {
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        ["PROXY", "UNKNOWN", ..] => Some(Origin::Unsaid),
        ["PROXY", "TCP4", from, to, from_port, to_port] => {
            to.parse::<Ipv4Addr>().ok().filter(|_| port(to_port).is_some())?;
            Some(Origin::Relayed(SocketAddr::new(from.parse::<Ipv4Addr>().ok()?.into(), port(from_port)?)))
        }
        ["PROXY", "TCP6", from, to, from_port, to_port] => {
            to.parse::<Ipv6Addr>().ok().filter(|_| port(to_port).is_some())?;
            Some(Origin::Relayed(SocketAddr::new(from.parse::<Ipv6Addr>().ok()?.into(), port(from_port)?)))
        }
        _ => None,
    }
}

/// Without a sign and without a zero before it.
fn port(text: &str) -> Option<u16> {
    let is_plain = text == "0" || (!text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit()));
    is_plain.then(|| text.parse().ok()).flatten()
}

fn flaw(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("PROXY protocol: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of the bytes, and how many of `GET` behind them are left.
    fn outcome(header: &[u8]) -> Result<Origin, io::ErrorKind> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let all = [header, b"GET"].concat();
        let mut stream = &all[..];
        let origin = runtime.block_on(read(&mut stream)).map_err(|error| error.kind())?;
        assert_eq!(stream, b"GET", "{header:?}");
        Ok(origin)
    }

    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    fn from(text: &str) -> Origin {
        Origin::Relayed(text.parse().unwrap())
    }

    #[test]
    fn version_1_is_a_line() {
        assert_eq!(outcome(b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 80\r\n"), Ok(from("203.0.113.7:4711")));
        assert_eq!(outcome(b"PROXY TCP6 2001:db8::7 ::1 4711 443\r\n"), Ok(from("[2001:db8::7]:4711")));
        assert_eq!(outcome(b"PROXY UNKNOWN\r\n"), Ok(Origin::Unsaid));
        assert_eq!(outcome(b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n"), Ok(Origin::Unsaid));
        for bad in [
            "PROXY TCP4 203.0.113.7 10.0.0.1 4711\r\n",
            "PROXY TCP4 203.0.113.7 10.0.0.1 4711 80 9\r\n",
            "PROXY TCP4  203.0.113.7 10.0.0.1 4711 80\r\n",
            "PROXY TCP4 2001:db8::7 ::1 4711 80\r\n",
            "PROXY TCP6 203.0.113.7 10.0.0.1 4711 80\r\n",
            "PROXY TCP4 203.0.113.7 10.0.0.1 04711 80\r\n",
            "PROXY TCP4 203.0.113.7 10.0.0.1 70000 80\r\n",
            "PROXY TCP4 203.0.113.7 10.0.0.1 +1 80\r\n",
            "PROXY TCP4 203.0.113.7 10.0.0.1 4711 80\n",
            "PROXY UDP4 203.0.113.7 10.0.0.1 4711 80\r\n",
            "proxy TCP4 203.0.113.7 10.0.0.1 4711 80\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            assert_eq!(outcome(bad.as_bytes()), Err(io::ErrorKind::InvalidData), "{bad:?}");
        }
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LINE_BYTES_MAX));
        assert_eq!(outcome(long.as_bytes()), Err(io::ErrorKind::InvalidData));
    }

    #[test]
    fn version_2_is_binary() {
        let v4 = [203, 0, 113, 7, 10, 0, 0, 1, 0x12, 0x67, 0, 80];
        assert_eq!(outcome(&binary(0x21, 0x11, &v4)), Ok(from("203.0.113.7:4711")));
        assert_eq!(outcome(&binary(0x21, 0x11, &[&v4[..], b"\x04\0\x01x"].concat())), Ok(from("203.0.113.7:4711")));
        let address: Ipv6Addr = "2001:db8::7".parse().unwrap();
        let v6 = [&address.octets()[..], &[0; 16], &[0x12, 0x67, 1, 187]].concat();
        assert_eq!(outcome(&binary(0x21, 0x21, &v6)), Ok(from("[2001:db8::7]:4711")));
        assert_eq!(outcome(&binary(0x20, 0x00, b"")), Ok(Origin::Unsaid));
        assert_eq!(outcome(&binary(0x21, 0x00, b"")), Ok(Origin::Unsaid));
        for bad in [
            binary(0x21, 0x11, &v4[..11]),
            binary(0x21, 0x21, &v6[..35]),
            binary(0x21, 0x12, &v4),
            binary(0x21, 0x31, &[0; 216]),
            binary(0x11, 0x11, &v4),
            binary(0x22, 0x11, &v4),
            binary(0x21, 0x11, &[0; REST_BYTES_MAX + 1]),
        ] {
            assert_eq!(outcome(&bad), Err(io::ErrorKind::InvalidData), "{bad:?}");
        }
    }

    #[test]
    fn a_header_that_ends_early_is_none() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for mut short in [&b"PROXY TCP4 203.0"[..], b"PROX", &SIGNATURE[..], b""] {
            let error = runtime.block_on(read(&mut short)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    }
}
