//! Keeps a table of rules as it was set. The one place of the guard that starts a process: nft, by fixed argv.
use anyhow::{Context, bail};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

pub(super) struct Firewall {
    nft: PathBuf,
    kept: Option<Kept>,
}

/// What was set, and how nft shows it.
struct Kept {
    script: String,
    shown: String,
}

impl Firewall {
    pub(super) fn new(nft: PathBuf) -> Self {
        Self { nft, kept: None }
    }

    /// Sets the rules unless they stand already, exactly as they were set.
    pub(super) fn keep(&mut self, table: &str, script: &str) -> anyhow::Result<()> {
        let known = self.kept.as_ref().filter(|kept| kept.script == script);
        if let Some(known) = known
            && self.show(table).is_ok_and(|shown| shown == known.shown)
        {
            return Ok(());
        }
        let was_known = known.is_some();
        self.kept = None;
        self.nft(&["-f", "-"], script).context("set the firewall's rules")?;
        if was_known {
            tracing::warn!("somebody changed the firewall's rules of {table}: they are set again");
        }
        let shown = self.show(table).context("read the firewall's rules back")?;
        self.kept = Some(Kept { script: script.to_owned(), shown });
        Ok(())
    }

    /// No error when it is not there.
    pub(super) fn remove(&self, table: &str) -> anyhow::Result<()> {
        let script = format!("add table inet {table}\ndelete table inet {table}\n");
        self.nft(&["-f", "-"], &script).map(drop).context("remove the firewall's rules")
    }

    fn show(&self, table: &str) -> anyhow::Result<String> {
        self.nft(&["list", "table", "inet", table], "")
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the guard's one process: nft by fixed argv, in an emptied environment"
    )]
    fn nft(&self, words: &[&str], input: &str) -> anyhow::Result<String> {
        let program = self.nft.display();
        let mut child = Command::new(&self.nft)
            .args(words)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {program}: is the package nftables installed?"))?;
        if let Some(mut stdin) = child.stdin.take() {
            // It may have refused without reading; its own words say why.
            let _ = stdin.write_all(input.as_bytes());
        }
        let output = child.wait_with_output().with_context(|| format!("wait for {program}"))?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr);
            bail!("{program} refused: {}", words.lines().next().unwrap_or("without a word"));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
