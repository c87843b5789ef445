//! `env`: config vars that the app asks for.

use super::place::{AppJsonError, Place};
use crate::setup::{WantedVar, Wish};
use crate::text::excerpt;

const VARS_MAX: usize = 200;
const VALUE_BYTES_MAX: usize = 64 * 1024;
const DESCRIPTION_BYTES_MAX: usize = 2000;

/// The vars, and what of their fields is not used.
pub(crate) fn env<'a>(
    place: &Place<'a>,
    part: &'a str,
    unused: &mut Vec<String>,
) -> Result<Vec<WantedVar>, AppJsonError> {
    let fields = place.fields(part)?;
    if fields.len() > VARS_MAX {
        return Err(place.wrong(part, format!("at most {VARS_MAX} config vars")));
    }
    fields.into_iter().map(|(name, value)| var(place, &name, value, unused)).collect()
}

fn var<'a>(place: &Place<'a>, name: &str, part: &'a str, unused: &mut Vec<String>) -> Result<WantedVar, AppJsonError> {
    let place = place.below(&format!(".{}", excerpt(name)));
    if !is_var_name(name) {
        return Err(place.wrong(part, "named with letters, digits and `_`, not beginning with a digit"));
    }
    let at = format!("app.json line {}", place.line(part));
    let wanted = |wish, description| WantedVar { name: name.to_owned(), wish, description, place: at.clone() };
    if !part.starts_with('{') {
        let value = place.text(part, VALUE_BYTES_MAX)?;
        return Ok(wanted(Wish::Value(value), None));
    }
    let (mut value, mut generator, mut is_required, mut description) = (None, None, true, None);
    for (key, part) in place.fields(part)? {
        let field = place.below(&format!(".{}", excerpt(&key)));
        match key.as_str() {
            "value" => value = Some(field.text(part, VALUE_BYTES_MAX)?),
            "generator" if field.words(part, DESCRIPTION_BYTES_MAX)? == "secret" => generator = Some(Wish::Secret),
            "generator" => return Err(field.wrong(part, "\"secret\": nothing else is generated")),
            "required" => {
                is_required = serde_json::from_str(part).map_err(|_| field.wrong(part, "true or false"))?;
            }
            "description" => description = Some(field.text(part, DESCRIPTION_BYTES_MAX)?),
            _not_of_the_schema => unused.push(field.field),
        }
    }
    // Heroku takes the value where both are there.
    let asked = if is_required { Wish::Required } else { Wish::Optional };
    let wish = value.map(Wish::Value).or(generator).unwrap_or(asked);
    Ok(wanted(wish, description.filter(|text| !text.trim().is_empty())))
}

/// What a shell accepts as a variable's name.
pub(crate) fn is_var_name(name: &str) -> bool {
    name.len() <= 128
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
