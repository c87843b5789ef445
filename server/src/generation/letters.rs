//! What generations say to each other: JSON, a line each.
use crate::domain::instance::Slot;
use crate::domain::{AppId, ContainerId};
use anyhow::Context;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::PathBuf;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

/// From the old one to the new one.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ToSuccessor {
    /// Comes with the descriptors: the lock of the data folder, then the listeners in this order.
    Hello {
        listeners: Vec<String>,
        /// The path that the server is started by, whichever file it names at the moment.
        program: PathBuf,
    },
    /// The old one has stopped to schedule, build and write.
    Go,
}

/// From the new one to the old one.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FromSuccessor {
    /// All that could fail by itself has not.
    Prepared {
        version: String,
    },
    Failed {
        why: String,
    },
    Serving(Serving),
}

/// The new one is in charge.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Serving {
    pub generation: u64,
    pub version: String,
    pub process: u32,
}

/// From one that finishes to whoever is in charge.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FromElder {
    Uses(Uses),
    /// A line of the router about a request that ended there.
    Line {
        app: AppId,
        text: String,
    },
}

/// What one that finishes may still send to, or holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Uses {
    /// It cannot tell.
    Everything,
    These {
        instances: BTreeSet<ContainerId>,
        one_offs: BTreeSet<(AppId, Slot)>,
    },
}

pub(super) struct Reader(Lines<BufReader<OwnedReadHalf>>);
pub(super) struct Writer(OwnedWriteHalf);

pub(super) fn letters(stream: UnixStream) -> (Reader, Writer) {
    let (from, to) = stream.into_split();
    (Reader(BufReader::new(from).lines()), Writer(to))
}

impl Reader {
    /// `None`: the other side has ended.
    pub(super) async fn read<T: DeserializeOwned>(&mut self) -> anyhow::Result<Option<T>> {
        let Some(line) = self.0.next_line().await? else { return Ok(None) };
        serde_json::from_str(&line).map(Some).context("read what another generation says")
    }
}

impl Writer {
    pub(super) async fn write<T: Serialize>(&mut self, letter: &T) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(letter)?;
        line.push(b'\n');
        self.0.write_all(&line).await.context("tell another generation")
    }
}
