//! The old one's end of a hand-over: starts the next generation, and hears how far it is.
//!
//! The child's standard input is one end of a socket pair, and everything else passes over it: so no descriptor of ours
//! ever has to be open for a moment to whatever else this process starts.
use super::Serving;
use super::letters::{FromSuccessor, Reader, ToSuccessor, Writer, letters};
use anyhow::{Context, bail};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::fs::File;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use tokio::process::{Child, Command};

/// Descriptors that pass: the lock and the listeners.
pub(super) const DESCRIPTORS_MAX: usize = 9;

/// What the next generation is given.
pub struct Bequest<'a> {
    /// `None` once it was let go of.
    pub lock: Option<&'a File>,
    pub listeners: &'a [(String, TcpListener)],
    /// The path that the server is started by.
    pub program: &'a Path,
    /// The words behind `paas server`.
    pub words: &'a [String],
}

/// The next generation, on its way to be in charge.
pub struct Successor {
    child: Child,
    from: Reader,
    to: Writer,
}

impl Successor {
    /// Starts `program`, usually the one of the bequest.
    #[expect(clippy::disallowed_methods, reason = "one of the few places that start a process: the next generation")]
    pub fn start(program: &Path, bequest: &Bequest<'_>) -> anyhow::Result<Self> {
        let (ours, theirs) = UnixStream::pair().context("make a socket pair")?;
        let child = Command::new(program)
            .arg("server")
            .args(bequest.words)
            .arg("--take-over")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        send_hello(&ours, bequest).context("pass the listeners on")?;
        ours.set_nonblocking(true)?;
        let (from, to) = letters(tokio::net::UnixStream::from_std(ours)?);
        Ok(Self { child, from, to })
    }

    /// Waits until it is prepared; gives its version.
    pub async fn prepared(&mut self) -> anyhow::Result<String> {
        match self.hear().await? {
            FromSuccessor::Prepared { version } => Ok(version),
            FromSuccessor::Failed { why } => bail!(why),
            FromSuccessor::Serving(_) => bail!("it went ahead without being told to"),
        }
    }

    /// Puts it in charge.
    pub async fn go(&mut self) -> anyhow::Result<()> {
        self.to.write(&ToSuccessor::Go).await
    }

    /// Waits until it accepts.
    pub async fn serving(&mut self) -> anyhow::Result<Serving> {
        match self.hear().await? {
            FromSuccessor::Serving(serving) => Ok(serving),
            FromSuccessor::Failed { why } => bail!(why),
            FromSuccessor::Prepared { .. } => bail!("it said twice that it is prepared"),
        }
    }

    /// Ends it, and returns when it has ended.
    pub async fn end(mut self) {
        if let Err(error) = self.child.kill().await {
            tracing::warn!("cannot end the next generation: {error}");
        }
    }

    /// Waits until it has ended, for the system to forget it.
    pub async fn ended(mut self) {
        match self.child.wait().await {
            Ok(status) => tracing::warn!("the server that took over has ended: {status}"),
            Err(error) => tracing::warn!("cannot look after the server that took over: {error}"),
        }
    }

    async fn hear(&mut self) -> anyhow::Result<FromSuccessor> {
        let heard = tokio::select! {
            biased;
            heard = self.from.read() => heard?,
            // Something that it started may hold its end open.
            status = self.child.wait() => bail!("it ended at once: {}", status?),
        };
        match heard {
            Some(letter) => Ok(letter),
            None => bail!("it ended at once: {}", self.child.wait().await?),
        }
    }
}

pub(super) fn send_hello(to: &UnixStream, bequest: &Bequest<'_>) -> anyhow::Result<()> {
    let names: Vec<String> = bequest.listeners.iter().map(|(name, _)| name.clone()).collect();
    let hello = ToSuccessor::Hello { listeners: names, program: bequest.program.to_owned() };
    let mut line = serde_json::to_vec(&hello)?;
    line.push(b'\n');
    let mut descriptors: Vec<BorrowedFd<'_>> = vec![bequest.lock.context("the lock is not held any more")?.as_fd()];
    descriptors.extend(bequest.listeners.iter().map(|(_, listener)| listener.as_fd()));
    if descriptors.len() > DESCRIPTORS_MAX {
        bail!("{} descriptors are more than the {DESCRIPTORS_MAX} that pass at once", descriptors.len());
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        bail!("the descriptors do not fit");
    }
    let sent = sendmsg(to, &[IoSlice::new(&line)], &mut control, SendFlags::empty())?;
    if sent != line.len() {
        bail!("only {sent} of {} bytes were sent", line.len());
    }
    Ok(())
}
