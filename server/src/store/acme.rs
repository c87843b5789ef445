//! Getting certificates by ACME: our accounts, their keys sealed; what was tried for a host; which hosts there are.
use super::{Result, Store, narrow, parsed};
use crate::domain::renewal::Attempt;
use crate::domain::{AppName, CertificateHost, Hostname, Moment, Secret};
use std::collections::BTreeMap;

/// An account at a CA.
pub struct AcmeAccount {
    pub email: String,
    /// As the ACME client writes it, the private key included.
    pub credentials: Secret<String>,
}

impl Store {
    pub async fn acme_account(&self, directory: &str) -> Result<Option<AcmeAccount>> {
        let row = sqlx::query!("SELECT email, sealed_credentials FROM acme_accounts WHERE directory = ?", directory)
            .fetch_optional(&self.pool)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let credentials = Secret::new(self.seal.open(&place(directory), &row.sealed_credentials)?);
        Ok(Some(AcmeAccount { email: row.email, credentials }))
    }

    /// Keeps an account, in the place of the one that was known for this directory.
    pub async fn put_acme_account(&self, directory: &str, account: &AcmeAccount, now: Moment) -> Result<()> {
        let sealed = self.seal.seal(&place(directory), account.credentials.reveal().as_bytes())?;
        let (email, at) = (&account.email, now.unix_ms());
        sqlx::query!(
            "INSERT INTO acme_accounts (directory, email, sealed_credentials, made_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (directory) DO UPDATE SET email = ?2, sealed_credentials = ?3, made_at = ?4",
            directory,
            email,
            sealed,
            at
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The CA knows it no longer.
    pub async fn forget_acme_account(&self, directory: &str) -> Result<()> {
        sqlx::query!("DELETE FROM acme_accounts WHERE directory = ?", directory).execute(&self.pool).await?;
        Ok(())
    }

    /// The last attempt for each host.
    pub async fn acme_attempts(&self) -> Result<BTreeMap<CertificateHost, Attempt>> {
        let rows = sqlx::query!("SELECT host, failures, tried_at, next_at, barred_until, complaint FROM acme_attempts")
            .fetch_all(&self.pool)
            .await?;
        rows.into_iter()
            .map(|row| {
                let attempt = Attempt {
                    failures: narrow(row.failures, "acme_attempts.failures")?,
                    tried_at: Moment::from_unix_ms(row.tried_at),
                    next_at: Moment::from_unix_ms(row.next_at),
                    barred_until: row.barred_until.map(Moment::from_unix_ms),
                    complaint: row.complaint,
                };
                Ok((parsed(&row.host, "acme_attempts.host")?, attempt))
            })
            .collect()
    }

    pub async fn put_acme_attempt(&self, host: &CertificateHost, attempt: &Attempt) -> Result<()> {
        let (text, failures) = (host.to_string(), i64::from(attempt.failures));
        let (tried_at, next_at) = (attempt.tried_at.unix_ms(), attempt.next_at.unix_ms());
        let barred_until = attempt.barred_until.map(Moment::unix_ms);
        sqlx::query!(
            "INSERT INTO acme_attempts (host, failures, tried_at, next_at, barred_until, complaint)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (host) DO UPDATE
             SET failures = ?2, tried_at = ?3, next_at = ?4, barred_until = ?5, complaint = ?6",
            text,
            failures,
            tried_at,
            next_at,
            barred_until,
            attempt.complaint
        )
        .execute(&self.pool)
        .await?;
        // Pages that show how hosts fare are fresh by it.
        self.announce();
        Ok(())
    }

    /// Forgets what was tried for a host that nobody wants any more.
    pub async fn forget_acme_attempt(&self, host: &CertificateHost) -> Result<()> {
        let text = host.to_string();
        sqlx::query!("DELETE FROM acme_attempts WHERE host = ?", text).execute(&self.pool).await?;
        Ok(())
    }

    /// Domains of all apps that are there to stay.
    pub async fn all_domains(&self) -> Result<Vec<Hostname>> {
        let hosts = sqlx::query_scalar!(
            "SELECT d.hostname FROM domains d JOIN apps a ON a.id = d.app_id WHERE a.provisional = 0 AND a.destroying = 0"
        )
        .fetch_all(&self.pool)
        .await?;
        hosts.iter().map(|host| Ok(parsed(host, "domains.hostname")?)).collect()
    }

    /// Names of all apps that are there to stay, and those that they had before and still answer at.
    pub async fn all_names(&self) -> Result<Vec<AppName>> {
        let names = sqlx::query_scalar!(
            r#"SELECT name AS "name!" FROM apps WHERE provisional = 0 AND destroying = 0
               UNION SELECT f.name FROM former_names f JOIN apps a ON a.id = f.app_id
               WHERE a.provisional = 0 AND a.destroying = 0"#
        )
        .fetch_all(&self.pool)
        .await?;
        names.iter().map(|name| Ok(parsed(name, "apps.name")?)).collect()
    }
}

fn place(directory: &str) -> String {
    format!("acme_accounts/{directory}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::renewal::{Cause, Refused};
    use crate::store::testing::store;

    #[tokio::test]
    async fn an_account_is_read_back_and_the_file_does_not_show_its_key() {
        let (store, dir) = store().await;
        let account = |email: &str| AcmeAccount {
            email: email.to_owned(),
            credentials: Secret::new("{\"key\":\"canary-0815\"}".to_owned()),
        };
        store.put_acme_account("https://a.example/dir", &account("a@example.com"), Moment::default()).await.unwrap();
        store.put_acme_account("https://a.example/dir", &account("b@example.com"), Moment::default()).await.unwrap();
        let read = store.acme_account("https://a.example/dir").await.unwrap().unwrap();
        assert_eq!((read.email.as_str(), read.credentials.reveal().contains("canary-0815")), ("b@example.com", true));
        assert!(store.acme_account("https://b.example/dir").await.unwrap().is_none());
        store.forget_acme_account("https://a.example/dir").await.unwrap();
        assert!(store.acme_account("https://a.example/dir").await.unwrap().is_none());
        store.put_acme_account("https://a.example/dir", &account("a@example.com"), Moment::default()).await.unwrap();
        store.close().await;
        for file in std::fs::read_dir(dir.path()).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            assert!(!bytes.windows(11).any(|window| window == b"canary-0815"));
        }
    }

    #[tokio::test]
    async fn the_last_attempt_of_a_host_is_kept() {
        let (store, _dir) = store().await;
        let (host, now) = ("*.example.com".parse().unwrap(), Moment::from_unix_ms(5));
        let refused = Refused { complaint: "no".to_owned(), cause: Cause::RateLimit, retry_after: None };
        let failed = Attempt::fail(None, &host, &refused, now);
        store.put_acme_attempt(&host, &failed).await.unwrap();
        assert_eq!(store.acme_attempts().await.unwrap(), [(host.clone(), failed)].into());
        let succeeded = Attempt::succeed(now);
        store.put_acme_attempt(&host, &succeeded).await.unwrap();
        assert_eq!(store.acme_attempts().await.unwrap(), [(host.clone(), succeeded)].into());
        store.forget_acme_attempt(&host).await.unwrap();
        assert!(store.acme_attempts().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn hosts_of_provisional_and_destroyed_apps_do_not_count() {
        let (store, _dir) = store().await;
        let now = Moment::default();
        let blog = store.create_app(&"blog".parse().unwrap(), now).await.unwrap();
        store.app_for_push(&"pushed".parse().unwrap(), now).await.unwrap();
        store.add_domain(blog.id, &"www.example.com".parse().unwrap(), now).await.unwrap();
        store.rename_app(blog.id, &"news".parse().unwrap()).await.unwrap();
        let names: Vec<String> = store.all_names().await.unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(names, ["blog", "news"]);
        assert_eq!(store.all_domains().await.unwrap(), ["www.example.com".parse().unwrap()]);
    }
}
