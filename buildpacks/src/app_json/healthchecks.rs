//! `healthchecks`, as Dokku has them: the first start-up check of `web` becomes ours, the rest is named.
//!
//! <https://dokku.com/docs/deployment/zero-downtime-deploys/>. We ask until an instance answers well or its time is over,
//! so attempts and waits become one span of time.

use super::place::{AppJsonError, Place};
use crate::procfile::COMMAND_BYTES_MAX;
use crate::setup::HealthWish;
use crate::text::excerpt;

const SECONDS_MAX: u64 = 3600;
/// What a start may take at most, and at least.
const TIMEOUT_SECS: std::ops::RangeInclusive<u64> = 1..=600;

/// What Dokku takes for what is not said.
const ATTEMPTS: u64 = 3;
const ATTEMPT_SECS: u64 = 5;
const WAIT_SECS: u64 = 5;

pub(crate) fn healthchecks<'a>(
    place: &Place<'a>,
    part: &'a str,
    unused: &mut Vec<String>,
) -> Result<Option<HealthWish>, AppJsonError> {
    let mut wish = None;
    for (process, part) in place.fields(part)? {
        let place = place.below(&format!(".{}", excerpt(&process)));
        let items = place.items(part, "a list: `[ { \"type\": \"startup\", \"path\": \"/health\" } ]`")?;
        for (at, item) in items.into_iter().enumerate() {
            let place = Place { text: place.text, field: format!("{}[{at}]", place.field) };
            let found = check(&place, item, unused)?;
            match found {
                Some(check) if process == "web" && wish.is_none() => wish = Some(check),
                Some(_) => unused.push(format!("{} (only web is asked, by one check)", place.field)),
                None => {}
            }
        }
    }
    Ok(wish)
}

/// `None` for a check that is not made at the start of an instance.
fn check<'a>(place: &Place<'a>, part: &'a str, unused: &mut Vec<String>) -> Result<Option<HealthWish>, AppJsonError> {
    let line = place.line(part);
    let (mut kind, mut path, mut left_out) = (None, None, Vec::new());
    let (mut attempts, mut attempt_secs, mut wait_secs, mut delay_secs) = (None, None, None, None);
    for (key, part) in place.fields(part)? {
        let field = place.below(&format!(".{}", excerpt(&key)));
        match key.as_str() {
            "type" => kind = Some((field.words(part, 100)?, part)),
            "path" => {
                let words = field.words(part, COMMAND_BYTES_MAX)?;
                let is_path = words.starts_with('/') && words.bytes().all(|b| b.is_ascii_graphic());
                path = Some(is_path.then_some(words).ok_or_else(|| field.wrong(part, "a path such as /health"))?);
            }
            "attempts" => attempts = Some(field.number(part, SECONDS_MAX)?),
            "timeout" => attempt_secs = Some(field.number(part, SECONDS_MAX)?),
            "wait" => wait_secs = Some(field.number(part, SECONDS_MAX)?),
            "initialDelay" => delay_secs = Some(field.number(part, SECONDS_MAX)?),
            "name" => drop(field.text(part, COMMAND_BYTES_MAX)?),
            _not_ours => left_out.push(field.field),
        }
    }
    match kind.as_ref().map(|(kind, part)| (kind.as_str(), *part)) {
        Some(("startup", _)) | None => unused.append(&mut left_out),
        Some(("liveness" | "readiness", _)) => {
            let why = "of this kind none is made: what ends is started again";
            unused.push(format!("{} ({why})", place.field));
            return Ok(None);
        }
        Some((_, part)) => return Err(place.below(".type").wrong(part, "startup, liveness or readiness")),
    }
    let is_timed = [attempts, attempt_secs, wait_secs, delay_secs].iter().any(Option::is_some);
    let all = attempts.unwrap_or(ATTEMPTS) * (attempt_secs.unwrap_or(ATTEMPT_SECS) + wait_secs.unwrap_or(WAIT_SECS))
        + delay_secs.unwrap_or(0);
    let timeout_secs = is_timed.then(|| all.clamp(*TIMEOUT_SECS.start(), *TIMEOUT_SECS.end()));
    Ok((is_timed || path.is_some()).then_some(HealthWish { path, timeout_secs, line }))
}
