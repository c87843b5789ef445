//! Our program as git's hooks: `git receive-pack` runs it under the names `pre-receive` and `proc-receive`, and it talks
//! to the server that started git over the hook socket. Everything here is blocking: a hook does one thing at a time.
//!
//! Standard error is what the pusher reads, line by line (`remote: …`); proc-receive's standard output is protocol.

mod pkt_line;
mod pre_receive;
mod proc_receive;

use super::frames::{FromHook, RefCommand, RefCommands, SOCKET_VARIABLE, TOKEN_VARIABLE, ToHook};
use super::limits::{FRAME_BYTES_MAX, REFS_MAX, REFS_TOLD_MAX};
use crate::domain::Oid;
use crate::logs::printable;
use anyhow::{Context, bail};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;

/// The hooks that git finds in `core.hooksPath`.
pub(super) const NAMES: [&str; 2] = ["pre-receive", "proc-receive"];

/// Whether the program was started by git under this name.
pub fn is_hook(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Runs a hook to its end and says which exit code git is to see.
pub fn run_hook(name: &str) -> u8 {
    let done = match name {
        "pre-receive" => pre_receive::run(),
        "proc-receive" => proc_receive::run(),
        other => Err(anyhow::anyhow!("there is no hook named {other}")),
    };
    match done {
        Ok(()) => 0,
        Err(error) => {
            tell_pusher(&format!(" !     {error:#}"));
            1
        }
    }
}

/// Writes one line to the pusher's terminal. One who does not read any more stops nothing: git ends the hook.
fn tell_pusher(line: &str) {
    let mut out = std::io::stderr().lock();
    let _ = out.write_all(format!("{}\n", printable(line)).as_bytes()).and_then(|()| out.flush());
}

/// Writes sentences in the shape of warnings.
fn warn_pusher(sentences: &[String]) {
    for sentence in sentences {
        tell_pusher(&format!(" !     {sentence}"));
    }
}

/// The server that runs this push.
struct Server {
    reader: BufReader<UnixStream>,
    token: String,
}

impl Server {
    fn connect() -> anyhow::Result<Self> {
        let (Some(socket), Some(token)) = (variable(SOCKET_VARIABLE), variable(TOKEN_VARIABLE)) else {
            bail!("this hook works only inside a push that a paas server has started");
        };
        let stream = UnixStream::connect(&socket).context("the server stopped; push again")?;
        Ok(Self { reader: BufReader::new(stream), token })
    }

    fn tell(&mut self, frame: &FromHook) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(frame)?;
        line.push(b'\n');
        self.reader.get_mut().write_all(&line).context("the server stopped; push again")
    }

    fn hear(&mut self) -> anyhow::Result<ToHook> {
        let mut line = Vec::new();
        (&mut self.reader)
            .take(FRAME_BYTES_MAX as u64)
            .read_until(b'\n', &mut line)
            .context("the server stopped; push again")?;
        if line.last() != Some(&b'\n') {
            bail!("the server stopped; push again");
        }
        match serde_json::from_slice(&line).context("read what the server says to its hook")? {
            ToHook::Sorry { reason } => bail!(reason),
            frame @ (ToHook::Inspect { .. } | ToHook::Noted { .. } | ToHook::Line { .. } | ToHook::Answers { .. }) => {
                Ok(frame)
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a hook is told by its environment which push it belongs to")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Reads `old new ref`, the form in which both hooks are told of a ref.
fn ref_command(line: &[u8]) -> anyhow::Result<RefCommand> {
    let mut fields = line.splitn(3, |byte| *byte == b' ');
    let mut oid = || -> anyhow::Result<Oid> {
        let field = fields.next().context("git's list of refs is cut off")?;
        std::str::from_utf8(field)?.parse().map_err(anyhow::Error::msg)
    };
    let (old, new) = (oid()?, oid()?);
    let name = fields.next().context("git's list of refs is cut off")?;
    // No rule lets a name of more than a few hundred bytes pass; how it goes on does not matter.
    let name = &name[..name.len().min(1000)];
    Ok(RefCommand { old, new, reference: String::from_utf8_lossy(name).into_owned() })
}

/// What the server is told about the refs.
fn told(lines: &[Vec<u8>]) -> anyhow::Result<RefCommands> {
    if lines.len() > REFS_MAX {
        bail!("this push names {} refs, more than {REFS_MAX}; push one branch", lines.len());
    }
    let told = lines.iter().take(REFS_TOLD_MAX).map(|line| ref_command(line)).collect::<anyhow::Result<_>>()?;
    Ok(RefCommands { told, count: lines.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refs_are_read_as_git_writes_them() {
        let line = format!("{} {} refs/heads/a b", "0".repeat(40), "1".repeat(40));
        let command = ref_command(line.as_bytes()).unwrap();
        assert!(command.old.is_zero());
        assert_eq!(command.reference, "refs/heads/a b");
        assert!(ref_command(b"1 2 x").is_err());
        assert!(ref_command("0".repeat(40).as_bytes()).is_err());
    }

    #[test]
    fn of_many_refs_the_server_hears_a_part_and_the_number() {
        let line = format!("{0} {0} refs/tags/x", "1".repeat(40)).into_bytes();
        let commands = told(&vec![line.clone(); 1000]).unwrap();
        assert_eq!((commands.told.len(), commands.count), (REFS_TOLD_MAX, 1000));
        assert!(serde_json::to_vec(&commands).unwrap().len() < FRAME_BYTES_MAX);
        assert!(told(&vec![line; REFS_MAX + 1]).is_err());
    }
}
