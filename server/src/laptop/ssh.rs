//! The one place on a laptop that starts processes: the system's `ssh`, and what opens a page, by argv.
use super::remote::Remote;
use anyhow::Context;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};

/// The exit code of a program that a signal ended is the signal's number and this.
const BY_SIGNAL: i32 = 128;

/// Runs a line on the remote's server, with our own standard streams, and gives its exit code; ssh's own trouble is 255.
pub(super) fn run(remote: &Remote, line: &str, terminal: bool) -> anyhow::Result<u8> {
    let status = command(remote, line, terminal).status().with_context(not_started)?;
    Ok(code(status))
}

/// The same, for a line whose output is to be looked at.
pub(super) fn read(remote: &Remote, line: &str) -> anyhow::Result<(u8, Vec<u8>)> {
    let output = command(remote, line, false).stderr(Stdio::inherit()).output().with_context(not_started)?;
    Ok((code(output.status), output.stdout))
}

fn not_started() -> &'static str {
    "cannot start `ssh`; install OpenSSH's client"
}

#[expect(clippy::disallowed_methods, reason = "this file is the one place on a laptop that starts processes")]
fn command(remote: &Remote, line: &str, terminal: bool) -> Command {
    let mut command = Command::new("ssh");
    command.arg(if terminal { "-t" } else { "-T" });
    if let Some(port) = remote.port {
        command.arg("-p").arg(port.to_string());
    }
    // Behind this nothing is an option, and the line is one word: no shell of ours ever reads it.
    command.arg("--").arg(remote.login()).arg(line);
    command
}

/// Starts the first of these programs that there is, with one argument; `false`: there is none.
#[expect(clippy::disallowed_methods, reason = "this file is the one place on a laptop that starts processes")]
pub(super) fn start_first(programs: &[&str], argument: &str) -> bool {
    programs.iter().any(|program| {
        let mut command = Command::new(program);
        command.arg(argument).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().is_ok()
    })
}

fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| BY_SIGNAL + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}
