//! Which TCP sockets listen inside an instance, from the kernel's own table (`/proc/<pid>/net/tcp` and `tcp6`, readable
//! by everybody): tells why an instance does not answer without running anything in it.
use crate::domain::failure::Listening;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Docker's embedded name server listens here inside every instance, on a random port.
const EMBEDDED_DNS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11));
/// The kernel's number for `TCP_LISTEN`.
const STATE_LISTEN: &str = "0A";

/// Reads the listening sockets of the network namespace that the process is in.
pub(super) async fn of_process(pid: i64) -> std::io::Result<Vec<SocketAddr>> {
    let mut sockets = listening_in(&tokio::fs::read_to_string(format!("/proc/{pid}/net/tcp")).await?);
    // No tcp6 where IPv6 is off.
    if let Ok(table) = tokio::fs::read_to_string(format!("/proc/{pid}/net/tcp6")).await {
        sockets.extend(listening_in(&table));
    }
    Ok(sockets)
}

/// What the sockets say about an instance that was expected on `port`. The right port counts before a wrong one, and a
/// socket that others can reach before one on loopback.
pub(super) fn judge(sockets: &[SocketAddr], port: u16) -> Listening {
    let own: Vec<&SocketAddr> = sockets.iter().filter(|socket| socket.ip().to_canonical() != EMBEDDED_DNS).collect();
    let find = |right_port: bool, loopback: bool| {
        let fits = |socket: &&&SocketAddr| {
            (socket.port() == port) == right_port && socket.ip().to_canonical().is_loopback() == loopback
        };
        own.iter().filter(fits).map(|socket| socket.port()).min()
    };
    if find(true, false).is_some() {
        return Listening::Silent;
    }
    if let Some(port) = find(true, true) {
        return Listening::LoopbackOnly { port };
    }
    if let Some(port) = find(false, false) {
        return Listening::OtherPort { port };
    }
    find(false, true).map_or(Listening::Nowhere, |port| Listening::LoopbackOnly { port })
}

/// Lines that are no socket (the heading, or what a later kernel may add) are passed over.
fn listening_in(table: &str) -> Vec<SocketAddr> {
    table.lines().filter_map(listening_socket).collect()
}

fn listening_socket(line: &str) -> Option<SocketAddr> {
    let mut columns = line.split_ascii_whitespace().skip(1);
    let (local, _remote, state) = (columns.next()?, columns.next()?, columns.next()?);
    if state != STATE_LISTEN {
        return None;
    }
    let (address, port) = local.split_once(':')?;
    Some(SocketAddr::new(address_of(address)?, u16::from_str_radix(port, 16).ok()?))
}

/// The kernel prints each 32-bit word of the address as a number in the machine's byte order.
fn address_of(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(hex.get(at * 8..at * 8 + 8)?, 16).ok().map(u32::to_ne_bytes);
    match hex.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?))),
        32 => {
            let mut octets = [0; 16];
            for at in 0..4 {
                octets[at * 4..at * 4 + 4].copy_from_slice(&word(at)?);
            }
            Some(IpAddr::V6(Ipv6Addr::from(octets)))
        }
        _ => None,
    }
}

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use super::*;

    const TCP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0B00007F:9C47 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 31337 1 ffff 100 0 0 10 0
   1: 0100007F:1388 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 31338 1 ffff 100 0 0 10 0
   2: 0200A8C0:1F90 0100A8C0:C3D2 01 00000000:00000000 00:00000000 00000000     0        0 31339 1 ffff 100 0 0 10 0
";
    const TCP6: &str = "  sl  local_address                         remote_address                        st tx_queue
   0: 00000000000000000000000000000000:0BB8 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000
   1: 00000000000000000000000001000000:0BB9 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000
   2: 0000000000000000FFFF00000100007F:0BBA 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000
";

    fn sockets(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn the_kernels_tables_are_read() {
        assert_eq!(listening_in(TCP), sockets(&["127.0.0.11:40007", "127.0.0.1:5000"]));
        assert_eq!(listening_in(TCP6), sockets(&["[::]:3000", "[::1]:3001", "[::ffff:127.0.0.1]:3002"]));
    }

    #[test]
    fn lines_that_are_no_socket_are_passed_over() {
        assert_eq!(listening_in("\n  x\n 0: zz:1 0:0 0A\n 0: 0100007F 0 0A\n 0: 01:1 0 0A\n"), []);
    }

    #[test]
    fn the_right_port_counts_first_and_the_name_server_never() {
        let judge = |texts: &[&str]| judge(&sockets(texts), 5000);
        assert_eq!(judge(&[]), Listening::Nowhere);
        assert_eq!(judge(&["127.0.0.11:5000"]), Listening::Nowhere);
        assert_eq!(judge(&["0.0.0.0:5000", "127.0.0.1:5000"]), Listening::Silent);
        assert_eq!(judge(&["[::]:5000"]), Listening::Silent);
        assert_eq!(judge(&["127.0.0.1:5000", "0.0.0.0:80"]), Listening::LoopbackOnly { port: 5000 });
        assert_eq!(judge(&["[::1]:5000"]), Listening::LoopbackOnly { port: 5000 });
        assert_eq!(judge(&["0.0.0.0:9000", "0.0.0.0:8000"]), Listening::OtherPort { port: 8000 });
        assert_eq!(judge(&["[::ffff:127.0.0.1]:3000"]), Listening::LoopbackOnly { port: 3000 });
    }
}
