//! Gets certificates from a CA by ACME, and renews them: looks → `domain::certificate_plan` → acts, over and over.
//!
//! Nothing here takes a certificate away that serves: a CA that fails leaves everything as it is, and is asked again later.
//! What was tried is a row before it begins. Nothing is spawned for an order: one task drives all of them.

mod authority;
mod board;
mod challenges;
mod dns_program;
mod issued;
mod order;
mod reconcile;
#[cfg(test)]
mod tests;
mod wish;

pub use board::Board;
pub use wish::Refusal;

use crate::clock::Clock;
use crate::domain::acme::{Acme, AcmeOff};
use crate::domain::certificate_state::CertificateState;
use crate::domain::{ChallengeTable, Hostname, Site};
use crate::outbound::Outbound;
use crate::store::Store;
use async_trait::async_trait;
use reconcile::Reconciler;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wish::{QUEUE_WISHES, Wish};

/// Who serves what is got here, and answers the CA.
#[async_trait]
pub trait Publisher: Send + Sync {
    /// What a CA that comes to check is answered from now on.
    fn set_challenges(&self, table: &ChallengeTable);
    /// The certificates in the store have changed.
    async fn certificates_changed(&self);
}

pub struct Tools {
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub outbound: Outbound,
    pub publisher: Arc<dyn Publisher>,
    pub site: Site,
    pub admin_host: Hostname,
    pub acme: Result<Acme, AcmeOff>,
    pub tracker: TaskTracker,
    pub stop: CancellationToken,
}

/// The handle. Cheap to clone.
#[derive(Clone)]
pub struct Certs {
    wishes: mpsc::Sender<Wish>,
    board: watch::Receiver<Arc<Board>>,
}

impl Certs {
    pub fn start(tools: Tools) -> Self {
        let (wishes, wished) = mpsc::channel(QUEUE_WISHES);
        let (shown, board) = watch::channel(Arc::new(Board::empty(tools.acme.as_ref().err().copied())));
        let (tracker, reconciler) = (tools.tracker.clone(), Reconciler::new(tools, wished, shown));
        tracker.spawn(reconciler.run());
        Self { wishes, board }
    }

    /// How a host fares with its certificate.
    pub fn state(&self, host: &Hostname) -> CertificateState {
        self.board.borrow().state(host)
    }

    /// How all hosts fare, as it was when the planner looked last.
    pub fn board(&self) -> Arc<Board> {
        self.board.borrow().clone()
    }

    /// Asks for a new certificate now, and waits until it is there, or refused.
    pub async fn renew(&self, host: Hostname) -> Result<(), Refusal> {
        let (wish, answer) = Wish::new(host);
        self.wishes.try_send(wish).map_err(|_| Refusal::new("too many wait for certificates already"))?;
        // The other side is gone when the server stops.
        answer.await.unwrap_or_else(|_| Err(Refusal::new("the server is stopping")))
    }
}
