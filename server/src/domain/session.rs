//! Logins to the pages: tokens that only their holder knows, and how long what they open lasts.
use super::hex::hex;
use super::{Moment, Pusher, Secret};
use sha2::{Digest, Sha256};
use std::str::FromStr;
use std::time::Duration;

/// A login link that nobody used is worth nothing after this.
pub const LINK_LIFE: Duration = Duration::from_mins(15);
/// A session ends so long after its login, however much it was used.
pub const SESSION_LIFE: Duration = Duration::from_hours(30 * 24);
/// A session that was not used for this long has ended.
pub const SESSION_IDLE: Duration = Duration::from_hours(7 * 24);

/// 256 random bits, written as 64 hex digits: a login link's, or a session's.
#[derive(Clone)]
pub struct Token(Secret<String>);

/// What is kept of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenHash([u8; 32]);

/// Who looks at the pages, since when.
#[derive(Clone, Debug)]
pub struct Session {
    pub id: SessionId,
    pub who: Pusher,
    pub created_at: Moment,
    pub seen_at: Moment,
}

/// Row id of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId(pub i64);

impl Session {
    pub fn is_over(&self, now: Moment) -> bool {
        now.since(self.created_at) >= SESSION_LIFE || now.since(self.seen_at) >= SESSION_IDLE
    }
}

impl FromStr for Token {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_token = text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if is_token { Ok(Self(Secret::new(text.to_owned()))) } else { Err("a token is 64 hex digits") }
    }
}

impl Token {
    pub fn reveal(&self) -> &str {
        self.0.reveal()
    }

    pub fn hash(&self) -> TokenHash {
        TokenHash(Sha256::digest(self.0.reveal().as_bytes()).into())
    }

    /// What forms of this token's session carry: tells that they are our pages' and gives nothing of the token away.
    pub fn form_token(&self) -> String {
        let digest = Sha256::new().chain_update("form of ").chain_update(self.0.reveal()).finalize();
        hex(&digest)
    }

    /// Whether a form carries this session's token. Both sides are hashed first: how long it takes tells nothing.
    pub fn is_form_token(&self, given: &str) -> bool {
        Sha256::digest(self.form_token()) == Sha256::digest(given)
    }
}

impl TokenHash {
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_token_is_of_one_session() {
        let (one, other): (Token, Token) = ("a".repeat(64).parse().unwrap(), "b".repeat(64).parse().unwrap());
        assert!(one.is_form_token(&one.form_token()));
        assert!(!other.is_form_token(&one.form_token()) && !one.is_form_token("") && !one.is_form_token(one.reveal()));
        assert!(!one.form_token().contains(one.reveal()) && one.hash() != other.hash());
    }

    #[test]
    fn only_64_hex_digits_are_a_token() {
        for bad in ["", "abc", &"g".repeat(64), &"A".repeat(64), &"a".repeat(65)] {
            assert!(bad.parse::<Token>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_session_ends_by_age_and_by_disuse() {
        let session = |seen_ms: i64| Session {
            id: SessionId(1),
            who: Pusher::Host { uid: 0 },
            created_at: Moment::from_unix_ms(0),
            seen_at: Moment::from_unix_ms(seen_ms),
        };
        let after = |span: Duration| Moment::default().plus(span);
        assert!(!session(0).is_over(after(SESSION_IDLE / 2)));
        assert!(session(0).is_over(after(SESSION_IDLE)));
        let late = after(SESSION_LIFE).unix_ms() - 1;
        assert!(!session(late).is_over(Moment::from_unix_ms(late)) && session(late).is_over(after(SESSION_LIFE)));
    }
}
