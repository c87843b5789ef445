//! The last published route table: what lets a restarted server serve before it asks the engine anything.
use super::{Result, Store, from_json, to_json};
use crate::domain::route::RouteTable;

impl Store {
    pub async fn save_routes(&self, boot_id: &str, routes: &RouteTable) -> Result<()> {
        let json = to_json(routes)?;
        sqlx::query!(
            "INSERT INTO published_routes (only_row, boot_id, routes) VALUES (1, ?1, ?2)
             ON CONFLICT (only_row) DO UPDATE SET boot_id = ?1, routes = ?2",
            boot_id,
            json
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The table published last. Addresses of an earlier boot of the machine mean nothing: of such a table only the hosts
    /// are left, so that visitors wait for their app's start instead of reading that there is nothing.
    pub async fn saved_routes(&self, boot_id: &str) -> Result<Option<RouteTable>> {
        let row = sqlx::query!("SELECT boot_id, routes FROM published_routes").fetch_optional(&self.pool).await?;
        let Some(row) = row else { return Ok(None) };
        let routes: RouteTable = from_json(&row.routes, "published_routes.routes")?;
        Ok(Some(if row.boot_id == boot_id { routes } else { routes.without_instances() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::route::{AppRoute, Backend, Backends};
    use crate::domain::{AppId, ContainerId, Protocol, ReleaseNo};
    use crate::store::testing;

    fn table() -> RouteTable {
        let backend = Backend {
            container: ContainerId::new("c1"),
            slot: crate::domain::instance::Slot { process: "web".parse().unwrap(), index: 1 },
            release: ReleaseNo(1),
            address: "10.192.1.2:5000".parse().unwrap(),
            protocol: Protocol::H2c,
        };
        let route = |name: &str, backends| AppRoute {
            name: name.parse().unwrap(),
            backends,
            maintenance: crate::domain::Maintenance::Off,
            policy: std::sync::Arc::default(),
            tls: crate::domain::TlsPolicy::default(),
        };
        let mut table = RouteTable::default();
        table.hosts.insert("blog.localhost".parse().unwrap(), AppId(1));
        table.apps.insert(AppId(1), route("blog", Backends::Ready(vec![backend])));
        table.apps.insert(AppId(2), route("off", Backends::Off));
        table
    }

    #[tokio::test]
    async fn after_a_reboot_hosts_are_known_and_no_address_is_believed() {
        let (store, _dir) = testing::store().await;
        assert_eq!(store.saved_routes("boot 1").await.unwrap(), None);
        store.save_routes("boot 1", &table()).await.unwrap();
        assert_eq!(store.saved_routes("boot 1").await.unwrap(), Some(table()));
        let rebooted = store.saved_routes("boot 2").await.unwrap().unwrap();
        assert_eq!(rebooted.hosts, table().hosts);
        assert_eq!(rebooted.apps[&AppId(1)].backends, Backends::Starting);
        assert_eq!(rebooted.apps[&AppId(2)].backends, Backends::Off);
    }
}
