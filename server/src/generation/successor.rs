//! The old one's end of a hand-over: starts the next generation, and hears how far it is.
//!
//! The child's standard input is one end of a socket pair, and everything else passes over it: so no descriptor of ours
//! ever has to be open for a moment to whatever else this process starts. The child starts the next generation and ends: so
//! that one belongs to the system's first process, and systemd, which watches its own children alone, hears when it ends.
use super::Serving;
use super::letters::{FromSuccessor, Reader, ToSuccessor, Writer, letters};
use anyhow::{Context, bail};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs::File;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::timeout;

/// The program that this process runs, also when its file has another name by now, or none.
pub const OURSELVES: &str = "/proc/self/exe";
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

/// How long one that was killed may take to end.
const END_LIMIT: Duration = Duration::from_secs(5);

/// The next generation, on its way to be in charge.
pub struct Successor {
    /// It leads the group of processes that the next generation is in.
    starter: Option<Pid>,
    from: Reader,
    to: Writer,
}

impl Successor {
    /// Starts `program`, usually the one of the bequest.
    #[expect(clippy::disallowed_methods, reason = "one of the few places that start a process: the next generation")]
    pub async fn start(program: &Path, bequest: &Bequest<'_>) -> anyhow::Result<Self> {
        let (ours, theirs) = UnixStream::pair().context("make a socket pair")?;
        let mut command = Command::new(program);
        command.arg("server").args(bequest.words).args(["--take-over", "--detach"]);
        command.stdin(Stdio::from(OwnedFd::from(theirs))).process_group(0);
        let mut child = command.spawn().with_context(|| format!("start {}", program.display()))?;
        // It would keep the other end open.
        drop(command);
        let starter = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        send_hello(&ours, bequest).context("pass the listeners on")?;
        ours.set_nonblocking(true)?;
        let (from, to) = letters(tokio::net::UnixStream::from_std(ours)?);
        let status = timeout(END_LIMIT, child.wait()).await.context("the new program does not start itself")??;
        if !status.success() {
            bail!("the new program does not start itself: {status}");
        }
        Ok(Self { starter, from, to })
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
        // The group may be empty already.
        let _ = self.starter.map(|starter| kill_process_group(starter, Signal::KILL));
        if timeout(END_LIMIT, self.until_ended()).await.is_err() {
            tracing::warn!("the next generation was killed and has not ended");
        }
    }

    /// Waits until it has ended.
    pub async fn ended(mut self) {
        self.until_ended().await;
        tracing::warn!("the server that took over has ended");
    }

    /// Its end of the socket pair is closed with it.
    async fn until_ended(&mut self) {
        while let Ok(Some(_)) = self.from.read::<FromSuccessor>().await {}
    }

    async fn hear(&mut self) -> anyhow::Result<FromSuccessor> {
        self.from.read().await?.context("it ended without a word; the server's log may tell more")
    }
}

/// Starts the next generation and leaves it to the system's first process. Called in the process that is to be nobody's.
#[expect(clippy::disallowed_methods, reason = "one of the few places that start a process: the next generation")]
pub fn detach(words: &[String]) -> anyhow::Result<()> {
    let mut command = std::process::Command::new(OURSELVES);
    command.arg("server").args(words).arg("--take-over");
    command.spawn().map(drop).context("start this program again")
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
