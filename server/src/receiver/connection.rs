//! The SSH side of one connection: who it is, and what its channels ask for.
use super::backlog::Backlog;
use super::client::Client;
use super::exec_line::{self, ExecLine};
use super::limits::WINDOW_BYTES;
use super::public_key::fingerprint;
use super::sessions::{Listed, Sessions};
use super::{Room, console, transport};
use crate::console::Terminal;
use crate::domain::terminal::WindowSize;
use crate::domain::{Key, Pusher};
use crate::generation::{Phase, Relieved};
use russh::keys::PublicKey;
use russh::server::{Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelOpenFailure, Pty};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;

pub(super) struct Connection {
    room: Arc<Room>,
    peer: SocketAddr,
    /// Cancelled when the connection is over, by whoever ended it.
    over: CancellationToken,
    /// Cancelled when its key is removed.
    removed: CancellationToken,
    /// Cancelled once it has logged in.
    known: CancellationToken,
    /// Set by a verified signature and by nothing else (security rule R4).
    identity: Option<(Pusher, Listed)>,
    channels: HashMap<ChannelId, Opened>,
    places: Arc<Semaphore>,
    backlog: Backlog,
}

/// A channel of the client's.
struct Opened {
    /// Until something runs on it.
    waiting: Option<(Channel<Msg>, OwnedSemaphorePermit)>,
    git_protocol: Option<String>,
    /// The terminal that the client offers.
    terminal: Option<Terminal>,
    /// Where news of its size go.
    window: Option<watch::Sender<WindowSize>>,
    left: CancellationToken,
}

/// What runs on a channel needs this.
pub(super) struct Call {
    pub(super) room: Arc<Room>,
    pub(super) caller: Pusher,
    /// `version=N`, if the client asked for it.
    pub(super) git_protocol: Option<String>,
    /// Offered by the client. Nothing is allocated for it here: only an instance ever has a terminal (security rule R3).
    pub(super) terminal: Option<Terminal>,
    pub(super) backlog: Backlog,
    pub(super) client: Client,
}

impl Connection {
    pub(super) fn new(
        room: Arc<Room>,
        peer: SocketAddr,
        over: CancellationToken,
        removed: CancellationToken,
        known: CancellationToken,
    ) -> Self {
        let places = Arc::new(Semaphore::new(room.settings.limits.channels));
        Self {
            room,
            peer,
            over,
            removed,
            known,
            identity: None,
            channels: HashMap::new(),
            places,
            backlog: Backlog::default(),
        }
    }

    pub(super) fn places(&self) -> Arc<Semaphore> {
        Arc::clone(&self.places)
    }

    /// The stored key, as it is now. What cannot be looked up is not let in.
    async fn stored(&self, offered: &PublicKey) -> Option<Key> {
        match self.room.neighbours.store.key_by_fingerprint(&fingerprint(offered)).await {
            Ok(key) => key,
            Err(error) => {
                tracing::error!("could not look up an SSH key: {error:#}");
                None
            }
        }
    }

    /// The call that a channel may make once.
    fn call(&mut self, id: ChannelId) -> Option<Call> {
        let (caller, _) = self.identity.as_ref()?;
        let opened = self.channels.get_mut(&id)?;
        let (channel, place) = opened.waiting.take()?;
        Some(Call {
            room: Arc::clone(&self.room),
            caller: caller.clone(),
            git_protocol: opened.git_protocol.take(),
            terminal: opened.terminal.take(),
            backlog: self.backlog.clone(),
            client: Client::new(channel, opened.left.clone(), place),
        })
    }
}

fn window_size(columns: u32, rows: u32) -> WindowSize {
    let narrow = |cells: u32| u16::try_from(cells).unwrap_or(u16::MAX);
    WindowSize { columns: narrow(columns), rows: narrow(rows) }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.over.cancel();
    }
}

impl Handler for Connection {
    type Error = russh::Error;

    async fn auth_publickey_offered(&mut self, _user: &str, offer: PublicKeyOffer<'_>) -> Result<Auth, Self::Error> {
        if self.stored(offer.public_key).await.is_some() {
            return Ok(Auth::Accept);
        }
        let (fingerprint, peer) = (fingerprint(offer.public_key), self.peer);
        tracing::info!(
            ssh.key = %fingerprint, peer.address = %peer,
            "refused the unknown key {fingerprint} from {peer}; if it is yours, add it with `paas keys:add NAME < KEY.pub`"
        );
        Ok(Auth::reject())
    }

    async fn auth_publickey(&mut self, _user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        let Some(stored) = self.stored(key.public_key).await else { return Ok(Auth::reject()) };
        let listed = Sessions::list(&self.room, stored.id, self.removed.clone());
        // Once more, now that a removal would find the session: between the two nobody would have ended it.
        if self.stored(key.public_key).await.is_none_or(|again| again.id != stored.id) {
            return Ok(Auth::reject());
        }
        self.identity = Some((Pusher::Key { id: stored.id, name: stored.name }, listed));
        Ok(Auth::Accept)
    }

    async fn auth_succeeded(&mut self, _session: &mut Session) -> Result<(), Self::Error> {
        self.known.cancel();
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.channels.retain(|_, opened| !opened.left.is_cancelled());
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        };
        let id = channel.id();
        let left = self.over.child_token();
        let waiting = Some((channel, place));
        self.channels.insert(id, Opened { waiting, git_protocol: None, terminal: None, window: None, left });
        reply.accept().await;
        Ok(())
    }

    async fn channel_close(&mut self, channel: ChannelId, _session: &mut Session) -> Result<(), Self::Error> {
        if let Some(opened) = self.channels.remove(&channel) {
            opened.left.cancel();
        }
        Ok(())
    }

    fn adjust_window(&mut self, _channel: ChannelId, _current: u32) -> u32 {
        self.backlog.window(WINDOW_BYTES)
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        value: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let is_version = name == "GIT_PROTOCOL"
            && value.strip_prefix("version=").is_some_and(|n| n.len() == 1 && n.bytes().all(|b| b.is_ascii_digit()));
        match self.channels.get_mut(&channel) {
            Some(opened) if is_version => {
                opened.git_protocol = Some(value.to_owned());
                session.channel_success(channel)
            }
            Some(_) | None => session.channel_failure(channel),
        }
    }

    async fn exec_request(&mut self, id: ChannelId, line: &[u8], session: &mut Session) -> Result<(), Self::Error> {
        let Some(call) = self.call(id) else { return session.channel_failure(id) };
        session.channel_success(id)?;
        if self.room.neighbours.duty.phase() == Phase::Relieved {
            self.room.tracker.spawn(call.client.refuse(format!("paas: {Relieved}; connect again\n"), 1));
            return Ok(());
        }
        let (tracker, parsed) = (self.room.tracker.clone(), exec_line::parse(line));
        match parsed {
            Ok(ExecLine::Receive(app)) => tracker.spawn(transport::receive(call, app)),
            Ok(ExecLine::Upload(app)) => tracker.spawn(transport::upload(call, app)),
            Ok(ExecLine::Command(words)) => tracker.spawn(console::run(call, words)),
            Err(error) => tracker.spawn(call.client.refuse(format!("paas: {error}\n"), error.exit_code())),
        };
        Ok(())
    }

    async fn shell_request(&mut self, id: ChannelId, session: &mut Session) -> Result<(), Self::Error> {
        let Some(call) = self.call(id) else { return session.channel_failure(id) };
        session.channel_success(id)?;
        let text = format!(
            "paas: hello {}, there is no shell here; type a command behind the address:\r\n\r\n    \
             ssh -p PORT paas@HOST apps\r\n    ssh -p PORT paas@HOST help\r\n\r\n\
             and deploy with `git push paas main`.\r\n",
            call.caller
        );
        self.room.tracker.spawn(call.client.refuse(text, 1));
        Ok(())
    }

    async fn subsystem_request(&mut self, id: ChannelId, _: &str, session: &mut Session) -> Result<(), Self::Error> {
        session.channel_failure(id)
    }

    /// Taken note of: which command wants one is known only when its line has come. Clients wait for this answer first.
    async fn pty_request(
        &mut self,
        id: ChannelId,
        term: &str,
        columns: u32,
        rows: u32,
        _width: u32,
        _height: u32,
        _modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let opened = self.channels.get_mut(&id).filter(|opened| opened.waiting.is_some() && opened.window.is_none());
        let (Some(opened), Ok(name)) = (opened, term.parse()) else { return session.channel_failure(id) };
        let (window, size) = watch::channel(window_size(columns, rows));
        (opened.terminal, opened.window) = (Some(Terminal { name, size }), Some(window));
        session.channel_success(id)
    }

    async fn window_change_request(
        &mut self,
        id: ChannelId,
        columns: u32,
        rows: u32,
        _width: u32,
        _height: u32,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        if let Some(window) = self.channels.get(&id).and_then(|opened| opened.window.as_ref()) {
            window.send_replace(window_size(columns, rows));
        }
        Ok(())
    }

    async fn x11_request(
        &mut self,
        id: ChannelId,
        _single: bool,
        _protocol: &str,
        _cookie: &str,
        _screen: u32,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(id)
    }

    async fn agent_request(&mut self, id: ChannelId, session: &mut Session) -> Result<bool, Self::Error> {
        session.channel_failure(id)?;
        Ok(false)
    }
}
