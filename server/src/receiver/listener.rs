//! Accepts connections, bounds how many there are and how long one may take to log in.
use super::Room;
use super::connection::Connection;
use super::limits::{DISCONNECT_GRACE, Limits, REJECTION, STOP_GRACE, WINDOW_BYTES};
use super::quick_ack::QuickAck;
use crate::generation::Phase;
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PrivateKey};
use russh::server::{Config, RunningSession};
use russh::{MethodKind, MethodSet, Preferred, SshId, cipher, compression, kex, mac};
use std::borrow::Cow;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// How long to rest when the system gives no more connections (too many open files, mostly).
const ACCEPT_REST: Duration = Duration::from_millis(200);
/// How often a connection to a server that was replaced is looked at: is it still of use?
const IDLE_LOOK: Duration = Duration::from_millis(200);
/// How many times in a row it must be idle: the exit code of what ran last is still on its way at first.
const IDLE_LOOKS: usize = 10;
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVES_UNANSWERED_MAX: usize = 3;

/// The SSH side: few and strong algorithms, keys only, one host key.
pub(super) fn config(host_key: PrivateKey, limits: &Limits) -> Arc<Config> {
    Arc::new(Config {
        server_id: SshId::Standard(Cow::Borrowed("SSH-2.0-paas")),
        methods: MethodSet::from(&[MethodKind::PublicKey][..]),
        auth_rejection_time: REJECTION,
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: vec![host_key],
        preferred: Preferred {
            kex: Cow::Borrowed(&[
                kex::MLKEM768X25519_SHA256,
                kex::CURVE25519,
                kex::CURVE25519_PRE_RFC_8731,
                kex::EXTENSION_SUPPORT_AS_SERVER,
                kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
            ]),
            key: Cow::Borrowed(&[
                Algorithm::Ed25519,
                Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
                Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
                Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
                Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
                Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
            ]),
            cipher: Cow::Borrowed(&[cipher::CHACHA20_POLY1305, cipher::AES_256_GCM, cipher::AES_128_GCM]),
            mac: Cow::Borrowed(&[mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM]),
            compression: Cow::Borrowed(&[compression::NONE]),
            ..Preferred::DEFAULT
        },
        window_size: WINDOW_BYTES,
        max_auth_attempts: limits.auth_attempts,
        inactivity_timeout: None,
        keepalive_interval: Some(KEEPALIVE),
        keepalive_max: KEEPALIVES_UNANSWERED_MAX,
        nodelay: true,
        ..Config::default()
    })
}

pub(super) async fn accept(room: Arc<Room>, listener: TcpListener, config: Arc<Config>) {
    let gate = Arc::new(Gate::default());
    let duty = &room.neighbours.duty;
    loop {
        let (phase, changed) = (duty.phase(), duty.changes());
        if phase == Phase::Relieved {
            return;
        }
        let accepted = tokio::select! {
            () = room.stop.cancelled() => return,
            // While this server prepares to leave, who comes waits for the next one, or for this one to stay.
            () = changed => continue,
            accepted = listener.accept(), if phase == Phase::InCharge => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!("could not accept an SSH connection: {error}");
                tokio::time::sleep(ACCEPT_REST).await;
                continue;
            }
        };
        if let Some(pass) = Gate::enter(&gate, peer, &room.settings.limits) {
            let connection = serve(Arc::clone(&room), Arc::clone(&config), stream, pass);
            room.tracker.spawn(room.connections.track_future(connection));
        } else {
            tracing::debug!(peer.address = %peer, "too many connections: closed one from {peer}");
        }
    }
}

/// Runs one connection to its end.
async fn serve(room: Arc<Room>, config: Arc<Config>, stream: TcpStream, pass: Pass) {
    let peer = pass.peer;
    // A second handle to the socket: whatever the session does, this closes it.
    let Ok(socket) = stream.as_fd().try_clone_to_owned() else { return };
    let _ = stream.set_nodelay(true);
    let (over, removed, known) = (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
    let deadline = tokio::time::Instant::now() + room.settings.limits.handshake;
    let connection = Connection::new(Arc::clone(&room), peer, over.clone(), removed.clone(), known.clone());
    let places = connection.places();
    let greeted =
        tokio::time::timeout_at(deadline, russh::server::run_stream(config, QuickAck::new(stream), connection)).await;
    if let Ok(Ok(session)) = greeted {
        follow(&room, session, Watch { pass, deadline, removed, known, places }).await;
    }
    close(&socket);
    over.cancel();
    tracing::debug!(peer.address = %peer, "connection from {peer} is over");
}

/// What may end a connection before its client does.
struct Watch {
    pass: Pass,
    deadline: tokio::time::Instant,
    removed: CancellationToken,
    known: CancellationToken,
    /// One is taken for every channel on which something runs.
    places: Arc<Semaphore>,
}

async fn follow(room: &Room, mut session: RunningSession<Connection>, mut watch: Watch) {
    let handle = session.handle();
    tokio::select! {
        _ = &mut session => return,
        () = tokio::time::sleep_until(watch.deadline) => if !watch.known.is_cancelled() { return },
        () = watch.known.cancelled() => {}
    }
    watch.pass.logged_in();
    let parting = tokio::select! {
        _ = &mut session => return,
        parting = parting(room, &watch.removed, &watch.places) => parting,
    };
    let disconnect = handle.disconnect(russh::Disconnect::ByApplication, parting.to_owned(), String::new());
    let _ = tokio::time::timeout(DISCONNECT_GRACE, disconnect).await;
    let _ = tokio::time::timeout(DISCONNECT_GRACE, session).await;
}

/// Waits for a reason to end a session that has logged in, and gives it.
async fn parting(room: &Room, removed: &CancellationToken, places: &Semaphore) -> &'static str {
    tokio::select! {
        () = removed.cancelled() => "this key was removed",
        () = idle_and_relieved(room, places) => "the server was replaced, connect again",
        () = room.stop.cancelled() => {
            tokio::select! {
                () = removed.cancelled() => {}
                () = tokio::time::sleep(STOP_GRACE) => {}
            }
            "the server stops"
        }
    }
}

/// Waits until another server is in charge and nothing runs on the connection any more.
async fn idle_and_relieved(room: &Room, places: &Semaphore) {
    room.neighbours.duty.until_relieved().await;
    let mut idle_looks = 0;
    while idle_looks < IDLE_LOOKS {
        tokio::time::sleep(IDLE_LOOK).await;
        let is_idle = places.available_permits() == room.settings.limits.channels;
        idle_looks = if is_idle { idle_looks + 1 } else { 0 };
    }
}

fn close(socket: &OwnedFd) {
    // Fails when the other end was faster.
    let _ = rustix::net::shutdown(socket, rustix::net::Shutdown::Both);
}

/// Counts connections: all of them, and per address those that have not logged in.
#[derive(Default)]
struct Gate {
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    all: usize,
    strangers: HashMap<IpAddr, usize>,
}

/// A connection's place in the counts.
struct Pass {
    gate: Arc<Gate>,
    peer: SocketAddr,
    is_stranger: bool,
}

impl Gate {
    fn enter(gate: &Arc<Self>, peer: SocketAddr, limits: &Limits) -> Option<Pass> {
        let mut counts = gate.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let strangers = counts.strangers.get(&network(peer.ip())).copied().unwrap_or(0);
        if counts.all >= limits.connections || strangers >= limits.unauthenticated_per_address {
            return None;
        }
        counts.all += 1;
        counts.strangers.insert(network(peer.ip()), strangers + 1);
        drop(counts);
        Some(Pass { gate: Arc::clone(gate), peer, is_stranger: true })
    }
}

impl Pass {
    fn logged_in(&mut self) {
        if std::mem::take(&mut self.is_stranger) {
            let mut counts = self.gate.counts.lock().unwrap_or_else(PoisonError::into_inner);
            let network = network(self.peer.ip());
            match counts.strangers.get_mut(&network) {
                Some(count) if *count > 1 => *count -= 1,
                Some(_) | None => {
                    counts.strangers.remove(&network);
                }
            }
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.logged_in();
        self.gate.counts.lock().unwrap_or_else(PoisonError::into_inner).all -= 1;
    }
}

/// One subscriber has a whole /64 of IPv6 addresses.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_of_one_network_are_bounded_and_the_known_are_not() {
        let gate = Arc::new(Gate::default());
        let limits = Limits { unauthenticated_per_address: 2, connections: 4, ..Limits::default() };
        let enter = |address: &str| Gate::enter(&gate, SocketAddr::new(address.parse().unwrap(), 1), &limits);
        let mut first = enter("2001:db8::1").unwrap();
        let second = enter("2001:db8::2").unwrap();
        assert!(enter("2001:db8::3").is_none());
        first.logged_in();
        let _third = enter("2001:db8::3").unwrap();
        drop(second);
        let _fourth = enter("192.0.2.1").unwrap();
        let _fifth = enter("::ffff:192.0.2.1").unwrap();
        assert!(enter("198.51.100.1").is_none(), "more connections in all than allowed");
        drop(first);
        assert!(enter("198.51.100.1").is_some());
    }
}
