//! The program that sets and takes back records in DNS: named in the server's configuration file and nowhere else.
//!
//! Called with `present NAME VALUE` or `cleanup NAME VALUE`. It is done when the record can be seen by the CA.
use crate::domain::acme::Acme;
use anyhow::{Context, bail};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStderr};

/// Records take their time to reach all of a zone's servers.
const PROGRAM_TIME_MAX: Duration = Duration::from_mins(2);
/// First bytes of its complaints that are kept.
const COMPLAINT_BYTES_MAX: u64 = 2048;

pub(super) struct DnsProgram {
    program: String,
    words: Vec<String>,
    time_max: Duration,
}

impl DnsProgram {
    /// The program that the configuration names, if it does.
    pub(super) fn of(acme: &Acme) -> Option<Self> {
        let (program, words) = acme.dns_program.as_deref()?.split_first()?;
        Some(Self { program: program.clone(), words: words.to_vec(), time_max: PROGRAM_TIME_MAX })
    }

    pub(super) async fn run(&self, verb: &str, name: &str, value: &str) -> anyhow::Result<()> {
        let program = &self.program;
        let mut child = self.spawn(verb, name, value).with_context(|| format!("acme_dns_program: start {program}"))?;
        let complaints = child.stderr.take();
        let (status, said) = match tokio::time::timeout(self.time_max, end(&mut child, complaints)).await {
            Ok(ended) => ended.with_context(|| format!("acme_dns_program: wait for {program}"))?,
            // Dropped, it is killed.
            Err(_elapsed) => bail!("acme_dns_program: `{program} {verb}` took longer than {:?}", self.time_max),
        };
        if !status.success() {
            bail!("acme_dns_program: `{program} {verb}` failed ({status}): {}", said.trim());
        }
        Ok(())
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the configuration file's program by argv, in an emptied environment"
    )]
    fn spawn(&self, verb: &str, name: &str, value: &str) -> std::io::Result<Child> {
        tokio::process::Command::new(&self.program)
            .args(&self.words)
            .args([verb, name, value])
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
    }
}

/// Its exit, and what it complained about.
async fn end(
    child: &mut Child,
    complaints: Option<ChildStderr>,
) -> std::io::Result<(std::process::ExitStatus, String)> {
    let mut said = Vec::new();
    if let Some(mut complaints) = complaints {
        (&mut complaints).take(COMPLAINT_BYTES_MAX).read_to_end(&mut said).await?;
        // The rest is read and thrown away: a full pipe would keep it waiting.
        tokio::io::copy(&mut complaints, &mut tokio::io::sink()).await?;
    }
    Ok((child.wait().await?, String::from_utf8_lossy(&said).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    fn script(dir: &Path, lines: &str) -> DnsProgram {
        let path = dir.join("dns");
        std::fs::write(&path, format!("#!/bin/sh\n{lines}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let out = dir.join("out").to_string_lossy().into_owned();
        DnsProgram { program: path.to_string_lossy().into_owned(), words: vec![out], time_max: Duration::from_secs(5) }
    }

    #[tokio::test]
    async fn it_gets_its_words_and_nothing_of_our_environment() {
        let dir = tempfile::tempdir().unwrap();
        let program =
            script(dir.path(), "out=$1; shift; { env | grep -v -e ^PATH= -e ^PWD= -e ^_=; echo \"$@\"; } > $out");
        program.run("present", "_acme-challenge.example.com", "a b;$(c)").await.unwrap();
        let said = std::fs::read_to_string(dir.path().join("out")).unwrap();
        let said: Vec<&str> =
            said.lines().filter(|line| !line.starts_with("SHLVL=") && !line.starts_with("OLDPWD")).collect();
        assert_eq!(said, ["present _acme-challenge.example.com a b;$(c)"]);
    }

    #[tokio::test]
    async fn its_complaint_is_passed_on_and_its_time_is_limited() {
        let dir = tempfile::tempdir().unwrap();
        let program = script(dir.path(), "echo no such zone >&2; exit 3");
        let said = program.run("present", "n", "v").await.unwrap_err().to_string();
        assert!(said.contains("no such zone") && said.contains("exit status: 3"), "{said}");
        let slow = DnsProgram { time_max: Duration::from_millis(100), ..script(dir.path(), "exec sleep 60") };
        let said = slow.run("present", "n", "v").await.unwrap_err().to_string();
        assert!(said.contains("took longer than 100ms"), "{said}");
        let missing = DnsProgram { program: "/nowhere/dns".to_owned(), ..script(dir.path(), "") };
        assert!(missing.run("present", "n", "v").await.unwrap_err().to_string().contains("/nowhere/dns"));
    }
}
