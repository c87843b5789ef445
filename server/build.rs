//! Makes a freshly migrated database, so that every `query!` is proven against the real schema when it compiles.
#![expect(clippy::disallowed_methods, reason = "a build script is told where to write by its environment")]
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{ConnectOptions, Connection};
use std::path::PathBuf;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=../migrations");
    println!("cargo:rerun-if-changed=../web/templates");
    let database = PathBuf::from(std::env::var("OUT_DIR")?).join("schema.db");
    if database.exists() {
        std::fs::remove_file(&database)?;
    }
    let mut connection = SqliteConnectOptions::new()
        .filename(&database)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Off)
        .connect()
        .await?;
    sqlx::migrate::Migrator::new(std::path::Path::new("../migrations")).await?.run(&mut connection).await?;
    connection.close().await?;
    println!("cargo:rustc-env=DATABASE_URL=sqlite://{}", database.display());
    Ok(())
}
