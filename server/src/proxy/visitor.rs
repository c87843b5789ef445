//! Who a request is from. A peer says it for itself, unless it is a proxy that the server's owner trusts: then what such
//! proxies wrote is read from the right, as far as each was written by one of them.
use super::exchange::Client;
use super::headers::{X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PORT, X_FORWARDED_PROTO};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::net::IpAddr;

/// Addresses that are read; who passes through more proxies than this is where the reading ends.
const HOPS_MAX: usize = 32;

pub(super) struct Visitor {
    /// An address without a port.
    pub(super) address: HeaderValue,
    pub(super) scheme: &'static str,
    /// As a trusted proxy gave it.
    pub(super) host: Option<HeaderValue>,
    pub(super) port: HeaderValue,
}

impl Visitor {
    pub(super) fn of(client: &Client, headers: &HeaderMap) -> Self {
        let transport = client.transport();
        let direct = Self {
            address: client.address.clone(),
            scheme: transport.scheme(),
            host: None,
            port: client.worker.forwarded_port(transport),
        };
        if client.is_trusted {
            direct.corrected(headers, |address| client.worker.shared.trusts(address))
        } else {
            direct
        }
    }

    pub(super) fn ip(&self) -> Option<IpAddr> {
        self.address.to_str().ok()?.parse().ok()
    }

    fn corrected(mut self, headers: &HeaderMap, is_trusted: impl Fn(IpAddr) -> bool) -> Self {
        if let Some(address) = walk(headers, is_trusted).and_then(|ip| HeaderValue::from_str(&ip.to_string()).ok()) {
            self.address = address;
        }
        let told = |name: HeaderName| headers.get(name).and_then(last);
        match told(X_FORWARDED_PROTO) {
            Some("https") => (self.scheme, self.port) = ("https", HeaderValue::from_static("443")),
            Some("http") => self.scheme = "http",
            Some(_) | None => {}
        }
        if let Some(port) = told(X_FORWARDED_PORT).and_then(|port| port.parse::<u16>().ok()).filter(|port| *port > 0) {
            self.port = port.into();
        }
        let is_host = |host: &&str| host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b));
        let host = told(X_FORWARDED_HOST).filter(|host| !host.is_empty() && is_host(host));
        self.host = host.and_then(|host| HeaderValue::from_str(host).ok());
        self
    }
}

/// The first address from the right that is no trusted proxy's; where all are, the leftmost.
fn walk(headers: &HeaderMap, is_trusted: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    let mut farthest = None;
    let fields = headers.get_all(X_FORWARDED_FOR).iter().rev();
    let hops = fields.flat_map(|field| field.to_str().unwrap_or("?").rsplit(',').map(str::trim));
    for hop in hops.take(HOPS_MAX) {
        // What is no address was not written by a proxy that can be trusted to have seen one.
        let Some(address) = bare(hop) else { break };
        farthest = Some(address);
        if !is_trusted(address) {
            break;
        }
    }
    farthest
}

/// Some proxies write a port too.
fn bare(hop: &str) -> Option<IpAddr> {
    let parsed = hop.parse::<IpAddr>().ok().or_else(|| hop.parse::<std::net::SocketAddr>().ok().map(|it| it.ip()));
    let unwrapped = || hop.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    parsed.or_else(unwrapped).map(|ip| ip.to_canonical())
}

/// The nearest proxy's word, where several wrote one behind the other.
fn last(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok()?.rsplit(',').next().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(fields: &[(&'static str, &'static str)]) -> Visitor {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let direct = Visitor {
            address: HeaderValue::from_static("10.0.0.1"),
            scheme: "http",
            host: None,
            port: HeaderValue::from_static("80"),
        };
        direct.corrected(&headers, |ip| "10.0.0.0/8".parse::<crate::domain::Cidr>().unwrap().contains(ip))
    }

    #[test]
    fn forwarded_for_is_walked_from_the_right_as_far_as_it_is_trusted() {
        for (value, address) in [
            ("203.0.113.7", "203.0.113.7"),
            ("6.6.6.6, 203.0.113.7", "203.0.113.7"),
            ("6.6.6.6, 203.0.113.7, 10.1.1.1,10.2.2.2", "203.0.113.7"),
            ("10.1.1.1, 10.2.2.2", "10.1.1.1"),
            ("6.6.6.6, unknown, 10.2.2.2", "10.2.2.2"),
            ("6.6.6.6, unknown", "10.0.0.1"),
            ("", "10.0.0.1"),
            ("203.0.113.7:4711, 10.2.2.2", "203.0.113.7"),
            ("[2001:db8::1]:80, 10.2.2.2", "2001:db8::1"),
            ("6.6.6.6, ::ffff:203.0.113.7", "203.0.113.7"),
        ] {
            assert_eq!(told(&[("x-forwarded-for", value)]).address, address, "{value}");
        }
        let two = told(&[("x-forwarded-for", "6.6.6.6, 203.0.113.7"), ("x-forwarded-for", "10.1.1.1")]);
        assert_eq!(two.address, "203.0.113.7");
    }

    #[test]
    fn scheme_host_and_port_are_believed_only_where_they_make_sense() {
        let visitor = told(&[("x-forwarded-proto", "https"), ("x-forwarded-host", "www.example.com")]);
        assert_eq!((visitor.scheme, visitor.port.to_str().unwrap()), ("https", "443"));
        assert_eq!(visitor.host.unwrap(), "www.example.com");
        let visitor = told(&[("x-forwarded-proto", "gopher"), ("x-forwarded-host", "a b"), ("x-forwarded-port", "0")]);
        assert_eq!((visitor.scheme, visitor.port.to_str().unwrap(), visitor.host), ("http", "80", None));
        assert_eq!(told(&[("x-forwarded-port", "8443")]).port, "8443");
    }
}
