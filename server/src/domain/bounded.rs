//! Numbers with a unit and a range that is part of their type: parsed at the door, shown as people write them.
use super::Size;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Seconds from `LEAST` to `MOST`: `30s`, `2m`, `1h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Seconds<const LEAST: u32, const MOST: u32>(u32);

impl<const LEAST: u32, const MOST: u32> Seconds<LEAST, MOST> {
    pub const fn span(self) -> Duration {
        Duration::from_secs(self.0 as u64)
    }

    pub fn range() -> String {
        format!("{} to {}", span(LEAST), span(MOST))
    }
}

impl<const LEAST: u32, const MOST: u32> TryFrom<u32> for Seconds<LEAST, MOST> {
    type Error = String;

    fn try_from(seconds: u32) -> Result<Self, String> {
        let fits = (LEAST..=MOST).contains(&seconds);
        fits.then_some(Self(seconds)).ok_or_else(|| format!("{} is not within {}", span(seconds), Self::range()))
    }
}

impl<const LEAST: u32, const MOST: u32> From<Seconds<LEAST, MOST>> for u32 {
    fn from(seconds: Seconds<LEAST, MOST>) -> Self {
        seconds.0
    }
}

impl<const LEAST: u32, const MOST: u32> FromStr for Seconds<LEAST, MOST> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || format!("`{text}` is no time within {}; write it like 90s or 2m", Self::range());
        let units = [('s', 1), ('m', 60), ('h', 3600)];
        let (number, unit) =
            units.iter().find_map(|(letter, unit)| Some((text.strip_suffix(*letter)?, *unit))).ok_or_else(refuse)?;
        let seconds = whole(number).and_then(|number| number.checked_mul(unit)).ok_or_else(refuse)?;
        Self::try_from(u32::try_from(seconds).map_err(|_| refuse())?).map_err(|_| refuse())
    }
}

impl<const LEAST: u32, const MOST: u32> fmt::Display for Seconds<LEAST, MOST> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&span(self.0))
    }
}

/// In the largest unit that leaves nothing over: `90 s`, `2 min`, `1 h`.
fn span(seconds: u32) -> String {
    match seconds {
        0 => "0 s".to_owned(),
        _ if seconds.is_multiple_of(3600) => format!("{} h", seconds / 3600),
        _ if seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        _ => format!("{seconds} s"),
    }
}

/// A plain number from `LEAST` to `MOST`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Count<const LEAST: u32, const MOST: u32>(u32);

impl<const LEAST: u32, const MOST: u32> Count<LEAST, MOST> {
    pub const fn get(self) -> u32 {
        self.0
    }

    pub fn range() -> String {
        format!("{LEAST} to {MOST}")
    }
}

impl<const LEAST: u32, const MOST: u32> TryFrom<u32> for Count<LEAST, MOST> {
    type Error = String;

    fn try_from(count: u32) -> Result<Self, String> {
        let fits = (LEAST..=MOST).contains(&count);
        fits.then_some(Self(count)).ok_or_else(|| format!("{count} is not within {}", Self::range()))
    }
}

impl<const LEAST: u32, const MOST: u32> From<Count<LEAST, MOST>> for u32 {
    fn from(count: Count<LEAST, MOST>) -> Self {
        count.0
    }
}

impl<const LEAST: u32, const MOST: u32> FromStr for Count<LEAST, MOST> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = whole(text).and_then(|number| u32::try_from(number).ok());
        number
            .and_then(|number| Self::try_from(number).ok())
            .ok_or_else(|| format!("`{text}` is no number within {}", Self::range()))
    }
}

impl<const LEAST: u32, const MOST: u32> fmt::Display for Count<LEAST, MOST> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Bytes from `LEAST` to `MOST`: `512K`, `10M`, `1.5G`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Bytes<const LEAST: u64, const MOST: u64>(u64);

impl<const LEAST: u64, const MOST: u64> Bytes<LEAST, MOST> {
    pub const fn get(self) -> u64 {
        self.0
    }

    pub fn range() -> String {
        format!("{} to {}", Size(LEAST), Size(MOST))
    }
}

impl<const LEAST: u64, const MOST: u64> TryFrom<u64> for Bytes<LEAST, MOST> {
    type Error = String;

    fn try_from(bytes: u64) -> Result<Self, String> {
        let fits = (LEAST..=MOST).contains(&bytes);
        fits.then_some(Self(bytes)).ok_or_else(|| format!("{} is not within {}", Size(bytes), Self::range()))
    }
}

impl<const LEAST: u64, const MOST: u64> From<Bytes<LEAST, MOST>> for u64 {
    fn from(bytes: Bytes<LEAST, MOST>) -> Self {
        bytes.0
    }
}

impl<const LEAST: u64, const MOST: u64> FromStr for Bytes<LEAST, MOST> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let size: Size = text.parse().map_err(|error: super::size::SizeError| error.to_string())?;
        Self::try_from(size.0)
    }
}

impl<const LEAST: u64, const MOST: u64> fmt::Display for Bytes<LEAST, MOST> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Size(self.0).fmt(f)
    }
}

/// Digits alone: no sign, no blank.
fn whole(text: &str) -> Option<u64> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_range_or_no_number_is_refused() {
        type Wait = Seconds<1, 3600>;
        for (text, shown) in [("1s", "1 s"), ("90s", "90 s"), ("2m", "2 min"), ("1h", "1 h"), ("3600s", "1 h")] {
            assert_eq!(text.parse::<Wait>().unwrap().to_string(), shown);
        }
        for bad in ["", "s", "0s", "61m", "2h", "60", "-1s", "+1s", "1.5s", "99999999999999999999h", "1 s"] {
            assert!(bad.parse::<Wait>().is_err(), "{bad:?} was accepted");
        }
        assert!("7".parse::<Count<1, 7>>().is_ok());
        for bad in ["", "0", "8", "+1", "1e1", "99999999999"] {
            assert!(bad.parse::<Count<1, 7>>().is_err(), "{bad:?} was accepted");
        }
        assert_eq!("10M".parse::<Bytes<1, { 1 << 30 }>>().unwrap().get(), 10 << 20);
        for bad in ["", "0", "2G", "M", "-1"] {
            assert!(bad.parse::<Bytes<1, { 1 << 30 }>>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn a_value_out_of_range_is_not_read_back() {
        assert!(serde_json::from_str::<Count<1, 7>>("8").is_err());
        assert_eq!(serde_json::from_str::<Seconds<0, 10>>("10").unwrap().span(), Duration::from_secs(10));
    }
}
