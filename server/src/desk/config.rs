//! Whether the config vars that are stored are those that run.
use super::Desk;
use crate::domain::release::Release;
use crate::domain::{App, VarName};
use crate::store::Result;
use std::collections::BTreeSet;

impl Desk {
    /// Names of config vars whose stored value, presence or absence is not what the live release has.
    pub async fn pending_config(&self, app: &App, live: &Release) -> Result<BTreeSet<VarName>> {
        let stored = self.store.config(app.id).await?;
        let names = stored.keys().chain(live.config.keys());
        Ok(names.filter(|name| stored.get(*name) != live.config.get(*name)).cloned().collect())
    }
}
