//! Login links and sessions of the pages; a token is never kept, only its hash.
use super::{Result, Store, from_json, random_hex, to_json};
use crate::domain::session::{LINK_LIFE, SESSION_IDLE, SESSION_LIFE, Session, SessionId, Token, TokenHash};
use crate::domain::{KeyId, Moment, Pusher};
use std::time::Duration;

/// Unused links and live sessions kept; the oldest go first.
const ROWS_MAX: i64 = 1000;
/// A session's use is noted at most this often: reading pages shall not write all the time.
const NOTE_EVERY: Duration = Duration::from_mins(10);

impl Store {
    /// Whether anybody may log in at all.
    pub async fn has_keys(&self) -> Result<bool> {
        Ok(sqlx::query_scalar!(r#"SELECT EXISTS (SELECT 1 FROM keys) AS "some!: bool""#).fetch_one(&self.pool).await?)
    }

    /// Makes a login link's token. Who asked is who will be logged in.
    pub async fn add_login_link(&self, who: &Pusher, now: Moment) -> Result<Token> {
        let token = fresh_token()?;
        let (hash, json, key) = (token.hash(), to_json(who)?, key_of(who));
        let (bytes, at, expires_at) = (hash.as_bytes(), now.unix_ms(), now.plus(LINK_LIFE).unix_ms());
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query!("DELETE FROM login_links WHERE expires_at <= ?", at).execute(&mut *transaction).await?;
        sqlx::query!(
            "INSERT INTO login_links (hash, who, key_id, expires_at) VALUES (?, ?, ?, ?)",
            bytes,
            json,
            key,
            expires_at
        )
        .execute(&mut *transaction)
        .await?;
        sqlx::query!(
            "DELETE FROM login_links WHERE hash IN (SELECT hash FROM login_links ORDER BY expires_at DESC LIMIT -1 OFFSET ?)",
            ROWS_MAX
        )
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(token)
    }

    /// Whom a link would log in, if it is still good. Changes nothing.
    pub async fn login_link(&self, link: &TokenHash, now: Moment) -> Result<Option<Pusher>> {
        let (bytes, at) = (link.as_bytes(), now.unix_ms());
        let who = sqlx::query_scalar!("SELECT who FROM login_links WHERE hash = ? AND expires_at > ?", bytes, at)
            .fetch_optional(&self.pool)
            .await?;
        Ok(who.map(|who| from_json(&who, "login_links.who")).transpose()?)
    }

    /// Uses a link up and opens a session; `None` when it was used or has expired.
    pub async fn open_session(&self, link: &TokenHash, now: Moment) -> Result<Option<(Token, Pusher)>> {
        let (bytes, at) = (link.as_bytes(), now.unix_ms());
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let used = sqlx::query!(
            r#"DELETE FROM login_links WHERE hash = ? AND expires_at > ? RETURNING who AS "who!", key_id"#,
            bytes,
            at
        )
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(used) = used else { return Ok(None) };
        let (born, seen) = (earlier(now, SESSION_LIFE), earlier(now, SESSION_IDLE));
        sqlx::query!("DELETE FROM sessions WHERE created_at <= ? OR seen_at <= ?", born, seen)
            .execute(&mut *transaction)
            .await?;
        let token = fresh_token()?;
        let hash = token.hash();
        let bytes = hash.as_bytes();
        sqlx::query!(
            "INSERT INTO sessions (hash, who, key_id, created_at, seen_at) VALUES (?1, ?2, ?3, ?4, ?4)",
            bytes,
            used.who,
            used.key_id,
            at
        )
        .execute(&mut *transaction)
        .await?;
        sqlx::query!("DELETE FROM sessions WHERE id <= (SELECT MAX(id) FROM sessions) - ?", ROWS_MAX)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        let who = from_json(&used.who, "login_links.who")?;
        Ok(Some((token, who)))
    }

    /// The session of a token, unless it is over; its use is noted now and then.
    pub async fn session(&self, token: &TokenHash, now: Moment) -> Result<Option<Session>> {
        let bytes = token.as_bytes();
        let row = sqlx::query!(r#"SELECT id AS "id!", who, created_at, seen_at FROM sessions WHERE hash = ?"#, bytes)
            .fetch_optional(&self.pool)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let session = Session {
            id: SessionId(row.id),
            who: from_json(&row.who, "sessions.who")?,
            created_at: Moment::from_unix_ms(row.created_at),
            seen_at: Moment::from_unix_ms(row.seen_at),
        };
        if session.is_over(now) {
            return Ok(None);
        }
        if now.since(session.seen_at) >= NOTE_EVERY {
            let at = now.unix_ms();
            sqlx::query!("UPDATE sessions SET seen_at = ? WHERE id = ?", at, row.id).execute(&self.pool).await?;
        }
        Ok(Some(session))
    }

    pub async fn end_session(&self, session: SessionId) -> Result<()> {
        sqlx::query!("DELETE FROM sessions WHERE id = ?", session.0).execute(&self.pool).await?;
        self.announce();
        Ok(())
    }

    /// Ends what a key's logins made: its sessions and its unused links. From the host, those of everybody.
    pub async fn revoke_logins(&self, who: &Pusher) -> Result<u64> {
        let key = key_of(who);
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query!("DELETE FROM login_links WHERE ?1 IS NULL OR key_id = ?1", key).execute(&mut *transaction).await?;
        let ended = sqlx::query!("DELETE FROM sessions WHERE ?1 IS NULL OR key_id = ?1", key)
            .execute(&mut *transaction)
            .await?
            .rows_affected();
        transaction.commit().await?;
        self.announce();
        Ok(ended)
    }
}

fn key_of(who: &Pusher) -> Option<i64> {
    match who {
        Pusher::Key { id: KeyId(id), .. } => Some(*id),
        Pusher::Host { .. } => None,
    }
}

fn earlier(now: Moment, span: Duration) -> i64 {
    now.unix_ms().saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX))
}

fn fresh_token() -> anyhow::Result<Token> {
    random_hex(32)?.parse().map_err(anyhow::Error::msg)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::store;

    const NOW: Moment = Moment::from_unix_ms(1_000_000);

    #[tokio::test]
    async fn a_link_opens_one_session_and_neither_token_is_in_the_file() {
        let (store, dir) = store().await;
        let host = Pusher::Host { uid: 0 };
        let link = store.add_login_link(&host, NOW).await.unwrap();
        assert_eq!(store.login_link(&link.hash(), NOW).await.unwrap(), Some(host.clone()));
        let (token, who) = store.open_session(&link.hash(), NOW).await.unwrap().unwrap();
        assert_eq!(who, host);
        assert!(store.open_session(&link.hash(), NOW).await.unwrap().is_none());
        assert!(store.login_link(&link.hash(), NOW).await.unwrap().is_none());
        assert!(store.session(&token.hash(), NOW).await.unwrap().is_some());
        assert!(store.session(&link.hash(), NOW).await.unwrap().is_none());
        assert!(store.session(&token.hash(), NOW.plus(SESSION_IDLE)).await.unwrap().is_none());
        store.close().await;
        for file in std::fs::read_dir(dir.path()).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            for secret in [link.reveal(), token.reveal()] {
                assert!(!bytes.windows(64).any(|window| window == secret.as_bytes()));
            }
        }
    }

    #[tokio::test]
    async fn a_link_expires() {
        let (store, _dir) = store().await;
        let link = store.add_login_link(&Pusher::Host { uid: 0 }, NOW).await.unwrap();
        assert!(store.open_session(&link.hash(), NOW.plus(LINK_LIFE)).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn removing_a_key_and_revoking_end_what_its_logins_made() {
        let (store, _dir) = store().await;
        let mut tokens = Vec::new();
        for name in ["one", "two"] {
            let id = store.add_key(name, name, name, NOW).await.unwrap();
            let who = Pusher::Key { id, name: name.to_owned() };
            let link = store.add_login_link(&who, NOW).await.unwrap();
            tokens.push((store.open_session(&link.hash(), NOW).await.unwrap().unwrap().0.hash(), who));
        }
        store.remove_key("one").await.unwrap();
        assert!(store.session(&tokens[0].0, NOW).await.unwrap().is_none());
        assert!(store.session(&tokens[1].0, NOW).await.unwrap().is_some());
        let spare = store.add_login_link(&tokens[1].1, NOW).await.unwrap();
        assert_eq!(store.revoke_logins(&tokens[1].1).await.unwrap(), 1);
        assert!(store.session(&tokens[1].0, NOW).await.unwrap().is_none());
        assert!(store.login_link(&spare.hash(), NOW).await.unwrap().is_none());
    }
}
