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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::store;

    #[tokio::test]
    async fn the_newest_rows_of_the_audit_log_stay() {
        let (store, _dir) = store().await;
        let by = Pusher::Host { uid: 0 };
        let record = async |what: &str| store.record(Moment::default(), &by, None, what, "ok").await.unwrap();
        record("oldest").await;
        record("old").await;
        // As if so many rows had come in between that the first one is just beyond the limit.
        sqlx::query("UPDATE audit_log SET id = id + ? WHERE what = 'old'")
            .bind(ROWS_MAX - 2)
            .execute(&store.pool)
            .await
            .unwrap();
        let kept = async || -> Vec<String> {
            sqlx::query_scalar("SELECT what FROM audit_log ORDER BY id").fetch_all(&store.pool).await.unwrap()
        };
        assert_eq!(kept().await, ["oldest", "old"]);
        record("new").await;
        assert_eq!(kept().await, ["old", "new"]);
    }
}
