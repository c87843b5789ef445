//! The socket by which one that finishes tells whoever is in charge what it still uses. The newest listener is the one.
use super::letters::{FromElder, Writer, letters};
use super::{Uses, elders};
use crate::domain::AppId;
use crate::files::listen_alone;
use anyhow::bail;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How often what is used is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A listener that takes nothing for this long is given up.
const WRITE_LIMIT: Duration = Duration::from_secs(2);
/// Earlier generations that may finish at the same time.
const ELDERS_MAX: usize = 8;
const BATCH_LINES: usize = 256;

pub struct Parting {
    path: PathBuf,
    listener: UnixListener,
}

impl Parting {
    /// Refuses when there are too many that finish already.
    pub fn check_room(run_dir: &Path) -> anyhow::Result<()> {
        let there = elders::sockets(run_dir)?;
        let count = there.iter().filter(|path| std::os::unix::net::UnixStream::connect(path).is_ok()).count();
        if count >= ELDERS_MAX {
            bail!("{count} earlier servers still finish what they began; wait until one of them has ended");
        }
        Ok(())
    }

    pub fn open(run_dir: &Path, generation: u64) -> anyhow::Result<Self> {
        let path = run_dir.join(format!("generation-{generation}.sock"));
        let listener = listen_alone(&path)?;
        Ok(Self { path, listener })
    }

    /// Tells what `uses` says and passes `lines` on, until `stop`; what is left of the lines then still goes out.
    pub async fn tell(
        self,
        uses: impl Fn() -> Uses + Send,
        mut lines: mpsc::Receiver<(AppId, String)>,
        stop: CancellationToken,
    ) {
        let (mut to, mut told): (Option<Writer>, Option<Uses>) = (None, None);
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        let mut batch = Vec::new();
        loop {
            let has_listener = to.is_some();
            tokio::select! {
                accepted = self.listener.accept() => {
                    if let Ok((stream, _)) = accepted {
                        (to, told) = (writer(stream), None);
                    }
                }
                _ = ticks.tick() => {}
                _ = lines.recv_many(&mut batch, BATCH_LINES), if has_listener => {}
                () = stop.cancelled() => break,
            }
            let now = uses();
            if told.as_ref() != Some(&now) {
                say(&mut to, &FromElder::Uses(now.clone())).await;
                told = to.is_some().then_some(now);
            }
            for (app, text) in batch.drain(..) {
                say(&mut to, &FromElder::Line { app, text }).await;
            }
        }
        while let Ok((app, text)) = lines.try_recv() {
            say(&mut to, &FromElder::Line { app, text }).await;
        }
        // A successor removes what is left of it, too.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn writer(stream: UnixStream) -> Option<Writer> {
    let is_ours = stream.peer_cred().is_ok_and(|peer| peer.uid() == rustix::process::geteuid().as_raw());
    is_ours.then(|| letters(stream).1)
}

async fn say(to: &mut Option<Writer>, letter: &FromElder) {
    let Some(writer) = to else { return };
    if !matches!(tokio::time::timeout(WRITE_LIMIT, writer.write(letter)).await, Ok(Ok(()))) {
        *to = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ContainerId;
    use crate::generation::Elders;
    use std::collections::BTreeSet;
    use std::sync::{Arc, Mutex};

    fn these(ids: &[&str]) -> Uses {
        let instances: BTreeSet<ContainerId> = ids.iter().map(|id| ContainerId::new(*id)).collect();
        Uses::These { instances, one_offs: BTreeSet::new() }
    }

    #[tokio::test]
    async fn what_one_that_finishes_uses_is_known_until_it_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        // What a dead one left.
        drop(Parting::open(dir.path(), 1).unwrap());
        let parting = Parting::open(dir.path(), 2).unwrap();
        let used = Arc::new(Mutex::new(these(&["a"])));
        let (stop, (lines, from)) = (CancellationToken::new(), mpsc::channel(8));
        let uses = used.clone();
        let tracker = tokio_util::task::TaskTracker::new();
        tracker.spawn(parting.tell(move || uses.lock().unwrap().clone(), from, stop.clone()));
        let (elders, mut met) = Elders::meet(dir.path()).await.unwrap();
        assert_eq!(met.len(), 1);
        assert!(!dir.path().join("generation-1.sock").exists());
        assert!(elders.use_instance(&ContainerId::new("a")) && !elders.use_instance(&ContainerId::new("b")));
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let hears = heard.clone();
        let following = met.remove(0).follow(elders.clone(), CancellationToken::new(), move |_, text| {
            hears.lock().unwrap().push(text);
        });
        tracker.spawn(following);
        *used.lock().unwrap() = these(&["b"]);
        for _ in 0..100 {
            if elders.use_instance(&ContainerId::new("b")) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(elders.use_instance(&ContainerId::new("b")) && !elders.use_instance(&ContainerId::new("a")));
        lines.send((AppId(1), "at=info".to_owned())).await.unwrap();
        stop.cancel();
        tracker.close();
        tracker.wait().await;
        assert_eq!(*heard.lock().unwrap(), ["at=info"]);
        assert!(!elders.are_there());
        assert!(!dir.path().join("generation-2.sock").exists());
    }
    #[tokio::test]
    async fn too_many_that_finish_refuse_another_and_dead_ones_do_not_count() {
        let dir = tempfile::tempdir().unwrap();
        drop(Parting::open(dir.path(), 100).unwrap());
        let mut there = Vec::new();
        for generation in 0..ELDERS_MAX as u64 {
            assert!(Parting::check_room(dir.path()).is_ok(), "{generation}");
            there.push(Parting::open(dir.path(), generation).unwrap());
        }
        let refused = Parting::check_room(dir.path()).unwrap_err().to_string();
        assert!(refused.starts_with("8 earlier servers still finish"), "{refused}");
        there.pop();
        assert!(Parting::check_room(dir.path()).is_ok());
    }
}
