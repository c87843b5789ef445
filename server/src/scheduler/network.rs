//! A network per app, in a subnet of its own: a stale address can only ever reach the same app.
use super::House;
use crate::domain::App;
use crate::engine::NetworkId;
use crate::store::StoreError;
use anyhow::{Context, bail};
use std::net::Ipv4Addr;

/// Subnets are `10.192.0.0/24` to `10.255.255.0/24`: 16,384 of them.
const FIRST: u32 = 0x0ac0_0000;
const COUNT: u32 = 1 << 14;
const PREFIX_LENGTH: u8 = 24;
/// Subnets that are tried before giving up.
const TRIES: u32 = 256;

impl House {
    /// The app's network, made if need be.
    pub(super) async fn network(&self, app: &App) -> anyhow::Result<NetworkId> {
        // Looking and making are two steps, and the engine would make a second one of the same kind.
        let _one_at_a_time = self.networks.lock().await;
        // Made ahead of need, maybe, and the app is on its way out meanwhile.
        if self.tools.store.app_by_id(app.id).await?.destroying {
            bail!("{} is being destroyed", app.name);
        }
        let subnet = match self.tools.store.subnet(app.id).await? {
            Some(subnet) => subnet,
            None => self.claim_subnet(app).await?,
        };
        match self.tools.engine.ensure_network(app.id, &app.key, &subnet).await {
            Ok(network) => Ok(network),
            Err(error) if self.is_taken(&subnet).await => {
                tracing::warn!(app.name = %app.name, "{subnet} of {} is another's meanwhile ({error}); choosing anew", app.name);
                let subnet = self.claim_subnet(app).await?;
                let made = self.tools.engine.ensure_network(app.id, &app.key, &subnet).await;
                made.with_context(|| format!("make the network {subnet} of {}", app.name))
            }
            Err(error) => Err(error).with_context(|| format!("make the network {subnet} of {}", app.name)),
        }
    }

    pub(super) async fn remove_network(&self, app: &App) -> anyhow::Result<()> {
        let _one_at_a_time = self.networks.lock().await;
        let removed = self.tools.engine.remove_network(app.id).await;
        removed.with_context(|| format!("remove the network of {}", app.name))
    }

    /// Whether somebody else's network stands in `subnet`: a second server on this engine chooses among the same free ones.
    async fn is_taken(&self, subnet: &str) -> bool {
        let Some((address, Ok(length))) = subnet.split_once('/').map(|(address, length)| (address, length.parse()))
        else {
            return false;
        };
        let Ok(address) = address.parse::<Ipv4Addr>() else { return false };
        let in_use = self.tools.engine.subnets_in_use().await.unwrap_or_default();
        in_use.iter().any(|(other, other_length)| overlap((address, length), (*other, *other_length)))
    }

    async fn claim_subnet(&self, app: &App) -> anyhow::Result<String> {
        let in_use = self.tools.engine.subnets_in_use().await.context("ask the engine for subnets in use")?;
        let first = u32::try_from(app.id.0 % i64::from(COUNT)).unwrap_or(0);
        for n in (0..TRIES).map(|step| (first + step * 37) % COUNT) {
            let address = Ipv4Addr::from(FIRST + (n << 8));
            if in_use.iter().any(|(other, length)| overlap((address, PREFIX_LENGTH), (*other, *length))) {
                continue;
            }
            let subnet = format!("{address}/{PREFIX_LENGTH}");
            match self.tools.store.claim_subnet(app.id, &subnet).await {
                Ok(()) => return Ok(subnet),
                Err(StoreError::Taken { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        bail!("no free subnet among {TRIES} tried in 10.192.0.0/10 for {}; remove unused Docker networks", app.name)
    }
}

fn overlap(a: (Ipv4Addr, u8), b: (Ipv4Addr, u8)) -> bool {
    let length = u32::from(a.1.min(b.1).min(32));
    let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
    a.0.to_bits() & mask == b.0.to_bits() & mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_overlaps_what_holds_it_or_lies_in_it() {
        let net = (Ipv4Addr::new(10, 200, 5, 0), 24);
        assert!(overlap(net, (Ipv4Addr::new(10, 0, 0, 0), 8)));
        assert!(overlap(net, (Ipv4Addr::new(10, 200, 5, 128), 25)));
        assert!(overlap(net, (Ipv4Addr::UNSPECIFIED, 0)));
        assert!(!overlap(net, (Ipv4Addr::new(10, 200, 6, 0), 24)));
    }
}
