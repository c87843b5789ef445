//! The sockets that the server listens on: those that systemd made and handed over (`paas.socket`, which may take ports
//! below 1024 and keeps visitors waiting while the server is replaced), else its own.
use anyhow::{Context, bail};
use listenfd::ListenFd;
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Listeners by the name that their unit gives them (`FileDescriptorName=`).
pub struct Listeners {
    given: BTreeMap<String, TcpListener>,
    /// Second handles to all that were taken, for the next generation.
    kept: Vec<(String, TcpListener)>,
}

impl Listeners {
    /// Takes what was handed over; `names` in the same order.
    pub fn handed_over(names: &[String]) -> anyhow::Result<Self> {
        let mut given = ListenFd::from_env();
        // Without any, the names are those of a parent's sockets.
        if given.len() != names.len() && given.len() > 0 {
            bail!(
                "{} sockets were handed over with {} names; see FileDescriptorName= in paas.socket",
                given.len(),
                names.len()
            );
        }
        let mut listeners = BTreeMap::new();
        for (at, name) in names.iter().enumerate() {
            let taken = given
                .take_tcp_listener(at)
                .with_context(|| format!("take the socket `{name}` that was handed over"))?;
            if let Some(listener) = taken {
                listeners.insert(name.clone(), listener);
            }
        }
        Ok(Self::given(listeners))
    }

    /// Those that an earlier generation passed on.
    pub fn given(given: BTreeMap<String, TcpListener>) -> Self {
        Self { given, kept: Vec::new() }
    }

    /// The listener for a key of the configuration (`http_listen`): the one of that name (`http`), else a new one.
    pub fn take(&mut self, key: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
        let name = key.trim_end_matches("_listen");
        let listener = match self.given.remove(name) {
            Some(listener) => {
                listener.set_nonblocking(true).with_context(|| format!("{key}: prepare the socket handed over"))?;
                listener
            }
            None => bind(address).with_context(|| {
                format!("{key}: listen on {address}; is the port taken, or below 1024 without root?")
            })?,
        };
        self.kept.push((name.to_owned(), listener.try_clone().with_context(|| format!("{key}: keep the socket"))?));
        Ok(listener)
    }

    /// All that were taken, by their names.
    pub fn into_kept(self) -> Vec<(String, TcpListener)> {
        self.kept
    }

    /// Names that nobody asked for.
    pub fn left_over(&self) -> impl Iterator<Item = &str> {
        self.given.keys().map(String::as_str)
    }
}

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // `[::]` means every address, IPv4 too, whatever the machine's default is.
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
