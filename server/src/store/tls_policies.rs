//! What apps want of HTTPS.
use super::{Result, Store, narrow};
use crate::domain::{AppId, TlsPolicy};

impl Store {
    pub async fn tls_policy(&self, app: AppId) -> Result<TlsPolicy> {
        let row = sqlx::query!(
            r#"SELECT redirect AS "redirect: bool", hsts_seconds FROM tls_policies WHERE app_id = ?"#,
            app.0
        )
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(TlsPolicy::default()) };
        let hsts_seconds = row.hsts_seconds.map(|seconds| narrow(seconds, "tls_policies.hsts_seconds")).transpose()?;
        Ok(TlsPolicy { redirect: row.redirect, hsts_seconds })
    }

    pub async fn set_tls_policy(&self, app: AppId, policy: TlsPolicy) -> Result<()> {
        let mut transaction = self.begin_for(app).await?;
        sqlx::query!(
            "INSERT INTO tls_policies (app_id, redirect, hsts_seconds) VALUES (?1, ?2, ?3)
             ON CONFLICT (app_id) DO UPDATE SET redirect = ?2, hsts_seconds = ?3",
            app.0,
            policy.redirect,
            policy.hsts_seconds
        )
        .execute(&mut *transaction)
        .await?;
        sqlx::query!("UPDATE apps SET provisional = 0 WHERE id = ?", app.0).execute(&mut *transaction).await?;
        transaction.commit().await?;
        self.announce();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Moment;
    use crate::store::testing::store;

    #[tokio::test]
    async fn a_policy_is_read_back_as_it_was_set() {
        let (store, _dir) = store().await;
        let app = store.create_app(&"blog".parse().unwrap(), Moment::default()).await.unwrap().id;
        assert_eq!(store.tls_policy(app).await.unwrap(), TlsPolicy::default());
        for policy in [
            TlsPolicy { redirect: false, hsts_seconds: Some(31_536_000) },
            TlsPolicy { redirect: true, hsts_seconds: None },
        ] {
            store.set_tls_policy(app, policy).await.unwrap();
            assert_eq!(store.tls_policy(app).await.unwrap(), policy);
        }
    }
}
