//! The cookie that a session is known by (security rule R11).
use super::Room;
use super::problem::Problem;
use crate::domain::session::{SESSION_LIFE, Session, Token};
use crate::visit::Transport;
use http::{HeaderMap, HeaderValue, header};

/// Who looks at a page.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) session: Session,
    pub(super) token: Token,
}

/// A browser keeps a `__Host-` cookie to this very host over HTTPS. Over a tunnel there is no HTTPS to keep it to.
fn name(transport: Transport) -> &'static str {
    match transport {
        Transport::Tls => "__Host-paas_session",
        Transport::Plain => "paas_session",
    }
}

/// The session of the request's cookie, if it has one that is not over.
pub(super) async fn caller(room: &Room, headers: &HeaderMap, transport: Transport) -> Result<Option<Caller>, Problem> {
    let Some(token) = token(headers, transport) else { return Ok(None) };
    let desk = room.desk();
    let session = desk.store.session(&token.hash(), desk.clock.now()).await?;
    Ok(session.map(|session| Caller { session, token }))
}

/// Two cookies of the name are none: one of them was planted, and nothing says which.
fn token(headers: &HeaderMap, transport: Transport) -> Option<Token> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut ours = pairs.filter(|(known, _)| *known == name(transport)).map(|(_, value)| value);
    let first = ours.next()?;
    if ours.next().is_some() {
        return None;
    }
    first.parse().ok()
}

pub(super) fn set_cookie(token: &Token, transport: Transport) -> HeaderValue {
    cookie(token.reveal(), SESSION_LIFE.as_secs(), transport)
}

pub(super) fn clear_cookie(transport: Transport) -> HeaderValue {
    cookie("", 0, transport)
}

fn cookie(value: &str, max_age_secs: u64, transport: Transport) -> HeaderValue {
    let secure = match transport {
        Transport::Tls => "; Secure",
        Transport::Plain => "",
    };
    let text = format!("{}={value}; Path=/; Max-Age={max_age_secs}; HttpOnly; SameSite=Lax{secure}", name(transport));
    let mut value = HeaderValue::try_from(text).expect("a name, hex digits and words make a header");
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_keeps_to_its_host_and_to_https_where_there_is_any() {
        let token: Token = "a".repeat(64).parse().unwrap();
        let plain = set_cookie(&token, Transport::Plain);
        let tls = set_cookie(&token, Transport::Tls);
        assert!(tls.to_str().unwrap().starts_with("__Host-paas_session=aaa"));
        assert!(tls.to_str().unwrap().ends_with("; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax; Secure"));
        assert!(plain.to_str().unwrap().starts_with("paas_session=aaa"));
        assert!(!plain.to_str().unwrap().contains("Secure"));
    }

    #[test]
    fn two_cookies_are_none() {
        let value = format!("paas_session={}", "a".repeat(64));
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, format!("x=1; {value}").parse().unwrap());
        assert!(token(&headers, Transport::Plain).is_some());
        assert!(token(&headers, Transport::Tls).is_none());
        headers.append(header::COOKIE, value.parse().unwrap());
        assert!(token(&headers, Transport::Plain).is_none());
    }
}
