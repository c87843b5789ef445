//! Earlier generations that still finish what they began, as the one in charge sees them: what they use is not stopped.
use super::Uses;
use super::letters::{FromElder, Reader, letters};
use crate::domain::instance::Slot;
use crate::domain::{AppId, ContainerId};
use crate::files::remove_if_there;
use anyhow::Context;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;

/// How long the first word of one is waited for; until it comes, it may use everything.
const FIRST_WORD: Duration = Duration::from_secs(2);

/// What all of them use. Cheap to clone.
#[derive(Clone, Default)]
pub struct Elders(Arc<Mutex<HashMap<PathBuf, Uses>>>);

/// One of them, to be followed until it ends.
pub struct Elder {
    socket: PathBuf,
    from: Reader,
}

impl std::fmt::Debug for Elders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} elders", self.lock().len())
    }
}

impl Elders {
    /// Looks for those whose socket is in `run_dir`. What a dead one left there is removed.
    pub async fn meet(run_dir: &Path) -> anyhow::Result<(Self, Vec<Elder>)> {
        let elders = Self::default();
        let mut met = Vec::new();
        for socket in sockets(run_dir)? {
            let Ok(stream) = UnixStream::connect(&socket).await else {
                remove_if_there(&socket)?;
                continue;
            };
            let (from, _) = letters(stream);
            elders.lock().insert(socket.clone(), Uses::Everything);
            let mut elder = Elder { socket, from };
            if let Ok(Ok(Some(FromElder::Uses(uses)))) = tokio::time::timeout(FIRST_WORD, elder.from.read()).await {
                elders.lock().insert(elder.socket.clone(), uses);
            }
            met.push(elder);
        }
        Ok((elders, met))
    }

    /// Whether one of them may still send to an instance.
    pub fn use_instance(&self, id: &ContainerId) -> bool {
        self.lock().values().any(|uses| match uses {
            Uses::Everything => true,
            Uses::These { instances, .. } => instances.contains(id),
        })
    }

    /// Whether one of them looks after a one-off.
    pub fn hold_one_off(&self, app: AppId, name: &Slot) -> bool {
        self.lock().values().any(|uses| match uses {
            Uses::Everything => true,
            Uses::These { one_offs, .. } => one_offs.contains(&(app, name.clone())),
        })
    }

    pub fn are_there(&self) -> bool {
        !self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PathBuf, Uses>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Elder {
    /// Notes what it says until it ends; its lines go to `line`.
    pub async fn follow(mut self, elders: Elders, stop: CancellationToken, line: impl Fn(AppId, String) + Send) {
        loop {
            let heard = tokio::select! {
                () = stop.cancelled() => return,
                heard = self.from.read() => heard,
            };
            match heard {
                Ok(Some(FromElder::Uses(uses))) => {
                    elders.lock().insert(self.socket.clone(), uses);
                }
                Ok(Some(FromElder::Line { app, text })) => line(app, text),
                Ok(None) | Err(_) => {
                    tracing::info!("an earlier server has finished what it began");
                    elders.lock().remove(&self.socket);
                    return;
                }
            }
        }
    }
}

/// The sockets of earlier generations.
pub(super) fn sockets(run_dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(run_dir).with_context(|| format!("read {}", run_dir.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.strip_prefix("generation-").is_some_and(|rest| rest.strip_suffix(".sock").is_some()) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
