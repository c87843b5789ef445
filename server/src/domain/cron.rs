//! When something is due by the clock: cron's five fields, in UTC, as Vixie's cron reads them.
//!
//! `minute hour day-of-month month day-of-week`; each is `*`, a value, a range `1-5`, a step `*/15` or `9-17/2`, or a list
//! of those. Months and days of the week have names (`JAN`, `MON`); Sunday is 0 and 7. Where neither day field begins
//! with `*`, a day fits when either does: `0 0 13 * FRI` is every 13th and every Friday.
use super::Moment;
use jiff::tz::Offset;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

pub const MINUTE: Duration = Duration::from_mins(1);
const MINUTE_MS: i64 = 60_000;
/// No schedule pauses longer: 29 February lies eight years apart around a year such as 2100.
const DAYS_MAX: u32 = 366 * 8 + 2;

const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
const WORDS: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CronError {
    #[error("it has {0} fields; write five: minute hour day-of-month month day-of-week, such as `0 3 * * *`")]
    Fields(usize),
    #[error("it has six fields; schedules here have no seconds: leave the first one out")]
    Seconds,
    #[error("`{0}` is no word for a schedule; there are @hourly, @daily, @weekly, @monthly and @yearly")]
    Word(String),
    #[error("{field}: `{text}` is no {field}; write {allowed}")]
    Value { field: &'static str, text: String, allowed: &'static str },
    #[error("{field}: the range `{text}` ends before it begins; write it as two, such as `22-23,0-5`")]
    Backwards { field: &'static str, text: String },
    #[error("{field}: the step in `{text}` must be a number from 1 on, behind `*` or a range, such as `*/15`")]
    Step { field: &'static str, text: String },
    #[error("no day ever fits it: that month has no such day")]
    Never,
}

/// A parsed schedule, which keeps its spelling.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CronExpr {
    text: String,
    minutes: u64,
    hours: u64,
    days: Days,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Days {
    of_month: u64,
    months: u64,
    of_week: u64,
    rule: DayRule,
}

/// How the two day fields go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DayRule {
    Both,
    Either,
}

struct Field {
    name: &'static str,
    first: u32,
    last: u32,
    names: &'static [&'static str],
    allowed: &'static str,
}

const MINUTES: Field = Field { name: "minute", first: 0, last: 59, names: &[], allowed: "0 to 59" };
const HOURS: Field = Field { name: "hour", first: 0, last: 23, names: &[], allowed: "0 to 23" };
const OF_MONTH: Field = Field { name: "day-of-month", first: 1, last: 31, names: &[], allowed: "1 to 31" };
const MONTH: Field = Field { name: "month", first: 1, last: 12, names: &MONTHS, allowed: "1 to 12 or JAN to DEC" };
const OF_WEEK: Field = Field {
    name: "day-of-week",
    first: 0,
    last: 7,
    names: &WEEKDAYS,
    allowed: "0 (Sunday) to 7 (Sunday) or SUN to SAT",
};

impl FromStr for CronExpr {
    type Err = CronError;

    fn from_str(text: &str) -> Result<Self, CronError> {
        let text = text.trim();
        let spelled = match WORDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)) {
            Some((_, meaning)) => meaning,
            None if text.starts_with('@') => return Err(CronError::Word(text.to_owned())),
            None => text,
        };
        let fields: Vec<&str> = spelled.split_ascii_whitespace().collect();
        let [minute, hour, of_month, month, of_week] = fields[..] else {
            return Err(if fields.len() == 6 { CronError::Seconds } else { CronError::Fields(fields.len()) });
        };
        let is_open = |field: &str| field.starts_with('*');
        let rule = if is_open(of_month) || is_open(of_week) { DayRule::Both } else { DayRule::Either };
        let week = OF_WEEK.parse(of_week)?;
        let days = Days {
            of_month: OF_MONTH.parse(of_month)?,
            months: MONTH.parse(month)?,
            // 7 is Sunday too.
            of_week: (week | week >> 7) & 0x7f,
            rule,
        };
        let expr = Self { text: text.to_owned(), minutes: MINUTES.parse(minute)?, hours: HOURS.parse(hour)?, days };
        expr.next_after(Moment::default()).map(|_| expr.clone()).ok_or(CronError::Never)
    }
}

impl Field {
    /// The values that fit, as bits.
    fn parse(&self, text: &str) -> Result<u64, CronError> {
        text.split(',').try_fold(0, |bits, part| Ok(bits | self.part(part)?))
    }

    fn part(&self, part: &str) -> Result<u64, CronError> {
        let (span, step) = match part.split_once('/') {
            Some((span, step)) => (span, Some(step)),
            None => (part, None),
        };
        let (first, last) = match span.split_once('-') {
            _ if span == "*" => (self.first, self.last),
            Some((first, last)) => (self.value(first)?, self.value(last)?),
            None if step.is_some() => return Err(CronError::Step { field: self.name, text: part.to_owned() }),
            None => (self.value(span)?, self.value(span)?),
        };
        if first > last {
            return Err(CronError::Backwards { field: self.name, text: span.to_owned() });
        }
        let step = match step.map(|step| number(step).filter(|step| *step > 0)) {
            None => 1,
            Some(Some(step)) => step as usize,
            Some(None) => return Err(CronError::Step { field: self.name, text: part.to_owned() }),
        };
        Ok((first..=last).step_by(step).fold(0, |bits, value| bits | 1 << value))
    }

    fn value(&self, text: &str) -> Result<u32, CronError> {
        let named = self.names.iter().zip(self.first..).find(|(name, _)| name.eq_ignore_ascii_case(text));
        let value = named.map(|(_, value)| value).or_else(|| number(text));
        value.filter(|value| (self.first..=self.last).contains(value)).ok_or_else(|| CronError::Value {
            field: self.name,
            text: text.to_owned(),
            allowed: self.allowed,
        })
    }
}

/// Digits alone: no sign, no blank.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

impl CronExpr {
    /// Whether the minute that `at` lies in fits.
    pub fn matches(&self, at: Moment) -> bool {
        let Some(time) = civil(at) else { return false };
        has(self.minutes, time.minute()) && has(self.hours, time.hour()) && self.days.match_day(time.date())
    }

    /// The next minute that fits, after the one that `after` lies in.
    pub fn next_after(&self, after: Moment) -> Option<Moment> {
        let from = civil(minute_of(after).plus(MINUTE))?;
        let (mut day, mut hour, mut minute) = (from.date(), from.hour(), from.minute());
        for _ in 0..DAYS_MAX {
            if self.days.match_day(day)
                && let Some((hour, minute)) = self.next_time(hour, minute)
            {
                let time = Offset::UTC.to_timestamp(day.at(hour, minute, 0, 0)).ok()?;
                return Some(Moment::from_unix_ms(time.as_millisecond()));
            }
            (day, hour, minute) = (day.tomorrow().ok()?, 0, 0);
        }
        None
    }

    /// The latest minute that fits in (`after`, `now`], not more than `lookback` ago.
    pub fn latest_due(&self, after: Moment, now: Moment, lookback: Duration) -> Option<Moment> {
        let mut minute = minute_of(now);
        while minute > after && now.since(minute) < lookback {
            if self.matches(minute) {
                return Some(minute);
            }
            minute = Moment::from_unix_ms(minute.unix_ms() - MINUTE_MS);
        }
        None
    }

    /// The first time of day from this one on.
    fn next_time(&self, hour: i8, minute: i8) -> Option<(i8, i8)> {
        let minute_from = |from: i8| (from..60).find(|minute| has(self.minutes, *minute));
        let this_hour = has(self.hours, hour).then(|| minute_from(minute)).flatten().map(|minute| (hour, minute));
        let later = || (hour + 1..24).find(|hour| has(self.hours, *hour)).zip(minute_from(0));
        this_hour.or_else(later)
    }
}

impl Days {
    fn match_day(&self, date: jiff::civil::Date) -> bool {
        let of_month = has(self.of_month, date.day());
        let of_week = has(self.of_week, date.weekday().to_sunday_zero_offset());
        let day = match self.rule {
            DayRule::Both => of_month && of_week,
            DayRule::Either => of_month || of_week,
        };
        day && has(self.months, date.month())
    }
}

fn has(bits: u64, value: i8) -> bool {
    bits >> value & 1 == 1
}

/// The minute that a moment lies in.
pub fn minute_of(at: Moment) -> Moment {
    Moment::from_unix_ms(at.unix_ms().div_euclid(MINUTE_MS) * MINUTE_MS)
}

fn civil(at: Moment) -> Option<jiff::civil::DateTime> {
    let at = jiff::Timestamp::from_millisecond(at.unix_ms()).ok()?;
    Some(Offset::UTC.to_datetime(at))
}

impl fmt::Display for CronExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for CronExpr {
    type Error = CronError;
    fn try_from(text: String) -> Result<Self, CronError> {
        text.parse()
    }
}

impl From<CronExpr> for String {
    fn from(expr: CronExpr) -> Self {
        expr.text
    }
}

#[cfg(test)]
mod tests;
