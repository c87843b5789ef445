//! The last published route table: what lets a restarted server serve before it asks the engine anything.
use super::{Result, Store, from_json, to_json};
use crate::domain::route::RouteTable;

impl Store {
    pub async fn save_routes(&self, boot_id: &str, routes: &RouteTable) -> Result<()> {
        let json = to_json(routes)?;
        sqlx::query!(
            "INSERT INTO published_routes (only_row, boot_id, routes) VALUES (1, ?1, ?2)
             ON CONFLICT (only_row) DO UPDATE SET boot_id = ?1, routes = ?2",
            boot_id,
            json
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The table published last, if it was published in this boot of the machine: addresses of an earlier one mean nothing.
    pub async fn saved_routes(&self, boot_id: &str) -> Result<Option<RouteTable>> {
        let json = sqlx::query_scalar!("SELECT routes FROM published_routes WHERE boot_id = ?", boot_id)
            .fetch_optional(&self.pool)
            .await?;
        Ok(json.map(|json| from_json(&json, "published_routes.routes")).transpose()?)
    }
}
