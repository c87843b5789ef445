//! A place in a JSON file: what stands there, on which line, and what is wrong with it.

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::text::{excerpt, is_invisible};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppJsonError {
    #[error("app.json line {line}, column {column}: {reason}: correct it, then push again")]
    Syntax { line: usize, column: usize, reason: String },
    #[error("app.json line {line}: {field} must be {wanted}")]
    Field { line: usize, field: String, wanted: String },
    #[error("app.json line {line}: {field} is there twice: remove one of the two")]
    Duplicate { line: usize, field: String },
    #[error("app.json line {line}: {field} is unknown: an entry of cron has `command` and `schedule`")]
    Unknown { line: usize, field: String },
    #[error(
        "app.json line {line}: {field} is missing: write `{{ \"command\": \"./report\", \"schedule\": \"0 3 * * *\" }}`"
    )]
    Missing { line: usize, field: String },
}

/// A field of the file, to be named in errors.
pub(crate) struct Place<'a> {
    pub(crate) text: &'a str,
    pub(crate) field: String,
}

impl<'a> Place<'a> {
    /// The line that `part`, a piece of the text itself, begins on.
    pub(crate) fn line(&self, part: &str) -> usize {
        let offset = (part.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        let before = self.text.as_bytes().get(..offset).unwrap_or_default();
        before.split(|byte| *byte == b'\n').count()
    }

    pub(crate) fn below(&self, name: &str) -> Self {
        Self { text: self.text, field: format!("{}{name}", self.field) }
    }

    pub(crate) fn wrong(&self, part: &str, wanted: impl Into<String>) -> AppJsonError {
        AppJsonError::Field { line: self.line(part), field: self.field.clone(), wanted: wanted.into() }
    }

    /// The members of an object, in order, each name once.
    pub(crate) fn fields(&self, part: &'a str) -> Result<Vec<(String, &'a str)>, AppJsonError> {
        if !part.trim_start().starts_with('{') && serde_json::from_str::<&RawValue>(part).is_ok() {
            return Err(self.wrong(part.trim_start(), "an object: `{ … }`"));
        }
        let Fields(fields) = serde_json::from_str(part).map_err(|error| self.syntax(part, &error))?;
        let mut seen: Vec<(String, &str)> = Vec::with_capacity(fields.len());
        for (name, value) in fields {
            if seen.iter().any(|(earlier, _)| *earlier == name) {
                return Err(AppJsonError::Duplicate { line: self.line(value.get()), field: excerpt(&name) });
            }
            seen.push((name, value.get()));
        }
        Ok(seen)
    }

    fn syntax(&self, part: &str, error: &serde_json::Error) -> AppJsonError {
        let text = error.to_string();
        let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason).to_owned();
        AppJsonError::Syntax { line: self.line(part) + error.line().saturating_sub(1), column: error.column(), reason }
    }

    pub(crate) fn words(&self, part: &str, bytes_max: usize) -> Result<String, AppJsonError> {
        let text: String = serde_json::from_str(part).map_err(|_| self.wrong(part, "a text in double quotes"))?;
        let text = text.trim();
        if text.is_empty() || text.len() > bytes_max {
            return Err(self.wrong(part, format!("1 to {bytes_max} bytes long")));
        }
        if text.chars().any(is_invisible) {
            return Err(self.wrong(part, "one line without invisible characters: type it again"));
        }
        Ok(text.to_owned())
    }

    /// A text as it stands, empty or of several lines too.
    pub(crate) fn text(&self, part: &str, bytes_max: usize) -> Result<String, AppJsonError> {
        let text: String = serde_json::from_str(part).map_err(|_| self.wrong(part, "a text in double quotes"))?;
        if text.len() > bytes_max || text.contains('\0') {
            return Err(self.wrong(part, format!("at most {bytes_max} bytes long, without a zero byte")));
        }
        Ok(text)
    }

    /// A whole number, which some write in quotes.
    pub(crate) fn number(&self, part: &str, max: u64) -> Result<u64, AppJsonError> {
        let plain = part.trim().trim_matches('"');
        let number = plain.parse().ok().filter(|number| *number <= max);
        number.ok_or_else(|| self.wrong(part, format!("a whole number from 0 to {max}")))
    }

    pub(crate) fn items(&self, part: &'a str, wanted: &str) -> Result<Vec<&'a str>, AppJsonError> {
        let items: Vec<&'a RawValue> = serde_json::from_str(part).map_err(|_| self.wrong(part, wanted))?;
        Ok(items.into_iter().map(RawValue::get).collect())
    }
}

/// An object's members as they stand, twice named ones too.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                    if members.len() > 1000 {
                        return Err(M::Error::custom("more than 1000 members"));
                    }
                }
                Ok(Fields(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}
