//! A rate as people write it: `10/s`, `600/m`, `1000/h`. So many at once, and as many again spread over the period.
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rate {
    count: u32,
    period: Period,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Period {
    Second,
    Minute,
    Hour,
}

impl Rate {
    pub const COUNT_MAX: u32 = 100_000;

    pub fn period(self) -> Duration {
        match self.period {
            Period::Second => Duration::from_secs(1),
            Period::Minute => Duration::from_mins(1),
            Period::Hour => Duration::from_hours(1),
        }
    }

    /// What one costs: the period shared by all of it.
    pub fn interval(self) -> Duration {
        self.period() / self.count
    }

    pub fn range() -> String {
        format!("1 to {} per s, m or h", Self::COUNT_MAX)
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || format!("`{text}` is no rate ({}); write it like 10/s or 600/m", Self::range());
        let (digits, period) = text.split_once('/').ok_or_else(refuse)?;
        let period = match period {
            "s" => Period::Second,
            "m" => Period::Minute,
            "h" => Period::Hour,
            _ => return Err(refuse()),
        };
        let is_plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        let count = digits.parse().ok().filter(|count| is_plain && (1..=Self::COUNT_MAX).contains(count));
        Ok(Self { count: count.ok_or_else(refuse)?, period })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.period {
            Period::Second => 's',
            Period::Minute => 'm',
            Period::Hour => 'h',
        };
        write!(f, "{}/{unit}", self.count)
    }
}

impl TryFrom<String> for Rate {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Rate> for String {
    fn from(rate: Rate) -> Self {
        rate.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_back_as_they_were_written() {
        for (text, interval_ms) in [("10/s", 100), ("600/m", 100), ("1/h", 3_600_000), ("1/s", 1000)] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!((rate.to_string().as_str(), rate.interval()), (text, Duration::from_millis(interval_ms)));
        }
        for bad in ["", "10", "0/s", "10/d", "/s", "+1/s", "1.5/s", "100001/s", "10/s/s", "10 /s"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad:?} was accepted");
        }
    }
}
