//! SQLite: the only SQL, one file per table family; rows become domain types here.
//!
//! Every write that others may wait for bumps [`Store::changes`]; it carries no data, who hears it asks again.

mod acme;
mod apps;
mod audit;
mod backups;
mod build_caches;
mod build_reads;
mod build_root;
mod buildpacks;
mod builds;
mod certificates;
mod config_vars;
mod cron;
mod destroying;
mod images;
mod keys;
mod lease;
mod names;
mod postdeploys;
mod protocols;
mod releases;
mod router;
mod routes;
pub mod schema;
mod seal;
mod sessions;
mod settings;
mod tls_policies;
mod trouble;
mod volumes;

pub use acme::AcmeAccount;
pub use backups::BackupRow;
pub use config_vars::{ConfigChange, Rest};
pub use cron::{Claim, CronTable};
pub use names::Domain;
pub use postdeploys::Postdeploy;
pub use releases::{NewRelease, NewReleaseError};
pub use seal::SealKey;
pub use trouble::Trouble;

use crate::domain::hex::hex;
use crate::domain::{InstallationId, Moment};
use anyhow::Context;
use rustix::fs::{Access, access};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection as _, SqliteConnection, SqlitePool};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long a query waits for another writer before it gives up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECTIONS_MAX: u32 = 4;

#[derive(Clone)]
pub struct Store {
    pool: SqlitePool,
    seal: Arc<SealKey>,
    changed: watch::Sender<u64>,
    certificates_changed: watch::Sender<u64>,
    /// What the pool is made of, and made of again once the lease is taken.
    options: SqliteConnectOptions,
}

/// What can go wrong with a question to the store that is the asker's matter.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{what} `{name}` is taken")]
    Taken { what: &'static str, name: String },
    #[error("no such {what}: {name}")]
    Missing { what: &'static str, name: String },
    #[error("`{name}` was the name of {of}, which still answers to it")]
    FormerName { name: String, of: String },
    #[error("{app} has {max} {what} already, which is the most")]
    TooMany { what: &'static str, app: String, max: i64 },
    /// Nothing is made or changed any more.
    #[error("{app} is being destroyed; its name is free again when that is done")]
    Destroying { app: String },
    #[error("this server was replaced by a newer one meanwhile; do it again")]
    Replaced,
    #[error("{trouble}")]
    Troubled {
        trouble: Trouble,
        #[source]
        source: sqlx::Error,
    },
    #[error(transparent)]
    Database(sqlx::Error),
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

pub type Result<T> = std::result::Result<T, StoreError>;

impl Store {
    /// Opens `data_dir/paas.db`, makes it if need be, and brings its schema up to date.
    pub async fn open(file: &Path, seal: SealKey) -> anyhow::Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // An acknowledged push survives a power cut: WAL with FULL syncs every commit.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let pool = pool(options.clone(), None)
            .await
            .map_err(StoreError::from)
            .with_context(|| format!("open the database {}", file.display()))?;
        schema::migrate(&pool, file).await?;
        let (changed, certificates_changed) = (watch::Sender::new(0), watch::Sender::new(0));
        Ok(Self { pool, seal: Arc::new(seal), changed, certificates_changed, options })
    }

    /// The id that everything of ours carries in the engine; made at the first start, from the system's randomness.
    pub async fn installation(&self, now: Moment) -> Result<InstallationId> {
        let fresh = random_hex(16)?;
        let now = now.unix_ms();
        sqlx::query!(
            "INSERT INTO installation (only_row, id, created_at) VALUES (1, ?, ?) ON CONFLICT DO NOTHING",
            fresh,
            now
        )
        .execute(&self.pool)
        .await?;
        let id = sqlx::query_scalar!("SELECT id FROM installation").fetch_one(&self.pool).await?;
        Ok(InstallationId::new(id))
    }

    /// Hears of every write to apps, builds and releases made after this call.
    pub fn changes(&self) -> watch::Receiver<u64> {
        let mut changes = self.changed.subscribe();
        changes.mark_unchanged();
        changes
    }

    /// Hears of every write to certificates made after this call.
    pub fn certificate_changes(&self) -> watch::Receiver<u64> {
        self.certificates_changed.subscribe()
    }

    /// SQLite's own check of the file; `None` when it is sound.
    pub async fn integrity_complaint(&self) -> Result<Option<String>> {
        let verdict: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&self.pool).await?;
        Ok((verdict != "ok").then_some(verdict))
    }

    /// The same with the way out.
    pub async fn damage(&self) -> Result<Option<String>> {
        let complaint = self.integrity_complaint().await?;
        Ok(complaint.map(|complaint| format!("{}: {complaint}", trouble::Trouble::Damaged)))
    }

    /// Ends all connections, after which the file is complete by itself.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    fn announce_certificates(&self) {
        self.certificates_changed.send_modify(|count| *count = count.wrapping_add(1));
        self.announce();
    }

    fn announce(&self) {
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// SQLite opens a file that cannot be written for reading alone, without a word, and stays with that when it can be
/// written again. The mark is SQLite's own, and means the same to who writes.
async fn mark_read_only(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    sqlx::query("PRAGMA query_only = ON").execute(connection).await.map(drop)
}

/// Connections of a server that took the lease write only while it is theirs.
async fn pool(options: SqliteConnectOptions, generation: Option<i64>) -> sqlx::Result<SqlitePool> {
    let place = options.get_filename().to_owned();
    SqlitePoolOptions::new()
        .max_connections(CONNECTIONS_MAX)
        .after_connect(move |connection, _| {
            let is_writable = access(&place, Access::WRITE_OK).is_ok();
            Box::pin(async move {
                // Before the mark: a connection that only reads makes no trigger either.
                if let Some(generation) = generation {
                    lease::fence(connection, generation).await?;
                }
                if is_writable { Ok(()) } else { mark_read_only(connection).await }
            })
        })
        .after_release(|connection, _| Box::pin(async move { is_reusable(connection).await }))
        .connect_with(options)
        .await
}

/// SQLite ends a transaction by itself when its disk is full, which the connection's count of open transactions never
/// learns: such a connection would refuse every later transaction, and is closed instead. So is one that only reads.
async fn is_reusable(connection: &mut SqliteConnection) -> sqlx::Result<bool> {
    // Answered behind a rollback that may still be on its way.
    let only_reads: i64 = sqlx::query_scalar("PRAGMA query_only").fetch_one(&mut *connection).await?;
    Ok(only_reads == 0 && !connection.is_in_transaction())
}

/// `bytes` random bytes as hex digits; fails when the system has no randomness, never falls back (security rule R13).
pub(crate) fn random_hex(bytes: usize) -> anyhow::Result<String> {
    let mut raw = vec![0_u8; bytes];
    getrandom::fill(&mut raw).map_err(|error| anyhow::anyhow!("read the system's randomness: {error}"))?;
    Ok(hex(&raw))
}

fn is_unique_violation(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

/// Parses what a row holds; a row that does not parse is damage, and says where.
fn parsed<T>(text: &str, column: &'static str) -> anyhow::Result<T>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error| anyhow::anyhow!("database column {column} holds `{text}`: {error}"))
}

fn from_json<T: serde::de::DeserializeOwned>(text: &str, column: &'static str) -> anyhow::Result<T> {
    serde_json::from_str(text).with_context(|| format!("read the JSON of database column {column}"))
}

fn to_json<T: serde::Serialize>(value: &T) -> anyhow::Result<String> {
    serde_json::to_string(value).context("write a value as JSON")
}

/// A count or number out of a row; SQLite's integers are 64 bits wide and signed.
fn narrow<T: TryFrom<i64>>(value: i64, column: &'static str) -> anyhow::Result<T> {
    T::try_from(value).map_err(|_| anyhow::anyhow!("database column {column} holds {value}, which is out of range"))
}

#[cfg(test)]
pub(crate) mod testing {
    //! A real store in a temporary folder.
    use super::*;

    pub(crate) async fn store() -> (Store, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let seal = SealKey::load_or_make(&dir.path().join("seal.key")).unwrap();
        (Store::open(&dir.path().join("paas.db"), seal).await.unwrap(), dir)
    }
}
