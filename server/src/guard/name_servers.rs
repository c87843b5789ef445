//! The host's name servers, which instances and build steps may ask: some stand on the host itself, or where else nothing
//! may be reached (169.254.169.254 on some clouds).
use std::net::IpAddr;
use std::path::Path;

/// The file that every program reads, and the one behind systemd's stub, which Docker hands to containers instead.
const FILES: [&str; 2] = ["etc/resolv.conf", "run/systemd/resolve/resolv.conf"];
/// More are no use to a resolver, which asks three.
const SERVERS_MAX: usize = 16;

/// Addresses, in order and once each. Loopback is no server for anybody behind a bridge.
pub(super) fn of_host(root: &Path) -> Vec<IpAddr> {
    let texts = FILES.iter().filter_map(|file| std::fs::read_to_string(root.join(file)).ok());
    let mut servers: Vec<IpAddr> = texts.flat_map(|text| servers_in(&text)).collect();
    servers.sort_unstable();
    servers.dedup();
    servers.truncate(SERVERS_MAX);
    servers
}

fn servers_in(text: &str) -> Vec<IpAddr> {
    let addresses = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let is_server = words.next() == Some("nameserver");
        // A zone (`fe80::1%eth0`) is the host's own matter.
        words.next().filter(|_| is_server)?.parse::<IpAddr>().ok()
    });
    addresses.filter(|address| !address.is_loopback() && !address.is_unspecified()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_containers_can_reach_are_found() {
        let root = tempfile::tempdir().unwrap();
        assert!(of_host(root.path()).is_empty());
        std::fs::create_dir_all(root.path().join("etc")).unwrap();
        std::fs::create_dir_all(root.path().join("run/systemd/resolve")).unwrap();
        std::fs::write(
            root.path().join(FILES[0]),
            "search x\nnameserver 127.0.0.53\nnameserver\n#nameserver 1.1.1.1\n",
        )
        .unwrap();
        let text =
            "nameserver 10.0.0.2\nnameserver fd00::2\nnameserver 10.0.0.2\nnameserver fe80::1%eth0\nnameserver x\n";
        std::fs::write(root.path().join(FILES[1]), text).unwrap();
        let servers = ["10.0.0.2", "fd00::2"].map(|text| text.parse::<IpAddr>().unwrap());
        assert_eq!(of_host(root.path()), servers);
    }
}
