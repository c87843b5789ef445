//! A git push comes in over SSH, and so do commands.
//!
//! `listener` accepts connections and bounds them; `connection` is the SSH side of one: who it is, which channels it has,
//! what it asks for (`exec_line`). `transport` runs `git` on a channel (`child`), `console` a command. git's hooks are
//! this very program (`hook`); they talk to `hook_socket`, which rules on the refs (`ref_rules`), hands the push to the
//! builder and sends its transcript back (`deploy`). `pushes` knows the sessions under way, and what a refused first
//! push must not leave behind; `collection` rids the repositories of what other refused pushes have left.

mod backlog;
mod child;
mod client;
mod collection;
mod connection;
mod console;
mod deploy;
mod exec_line;
mod frames;
mod hook;
mod hook_socket;
mod host_key;
mod limits;
mod listener;
mod public_key;
mod pushes;
mod quick_ack;
mod ref_rules;
mod sessions;
mod shallow;
mod sweep;
mod transport;

pub use collection::CollectionLimits;
pub use hook::{is_hook, run_hook};
pub use limits::Limits;
pub use public_key::{KeyError, ParsedKey, parse_public_key};

use crate::builder::{Builder, Repos, Ticket};
use crate::clock::Clock;
use crate::console::Console;
use crate::domain::{App, AppId, BuildId, Failure, FetchAllow, KeyId, Pusher, RefMove, Site};
use crate::generation::Duty;
use crate::logs::Logs;
use crate::store::Store;
use anyhow::Context;
use async_trait::async_trait;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How the receiver is set up.
#[derive(Clone, Debug)]
pub struct ReceiverSettings {
    /// `data_dir/run`: holds the hooks' folder and the hook socket.
    pub run_dir: PathBuf,
    /// `data_dir/keys/ssh_host_ed25519`: made at the first start.
    pub host_key: PathBuf,
    /// Our own executable; the hooks are links to it.
    pub program: PathBuf,
    /// `git` from 2.34 on; see [`ReceiverSettings::usual_git`].
    pub git: PathBuf,
    /// Names that no app may have here beside those reserved everywhere: the admin host's label.
    pub reserved_names: Vec<String>,
    /// Where apps are, for what pushers are told.
    pub site: Site,
    pub limits: Limits,
    /// Hosts that submodules may come from.
    pub fetch_allow: FetchAllow,
}

impl ReceiverSettings {
    /// The distribution's git, which it keeps patched, before whatever stands first on PATH.
    pub fn usual_git() -> PathBuf {
        let system = PathBuf::from("/usr/bin/git");
        if system.exists() { system } else { PathBuf::from("git") }
    }
}

/// The rooms that a receiver works with.
#[derive(Clone)]
pub struct Neighbours {
    pub store: Store,
    pub intake: Arc<dyn Intake>,
    pub logs: Logs,
    pub repos: Repos,
    pub clock: Arc<dyn Clock>,
    pub runner: Arc<dyn CommandRunner>,
    pub duty: Duty,
}

/// Who takes pushes in: the builder.
#[async_trait]
pub trait Intake: Send + Sync {
    /// Takes a push in, durably.
    async fn enqueue(&self, app: &App, moves: RefMove, pusher: &Pusher) -> anyhow::Result<Ticket>;
    /// Refuses a push whose pack would have too little room below `place`, after having tried to make some.
    async fn make_room(&self, place: &Path) -> Result<(), Failure>;
    /// Ends a build that is not over; `false`: it was over already.
    async fn cancel(&self, app: AppId, build: BuildId, by: &str) -> anyhow::Result<bool>;
}

#[async_trait]
impl Intake for Builder {
    async fn enqueue(&self, app: &App, moves: RefMove, pusher: &Pusher) -> anyhow::Result<Ticket> {
        Self::enqueue(self, app, moves, pusher).await
    }

    async fn make_room(&self, place: &Path) -> Result<(), Failure> {
        Self::make_room(self, place).await
    }

    async fn cancel(&self, app: AppId, build: BuildId, by: &str) -> anyhow::Result<bool> {
        Self::cancel(self, app, build, by).await
    }
}

/// Who runs what users type.
#[async_trait]
pub trait CommandRunner: Send + Sync {
    /// Runs a command to its end and says which exit code its user is to see. Ends soon after `console.left` is
    /// cancelled.
    async fn run(&self, words: Vec<String>, caller: Pusher, console: Console) -> u8;
}

/// Everything that the parts of this room share.
struct Room {
    settings: ReceiverSettings,
    neighbours: Neighbours,
    sessions: sessions::Sessions,
    pushes: pushes::Pushes,
    tally: collection::Tally,
    tracker: TaskTracker,
    /// The connections among the tasks.
    connections: TaskTracker,
    stop: CancellationToken,
}

/// A handle to the running receiver.
#[derive(Clone)]
pub struct Receiver {
    room: Arc<Room>,
    local_addr: SocketAddr,
    fingerprint: String,
}

/// Starts to accept. Everything of an earlier process that a refused first push left behind is gone when this returns.
pub async fn start(
    listener: std::net::TcpListener,
    settings: ReceiverSettings,
    neighbours: Neighbours,
    tracker: TaskTracker,
    stop: CancellationToken,
) -> anyhow::Result<Receiver> {
    let host_key = host_key::load_or_make(&settings.host_key)?;
    let fingerprint = public_key::fingerprint(host_key.public_key());
    listener.set_nonblocking(true).context("set up the SSH listener")?;
    let listener = tokio::net::TcpListener::from_std(listener).context("set up the SSH listener")?;
    let local_addr = listener.local_addr().context("ask for the SSH listener's address")?;
    sweep::sweep(&neighbours).await?;
    let hooks = hook_socket::open(&settings)?;
    let room = Arc::new(Room {
        settings,
        neighbours,
        sessions: sessions::Sessions::default(),
        pushes: pushes::Pushes::default(),
        tally: collection::Tally::default(),
        tracker,
        connections: TaskTracker::new(),
        stop,
    });
    room.tracker.spawn(hook_socket::serve(Arc::clone(&room), hooks));
    room.tracker.spawn(sessions::end_those_of_removed_keys(Arc::clone(&room)));
    room.tracker.spawn(listener::accept(
        Arc::clone(&room),
        listener,
        listener::config(host_key, &room.settings.limits),
    ));
    tracing::info!(ssh.address = %local_addr, ssh.host_key = %fingerprint, "accepting pushes on {local_addr}");
    Ok(Receiver { room, local_addr, fingerprint })
}

impl Receiver {
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// `SHA256:…`, what a client shows at its first connection.
    pub fn host_key_fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Collects repositories by and by, until `stop`: only the server in charge does.
    pub fn collect_repositories(&self, tracker: &TaskTracker, stop: CancellationToken) {
        tracker.spawn(collection::collect_by_and_by(Arc::clone(&self.room), stop));
    }

    /// After the hand-over: waits until the last connection has ended.
    pub async fn until_all_left(&self) {
        self.room.connections.close();
        self.room.connections.wait().await;
    }

    /// Ends every session that logged in with this key.
    pub fn end_sessions_of(&self, key: KeyId) {
        self.room.sessions.end_those_of(key);
    }
}
