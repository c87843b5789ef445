//! The proxy: the only holder of visitors' sockets. It listens, finds the app by host, forwards, counts and drains.
//!
//! Shape: one thread per core, each with its own current-thread runtime, accept loop and upstream pool. Only a snapshot of
//! the routes, atomics and channels cross threads; a request takes no lock. The control plane talks to it through
//! [`ProxyHandle`]; what flows back goes through [`RouterLog`] and [`Waker`].
//!
//! A request, in reading order: `worker` accepts (`proxy_protocol`) · `handshake` secures it where it comes by HTTPS (`tls`) ·
//! `gated_io` and `head_gate` judge the raw head (`h2_io`, `h2_frames` and `h2_head` what comes by HTTP/2, through `h2_in`) ·
//! `answer` finds the app (`entrance`, `host`, `snapshot`), and `admission` asks what its owner set (`rules`) · `forward`
//! claims an instance (`balance`, `claim`, or waits in `crowd`), takes a connection (`pool`, `upstream`) and sends ·
//! by HTTP/1.1 `h1_out` says it (`h1_request`) and judges what comes back (`h1_answer`), by HTTP/2 `trunk` does · `body` streams it · `tunnel` and `relay` after an upgrade. `exchange` accounts for
//! it, `flight` is what `watch` looks at every tick: all time limits but that of a connect are kept there, without a timer
//! per request.

mod admin;
mod admission;
mod answer;
mod balance;
mod body;
mod buckets;
mod chunk_scan;
mod claim;
mod client_stream;
mod control;
mod cookies;
mod crowd;
mod dress;
mod entrance;
mod error_page;
mod exchange;
mod fault;
mod flight;
mod forward;
mod frames;
mod gated_io;
mod h1_answer;
mod h1_answer_head;
mod h1_out;
mod h1_request;
mod h2_frames;
mod h2_head;
mod h2_in;
mod h2_io;
mod handle;
mod handshake;
mod head_gate;
mod head_scan;
mod headers;
mod held;
mod host;
mod limits;
mod log_line;
mod logins;
mod pool;
mod proxy_protocol;
mod redirect;
mod refusal;
mod relay;
mod request_id;
mod rules;
mod snapshot;
mod target;
#[cfg(test)]
mod tests;
mod tls;
mod trunk;
mod tunnel;
mod upstream;
mod visitor;
mod watch;
mod wire;
mod worker;

/// What `claim.rs` counts with; the loom test puts its own here.
mod sync {
    pub(super) use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
}

use crate::domain::route::RouteTable;
use crate::domain::{AppId, CertificateTable, Cidr, Hostname};
use crate::generation::Elders;
use crate::visit::Visit;
use std::net::TcpListener;
use tokio::sync::mpsc;

pub use handle::{ProxyHandle, start};
pub use held::HoldReport;
pub use target::DrainReport;
pub use tls::CertificateFault;

#[derive(Default)]
pub struct ProxySettings {
    /// Threads that carry requests; 0 means one per core.
    pub threads: usize,
    /// Visitors' connections that each of them carries; beyond that they wait at the listener. 0 means 10,000.
    pub connections_max: usize,
    /// Hosts of the dashboard; they win over an app's.
    pub admin_hosts: Vec<Hostname>,
    /// Proxies whose word about their visitors counts.
    pub trusted_proxies: Vec<Cidr>,
    pub proxy_protocol: ProxyProtocol,
    /// Where requests for them go; without it they find nothing.
    pub dashboard: Option<mpsc::Sender<Visit>>,
    /// Where visitors come by HTTPS, and the certificates to begin with; without it nobody does.
    pub https: Option<(TcpListener, CertificateTable)>,
    /// The table to begin with: visitors may wait at a listener that was handed over, and are answered at once.
    pub routes: RouteTable,
    /// Earlier servers that still send to instances of ours.
    pub elders: Elders,
}

/// Whether every connection begins with who it is from, in the PROXY protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyProtocol {
    #[default]
    Off,
    /// A connection that does not is ended.
    Required,
}

/// Takes the router's lines, one per request. Called from the proxy's threads: must not block.
pub trait RouterLog: Send + Sync {
    fn line(&self, app: AppId, line: String);
}

/// Hears that an instance of an app finished draining. Called from the proxy's threads and from within
/// [`ProxyHandle::set_routes`]: must not block, and must not call the proxy back.
pub trait Waker: Send + Sync {
    fn app_changed(&self, app: AppId);
}
