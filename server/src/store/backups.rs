//! Attempts at backups of the platform.
use super::{Result, Store, narrow};
use crate::domain::Moment;

/// Attempts remembered; the oldest go first.
const ROWS_MAX: i64 = 50;

/// One attempt.
#[derive(Clone, Debug)]
pub struct BackupRow {
    pub name: String,
    pub made_at: Moment,
    pub made_by: String,
    pub nightly: bool,
    pub cipher: String,
    pub size_bytes: Option<u64>,
    pub sha256: Option<String>,
    pub verified_at: Option<Moment>,
    pub failure: Option<String>,
}

impl Store {
    /// Writes a copy of the whole database, as it is at one moment, while others go on writing.
    pub async fn copy_to(&self, file: &std::path::Path) -> Result<()> {
        let file = file.to_string_lossy().into_owned();
        sqlx::query("VACUUM INTO ?").bind(file).execute(&self.pool).await?;
        Ok(())
    }

    /// An attempt counts as failed until it is ended: a server that dies meanwhile leaves it so.
    pub async fn begin_backup(&self, name: &str, now: Moment, by: &str, nightly: bool, cipher: &str) -> Result<()> {
        let at = now.unix_ms();
        sqlx::query!(
            "INSERT INTO backups (name, made_at, made_by, nightly, cipher, failure) VALUES (?, ?, ?, ?, ?, 'interrupted')
             ON CONFLICT (name) DO NOTHING",
            name,
            at,
            by,
            nightly,
            cipher
        )
        .execute(&self.pool)
        .await?;
        sqlx::query!(
            "DELETE FROM backups WHERE name NOT IN (SELECT name FROM backups ORDER BY made_at DESC LIMIT ?)",
            ROWS_MAX
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// It was read back and is whole.
    pub async fn end_backup(&self, name: &str, size_bytes: u64, sha256: &str, now: Moment) -> Result<()> {
        let (at, size) = (now.unix_ms(), i64::try_from(size_bytes).unwrap_or(i64::MAX));
        sqlx::query!(
            "UPDATE backups SET failure = NULL, size_bytes = ?, sha256 = ?, verified_at = ? WHERE name = ?",
            size,
            sha256,
            at,
            name
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    pub async fn fail_backup(&self, name: &str, failure: &str) -> Result<()> {
        sqlx::query!("UPDATE backups SET failure = ? WHERE name = ?", failure, name).execute(&self.pool).await?;
        Ok(())
    }

    pub async fn note_verified(&self, name: &str, now: Moment) -> Result<()> {
        let at = now.unix_ms();
        sqlx::query!("UPDATE backups SET verified_at = ? WHERE name = ?", at, name).execute(&self.pool).await?;
        Ok(())
    }

    /// Newest first.
    pub async fn backups(&self) -> Result<Vec<BackupRow>> {
        let rows = sqlx::query!(
            r#"SELECT name AS "name!", made_at, made_by, nightly AS "nightly: bool", cipher, size_bytes, sha256, verified_at, failure
               FROM backups ORDER BY made_at DESC"#
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|found| {
                Ok(BackupRow {
                    name: found.name,
                    made_at: Moment::from_unix_ms(found.made_at),
                    made_by: found.made_by,
                    nightly: found.nightly,
                    cipher: found.cipher,
                    size_bytes: found.size_bytes.map(|size| narrow(size, "backups.size_bytes")).transpose()?,
                    sha256: found.sha256,
                    verified_at: found.verified_at.map(Moment::from_unix_ms),
                    failure: found.failure,
                })
            })
            .collect()
    }

    /// Prepares a restored database for its first start: routes of another time mean nothing.
    pub async fn forget_routes(&self) -> Result<()> {
        sqlx::query!("DELETE FROM published_routes").execute(&self.pool).await?;
        Ok(())
    }
}
