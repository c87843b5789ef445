//! Cookies of ours beside the app's own: they are taken out of a request before the app sees it.
use http::header::{COOKIE, HeaderMap, HeaderValue};

/// Names the instance that a visitor stays with.
pub(super) const INSTANCE: &str = "paas_instance";
/// Lets its bearer past a maintenance.
pub(super) const BYPASS: &str = "paas_bypass";

/// Takes the cookie of this name out; the first one's value, when there are several.
pub(super) fn take(headers: &mut HeaderMap, name: &str) -> Option<String> {
    let mut found = None;
    for value in headers.get_all(COOKIE) {
        // What is no plain text is the app's own matter.
        let mut pairs = value.to_str().unwrap_or_default().split(';').filter_map(|pair| pair.trim().split_once('='));
        found = found.or_else(|| pairs.find(|(known, _)| *known == name).map(|(_, value)| value.to_owned()));
    }
    found.inspect(|_| remove(headers, name))
}

fn remove(headers: &mut HeaderMap, name: &str) {
    let is_ours = |pair: &str| pair.trim().split_once('=').is_some_and(|(known, _)| known == name);
    let kept: Vec<HeaderValue> = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| {
            let Ok(text) = value.to_str() else { return Some(value.clone()) };
            let pairs: Vec<&str> = text.split(';').filter(|pair| !is_ours(pair)).map(str::trim).collect();
            (!pairs.is_empty()).then(|| HeaderValue::from_str(&pairs.join("; ")).ok()).flatten()
        })
        .collect();
    headers.remove(COOKIE);
    for value in kept {
        headers.append(COOKIE, value);
    }
}

/// A cookie for this host alone that no script reads.
pub(super) fn set(name: &str, value: &str, scheme: &str) -> Option<HeaderValue> {
    let secure = if scheme == "https" { "; Secure" } else { "" };
    HeaderValue::from_str(&format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{secure}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_cookie_is_taken_out_and_the_apps_own_stay() {
        let mut headers = HeaderMap::new();
        for value in ["a=1; paas_instance=xyz; b=2", "paas_instance=other", "c=3;xpaas_instance=4"] {
            headers.append(COOKIE, HeaderValue::from_static(value));
        }
        headers.append(COOKIE, HeaderValue::from_bytes("d=\u{e4}".as_bytes()).unwrap());
        assert_eq!(take(&mut headers, INSTANCE).as_deref(), Some("xyz"));
        let left: Vec<_> = headers.get_all(COOKIE).iter().collect();
        assert_eq!(left, ["a=1; b=2", "c=3; xpaas_instance=4", "d=\u{e4}"]);
        assert_eq!(take(&mut headers, INSTANCE), None);
        assert_eq!(headers.get_all(COOKIE).iter().count(), 3);
    }

    #[test]
    fn a_cookie_is_secure_where_the_visit_is() {
        assert_eq!(set("a", "b", "http").unwrap(), "a=b; Path=/; HttpOnly; SameSite=Lax");
        assert_eq!(set("a", "b", "https").unwrap(), "a=b; Path=/; HttpOnly; SameSite=Lax; Secure");
    }
}
