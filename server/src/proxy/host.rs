//! Which destination a request names: by its Host, which an absolute target must agree with.
use super::snapshot::{Destination, Snapshot};
use crate::domain::Hostname;
use http::{HeaderMap, Uri, header};
use std::net::IpAddr;

/// Longest host name, in bytes (RFC 1035).
const HOST_BYTES_MAX: usize = 253;

pub(super) enum Found {
    Destination(Destination),
    /// A host name, or an address, that nothing is routed for.
    Unknown,
    /// No host name at all, or two that differ.
    Invalid,
}

pub(super) fn find(snapshot: &Snapshot, uri: &Uri, headers: &HeaderMap) -> Found {
    let Some(named) = headers.get(header::HOST) else { return Found::Invalid };
    if let Some(authority) = uri.authority() {
        let agrees = bare(authority.as_str().as_bytes()).eq_ignore_ascii_case(bare(named.as_bytes()));
        if !agrees || authority.as_str().contains('@') {
            return Found::Invalid;
        }
    }
    let bare = bare(named.as_bytes());
    let mut lower = [0; HOST_BYTES_MAX];
    if let Some(key) = lowered(bare, &mut lower)
        && let Some(destination) = snapshot.hosts.get(key)
    {
        return Found::Destination(destination.clone());
    }
    find_in_any_spelling(snapshot, bare)
}

/// The slow way: IDNA, and telling strange hosts from none.
fn find_in_any_spelling(snapshot: &Snapshot, bare: &[u8]) -> Found {
    let Ok(text) = std::str::from_utf8(bare) else { return Found::Invalid };
    let address = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if address.parse::<IpAddr>().is_ok() {
        return Found::Unknown;
    }
    // One dot is gone already, and the parser would take another.
    if text.ends_with('.') {
        return Found::Invalid;
    }
    match text.parse::<Hostname>() {
        Ok(host) => snapshot.hosts.get(host.as_str()).map_or(Found::Unknown, |it| Found::Destination(it.clone())),
        Err(_) => Found::Invalid,
    }
}

/// Without port and one trailing dot.
fn bare(host: &[u8]) -> &[u8] {
    let digits = host.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    let host = host[..host.len() - digits].strip_suffix(b":").unwrap_or(host);
    host.strip_suffix(b".").unwrap_or(host)
}

fn lowered<'a>(host: &[u8], lower: &'a mut [u8; HOST_BYTES_MAX]) -> Option<&'a str> {
    let lower = lower.get_mut(..host.len())?;
    lower.copy_from_slice(host);
    lower.make_ascii_lowercase();
    std::str::from_utf8(lower).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn outcome(target: &str, host: &'static str) -> &'static str {
        let mut snapshot = Snapshot::default();
        for known in ["blog.example.com", "xn--bcher-kva.example"] {
            snapshot.hosts.insert(known.into(), Destination::Admin { host: known.into() });
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_bytes(host.as_bytes()).unwrap());
        match find(&snapshot, &target.parse().unwrap(), &headers) {
            Found::Destination(_) => "found",
            Found::Unknown => "unknown",
            Found::Invalid => "invalid",
        }
    }

    #[test]
    fn a_host_is_found_in_any_spelling() {
        for host in
            ["blog.example.com", "BLOG.Example.com:8080", "blog.example.com.", "blog.example.com.:80", "bücher.example"]
        {
            assert_eq!(outcome("/", host), "found", "{host}");
        }
    }

    #[test]
    fn strange_hosts_are_unknown_and_nonsense_is_invalid() {
        for host in ["other.example", "127.0.0.1", "127.0.0.1:80", "[::1]:80", "blog.example.com.evil.example"] {
            assert_eq!(outcome("/", host), "unknown", "{host}");
        }
        for host in ["", ":80", "a b", "blog.example.com..", "blog.example.com:x", "a@blog.example.com", "ex_ample.com"]
        {
            assert_eq!(outcome("/", host), "invalid", "{host}");
        }
    }

    #[test]
    fn an_absolute_target_must_agree_with_the_host() {
        assert_eq!(outcome("http://blog.example.com/", "Blog.example.com:80"), "found");
        assert_eq!(outcome("http://other.example/", "blog.example.com"), "invalid");
        assert_eq!(outcome("http://x@blog.example.com/", "blog.example.com"), "invalid");
    }
}
