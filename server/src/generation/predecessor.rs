//! The new one's end of a hand-over: what it is given, and what it says of itself.
use super::Serving;
use super::letters::{FromSuccessor, Reader, ToSuccessor, Writer, letters};
use super::successor::DESCRIPTORS_MAX;
use anyhow::{Context, bail};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// The first letter is sent before we can ask for it.
const HELLO_LIMIT: Duration = Duration::from_secs(10);
const HELLO_BYTES_MAX: usize = 16 << 10;

/// The one that is still in charge.
pub struct Predecessor {
    from: Reader,
    to: Writer,
}

/// What it passes on.
pub struct Inheritance {
    /// Held by both until the old one lets go of it.
    pub lock: File,
    pub listeners: BTreeMap<String, TcpListener>,
    pub program: PathBuf,
}

impl Predecessor {
    /// Takes what it gives; it is at the other end of our standard input.
    pub fn meet() -> anyhow::Result<(Self, Inheritance)> {
        let input = std::io::stdin().as_fd().try_clone_to_owned().context("take standard input")?;
        let stream = UnixStream::from(input);
        let given = receive(&stream).context("--take-over is for a running server to give to its successor")?;
        stream.set_nonblocking(true)?;
        let (from, to) = letters(tokio::net::UnixStream::from_std(stream)?);
        Ok((Self { from, to }, given))
    }

    /// Says that all is prepared, and waits to be put in charge.
    pub async fn wait_for_turn(&mut self, version: &str) -> anyhow::Result<()> {
        self.to.write(&FromSuccessor::Prepared { version: version.to_owned() }).await?;
        match self.from.read().await? {
            Some(ToSuccessor::Go) => Ok(()),
            Some(ToSuccessor::Hello { .. }) => bail!("the old server said hello twice"),
            None => bail!("the old server has ended, or has given up handing over"),
        }
    }

    /// From now on we are in charge. An old one that has died meanwhile need not hear it.
    pub async fn tell_serving(&mut self, serving: Serving) {
        if let Err(error) = self.to.write(&FromSuccessor::Serving(serving)).await {
            tracing::warn!("the old server does not hear that we serve: {error:#}");
        }
    }

    pub async fn tell_failure(&mut self, why: String) {
        // Else it sees that we end.
        let _ = self.to.write(&FromSuccessor::Failed { why }).await;
    }
}

fn receive(stream: &UnixStream) -> anyhow::Result<Inheritance> {
    stream.set_read_timeout(Some(HELLO_LIMIT))?;
    let mut line = vec![0; HELLO_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(stream, &mut [IoSliceMut::new(&mut line)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    stream.set_read_timeout(None)?;
    let mut descriptors: Vec<OwnedFd> = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    let ToSuccessor::Hello { listeners: names, program } = serde_json::from_slice(&line[..received.bytes])? else {
        bail!("the old server did not say hello");
    };
    if descriptors.len() != names.len() + 1 {
        bail!("{} descriptors came for {} listeners and the lock", descriptors.len(), names.len());
    }
    let mut descriptors = descriptors.into_iter();
    let lock = File::from(descriptors.next().context("the lock is missing")?);
    let listeners = names.into_iter().zip(descriptors.map(TcpListener::from)).collect();
    Ok(Inheritance { lock, listeners, program })
}

#[cfg(test)]
mod tests {
    use super::super::successor::send_hello;
    use super::*;
    use crate::generation::Bequest;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    #[test]
    fn listeners_and_lock_pass_over_a_socket_pair_and_go_on_to_work() {
        let (old, new) = UnixStream::pair().unwrap();
        let lock = tempfile::tempfile().unwrap();
        let listeners: Vec<(String, TcpListener)> =
            ["http", "ssh"].map(|name| (name.to_owned(), TcpListener::bind("127.0.0.1:0").unwrap())).into();
        let addresses: Vec<_> = listeners.iter().map(|(_, listener)| listener.local_addr().unwrap()).collect();
        let words = [];
        let program = std::path::Path::new("/usr/local/bin/paas");
        send_hello(&old, &Bequest { lock: Some(&lock), listeners: &listeners, program, words: &words }).unwrap();
        // Connected before the old one has gone, accepted by the new one.
        let mut visitor = TcpStream::connect(addresses[1]).unwrap();
        drop(listeners);
        let given = receive(&new).unwrap();
        assert_eq!(given.program, program);
        assert_eq!(given.listeners["http"].local_addr().unwrap(), addresses[0]);
        let (mut accepted, _) = given.listeners["ssh"].accept().unwrap();
        accepted.write_all(b"hello").unwrap();
        drop(accepted);
        let mut heard = String::new();
        visitor.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "hello");
        let flags = rustix::io::fcntl_getfd(&given.lock).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC), "it does not pass on to children by accident");
    }

    #[test]
    fn a_standard_input_that_is_no_old_server_is_refused() {
        let (old, new) = UnixStream::pair().unwrap();
        drop(old);
        assert!(receive(&new).is_err());
    }
}
