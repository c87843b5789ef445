//! Certificates from the store to the proxy: whenever one was put or removed, by whomever.
use super::{House, Scheduler};
use crate::proxy::CertificateFault;
use std::sync::Arc;

impl Scheduler {
    /// Has the proxy serve what the store holds; returns what it cannot serve. The proxy acts on it before this returns.
    pub async fn serve_certificates(&self) -> crate::store::Result<Vec<CertificateFault>> {
        self.0.serve_certificates().await
    }
}

impl House {
    /// Follows the store, until the server stops.
    pub(super) async fn follow_certificates(self: Arc<Self>) {
        let mut changes = self.tools.store.certificate_changes();
        loop {
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = self.tools.stop.cancelled() => return,
            }
            match self.serve_certificates().await {
                Ok(faults) => faults.iter().for_each(|fault| tracing::warn!("{fault}")),
                Err(error) => tracing::warn!("cannot read the certificates; those served go on to be: {error}"),
            }
        }
    }

    async fn serve_certificates(&self) -> crate::store::Result<Vec<CertificateFault>> {
        // In the order in which they were read, so that an older state never comes last.
        let _order = self.publisher.certifying.lock().await;
        let table = self.tools.store.certificates().await?.into_iter().collect();
        Ok(self.tools.proxy.set_certificates(&table))
    }
}
