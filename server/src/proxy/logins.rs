//! Names and passwords of an app's visitors (RFC 7617). A password's hash is slow on purpose, so it is made away from the
//! threads that carry requests, one at a time; what was right once is known by a digest, per thread and bounded.
use super::buckets::Buckets;
use super::sync::{AtomicUsize, Ordering::Relaxed};
use crate::domain::login::{LoginName, PasswordHash, SALT_BYTES};
use base64::prelude::{BASE64_STANDARD, Engine};
use http::{HeaderMap, header};
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Digests of what was right that a thread keeps; beyond it starts anew.
const KNOWN_MAX: usize = 1024;
/// Visitors whose password waits to be looked at, over all apps; others are told to come back.
const WAITING_MAX: usize = 32;
/// Longest Authorization that is looked at, in bytes.
const CREDENTIALS_BYTES_MAX: usize = 1024;
/// New credentials that an address may try: what is known costs nothing.
const TRIES: &str = "30/m";

/// One hash at a time on the whole server: guessing must not take the machine.
static HASHING: Semaphore = Semaphore::const_new(1);
static WAITING: AtomicUsize = AtomicUsize::new(0);

pub(super) struct Logins {
    hashes: BTreeMap<LoginName, PasswordHash>,
    /// Takes as long as a right name, and is nobody's.
    nobody: PasswordHash,
    tries: Buckets,
}

/// Credentials that were right, of the apps of a thread.
#[derive(Default)]
pub(super) struct Known(RefCell<HashSet<[u8; 32]>>);

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Welcome,
    Unknown,
    /// Too many are being looked at.
    Later(Duration),
}

impl Logins {
    /// `None`: everybody may visit.
    pub(super) fn new(hashes: &BTreeMap<LoginName, PasswordHash>) -> Option<Self> {
        let nobody = format!("scrypt${}${}", "00".repeat(SALT_BYTES), "00".repeat(32)).parse().ok()?;
        let tries = Buckets::new(TRIES.parse().ok()?);
        (!hashes.is_empty()).then(|| Self { hashes: hashes.clone(), nobody, tries })
    }

    pub(super) async fn judge(&self, headers: &HeaderMap, address: Option<IpAddr>, known: &Known) -> Verdict {
        let Some((name, password)) = credentials(headers) else { return Verdict::Unknown };
        let hash = name.parse().ok().and_then(|name: LoginName| self.hashes.get(&name));
        let digest = digest(hash.unwrap_or(&self.nobody), &name, &password);
        if known.0.borrow().contains(&digest) {
            return Verdict::Welcome;
        }
        if let Some(Err(wait)) = address.map(|address| self.tries.take(address)) {
            return Verdict::Later(wait);
        }
        let Some(_place) = Place::take() else { return Verdict::Later(Duration::from_secs(1)) };
        let Ok(_turn) = HASHING.acquire().await else { return Verdict::Unknown };
        let (slow, is_somebody) = (hash.unwrap_or(&self.nobody).clone(), hash.is_some());
        let is_right = tokio::task::spawn_blocking(move || slow.is_of(&password)).await.unwrap_or(false);
        if !(is_right && is_somebody) {
            return Verdict::Unknown;
        }
        let mut known = known.0.borrow_mut();
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(digest);
        Verdict::Welcome
    }
}

/// A place among those who wait.
struct Place;

impl Place {
    fn take() -> Option<Self> {
        let taken = WAITING.fetch_update(Relaxed, Relaxed, |waiting| (waiting < WAITING_MAX).then_some(waiting + 1));
        taken.is_ok().then_some(Self)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        WAITING.fetch_sub(1, Relaxed);
    }
}

fn credentials(headers: &HeaderMap) -> Option<(String, Vec<u8>)> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let text = value.to_str().ok().filter(|text| text.len() <= CREDENTIALS_BYTES_MAX)?;
    let (scheme, encoded) = text.split_once(' ')?;
    let decoded = BASE64_STANDARD.decode(encoded.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let name = String::from_utf8(decoded[..colon].to_vec()).ok()?;
    Some((name, decoded[colon + 1..].to_vec()))
}

/// Of the hash too: another password, or another app's login of the same name, makes another digest.
fn digest(hash: &PasswordHash, name: &str, password: &[u8]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for part in [hash.as_str().as_bytes(), name.as_bytes(), password] {
        digest.update(part.len().to_be_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn with(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn credentials_are_read_strictly() {
        let read = |values: &[&str]| credentials(&with(values));
        assert_eq!(read(&["Basic YTpiOmM="]), Some(("a".to_owned(), b"b:c".to_vec())));
        assert_eq!(read(&["basic YTo="]), Some(("a".to_owned(), Vec::new())));
        for bad in [
            &[][..],
            &["Basic YTpiOmM=", "Basic YTpiOmM="],
            &["Bearer YTpiOmM="],
            &["Basic"],
            &["Basic ?"],
            &["Basic YQ=="],
        ] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
        let long = format!("Basic {}", BASE64_STANDARD.encode("x".repeat(1000)));
        assert_eq!(read(&[&long]), None);
    }

    #[test]
    fn a_known_login_is_not_hashed_again_and_a_changed_password_is_not_known() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let logins = |password: &[u8]| {
            let hash = PasswordHash::of(password, &[1; SALT_BYTES]).unwrap();
            Logins::new(&BTreeMap::from([("alice".parse().unwrap(), hash)])).unwrap()
        };
        let headers = |pair: &str| with(&[&format!("Basic {}", BASE64_STANDARD.encode(pair))]);
        let (known, address) = (Known::default(), Some("203.0.113.7".parse().unwrap()));
        let first = logins(b"correct horse");
        let judge = |logins: &Logins, pair: &str| runtime.block_on(logins.judge(&headers(pair), address, &known));
        // Far more often than new credentials may be tried.
        assert!((0..100).all(|_| judge(&first, "alice:correct horse") == Verdict::Welcome));
        assert_eq!(judge(&first, "alice:wrong"), Verdict::Unknown);
        assert_eq!(judge(&first, "bob:correct horse"), Verdict::Unknown);
        assert_eq!(judge(&logins(b"another horse"), "alice:correct horse"), Verdict::Unknown);
        assert_eq!(judge(&logins(b"another horse"), "alice:another horse"), Verdict::Welcome);
        let is_later = |verdict: &Verdict| matches!(verdict, Verdict::Later(_));
        while first.tries.take(address.unwrap()).is_ok() {}
        assert!(is_later(&judge(&first, "alice:guess")), "guesses are not slowed down");
        assert_eq!(judge(&first, "alice:correct horse"), Verdict::Welcome);
    }
}
