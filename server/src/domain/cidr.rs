//! Ranges of addresses as they are written: `203.0.113.0/24`, `2001:db8::/32`, or one address alone.
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    /// Without bits behind the prefix.
    first: IpAddr,
    prefix_bits: u8,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CidrError {
    #[error("`{0}` is no range of addresses; write it like 203.0.113.0/24 or 2001:db8::/32")]
    NoRange(String),
    #[error("`{0}` has bits behind its prefix; did you mean {1}?")]
    BitsBehind(String, Cidr),
}

impl Cidr {
    /// `address` in its plain form: an IPv4 address that is written as IPv6 is to be made plain before.
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.first.is_ipv4() && masked(address, self.prefix_bits) == self.first
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let refuse = || CidrError::NoRange(text.chars().take(100).collect());
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| refuse())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match prefix {
            None => most,
            Some(digits) => {
                let is_plain = !digits.is_empty() && digits.len() <= 3 && digits.bytes().all(|b| b.is_ascii_digit());
                digits.parse().ok().filter(|bits| is_plain && *bits <= most).ok_or_else(refuse)?
            }
        };
        let first = masked(address, prefix_bits);
        let range = Self { first, prefix_bits };
        if first == address { Ok(range) } else { Err(CidrError::BitsBehind(text.to_owned(), range)) }
    }
}

fn masked(address: IpAddr, prefix_bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix_bits)).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix_bits)).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix_bits)
    }
}

impl TryFrom<String> for Cidr {
    type Error = CidrError;
    fn try_from(text: String) -> Result<Self, CidrError> {
        text.parse()
    }
}

impl From<Cidr> for String {
    fn from(range: Cidr) -> Self {
        range.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_its_own_addresses_alone() {
        for (range, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("203.0.113.7", "203.0.113.7", "203.0.113.8"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::1", "::1", "::2"),
            ("::/0", "ffff::", "127.0.0.1"),
            ("192.168.1.128/25", "192.168.1.255", "192.168.1.127"),
        ] {
            let range: Cidr = range.parse().unwrap();
            assert!(range.contains(inside.parse().unwrap()), "{range} lacks {inside}");
            assert!(!range.contains(outside.parse().unwrap()), "{range} has {outside}");
        }
    }

    #[test]
    fn ranges_are_strict() {
        for bad in ["", "10.0.0.0/", "10.0.0.0/33", "::/129", "10.0.0/8", "a/8", "10.0.0.0/+8", "10.0.0.0/8/8", " ::1"]
        {
            assert!(bad.parse::<Cidr>().is_err(), "{bad:?} was accepted");
        }
        let behind = "10.1.2.3/8".parse::<Cidr>().unwrap_err().to_string();
        assert!(behind.contains("did you mean 10.0.0.0/8?"), "{behind}");
    }
}
