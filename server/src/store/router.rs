//! What an app's owner set about the router: settings, logins, error pages, the bypass of a maintenance, redirects.
use super::{Result, Store, StoreError, parsed};
use crate::domain::error_page::{ErrorPage, PageKind};
use crate::domain::login::{LoginName, PasswordHash};
use crate::domain::router::{Key, LOGINS_MAX, RouterPolicy, Setting};
use crate::domain::{AppId, Hostname};
use anyhow::Context;
use std::collections::BTreeMap;

impl Store {
    /// All of it, as the proxy wants it.
    pub async fn router_policy(&self, app: AppId) -> Result<RouterPolicy> {
        let mut policy = RouterPolicy::default();
        let rows = sqlx::query!("SELECT key, value FROM router_settings WHERE app_id = ?", app.0)
            .fetch_all(&self.pool)
            .await?;
        for row in rows {
            let key: Key = parsed(&row.key, "router_settings.key")?;
            policy.set(key, &row.value).map_err(anyhow::Error::msg).context("read router_settings.value")?;
        }
        let rows = sqlx::query!("SELECT name, password_hash FROM logins WHERE app_id = ?", app.0)
            .fetch_all(&self.pool)
            .await?;
        for row in rows {
            let hash = parsed(&row.password_hash, "logins.password_hash")?;
            policy.logins.insert(parsed(&row.name, "logins.name")?, hash);
        }
        let rows =
            sqlx::query!("SELECT kind, html FROM error_pages WHERE app_id = ?", app.0).fetch_all(&self.pool).await?;
        for row in rows {
            let page = ErrorPage::try_from(row.html).map_err(anyhow::Error::msg).context("read error_pages.html")?;
            policy.pages.insert(parsed(&row.kind, "error_pages.kind")?, page);
        }
        policy.bypass = sqlx::query_scalar!("SELECT token_sha256 FROM maintenance_bypass WHERE app_id = ?", app.0)
            .fetch_optional(&self.pool)
            .await?;
        Ok(policy)
    }

    pub async fn set_router(&self, app: AppId, settings: &[Setting]) -> Result<()> {
        let mut transaction = self.begin_for(app).await?;
        for setting in settings {
            let (key, value) = (setting.key.name(), setting.text());
            sqlx::query!(
                "INSERT INTO router_settings (app_id, key, value) VALUES (?1, ?2, ?3)
                 ON CONFLICT (app_id, key) DO UPDATE SET value = ?3",
                app.0,
                key,
                value
            )
            .execute(&mut *transaction)
            .await?;
        }
        sqlx::query!("UPDATE apps SET provisional = 0 WHERE id = ?", app.0).execute(&mut *transaction).await?;
        transaction.commit().await?;
        self.announce();
        Ok(())
    }

    /// Takes settings back to their defaults.
    pub async fn unset_router(&self, app: AppId, keys: &[Key]) -> Result<()> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        for key in keys {
            let key = key.name();
            sqlx::query!("DELETE FROM router_settings WHERE app_id = ? AND key = ?", app.0, key)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        self.announce();
        Ok(())
    }

    /// Lets somebody visit by name and password, or gives a known name another password.
    pub async fn set_login(&self, app: AppId, name: &LoginName, hash: &PasswordHash) -> Result<()> {
        let mut transaction = self.begin_for(app).await?;
        let (name, hash) = (name.as_str(), hash.as_str());
        sqlx::query!(
            "INSERT INTO logins (app_id, name, password_hash) VALUES (?1, ?2, ?3)
             ON CONFLICT (app_id, name) DO UPDATE SET password_hash = ?3",
            app.0,
            name,
            hash
        )
        .execute(&mut *transaction)
        .await?;
        let row = sqlx::query!(
            r#"SELECT name, (SELECT COUNT(*) FROM logins WHERE app_id = ?1) AS "count!: i64" FROM apps WHERE id = ?1"#,
            app.0
        )
        .fetch_one(&mut *transaction)
        .await?;
        let max = i64::try_from(LOGINS_MAX).unwrap_or(i64::MAX);
        if row.count > max {
            return Err(StoreError::TooMany { what: "logins", app: row.name, max });
        }
        sqlx::query!("UPDATE apps SET provisional = 0 WHERE id = ?", app.0).execute(&mut *transaction).await?;
        transaction.commit().await?;
        self.announce();
        Ok(())
    }

    /// `false`: there is no such login.
    pub async fn remove_login(&self, app: AppId, name: &LoginName) -> Result<bool> {
        let name = name.as_str();
        let removed = sqlx::query!("DELETE FROM logins WHERE app_id = ? AND name = ?", app.0, name)
            .execute(&self.pool)
            .await?
            .rows_affected();
        self.announce();
        Ok(removed == 1)
    }

    pub async fn set_error_page(&self, app: AppId, kind: PageKind, page: &ErrorPage) -> Result<()> {
        let mut transaction = self.begin_for(app).await?;
        let (kind, html) = (kind.word(), page.html());
        sqlx::query!(
            "INSERT INTO error_pages (app_id, kind, html) VALUES (?1, ?2, ?3)
             ON CONFLICT (app_id, kind) DO UPDATE SET html = ?3",
            app.0,
            kind,
            html
        )
        .execute(&mut *transaction)
        .await?;
        sqlx::query!("UPDATE apps SET provisional = 0 WHERE id = ?", app.0).execute(&mut *transaction).await?;
        transaction.commit().await?;
        self.announce();
        Ok(())
    }

    /// `false`: the app has no page of its own there.
    pub async fn remove_error_page(&self, app: AppId, kind: PageKind) -> Result<bool> {
        let kind = kind.word();
        let removed = sqlx::query!("DELETE FROM error_pages WHERE app_id = ? AND kind = ?", app.0, kind)
            .execute(&self.pool)
            .await?
            .rows_affected();
        self.announce();
        Ok(removed == 1)
    }

    /// Lets the bearer of the token past a maintenance, and of no earlier one.
    pub async fn set_bypass(&self, app: AppId, token_sha256: &str) -> Result<()> {
        sqlx::query!(
            "INSERT INTO maintenance_bypass (app_id, token_sha256) VALUES (?1, ?2)
             ON CONFLICT (app_id) DO UPDATE SET token_sha256 = ?2",
            app.0,
            token_sha256
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Nobody gets past a maintenance any more.
    pub async fn remove_bypass(&self, app: AppId) -> Result<()> {
        sqlx::query!("DELETE FROM maintenance_bypass WHERE app_id = ?", app.0).execute(&self.pool).await?;
        Ok(())
    }

    /// Sends visitors of a domain of the app on to another host; `None`: lets it answer itself. `false`: no such domain.
    pub async fn redirect_domain(&self, app: AppId, host: &Hostname, target: Option<&Hostname>) -> Result<bool> {
        let mut transaction = self.begin_for(app).await?;
        let (host, target) = (host.as_str(), target.map(Hostname::as_str));
        let is_known = sqlx::query_scalar!("SELECT 1 FROM domains WHERE app_id = ? AND hostname = ?", app.0, host)
            .fetch_optional(&mut *transaction)
            .await?
            .is_some();
        sqlx::query!("DELETE FROM domain_redirects WHERE hostname = ?1 AND ?2", host, is_known)
            .execute(&mut *transaction)
            .await?;
        if is_known && target.is_some() {
            sqlx::query!("INSERT INTO domain_redirects (hostname, target) VALUES (?, ?)", host, target)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        self.announce();
        Ok(is_known)
    }

    /// Domains of the app whose visitors are sent on, and where to.
    pub async fn domain_redirects(&self, app: AppId) -> Result<BTreeMap<Hostname, Hostname>> {
        let rows = sqlx::query!(
            r#"SELECT r.hostname AS "hostname!", r.target AS "target!" FROM domain_redirects r
               JOIN domains d ON d.hostname = r.hostname WHERE d.app_id = ?"#,
            app.0
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                let host = parsed(&row.hostname, "domain_redirects.hostname")?;
                Ok((host, parsed(&row.target, "domain_redirects.target")?))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Moment;
    use crate::domain::login::SALT_BYTES;
    use crate::store::testing::store;

    #[tokio::test]
    async fn what_was_set_is_read_back_and_what_was_unset_has_its_default() {
        let (store, _dir) = store().await;
        let app = store.create_app(&"blog".parse().unwrap(), Moment::default()).await.unwrap().id;
        assert_eq!(store.router_policy(app).await.unwrap(), RouterPolicy::default());
        let settings = ["first-byte=60s", "allow=10.0.0.0/8", "sticky=on"].map(|word| word.parse().unwrap());
        store.set_router(app, &settings).await.unwrap();
        let hash = PasswordHash::of(b"correct horse", &[1; SALT_BYTES]).unwrap();
        store.set_login(app, &"alice".parse().unwrap(), &hash).await.unwrap();
        let page = ErrorPage::try_from("<h1>soon</h1>".to_owned()).unwrap();
        store.set_error_page(app, PageKind::BadGateway, &page).await.unwrap();
        store.set_bypass(app, "00").await.unwrap();
        let policy = store.router_policy(app).await.unwrap();
        assert_eq!(policy.shown(Key::FirstByte).as_deref(), Some("1 min"));
        assert_eq!((policy.logins.len(), policy.pages.len(), policy.bypass.as_deref()), (1, 1, Some("00")));
        store.unset_router(app, &[Key::FirstByte, Key::Allow, Key::Sticky]).await.unwrap();
        assert!(store.remove_login(app, &"alice".parse().unwrap()).await.unwrap());
        assert!(store.remove_error_page(app, PageKind::BadGateway).await.unwrap());
        assert!(!store.remove_error_page(app, PageKind::BadGateway).await.unwrap());
        store.remove_bypass(app).await.unwrap();
        assert_eq!(store.router_policy(app).await.unwrap(), RouterPolicy::default());
    }

    #[tokio::test]
    async fn an_app_has_a_bounded_number_of_logins() {
        let (store, _dir) = store().await;
        let app = store.create_app(&"blog".parse().unwrap(), Moment::default()).await.unwrap().id;
        let hash = PasswordHash::of(b"correct horse", &[1; SALT_BYTES]).unwrap();
        for number in 0..LOGINS_MAX {
            store.set_login(app, &format!("n{number}").parse().unwrap(), &hash).await.unwrap();
        }
        let full = store.set_login(app, &"one-more".parse().unwrap(), &hash).await;
        assert!(matches!(full, Err(StoreError::TooMany { .. })), "{full:?}");
        store.set_login(app, &"n1".parse().unwrap(), &hash).await.unwrap();
    }

    #[tokio::test]
    async fn only_a_domain_of_the_app_is_redirected_and_it_ends_with_the_domain() {
        let (store, _dir) = store().await;
        let blog = store.create_app(&"blog".parse().unwrap(), Moment::default()).await.unwrap().id;
        let shop = store.create_app(&"shop".parse().unwrap(), Moment::default()).await.unwrap().id;
        let (www, apex): (Hostname, Hostname) = ("www.example.com".parse().unwrap(), "example.com".parse().unwrap());
        assert!(!store.redirect_domain(blog, &www, Some(&apex)).await.unwrap());
        store.add_domain(blog, &www, Moment::default()).await.unwrap();
        assert!(store.redirect_domain(blog, &www, Some(&apex)).await.unwrap());
        assert!(!store.redirect_domain(shop, &www, None).await.unwrap(), "it is another app's");
        assert_eq!(store.domain_redirects(blog).await.unwrap(), BTreeMap::from([(www.clone(), apex)]));
        store.remove_domain(blog, &www).await.unwrap();
        store.add_domain(blog, &www, Moment::default()).await.unwrap();
        assert!(store.domain_redirects(blog).await.unwrap().is_empty());
    }
}
