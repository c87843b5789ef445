//! What a person set for an app beside its config vars: limits per process type, and the health check.
use super::{Result, Store, narrow, parsed};
use crate::domain::health::{Health, ReadyTimeout};
use crate::domain::limits::{Cpu, Limits, Memory};
use crate::domain::{AppId, ProcessType};
use sqlx::SqliteConnection;
use std::collections::BTreeMap;
use std::time::Duration;

impl Store {
    /// What was set; types without a row have the default.
    pub async fn limits(&self, app: AppId) -> Result<BTreeMap<ProcessType, Limits>> {
        let rows = sqlx::query!("SELECT process, memory_bytes, cpu_millis FROM limits WHERE app_id = ?", app.0)
            .fetch_all(&self.pool)
            .await?;
        rows.into_iter()
            .map(|row| {
                let memory = row.memory_bytes.map(|bytes| narrow(bytes, "limits.memory_bytes")).transpose()?;
                let cpu = row.cpu_millis.map(|millis| narrow(millis, "limits.cpu_millis")).transpose()?;
                let limits =
                    Limits { memory: memory.and_then(Memory::from_bytes), cpu: cpu.and_then(Cpu::from_millis) };
                Ok((parsed(&row.process, "limits.process")?, limits))
            })
            .collect()
    }

    /// Sets what instances of a type may use, and asks for new instances of it in the same step.
    pub async fn set_limits(&self, app: AppId, process: &ProcessType, limits: Limits) -> Result<()> {
        let text = process.as_str();
        let memory = limits.memory.map(|memory| i64::try_from(memory.bytes()).unwrap_or(i64::MAX));
        let cpu = limits.cpu.map(|cpu| i64::from(cpu.millis()));
        let mut transaction = self.begin_for(app).await?;
        sqlx::query!(
            "INSERT INTO limits (app_id, process, memory_bytes, cpu_millis) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (app_id, process) DO UPDATE SET memory_bytes = ?3, cpu_millis = ?4",
            app.0,
            text,
            memory,
            cpu
        )
        .execute(&mut *transaction)
        .await?;
        renew_instances(app, process, &mut transaction).await?;
        transaction.commit().await?;
        self.announce();
        Ok(())
    }

    pub async fn health(&self, app: AppId) -> Result<Health> {
        let row =
            sqlx::query!("SELECT path, timeout_ms FROM checks WHERE app_id = ?", app.0).fetch_optional(&self.pool);
        let Some(row) = row.await? else { return Ok(Health::default()) };
        let path = row.path.map(|path| parsed(&path, "checks.path")).transpose()?;
        let timeout_ms = row.timeout_ms.map(|ms| narrow(ms, "checks.timeout_ms")).transpose()?;
        let timeout = timeout_ms.map(Duration::from_millis).and_then(ReadyTimeout::new);
        Ok(Health { path, timeout })
    }

    pub async fn set_health(&self, app: AppId, health: &Health) -> Result<()> {
        let path = health.path.as_ref().map(|path| path.as_str().to_owned());
        let timeout_ms = health.timeout.map(|timeout| i64::try_from(timeout.span().as_millis()).unwrap_or(i64::MAX));
        let mut transaction = self.begin_for(app).await?;
        sqlx::query!(
            "INSERT INTO checks (app_id, path, timeout_ms) VALUES (?1, ?2, ?3)
             ON CONFLICT (app_id) DO UPDATE SET path = ?2, timeout_ms = ?3",
            app.0,
            path,
            timeout_ms
        )
        .execute(&mut *transaction)
        .await?;
        sqlx::query!("UPDATE apps SET provisional = 0 WHERE id = ?", app.0).execute(&mut *transaction).await?;
        transaction.commit().await?;
        self.announce();
        Ok(())
    }
}

/// Asks for new instances of a type, for which something was set; its app is meant to be kept then.
pub(super) async fn renew_instances(
    app: AppId,
    process: &ProcessType,
    connection: &mut SqliteConnection,
) -> Result<()> {
    let text = process.as_str();
    sqlx::query!(
        "INSERT INTO restarts (app_id, process, idx, epoch)
         VALUES (?1, ?2, 0, (SELECT COALESCE(MAX(epoch), 0) + 1 FROM restarts WHERE app_id = ?1))
         ON CONFLICT (app_id, process, idx) DO UPDATE SET epoch = excluded.epoch",
        app.0,
        text
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!("UPDATE apps SET provisional = 0 WHERE id = ?", app.0).execute(&mut *connection).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Moment;
    use crate::domain::instance::Slot;
    use crate::store::testing::store;

    #[tokio::test]
    async fn limits_are_kept_per_type_and_restart_that_type_alone() {
        let (store, _dir) = store().await;
        let app = store.create_app(&"blog".parse().unwrap(), Moment::default()).await.unwrap().id;
        let (web, worker): (ProcessType, ProcessType) = ("web".parse().unwrap(), "worker".parse().unwrap());
        let limits = Limits { memory: Some("64M".parse().unwrap()), cpu: Some("0.5".parse().unwrap()) };
        store.set_limits(app, &web, limits).await.unwrap();
        assert_eq!(store.limits(app).await.unwrap(), BTreeMap::from([(web.clone(), limits)]));
        let formation = BTreeMap::from([(web.clone(), 1), (worker.clone(), 1)]);
        let epochs = store.epochs(app, &formation).await.unwrap();
        let epoch = |process: &ProcessType| epochs[&Slot { process: process.clone(), index: 1 }];
        assert_eq!((epoch(&web), epoch(&worker)), (1, 0));
        store.set_limits(app, &web, Limits::default()).await.unwrap();
        assert_eq!(store.limits(app).await.unwrap()[&web].memory(), Memory::DEFAULT);
    }

    #[tokio::test]
    async fn a_health_check_is_read_back_as_it_was_set() {
        let (store, _dir) = store().await;
        let app = store.create_app(&"blog".parse().unwrap(), Moment::default()).await.unwrap().id;
        assert_eq!(store.health(app).await.unwrap(), Health::default());
        let health = Health { path: Some("/up?x=1".parse().unwrap()), timeout: Some("90s".parse().unwrap()) };
        store.set_health(app, &health).await.unwrap();
        assert_eq!(store.health(app).await.unwrap(), health);
        store.set_health(app, &Health::default()).await.unwrap();
        assert_eq!(store.health(app).await.unwrap(), Health::default());
    }
}
