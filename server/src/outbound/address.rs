//! Which addresses may be anybody's: what is left when those of machines, sites and tunnels are taken away.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address is one of the open internet's (IANA's special-purpose registries, RFC 6890). What carries an IPv4
/// address inside counts as that. Addresses of examples are refused by nobody: they lead nowhere.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => match carried(v6) {
            Some(v4) => is_public_v4(v4),
            None => is_public_v6(v6),
        },
    }
}

fn is_public_v4(v4: Ipv4Addr) -> bool {
    let [a, b, c, _] = v4.octets();
    let is_this_network = a == 0;
    // Shared by providers and their customers (RFC 6598).
    let is_shared = a == 100 && b & 0xc0 == 64;
    // Protocol assignments, 6to4's relays, and benchmarks (RFC 6890, RFC 7526, RFC 2544).
    let is_special = (a, b, c) == (192, 0, 0) || (a, b, c) == (192, 88, 99) || (a == 198 && b & 0xfe == 18);
    let is_reserved = a >= 224;
    !(v4.is_private()
        || v4.is_loopback()
        || v4.is_link_local()
        || is_this_network
        || is_shared
        || is_special
        || is_reserved)
}

/// Only 2000::/3 is given out, and not all of it.
fn is_public_v6(v6: Ipv6Addr) -> bool {
    let [first, second, ..] = v6.segments();
    let is_given_out = first & 0xe000 == 0x2000;
    // Protocol assignments with Teredo and ORCHID (2001::/23).
    let is_special = first == 0x2001 && second < 0x200;
    is_given_out && !is_special
}

/// The IPv4 address that is reached by it: mapped (RFC 4291), compatible, translated (RFC 6052, RFC 8215) or 6to4 (RFC 3056).
fn carried(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let join = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match v6.segments() {
        [0, 0, 0, 0, 0, 0xffff | 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            Some(join(high, low))
        }
        [0x64, 0xff9b, 1, ..] => Some(Ipv4Addr::UNSPECIFIED),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::is_public;

    #[test]
    fn addresses_of_machines_and_sites_are_not_public_in_any_spelling() {
        for private in [
            "0.0.0.0",
            "0.1.2.3",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.8",
            "192.168.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2001::1",
            "2002:a00:1::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
        for public in
            ["203.0.114.1", "1.1.1.1", "100.63.0.1", "172.32.0.1", "2001:470::1", "2606:4700::1111", "::ffff:1.1.1.1"]
        {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }
}
