//! Request ids: kept where the client sent a sane one, else made (UUIDv7, so that they sort by time).
use crate::domain::Moment;
use http::HeaderValue;
use std::cell::Cell;

/// Bounds of an id that is kept, in bytes.
const KEPT_BYTES_MIN: usize = 20;
const KEPT_BYTES_MAX: usize = 200;

pub(super) fn keep_or_make(sent: Option<&HeaderValue>, now: Moment, random: &Random) -> HeaderValue {
    match sent {
        Some(sent) if is_sane(sent.as_bytes()) => sent.clone(),
        Some(_) | None => make(now, random),
    }
}

fn is_sane(id: &[u8]) -> bool {
    (KEPT_BYTES_MIN..=KEPT_BYTES_MAX).contains(&id.len())
        && id.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=' | b'-'))
}

fn make(now: Moment, random: &Random) -> HeaderValue {
    let mut bytes = [0; 10];
    bytes[..8].copy_from_slice(&random.next().to_ne_bytes());
    bytes[8..].copy_from_slice(&random.next().to_ne_bytes()[..2]);
    let unix_ms = u64::try_from(now.unix_ms()).unwrap_or(0);
    let id = uuid::Builder::from_unix_timestamp_millis(unix_ms, &bytes).into_uuid();
    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
    let text = id.hyphenated().encode_lower(&mut text);
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("-"))
}

/// Random numbers for ids and for balancing, one source per thread (xorshift64*). Nothing secret hangs on them.
pub(super) struct Random(Cell<u64>);

impl Random {
    pub(super) fn seeded() -> Self {
        let mut seed = [0; 8];
        // Without the system's randomness ids are still told apart by their time.
        let _ = getrandom::fill(&mut seed);
        Self(Cell::new(u64::from_ne_bytes(seed) | 1))
    }

    pub(super) fn next(&self) -> u64 {
        let mut x = self.0.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.0.set(x);
        x.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sane_id_is_kept_and_any_other_replaced() {
        let random = Random::seeded();
        let now = Moment::from_unix_ms(1_700_000_000_000);
        let of = |sent: &'static str| keep_or_make(Some(&HeaderValue::from_static(sent)), now, &random);
        assert_eq!(of("0123456789abcdefABCD"), "0123456789abcdefABCD");
        for odd in ["short", "0123456789abcdef ABCD", "0123456789abcdef_ABCD", "0123456789abcdef\"ABCD"] {
            let made = of(odd);
            assert_eq!(made.len(), 36, "{odd}");
            assert_eq!(made.as_bytes()[14], b'7');
        }
        assert_ne!(keep_or_make(None, now, &random), keep_or_make(None, now, &random));
    }
}
