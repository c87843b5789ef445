//! What DNS answers for a host now, beside what it should: the addresses that this machine is reached at.
use super::address::is_public;
use crate::domain::Hostname;
use futures_util::StreamExt;
use serde::Serialize;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

/// The system's resolver may try several servers for longer than anybody waits.
const ANSWER_MAX: Duration = Duration::from_secs(5);
const QUESTIONS_AT_ONCE: usize = 8;
/// Any will do: only the address counts.
const PORT: u16 = 80;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Leads {
    /// Every address that DNS gives is one of this machine's.
    LeadsHere,
    LeadsElsewhere,
    /// Some of the addresses are this machine's, others are not.
    LeadsHereAndElsewhere,
    /// DNS knows no address for it.
    Unknown,
    /// DNS did not answer in time.
    NoAnswer,
    /// It leads somewhere, and this machine's own public addresses cannot be told.
    CannotTell,
}

impl Leads {
    pub fn word(self) -> &'static str {
        match self {
            Self::LeadsHere => "leads here",
            Self::LeadsElsewhere => "leads elsewhere",
            Self::LeadsHereAndElsewhere => "leads here and elsewhere",
            Self::Unknown => "DNS knows no address",
            Self::NoAnswer => "DNS did not answer",
            Self::CannotTell => "cannot tell",
        }
    }
}

/// What DNS answers for one host.
#[derive(Clone, Serialize)]
pub struct Finding {
    pub host: String,
    pub state: Leads,
    pub dns: Vec<IpAddr>,
    pub expected: Vec<IpAddr>,
}

impl Finding {
    pub fn is_wrong(&self) -> bool {
        match self.state {
            Leads::LeadsHere | Leads::CannotTell => false,
            Leads::LeadsElsewhere | Leads::LeadsHereAndElsewhere | Leads::Unknown | Leads::NoAnswer => true,
        }
    }
}

/// Asks for all hosts, a few at a time. What leads to this machine: the addresses it goes out by, and those that DNS gives
/// for the base domain, which lead here by definition even where the machine knows only a private address of its own.
pub async fn look_at(hosts: &[Hostname], base_domain: &Hostname) -> Vec<Finding> {
    let mut expected = outgoing();
    // Any name below it: a wildcard record need not cover the base domain itself.
    let below: Option<Hostname> = format!("paas-check.{base_domain}").parse().ok();
    if let Some(Answer::Addresses(addresses)) = match &below {
        Some(host) => Some(ask(host).await),
        None => None,
    } {
        expected.extend(addresses);
    }
    expected.sort_unstable();
    expected.dedup();
    let expected: Arc<[IpAddr]> = expected.into();
    let asking = futures_util::stream::iter(hosts.to_vec()).map(|host| {
        let expected = Arc::clone(&expected);
        async move {
            let answer = ask(&host).await;
            finding(&host, answer, &expected)
        }
    });
    asking.buffered(QUESTIONS_AT_ONCE).collect().await
}

enum Answer {
    Addresses(Vec<IpAddr>),
    None,
    TimedOut,
}

async fn ask(host: &Hostname) -> Answer {
    // A trailing dot: the machine's search domains must not answer for it.
    match tokio::time::timeout(ANSWER_MAX, tokio::net::lookup_host(format!("{host}.:{PORT}"))).await {
        Ok(Ok(found)) => {
            let mut addresses: Vec<IpAddr> = found.map(|address| address.ip().to_canonical()).collect();
            addresses.sort_unstable();
            addresses.dedup();
            if addresses.is_empty() { Answer::None } else { Answer::Addresses(addresses) }
        }
        Ok(Err(_)) => Answer::None,
        Err(_elapsed) => Answer::TimedOut,
    }
}

fn finding(host: &Hostname, answer: Answer, expected: &[IpAddr]) -> Finding {
    let (state, dns) = match answer {
        Answer::None => (Leads::Unknown, Vec::new()),
        Answer::TimedOut => (Leads::NoAnswer, Vec::new()),
        Answer::Addresses(dns) => {
            let here = dns.iter().filter(|address| expected.contains(address)).count();
            let state = match here {
                here if here == dns.len() => Leads::LeadsHere,
                _ if expected.is_empty() => Leads::CannotTell,
                0 => Leads::LeadsElsewhere,
                _some => Leads::LeadsHereAndElsewhere,
            };
            (state, dns)
        }
    };
    Finding { host: host.to_string(), state, dns, expected: expected.to_vec() }
}

/// The addresses that this machine goes out by, unless they are private. No packet is sent: connecting a datagram socket
/// only chooses a way.
fn outgoing() -> Vec<IpAddr> {
    // Addresses set aside for documentation (RFC 5737, RFC 3849).
    let far: [(IpAddr, IpAddr); 2] = [
        (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into()),
        (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()),
    ];
    let address_towards = |(near, far): (IpAddr, IpAddr)| {
        let socket = UdpSocket::bind(SocketAddr::new(near, 0)).ok()?;
        socket.connect(SocketAddr::new(far, PORT)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    far.into_iter().filter_map(address_towards).filter(|address| is_public(*address)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(dns: &[&str], expected: &[&str]) -> Leads {
        let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>();
        let host = "www.example.com".parse().unwrap();
        finding(&host, Answer::Addresses(parse(dns)), &parse(expected)).state
    }

    #[test]
    fn a_host_leads_here_when_every_address_does() {
        assert_eq!(state(&["203.0.113.1"], &["203.0.113.1", "2001:db8::1"]), Leads::LeadsHere);
        assert_eq!(state(&["203.0.113.1", "203.0.113.2"], &["203.0.113.1"]), Leads::LeadsHereAndElsewhere);
        assert_eq!(state(&["203.0.113.2"], &["203.0.113.1"]), Leads::LeadsElsewhere);
        assert_eq!(state(&["203.0.113.2"], &[]), Leads::CannotTell);
    }

    #[tokio::test]
    async fn a_name_that_cannot_exist_has_no_address() {
        let answer = ask(&"nobody.invalid".parse().unwrap()).await;
        assert!(!matches!(answer, Answer::Addresses(_)));
    }
}
