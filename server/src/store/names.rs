//! What an app is called and where it answers: renames, the names it had before, and its domains.
use super::{Result, Store, StoreError, is_unique_violation, parsed};
use crate::domain::{AppId, AppName, Hostname, Moment};
use sqlx::SqliteConnection;

/// Former names that one app may keep.
const FORMER_NAMES_MAX: i64 = 10;
/// Domains that one app may have.
const DOMAINS_MAX: i64 = 100;

/// A host name that somebody brought for an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    pub host: Hostname,
    pub added_at: Moment,
}

impl Store {
    /// Gives an app another name; the one it had stays its own until it is freed. A name it had before is taken back.
    pub async fn rename_app(&self, app: AppId, to: &AppName) -> Result<()> {
        let mut transaction = self.begin_for(app).await?;
        refuse_former_name(to, Some(app), &mut transaction).await?;
        let new = to.as_str();
        let old = sqlx::query_scalar!("SELECT name FROM apps WHERE id = ?", app.0)
            .fetch_optional(&mut *transaction)
            .await?
            .ok_or_else(|| StoreError::Missing { what: "app", name: app.0.to_string() })?;
        sqlx::query!("DELETE FROM former_names WHERE name = ?", new).execute(&mut *transaction).await?;
        let renamed = sqlx::query!("UPDATE apps SET name = ?, provisional = 0 WHERE id = ?", new, app.0)
            .execute(&mut *transaction)
            .await;
        match renamed {
            Ok(_) => {}
            Err(error) if is_unique_violation(&error) => {
                return Err(StoreError::Taken { what: "app name", name: new.to_owned() });
            }
            Err(error) => return Err(error.into()),
        }
        sqlx::query!("INSERT INTO former_names (name, app_id) VALUES (?, ?)", old, app.0)
            .execute(&mut *transaction)
            .await?;
        let kept = sqlx::query_scalar!("SELECT COUNT(*) FROM former_names WHERE app_id = ?", app.0)
            .fetch_one(&mut *transaction)
            .await?;
        if kept > FORMER_NAMES_MAX {
            return Err(StoreError::TooMany { what: "former names", app: old, max: FORMER_NAMES_MAX });
        }
        transaction.commit().await?;
        self.announce();
        Ok(())
    }

    pub async fn former_names(&self, app: AppId) -> Result<Vec<AppName>> {
        let names = sqlx::query_scalar!("SELECT name FROM former_names WHERE app_id = ? ORDER BY name", app.0)
            .fetch_all(&self.pool)
            .await?;
        names.iter().map(|name| Ok(parsed(name, "former_names.name")?)).collect()
    }

    /// Frees a name that the app had before. `false`: it never had it.
    pub async fn free_name(&self, app: AppId, name: &AppName) -> Result<bool> {
        let text = name.as_str();
        let freed = sqlx::query!("DELETE FROM former_names WHERE name = ? AND app_id = ?", text, app.0)
            .execute(&self.pool)
            .await?
            .rows_affected();
        self.announce();
        Ok(freed == 1)
    }

    /// Lets a host lead to an app. `Taken` when it leads to one already.
    pub async fn add_domain(&self, app: AppId, host: &Hostname, now: Moment) -> Result<()> {
        let mut transaction = self.begin_for(app).await?;
        let (text, at) = (host.as_str(), now.unix_ms());
        let added = sqlx::query!("INSERT INTO domains (hostname, app_id, added_at) VALUES (?, ?, ?)", text, app.0, at)
            .execute(&mut *transaction)
            .await;
        match added {
            Ok(_) => {}
            Err(error) if is_unique_violation(&error) => {
                return Err(StoreError::Taken { what: "domain", name: text.to_owned() });
            }
            Err(error) => return Err(error.into()),
        }
        let row = sqlx::query!(
            r#"SELECT name, (SELECT COUNT(*) FROM domains WHERE app_id = ?1) AS "count!: i64" FROM apps WHERE id = ?1"#,
            app.0
        )
        .fetch_one(&mut *transaction)
        .await?;
        if row.count > DOMAINS_MAX {
            return Err(StoreError::TooMany { what: "domains", app: row.name, max: DOMAINS_MAX });
        }
        sqlx::query!("UPDATE apps SET provisional = 0 WHERE id = ?", app.0).execute(&mut *transaction).await?;
        transaction.commit().await?;
        self.announce();
        Ok(())
    }

    /// `false`: the app does not have it.
    pub async fn remove_domain(&self, app: AppId, host: &Hostname) -> Result<bool> {
        let text = host.as_str();
        let removed = sqlx::query!("DELETE FROM domains WHERE hostname = ? AND app_id = ?", text, app.0)
            .execute(&self.pool)
            .await?
            .rows_affected();
        self.announce();
        Ok(removed == 1)
    }

    pub async fn domains(&self, app: AppId) -> Result<Vec<Domain>> {
        let rows = sqlx::query!("SELECT hostname, added_at FROM domains WHERE app_id = ? ORDER BY hostname", app.0)
            .fetch_all(&self.pool)
            .await?;
        rows.into_iter()
            .map(|row| {
                let host = parsed(&row.hostname, "domains.hostname")?;
                Ok(Domain { host, added_at: Moment::from_unix_ms(row.added_at) })
            })
            .collect()
    }
}

/// A name that another app than `except` had before is still that app's.
pub(super) async fn refuse_former_name(
    name: &AppName,
    except: Option<AppId>,
    connection: &mut SqliteConnection,
) -> Result<()> {
    let (text, except) = (name.as_str(), except.map(|app| app.0));
    let of = sqlx::query_scalar!(
        "SELECT a.name FROM former_names f JOIN apps a ON a.id = f.app_id WHERE f.name = ?1 AND a.id IS NOT ?2",
        text,
        except
    )
    .fetch_optional(connection)
    .await?;
    of.map_or(Ok(()), |of| Err(StoreError::FormerName { name: text.to_owned(), of }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::store;

    fn name(text: &str) -> AppName {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn a_former_name_leads_to_its_app_until_it_is_freed() {
        let (store, _dir) = store().await;
        let app = store.create_app(&name("blog"), Moment::default()).await.unwrap();
        store.rename_app(app.id, &name("news")).await.unwrap();
        assert_eq!(store.app(&name("blog")).await.unwrap().name, name("news"));
        assert_eq!(store.app_for_push(&name("blog"), Moment::default()).await.unwrap().id, app.id);
        let taken = store.create_app(&name("blog"), Moment::default()).await;
        assert!(matches!(taken, Err(StoreError::FormerName { .. })), "{taken:?}");
        let other = store.create_app(&name("shop"), Moment::default()).await.unwrap();
        assert!(matches!(store.rename_app(other.id, &name("blog")).await, Err(StoreError::FormerName { .. })));
        assert!(matches!(store.rename_app(other.id, &name("news")).await, Err(StoreError::Taken { .. })));
        assert!(!store.free_name(other.id, &name("blog")).await.unwrap(), "only its own app can free it");
        assert!(store.free_name(app.id, &name("blog")).await.unwrap());
        assert!(store.find_app(&name("blog")).await.unwrap().is_none());
        store.rename_app(other.id, &name("blog")).await.unwrap();
        assert_eq!(store.former_names(other.id).await.unwrap(), [name("shop")]);
    }

    #[tokio::test]
    async fn an_app_can_take_its_former_name_back_and_keeps_a_bounded_number() {
        let (store, _dir) = store().await;
        let app = store.create_app(&name("blog"), Moment::default()).await.unwrap();
        store.rename_app(app.id, &name("news")).await.unwrap();
        store.rename_app(app.id, &name("blog")).await.unwrap();
        assert_eq!(store.former_names(app.id).await.unwrap(), [name("news")]);
        for n in 1..FORMER_NAMES_MAX {
            store.rename_app(app.id, &name(&format!("n{n}"))).await.unwrap();
        }
        let full = store.rename_app(app.id, &name("one-more")).await;
        assert!(matches!(full, Err(StoreError::TooMany { .. })), "{full:?}");
        assert!(store.find_app(&name("one-more")).await.unwrap().is_none(), "a refused rename changes nothing");
    }

    #[tokio::test]
    async fn a_domain_leads_to_one_app() {
        let (store, _dir) = store().await;
        let blog = store.create_app(&name("blog"), Moment::default()).await.unwrap();
        let shop = store.create_app(&name("shop"), Moment::default()).await.unwrap();
        let host: Hostname = "www.example.com".parse().unwrap();
        store.add_domain(blog.id, &host, Moment::default()).await.unwrap();
        assert!(matches!(store.add_domain(shop.id, &host, Moment::default()).await, Err(StoreError::Taken { .. })));
        assert!(!store.remove_domain(shop.id, &host).await.unwrap());
        assert!(store.remove_domain(blog.id, &host).await.unwrap());
        store.add_domain(shop.id, &host, Moment::default()).await.unwrap();
        assert_eq!(store.domains(shop.id).await.unwrap().len(), 1);
    }
}
