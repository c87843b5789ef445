//! app.json: what an app says about itself beside its Procfile. Read strictly where this version acts on it (`cron`);
//! what it does not act on is named in a warning, so that nobody believes it was done.

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::command;
use crate::procfile::COMMAND_BYTES_MAX;
use crate::text::{excerpt, is_invisible};

const CRON_ENTRIES_MAX: usize = 50;
const SCHEDULE_BYTES_MAX: usize = 200;
/// Keys that describe the app to people: there is nothing to do about them.
const DESCRIPTIVE: &[&str] =
    &["$schema", "name", "description", "keywords", "website", "repository", "logo", "success_url"];

/// One line of the app's cron table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CronEntry {
    /// Run as `sh -c "exec <command>"`.
    pub command: String,
    /// Five fields in UTC, or a word such as `@daily`, as it was written: the server knows what it means.
    pub schedule: String,
    /// Line of app.json that the schedule stands on.
    pub line: usize,
}

#[derive(Debug, Default)]
pub(crate) struct AppJson {
    pub(crate) cron: Vec<CronEntry>,
    /// Keys that ask for something which this version does not do.
    ignored: Vec<String>,
}

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

impl AppJson {
    /// What the pusher should know about the rest of the file.
    pub(crate) fn warning(&self) -> Option<String> {
        let ignored = self.ignored.join(", ");
        (!ignored.is_empty()).then(|| format!("app.json: {ignored}: not used by this version, which reads cron only"))
    }
}

pub(crate) fn parse(text: &str) -> Result<AppJson, AppJsonError> {
    let file = Place { text, field: "the file".to_owned() };
    let mut parsed = AppJson::default();
    for (key, value) in file.fields(text)? {
        match key.as_str() {
            "cron" => parsed.cron = cron(&Place { text, field: key }, value)?,
            known if DESCRIPTIVE.contains(&known) => {}
            _ask_for_something_else => parsed.ignored.push(excerpt(&key)),
        }
    }
    Ok(parsed)
}

/// A field of the file, to be named in errors.
struct Place<'a> {
    text: &'a str,
    field: String,
}

impl<'a> Place<'a> {
    /// The line that `part`, a piece of the text itself, begins on.
    fn line(&self, part: &str) -> usize {
        let offset = (part.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        let before = self.text.as_bytes().get(..offset).unwrap_or_default();
        before.split(|byte| *byte == b'\n').count()
    }

    fn below(&self, name: &str) -> Self {
        Self { text: self.text, field: format!("{}{name}", self.field) }
    }

    fn wrong(&self, part: &str, wanted: impl Into<String>) -> AppJsonError {
        AppJsonError::Field { line: self.line(part), field: self.field.clone(), wanted: wanted.into() }
    }

    /// The members of an object, in order, each name once.
    fn fields(&self, part: &'a str) -> Result<Vec<(String, &'a str)>, AppJsonError> {
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

    fn words(&self, part: &str, bytes_max: usize) -> Result<String, AppJsonError> {
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
}

fn cron(place: &Place<'_>, part: &str) -> Result<Vec<CronEntry>, AppJsonError> {
    let wanted = "a list: `[ { \"command\": …, \"schedule\": … } ]`";
    let items: Vec<&RawValue> = serde_json::from_str(part).map_err(|_| place.wrong(part, wanted))?;
    if items.len() > CRON_ENTRIES_MAX {
        return Err(place.wrong(part, format!("at most {CRON_ENTRIES_MAX} entries long")));
    }
    let mut entries: Vec<CronEntry> = Vec::with_capacity(items.len());
    for (at, item) in items.iter().enumerate() {
        let place = Place { text: place.text, field: format!("cron[{at}]") };
        let entry = entry(&place, item.get())?;
        let is_same = |other: &CronEntry| (&other.command, &other.schedule) == (&entry.command, &entry.schedule);
        if entries.iter().any(is_same) {
            return Err(AppJsonError::Duplicate { line: entry.line, field: place.field });
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn entry(place: &Place<'_>, part: &str) -> Result<CronEntry, AppJsonError> {
    let (mut line, mut schedule) = (None, None);
    let mut schedule_line = 0;
    for (name, value) in place.fields(part)? {
        let field = place.below(&format!(".{}", excerpt(&name)));
        match name.as_str() {
            "command" => line = Some(field.words(value, COMMAND_BYTES_MAX)?),
            "schedule" => {
                schedule = Some(field.words(value, SCHEDULE_BYTES_MAX)?);
                schedule_line = field.line(value);
            }
            _other => return Err(AppJsonError::Unknown { line: field.line(value), field: field.field }),
        }
    }
    let missing =
        |name: &str| AppJsonError::Missing { line: place.line(part), field: format!("{}.{name}", place.field) };
    let line = line.ok_or_else(|| missing("command"))?;
    let schedule = schedule.ok_or_else(|| missing("schedule"))?;
    Ok(CronEntry { command: command::executable(&line), schedule, line: schedule_line })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn entries_come_with_the_line_of_their_schedule_and_the_rest_is_named() {
        let text = "{\n  \"name\": \"blog\",\n  \"scripts\": { \"postdeploy\": \"x\" },\n  \"cron\": [\n    { \"command\": \"a && b\",\n      \"schedule\": \" 0 3 * * * \" }\n  ],\n  \"env\": {}\n}\n";
        let parsed = parse(text).unwrap();
        let entry = CronEntry { command: "sh -c 'a && exec b'".to_owned(), schedule: "0 3 * * *".to_owned(), line: 6 };
        assert_eq!(parsed.cron, [entry]);
        assert_eq!(
            parsed.warning().unwrap(),
            "app.json: scripts, env: not used by this version, which reads cron only"
        );
        assert!(parse("{\"name\": \"blog\"}").unwrap().warning().is_none());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line_and_field() {
        for (text, words) in [
            ("{\n\"cron\": [,]\n}", "line 2, column"),
            ("[]", "line 1: the file must be an object"),
            ("{\"cron\": []\n,\"cron\": []}", "line 2: cron is there twice"),
            ("{\"cron\": {}}", "cron must be a list"),
            ("{\"cron\": [\n3]}", "line 2: cron[0] must be an object"),
            ("{\"cron\": [{\"command\": 3, \"schedule\": \"@daily\"}]}", "cron[0].command must be a text"),
            ("{\"cron\": [{\"command\": \" \", \"schedule\": \"@daily\"}]}", "cron[0].command must be 1 to 4096 bytes"),
            ("{\"cron\": [{\"command\": \"a\\u0000\", \"schedule\": \"x\"}]}", "without invisible characters"),
            ("{\"cron\": [{\"command\": \"a\"}]}", "cron[0].schedule is missing"),
            ("{\"cron\": [{\"schedule\": \"@daily\"}]}", "cron[0].command is missing"),
            ("{\"cron\": [{\"command\": \"a\",\n\"size\": \"x\"}]}", "line 2: cron[0].size is unknown"),
            ("{\"cron\": [{\"command\": \"a\",\n\"command\": \"b\"}]}", "line 2: command is there twice"),
            (
                "{\"cron\": [{\"command\": \"a\", \"schedule\": \"x\"},\n{\"command\": \"a\", \"schedule\": \"x\"}]}",
                "line 2: cron[1] is there twice",
            ),
            ("", "line 1, column 0"),
        ] {
            let shown = error(text);
            assert!(shown.contains(words), "{text}: {shown}");
        }
        let many: Vec<String> =
            (0..51).map(|n| format!("{{\"command\": \"c{n}\", \"schedule\": \"@daily\"}}")).collect();
        assert!(error(&format!("{{\"cron\": [{}]}}", many.join(","))).contains("at most 50 entries"));
    }
}
