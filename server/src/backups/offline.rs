//! `paas backups:restore FILE` and `paas backups:verify ./FILE`: run by themselves on the host, without a server. Whoever
//! may write the data folder may restore into it.
use super::cipher::{Opener, read_identity, read_passphrase};
use super::restore::{Order, Outcome, restore};
use super::verify;
use anyhow::Context;
use clap::Parser;
use std::fmt::Write;
use std::path::{Path, PathBuf};

#[derive(Parser)]
#[command(name = "paas", disable_help_subcommand = true)]
enum Line {
    /// Put a backup in place of this machine's state, while no server runs
    #[command(name = "backups:restore")]
    Restore {
        /// The backup
        file: PathBuf,
        #[command(flatten)]
        keys: Keys,
        /// File with the sealing key (keys/seal.key), for a backup that was not encrypted
        #[arg(long, value_name = "FILE")]
        seal_key: Option<PathBuf>,
        /// Move apps that are here aside
        #[arg(long)]
        replace: bool,
        /// Container engine, where volumes are made [default: unix:///var/run/docker.sock]
        #[arg(long, env = "PAAS_DOCKER_HOST", value_name = "unix://SOCKET")]
        docker_host: Option<String>,
    },
    /// Read a backup back to its end
    #[command(name = "backups:verify")]
    Verify {
        /// The backup, written with a slash (./backup.tar.gz.age)
        file: PathBuf,
        #[command(flatten)]
        keys: Keys,
        /// File with the sealing key (keys/seal.key), for a backup that was not encrypted
        #[arg(long, value_name = "FILE")]
        seal_key: Option<PathBuf>,
    },
}

#[derive(clap::Args)]
struct Keys {
    /// File whose first line is the passphrase
    #[arg(long, value_name = "FILE", conflicts_with = "identity")]
    passphrase_file: Option<PathBuf>,
    /// File with the private key: age's (AGE-SECRET-KEY-1…) or an SSH key without a passphrase
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
}

impl Keys {
    fn opener(&self) -> anyhow::Result<Opener> {
        match (&self.passphrase_file, &self.identity) {
            (Some(file), _) => Ok(Opener::Passphrase(read_passphrase(file)?)),
            (None, Some(file)) => read_identity(file),
            (None, None) => Ok(Opener::Nothing),
        }
    }
}

/// Whether these words are for this file and not for the server.
pub fn takes(words: &[String]) -> bool {
    let words = joined(words);
    match words.first().map(String::as_str) {
        Some("backups:restore") => true,
        // A name is one of the server's own backups, a path is a file.
        Some("backups:verify") => words[1..].iter().any(|word| !word.starts_with('-') && word.contains('/')),
        Some(_) | None => false,
    }
}

fn joined(words: &[String]) -> Vec<String> {
    match words {
        [topic, verb, rest @ ..] if topic == "backups" && (verb == "restore" || verb == "verify") => {
            std::iter::once(format!("{topic}:{verb}")).chain(rest.iter().cloned()).collect()
        }
        words => words.to_vec(),
    }
}

/// Runs the command; what to say, and the exit code.
pub async fn run(words: &[String], data_dir: &Path) -> (String, u8) {
    let line = match Line::try_parse_from(std::iter::once("paas".to_owned()).chain(joined(words))) {
        Ok(line) => line,
        Err(error) => return (error.render().to_string(), if error.use_stderr() { 2 } else { 0 }),
    };
    let (name, done) = match line {
        Line::Restore { file, keys, seal_key, replace, docker_host } => {
            let order =
                |opener| Order { backup: file, data_dir: data_dir.to_owned(), opener, seal_key, replace, docker_host };
            ("backups:restore", restore_file(&keys, order).await)
        }
        Line::Verify { file, keys, seal_key } => ("backups:verify", verify_file(&file, &keys, seal_key).await),
    };
    match done {
        Ok(text) => (text, 0),
        Err(error) => (format!("paas: {name}: {error:#}\n"), 1),
    }
}

async fn restore_file(keys: &Keys, order: impl FnOnce(Opener) -> Order) -> anyhow::Result<String> {
    let mut order = order(keys.opener()?);
    order.data_dir = std::path::absolute(&order.data_dir).context("find the data folder")?;
    let (data_dir, shown) = (order.data_dir.clone(), order.backup.display().to_string());
    let restored = match restore(order).await? {
        Outcome::Finished => {
            return Ok(format!("finished the interrupted restore into {}; start the server\n", data_dir.display()));
        }
        Outcome::Restored(restored) => restored,
    };
    let mut text = format!(
        "restored {} apps from {shown}, made at {}, into {}\n",
        restored.apps,
        restored.made_at,
        data_dir.display()
    );
    if let Some(aside) = restored.moved_aside {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "what was there before is in {}; remove it when all is well", aside.display());
    }
    text += "start the server: it builds what was live again, from the restored commits\n";
    Ok(text)
}

async fn verify_file(backup: &Path, keys: &Keys, seal_key: Option<PathBuf>) -> anyhow::Result<String> {
    let report = verify::elsewhere(backup, keys.opener()?, seal_key.as_deref()).await?;
    Ok(format!("{} is whole: {}\n", backup.display(), report.sentence()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_restores_and_files_are_taken_from_the_server() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        for line in
            ["backups:restore x", "backups restore --help", "backups verify ./x", "backups:verify /a/b --identity k"]
        {
            assert!(takes(&words(line)), "{line}");
        }
        for line in ["backups", "backups:create", "backups:verify paas-20261124T031000Z.tar.gz", "apps", "restore x"] {
            assert!(!takes(&words(line)), "{line}");
        }
    }
}
