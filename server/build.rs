//! Makes a freshly migrated database, so that every `query!` is proven against the real schema when it compiles, and
//! packs the files of `web/static`, so that the program carries its pages' looks with it.
#![expect(clippy::disallowed_methods, reason = "a build script is told where to write by its environment")]
use flate2::{Compression, GzBuilder};
use sha2::{Digest, Sha256};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{ConnectOptions, Connection};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Files that pages name.
const STATIC: [&str; 5] = ["app.css", "app.js", "htmx.min.js", "icon.svg", "idiomorph-ext.min.js"];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=../migrations");
    println!("cargo:rerun-if-changed=../web/templates");
    println!("cargo:rerun-if-changed=../web/static");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    pack(&out)?;
    let database = out.join("schema.db");
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

/// Writes each file compressed, and a table of them: name, name with its content's hash, plain and compressed bytes.
fn pack(out: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::fs::canonicalize("../web/static")?;
    let mut table = String::from("[\n");
    for name in STATIC {
        let file = folder.join(name);
        let bytes = std::fs::read(&file)?;
        // Without a time or a name inside: the same file packs to the same bytes.
        let mut packer = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
        packer.write_all(&bytes)?;
        let packed = out.join(format!("{name}.gz"));
        std::fs::write(&packed, packer.finish()?)?;
        let hash: String = Sha256::digest(&bytes)[..6].iter().map(|byte| format!("{byte:02x}")).collect();
        let (stem, ending) = name.rsplit_once('.').ok_or("a file without an ending")?;
        writeln!(
            table,
            "Asset {{ name: {name:?}, path: \"/static/{stem}.{hash}.{ending}\", plain: include_bytes!({file:?}), packed: include_bytes!({packed:?}) }},"
        )?;
    }
    table.push(']');
    std::fs::write(out.join("assets.rs"), table)?;
    Ok(())
}
