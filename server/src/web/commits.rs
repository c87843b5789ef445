//! What commits say, asked off the async threads.
use super::Room;
use super::words::plain;
use crate::builder::Said;
use crate::domain::{AppKey, Oid};

impl Room {
    /// What each commit says, made safe to show; empty where it is gone.
    pub(super) async fn said(&self, app: &AppKey, commits: Vec<Oid>) -> Vec<Said> {
        let (repos, app, count) = (self.tools().repos.clone(), app.clone(), commits.len());
        let asked = tokio::task::spawn_blocking(move || repos.said(&app, &commits)).await;
        let said = asked.unwrap_or_else(|error| {
            tracing::warn!("cannot read what commits say: {error}");
            vec![Said::default(); count]
        });
        said.into_iter().map(|said| Said { subject: plain(&said.subject), author: plain(&said.author) }).collect()
    }

    pub(super) async fn said_one(&self, app: &AppKey, commit: &Oid) -> Said {
        self.said(app, vec![commit.clone()]).await.pop().unwrap_or_default()
    }
}
