//! One bridge network per app, found by its labels. Its name has a random part: Docker takes the same name twice, and
//! then starts no container on either, not even by the network's id ("network … is ambiguous").
use super::link::{READ_TIME_MAX, Task, WRITE_TIME_MAX};
use super::{DockerEngine, app_of, creation, random_hex};
use crate::domain::{AppId, AppKey, BridgePrefix};
use crate::engine::{EngineError, NetworkId, Result, label};
use anyhow::anyhow;
use bollard::Docker;
use bollard::models::{Ipam, IpamConfig, Network, NetworkCreateRequest};
use bollard::query_parameters::ListNetworksOptions;
use std::collections::HashMap;
use std::net::Ipv4Addr;

/// How the bridge is called on the host: the firewall's rules know it by this name.
const BRIDGE_OPTION: &str = "com.docker.network.bridge.name";

impl DockerEngine {
    async fn list_networks(&self, filters: Option<HashMap<String, Vec<String>>>) -> Result<Vec<Network>> {
        let list = |docker: Docker| async move { docker.list_networks(Some(ListNetworksOptions { filters })).await };
        self.link.ask(Task::new("list", "networks", ""), READ_TIME_MAX, list).await
    }

    pub(super) async fn ensure_app_network(&self, app: AppId, key: &AppKey, subnet: &str) -> Result<NetworkId> {
        let found = self.list_networks(Some(self.ours(Some(app)))).await?;
        // Should there ever be two, every call picks the same one.
        let oldest = found.into_iter().min_by(|a, b| (&a.created, &a.id).cmp(&(&b.created, &b.id)));
        match oldest.and_then(|network| network.id) {
            Some(id) => Ok(NetworkId(id)),
            None => self.create_network(app, key, subnet).await,
        }
    }

    async fn create_network(&self, app: AppId, key: &AppKey, subnet: &str) -> Result<NetworkId> {
        let installation = self.installation.as_str();
        let name = creation::network_name(&self.installation, key, &random_hex()?);
        let gateway = gateway_of(subnet).ok_or_else(|| EngineError::Refused(format!("`{subnet}` is no subnet")))?;
        let bridge = BridgePrefix::of(&self.installation).bridge(app);
        let labels = [
            (label::INSTALLATION, installation.to_owned()),
            (label::APP, app.0.to_string()),
            (label::APP_KEY, key.to_string()),
        ];
        let pool =
            IpamConfig { subnet: Some(subnet.to_owned()), gateway: Some(gateway.to_string()), ..IpamConfig::default() };
        let request = NetworkCreateRequest {
            name: name.clone(),
            driver: Some("bridge".to_owned()),
            options: Some(HashMap::from([(BRIDGE_OPTION.to_owned(), bridge)])),
            enable_ipv6: Some(false),
            ipam: Some(Ipam { config: Some(vec![pool]), ..Ipam::default() }),
            labels: Some(labels.map(|(name, value)| (name.to_owned(), value)).into()),
            ..NetworkCreateRequest::default()
        };
        let create = |docker: Docker| async move { docker.create_network(request).await };
        let made = self.link.ask(Task::new("create", "network", &name), WRITE_TIME_MAX, create).await?;
        Ok(NetworkId(made.id))
    }

    pub(super) async fn remove_app_networks(&self, app: AppId) -> Result<()> {
        for network in self.list_networks(Some(self.ours(Some(app)))).await? {
            let id = network.id.ok_or_else(|| anyhow!("the engine listed a network without id"))?;
            let remove = |docker: Docker| {
                let id = id.clone();
                async move { docker.remove_network(&id).await }
            };
            match self.link.ask(Task::new("remove", "network", &id), WRITE_TIME_MAX, remove).await {
                Ok(()) | Err(EngineError::Missing(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub(super) async fn list_subnets(&self) -> Result<Vec<(Ipv4Addr, u8)>> {
        let networks = self.list_networks(None).await?.into_iter();
        let pools = networks.filter_map(|network| network.ipam?.config).flatten();
        Ok(pools.filter_map(|pool| subnet_of(&pool.subnet?)).collect())
    }

    pub(super) async fn all_networks(&self) -> Result<Vec<(NetworkId, Option<AppId>)>> {
        let networks = self.list_networks(Some(self.ours(None))).await?.into_iter();
        let named = |one: Network| Some((NetworkId(one.id?), app_of(&one.labels.unwrap_or_default())));
        Ok(networks.filter_map(named).collect())
    }
}

/// `None` for IPv6 and what is no subnet.
fn subnet_of(text: &str) -> Option<(Ipv4Addr, u8)> {
    let (address, length) = text.split_once('/')?;
    let length: u8 = length.parse().ok().filter(|length| *length <= 32)?;
    Some((address.parse().ok()?, length))
}

/// The first address of a subnet.
fn gateway_of(subnet: &str) -> Option<Ipv4Addr> {
    let (address, length) = subnet_of(subnet)?;
    let network = address.to_bits() & u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
    Some(Ipv4Addr::from_bits(network.checked_add(1)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_is_the_subnets_first_address() {
        assert_eq!(gateway_of("10.88.3.0/24"), Some(Ipv4Addr::new(10, 88, 3, 1)));
        assert_eq!(gateway_of("10.88.3.77/24"), Some(Ipv4Addr::new(10, 88, 3, 1)));
        for wrong in ["10.88.3.0", "10.88.3.0/33", "fd00::/64", "x/24", ""] {
            assert_eq!(gateway_of(wrong), None, "{wrong}");
        }
    }
}
