//! The firewall's rules (security rule R15), as text for nft. They stand in a table of their own, which nobody else's flush
//! of iptables touches and which replaces nobody's: where it drops a packet, no other table can save it, and where it
//! accepts one, the others still judge.
use super::Wanted;
use crate::domain::bridge::ANY_INSTALLATION;
use std::fmt::Write as _;
use std::net::IpAddr;

/// Before the tables of Docker and of the administrator, which stand at 0.
const PRIORITY: i32 = -10;
/// Where clouds keep credentials for whoever asks from the machine.
const METADATA_V4: &str = "169.254.0.0/16, 100.100.100.200";
const METADATA_V6: &str = "fe80::/10, fd00:ec2::254, fd20:ce::254";

/// The name of an installation's table: two on one machine never touch each other's.
pub(super) fn table(wanted: &Wanted) -> String {
    format!("paas_{}", &wanted.bridges.as_str()[ANY_INSTALLATION.len()..])
}

/// The whole table. nft takes a file as one transaction: there is no moment without rules.
pub(super) fn script(wanted: &Wanted, build_bridge: Option<&str>, name_servers: &[IpAddr]) -> String {
    let (table, ours) = (table(wanted), format!("\"{}*\"", wanted.bridges));
    let guests = build_bridge.map_or_else(|| ours.clone(), |bridge| format!("{ours}, \"{bridge}\""));
    // Another installation's apps are other apps too; nobody else's bridge is our business.
    let others = build_bridge.map_or_else(String::new, |bridge| format!(", \"{bridge}\""));
    let (ports, asking) = (proxy_ports(&wanted.ports), asking(name_servers));
    format!(
        "add table inet {table}
delete table inet {table}
table inet {table} {{
	chain to_host {{
		type filter hook input priority {PRIORITY}; policy accept;
		iifname {{ {guests} }} jump guest_to_host
	}}
	chain guest_to_host {{
		ct state established,related accept
		icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit }} accept
{ports}{asking}		drop
	}}
	chain through_host {{
		type filter hook forward priority {PRIORITY}; policy accept;
		iifname {{ {guests} }} jump guest_to_others
		oifname {ours} ct state established,related accept
		oifname {ours} drop
	}}
	chain guest_to_others {{
		ct state established,related accept
{asking}		ip daddr {{ {METADATA_V4} }} drop
		ip6 daddr {{ {METADATA_V6} }} drop
		fib daddr . iif oif exists accept comment \"neighbours on the same bridge\"
		oifname {{ \"{ANY_INSTALLATION}*\"{others} }} drop
	}}
}}
"
    )
}

/// Apps may call each other's public address, like everybody.
fn proxy_ports(ports: &[u16]) -> String {
    if ports.is_empty() {
        return String::new();
    }
    let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
    format!("\t\ttcp dport {{ {} }} accept\n", ports.join(", "))
}

fn asking(name_servers: &[IpAddr]) -> String {
    let mut text = String::new();
    for server in name_servers {
        let family = if server.is_ipv4() { "ip" } else { "ip6" };
        for protocol in ["udp", "tcp"] {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "\t\t{family} daddr {server} {protocol} dport 53 accept");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{BridgePrefix, InstallationId};

    fn wanted(ports: &[u16]) -> Wanted {
        Wanted { bridges: BridgePrefix::of(&InstallationId::new("0a1b2c3d")), ports: ports.to_vec() }
    }

    #[test]
    fn the_rules_of_a_usual_server() {
        let servers = ["10.0.0.2", "fd00::2"].map(|text| text.parse().unwrap());
        insta::assert_snapshot!(script(&wanted(&[80, 443]), Some("docker0"), &servers));
    }

    #[test]
    fn without_a_build_bridge_docker0_is_left_alone() {
        let script = script(&wanted(&[]), None, &[]);
        assert!(!script.contains("docker0") && !script.contains("dport"), "{script}");
        assert_eq!(table(&wanted(&[])), "paas_0a1b2");
    }
}
