//! The proxy: the only holder of visitors' sockets. It listens, finds the app by host, forwards, counts and drains.
//!
//! Shape: one thread per core, each with its own current-thread runtime, accept loop and upstream pool. Only a snapshot of
//! the routes, atomics and channels cross threads; a request takes no lock. The control plane talks to it through
//! [`ProxyHandle`]; what flows back goes through [`RouterLog`] and [`Waker`].
//!
//! A request, in reading order: `worker` accepts · `gated_io` and `head_gate` judge the raw head · `answer` finds the app
//! (`host`, `snapshot`) · `forward` claims an instance (`balance`, `claim`), takes a connection (`pool`) and sends ·
//! `body` streams back · `tunnel` after an upgrade. `exchange` accounts for it, `flight` is what `watch` looks at every
//! tick: all time limits but that of a connect are kept there, without a timer per request.

mod admin;
mod answer;
mod balance;
mod body;
mod claim;
mod control;
mod error_page;
mod exchange;
mod fault;
mod flight;
mod forward;
mod gated_io;
mod handle;
mod head_gate;
mod head_scan;
mod headers;
mod held;
mod host;
mod limits;
mod log_line;
mod pool;
mod redirect;
mod refusal;
mod request_id;
mod snapshot;
mod target;
#[cfg(test)]
mod tests;
mod tunnel;
mod upstream;
mod watch;
mod wire;
mod worker;

/// What `claim.rs` counts with; the loom test puts its own here.
mod sync {
    pub(super) use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
}

use crate::domain::{AppId, Hostname};
use crate::generation::Elders;
use crate::visit::Visit;
use tokio::sync::mpsc;

pub use handle::{ProxyHandle, start};
pub use held::HoldReport;
pub use target::DrainReport;

#[derive(Clone, Debug, Default)]
pub struct ProxySettings {
    /// Threads that carry requests; 0 means one per core.
    pub threads: usize,
    /// Hosts of the dashboard; they win over an app's.
    pub admin_hosts: Vec<Hostname>,
    /// Where requests for them go; without it they find nothing.
    pub dashboard: Option<mpsc::Sender<Visit>>,
    /// Earlier servers that still send to instances of ours.
    pub elders: Elders,
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
