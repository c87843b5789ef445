//! SSH keys that may push and command.
use super::{Result, Store, StoreError, is_unique_violation};
use crate::domain::{Key, KeyId, Moment};

impl Store {
    /// Adds a key. Name and fingerprint are each unique.
    pub async fn add_key(&self, name: &str, fingerprint: &str, public_key: &str, now: Moment) -> Result<KeyId> {
        let at = now.unix_ms();
        let added = sqlx::query!(
            "INSERT INTO keys (name, fingerprint, public_key, added_at) VALUES (?, ?, ?, ?)",
            name,
            fingerprint,
            public_key,
            at
        )
        .execute(&self.pool)
        .await;
        match added {
            Ok(done) => {
                self.announce();
                Ok(KeyId(done.last_insert_rowid()))
            }
            Err(error) if is_unique_violation(&error) => {
                let by_name = self.keys().await?.iter().any(|key| key.name == name);
                let taken = if by_name { ("key name", name) } else { ("key", fingerprint) };
                Err(StoreError::Taken { what: taken.0, name: taken.1.to_owned() })
            }
            Err(error) => Err(error.into()),
        }
    }

    pub async fn keys(&self) -> Result<Vec<Key>> {
        let rows = sqlx::query_as!(
            KeyRow,
            r#"SELECT id AS "id!", name, fingerprint, public_key, added_at FROM keys ORDER BY name"#
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(KeyRow::into_key).collect())
    }

    /// The key with this fingerprint (`SHA256:…`), if it may log in.
    pub async fn key_by_fingerprint(&self, fingerprint: &str) -> Result<Option<Key>> {
        let row = sqlx::query_as!(
            KeyRow,
            r#"SELECT id AS "id!", name, fingerprint, public_key, added_at FROM keys WHERE fingerprint = ?"#,
            fingerprint
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(KeyRow::into_key))
    }

    /// Removes a key by name or fingerprint and says which it was.
    pub async fn remove_key(&self, name_or_fingerprint: &str) -> Result<Key> {
        let row = sqlx::query_as!(
            KeyRow,
            r#"DELETE FROM keys WHERE name = ?1 OR fingerprint = ?1
               RETURNING id AS "id!", name AS "name!", fingerprint AS "fingerprint!", public_key AS "public_key!", added_at AS "added_at!""#,
            name_or_fingerprint
        )
        .fetch_optional(&self.pool)
        .await?;
        self.announce();
        row.map(KeyRow::into_key)
            .ok_or_else(|| StoreError::Missing { what: "key", name: name_or_fingerprint.to_owned() })
    }
}

struct KeyRow {
    id: i64,
    name: String,
    fingerprint: String,
    public_key: String,
    added_at: i64,
}

impl KeyRow {
    fn into_key(self) -> Key {
        Key {
            id: KeyId(self.id),
            name: self.name,
            fingerprint: self.fingerprint,
            public_key: self.public_key,
            added_at: Moment::from_unix_ms(self.added_at),
        }
    }
}
