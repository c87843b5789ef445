//! Migrations: run at every start; checked first, on a copy, when a newer program is to take over from a running one.
//!
//! They only ever add (a check of the repository sees to it), so that the program before works on with what the next one
//! has added: while both run, when the next one does not come up, and when the old program is started again.
use super::{StoreError, Trouble};
use crate::files::remove_if_there;
use anyhow::{Context, bail};
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{ConnectOptions, Connection as _, SqliteConnection, SqlitePool};
use std::path::Path;

/// Whether the database may know migrations that this program does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Newer {
    IsFine,
    IsRefused,
}

fn migrator(newer: Newer) -> Migrator {
    let mut migrator = sqlx::migrate!("../migrations");
    migrator.set_ignore_missing(newer == Newer::IsFine);
    migrator
}

pub(super) async fn migrate(pool: &SqlitePool, file: &Path) -> anyhow::Result<()> {
    migrator(Newer::IsFine)
        .run(pool)
        .await
        .map_err(|error| match Trouble::within(&error) {
            Some(trouble) => anyhow::Error::new(error).context(trouble.to_string()),
            None => error.into(),
        })
        .with_context(|| format!("bring the database {} up to date", file.display()))
}

/// Whether this program may take over a database: it knows all its migrations, unchanged. Gives how many it would add.
/// Nothing is written.
pub async fn check(file: &Path) -> anyhow::Result<usize> {
    let options = SqliteConnectOptions::new().filename(file).read_only(true);
    let mut connection = options.connect().await.map_err(StoreError::from).context("open the database")?;
    let applied: Vec<(i64, Vec<u8>)> =
        sqlx::query_as("SELECT version, checksum FROM _sqlx_migrations WHERE success ORDER BY version")
            .fetch_all(&mut connection)
            .await
            .map_err(StoreError::from)
            .context("read which migrations it has")?;
    connection.close().await?;
    let migrator = migrator(Newer::IsRefused);
    for (version, checksum) in &applied {
        let Some(known) = migrator.iter().find(|migration| migration.version == *version) else {
            bail!("the database has migration {version}, which this program does not know: it is older");
        };
        if *known.checksum != **checksum {
            bail!("migration {version} is another one in the database than in this program");
        }
    }
    Ok(migrator.iter().count() - applied.len())
}

/// Runs the migrations that are missing on a copy beside the database, which is removed again.
pub async fn rehearse(file: &Path) -> anyhow::Result<()> {
    let missing = check(file).await?;
    if missing == 0 {
        return Ok(());
    }
    let copy = file.with_extension("rehearsal");
    remove_if_there(&copy)?;
    let rehearsed = rehearse_on(file, &copy).await;
    remove_if_there(&copy)?;
    rehearsed.with_context(|| format!("rehearse {missing} migrations on a copy of the database"))
}

async fn rehearse_on(file: &Path, copy: &Path) -> anyhow::Result<()> {
    let mut source = SqliteConnectOptions::new().filename(file).connect().await?;
    sqlx::query("VACUUM INTO ?").bind(copy.to_string_lossy().into_owned()).execute(&mut source).await?;
    source.close().await?;
    // Without a log file beside it: what is removed is one file.
    let options = SqliteConnectOptions::new().filename(copy).journal_mode(SqliteJournalMode::Memory).foreign_keys(true);
    let mut connection: SqliteConnection = options.connect().await?;
    migrator(Newer::IsRefused).run(&mut connection).await?;
    let verdict: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&mut connection).await?;
    connection.close().await?;
    if verdict != "ok" {
        bail!("the migrated copy is damaged: {verdict}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Store, testing};

    async fn write(store: &Store, sql: &'static str) {
        sqlx::query(sql).execute(&store.pool).await.unwrap();
    }

    #[tokio::test]
    async fn an_older_or_another_program_may_not_take_over_but_an_older_one_starts() {
        let (store, dir) = testing::store().await;
        let file = dir.path().join("paas.db");
        assert_eq!(check(&file).await.unwrap(), 0);
        write(
            &store,
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (9000, 'of the future', 1, x'00', 0)",
        )
        .await;
        assert!(check(&file).await.unwrap_err().to_string().contains("migration 9000"));
        migrate(&store.pool, &file).await.unwrap();
        write(&store, "DELETE FROM _sqlx_migrations WHERE version = 9000").await;
        write(&store, "UPDATE _sqlx_migrations SET checksum = x'00' WHERE version = 1").await;
        assert!(check(&file).await.unwrap_err().to_string().contains("migration 1 is another one"));
    }

    #[tokio::test]
    async fn a_rehearsal_leaves_the_database_as_it_is() {
        let (store, dir) = testing::store().await;
        let file = dir.path().join("paas.db");
        let tables = || async {
            let names: Vec<String> =
                sqlx::query_scalar("SELECT name FROM sqlite_master").fetch_all(&store.pool).await.unwrap();
            names
        };
        write(&store, "DELETE FROM _sqlx_migrations WHERE description = 'lease'").await;
        assert!(rehearse(&file).await.is_err(), "its table is there already");
        write(&store, "DROP TABLE lease").await;
        let before = tables().await;
        rehearse(&file).await.unwrap();
        assert_eq!(tables().await, before);
        assert!(!dir.path().join("paas.rehearsal").exists());
    }
}
