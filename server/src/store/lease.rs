//! The single writer: whoever takes the lease is in charge, and the connections of everybody before write no more.
//!
//! The fence is in the database's own hands: each connection of a store that took the lease has triggers that compare its
//! number with the row. So a server that was replaced cannot write whatever it still believes. The audit log is open to
//! both: what goes on in the old one is to be recorded, and rows are only ever added there.
use super::{Result, Store, StoreError, narrow};
use crate::domain::Moment;
use sqlx::{AssertSqlSafe, SqliteConnection};
use std::fmt::Write;

/// What a fenced write is refused with; [`is_fenced`] knows it again.
const FENCED: &str = "another generation is in charge";
/// Tables that are no generation's own.
const OPEN: [&str; 3] = ["lease", "audit_log", "_sqlx_migrations"];

impl Store {
    /// Takes the lease, and gives the store that writes under it, with its number. Whoever is to take it is known by the
    /// lock of the data folder.
    pub async fn take_the_lease(self, process: u32, version: &str, now: Moment) -> Result<(Self, u64)> {
        let (process, at) = (i64::from(process), now.unix_ms());
        let generation = sqlx::query_scalar!(
            r#"INSERT INTO lease (only_row, generation, process, version, taken_at) VALUES (1, 1, ?1, ?2, ?3)
               ON CONFLICT (only_row) DO UPDATE
                   SET generation = generation + 1, process = ?1, version = ?2, taken_at = ?3
               RETURNING generation AS "generation!""#,
            process,
            version,
            at
        )
        .fetch_one(&self.pool)
        .await?;
        self.write_as(generation).await
    }

    /// The number of before once more: for a start that finds no room to write the next one. Who had it is known to be gone by
    /// the lock of the data folder.
    pub async fn resume_the_lease(self) -> Result<(Self, u64)> {
        let generation = sqlx::query_scalar!("SELECT generation FROM lease").fetch_one(&self.pool).await?;
        self.write_as(generation).await
    }

    async fn write_as(self, generation: i64) -> Result<(Self, u64)> {
        let Self { pool, seal, changed, certificates_changed, options } = self;
        // What still goes on in it would not be fenced.
        pool.close().await;
        let pool = super::pool(options.clone(), Some(generation)).await?;
        let store = Self { pool, seal, changed, certificates_changed, options };
        Ok((store, narrow(generation, "lease.generation")?))
    }

    /// Whether nothing is under way that one server begins and has to end itself: builds, rollouts, destructions.
    pub async fn is_settled(&self) -> Result<bool> {
        let count = sqlx::query_scalar!(
            r#"SELECT (SELECT COUNT(*) FROM builds WHERE word IN ('queued', 'running'))
                    + (SELECT COUNT(*) FROM releases WHERE word = 'starting')
                    + (SELECT COUNT(*) FROM apps WHERE destroying = 1) AS "count!: i64""#
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(count == 0)
    }
}

/// Keeps this connection from writing as soon as another generation than its own is in charge.
pub(super) async fn fence(connection: &mut SqliteConnection, generation: i64) -> sqlx::Result<()> {
    let tables: Vec<String> =
        sqlx::query_scalar("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
            .fetch_all(&mut *connection)
            .await?;
    let mut triggers = String::new();
    for table in tables.iter().filter(|table| !OPEN.contains(&table.as_str())) {
        for change in ["INSERT", "UPDATE", "DELETE"] {
            // Writing to a String cannot fail. Names of tables are those of our own migrations.
            let _ = write!(
                triggers,
                "CREATE TEMP TRIGGER IF NOT EXISTS \"fence_{table}_{change}\" BEFORE {change} ON main.\"{table}\"
                 WHEN (SELECT generation FROM main.lease) IS NOT {generation}
                 BEGIN SELECT RAISE(ABORT, '{FENCED}'); END;"
            );
        }
    }
    sqlx::raw_sql(AssertSqlSafe(triggers)).execute(connection).await?;
    Ok(())
}

pub(super) fn is_fenced(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.message() == FENCED)
}

impl StoreError {
    /// Whether another server is in charge now.
    pub fn is_fenced(&self) -> bool {
        matches!(self, Self::Replaced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{AppName, Maintenance, Pusher};
    use crate::store::SealKey;

    async fn open(dir: &tempfile::TempDir) -> Store {
        let seal = SealKey::load_or_make(&dir.path().join("seal.key")).unwrap();
        Store::open(&dir.path().join("paas.db"), seal).await.unwrap()
    }

    #[tokio::test]
    async fn whoever_took_the_lease_writes_and_nobody_before() {
        let dir = tempfile::tempdir().unwrap();
        let name = |name: &str| name.parse::<AppName>().unwrap();
        let now = Moment::default();
        let (old, first) = open(&dir).await.take_the_lease(1, "0.1.0", now).await.unwrap();
        let app = old.create_app(&name("blog"), now).await.unwrap();
        let (new, second) = open(&dir).await.take_the_lease(2, "0.2.0", now).await.unwrap();
        assert_eq!((first, second), (1, 2));
        // An insert, an update and a delete of the old one, over every connection that it may have.
        for _ in 0..8 {
            assert!(old.create_app(&name("shop"), now).await.unwrap_err().is_fenced());
            assert!(old.set_maintenance(app.id, Maintenance::On).await.unwrap_err().is_fenced());
            assert!(old.remove_key("nobody").await.is_err());
        }
        assert!(old.save_routes("boot", &crate::domain::route::RouteTable::default()).await.unwrap_err().is_fenced());
        assert_eq!(old.apps().await.unwrap().len(), 1, "it still reads");
        old.record(now, &Pusher::Host { uid: 0 }, None, "run", "done").await.unwrap();
        new.create_app(&name("shop"), now).await.unwrap();
        new.set_maintenance(app.id, Maintenance::On).await.unwrap();
        assert_eq!(old.apps().await.unwrap().len(), 2);
        let (next, third) = open(&dir).await.resume_the_lease().await.unwrap();
        assert_eq!(third, second);
        next.create_app(&name("wiki"), now).await.unwrap();
        assert!(old.create_app(&name("forum"), now).await.unwrap_err().is_fenced());
    }

    #[tokio::test]
    async fn an_app_that_starts_holds_a_hand_over_up() {
        let (store, _dir) = crate::store::testing::store().await;
        assert!(store.is_settled().await.unwrap());
        let app = store.create_app(&"blog".parse().unwrap(), Moment::default()).await.unwrap();
        store.begin_destroying(app.id).await.unwrap();
        assert!(!store.is_settled().await.unwrap());
    }
}
