//! `cron`: commands by the clock.

use serde::{Deserialize, Serialize};

use super::place::{AppJsonError, Place};
use crate::command;
use crate::procfile::COMMAND_BYTES_MAX;
use crate::text::excerpt;

const CRON_ENTRIES_MAX: usize = 50;
const SCHEDULE_BYTES_MAX: usize = 200;

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

pub(crate) fn cron<'a>(place: &Place<'a>, part: &'a str) -> Result<Vec<CronEntry>, AppJsonError> {
    let wanted = "a list: `[ { \"command\": …, \"schedule\": … } ]`";
    let items = place.items(part, wanted)?;
    if items.len() > CRON_ENTRIES_MAX {
        return Err(place.wrong(part, format!("at most {CRON_ENTRIES_MAX} entries long")));
    }
    let mut entries: Vec<CronEntry> = Vec::with_capacity(items.len());
    for (at, item) in items.into_iter().enumerate() {
        let place = Place { text: place.text, field: format!("cron[{at}]") };
        let entry = entry(&place, item)?;
        let is_same = |other: &CronEntry| (&other.command, &other.schedule) == (&entry.command, &entry.schedule);
        if entries.iter().any(is_same) {
            return Err(AppJsonError::Duplicate { line: entry.line, field: place.field });
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn entry<'a>(place: &Place<'a>, part: &'a str) -> Result<CronEntry, AppJsonError> {
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
