//! Who did what, and how it ended: kept in the same words that the person saw.
use super::{Result, Store};
use crate::domain::{AppName, Moment, Pusher};

/// Rows kept; the oldest go first.
const ROWS_MAX: i64 = 10_000;

impl Store {
    pub async fn record(
        &self,
        now: Moment,
        who: &Pusher,
        app: Option<&AppName>,
        what: &str,
        result: &str,
    ) -> Result<()> {
        let (at, who, app) = (now.unix_ms(), who.to_string(), app.map(AppName::as_str));
        sqlx::query!(
            "INSERT INTO audit_log (at, who, app, what, result) VALUES (?, ?, ?, ?, ?)",
            at,
            who,
            app,
            what,
            result
        )
        .execute(&self.pool)
        .await?;
        sqlx::query!("DELETE FROM audit_log WHERE id <= (SELECT MAX(id) FROM audit_log) - ?", ROWS_MAX)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}
