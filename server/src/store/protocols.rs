//! What instances of a process type are spoken to in.
use super::settings::renew_instances;
use super::{Result, Store, parsed};
use crate::domain::{AppId, ProcessType, Protocol};
use std::collections::BTreeMap;

impl Store {
    /// What was set; types without a row are spoken to in HTTP/1.1.
    pub async fn protocols(&self, app: AppId) -> Result<BTreeMap<ProcessType, Protocol>> {
        let rows = sqlx::query!("SELECT process, protocol FROM protocols WHERE app_id = ?", app.0)
            .fetch_all(&self.pool)
            .await?;
        rows.into_iter()
            .map(|row| Ok((parsed(&row.process, "protocols.process")?, parsed(&row.protocol, "protocols.protocol")?)))
            .collect()
    }

    /// Sets it, and asks for new instances of the type in the same step: those that run go on being spoken to as before.
    pub async fn set_protocol(&self, app: AppId, process: &ProcessType, protocol: Protocol) -> Result<()> {
        let text = process.as_str();
        let mut transaction = self.begin_for(app).await?;
        match protocol {
            Protocol::Http1 => {
                sqlx::query!("DELETE FROM protocols WHERE app_id = ? AND process = ?", app.0, text)
                    .execute(&mut *transaction)
                    .await?;
            }
            Protocol::H2c => {
                sqlx::query!(
                    "INSERT INTO protocols (app_id, process, protocol) VALUES (?1, ?2, 'h2c')
                     ON CONFLICT (app_id, process) DO NOTHING",
                    app.0,
                    text
                )
                .execute(&mut *transaction)
                .await?;
            }
        }
        renew_instances(app, process, &mut transaction).await?;
        transaction.commit().await?;
        self.announce();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Moment;
    use crate::domain::instance::Slot;
    use crate::store::testing::store;

    #[tokio::test]
    async fn a_protocol_is_kept_per_type_and_asks_for_new_instances() {
        let (store, _dir) = store().await;
        let app = store.create_app(&"blog".parse().unwrap(), Moment::default()).await.unwrap().id;
        let web = ProcessType::web();
        assert!(store.protocols(app).await.unwrap().is_empty());
        for (times, protocol) in [(1, Protocol::H2c), (2, Protocol::H2c), (3, Protocol::Http1), (4, Protocol::H2c)] {
            store.set_protocol(app, &web, protocol).await.unwrap();
            assert_eq!(store.protocols(app).await.unwrap().get(&web).copied().unwrap_or_default(), protocol);
            let epochs = store.epochs(app, &BTreeMap::from([(web.clone(), 1)])).await.unwrap();
            assert_eq!(epochs[&Slot { process: web.clone(), index: 1 }], times);
        }
    }
}
