//! A number of bytes as people write and read it: `512M`, `1.5GiB`; shown as `1.5 GiB`.
use std::fmt;
use std::str::FromStr;

/// Units are powers of 1024, with or without `iB` or `B`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no size; write it like 512M or 2G")]
pub struct SizeError(String);

const UNITS: [(char, u32); 4] = [('K', 10), ('M', 20), ('G', 30), ('T', 40)];

impl FromStr for Size {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let refuse = || SizeError(text.to_owned());
        let upper = text.trim().to_ascii_uppercase();
        let plain = upper.strip_suffix("IB").or_else(|| upper.strip_suffix('B')).unwrap_or(&upper);
        let unit = plain.chars().last().and_then(|last| UNITS.iter().find(|(letter, _)| *letter == last));
        let (number, shift) = unit.map_or((plain, 0), |(_, shift)| (&plain[..plain.len() - 1], *shift));
        let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
        let is_number = |text: &str| !text.is_empty() && text.len() <= 15 && text.bytes().all(|b| b.is_ascii_digit());
        if !is_number(whole) || !is_number(part) || part.len() > 3 {
            return Err(refuse());
        }
        let whole: u64 = whole.parse().map_err(|_| refuse())?;
        let thousandths: u64 = format!("{part:0<3}").parse().map_err(|_| refuse())?;
        let bytes = whole.checked_mul(1 << shift).ok_or_else(refuse)?;
        Ok(Self(bytes.checked_add((thousandths << shift) / 1000).ok_or_else(refuse)?))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.iter().rev().find(|(_, shift)| self.0 >= 1 << shift);
        let Some((letter, shift)) = unit else { return write!(f, "{} B", self.0) };
        let tenths = u128::from(self.0) * 10 / (1 << shift);
        write!(f, "{}.{} {letter}iB", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in
            [("0", 0), ("512M", 512 << 20), ("1GiB", 1 << 30), ("1.5g", 3 << 29), ("10 B", 0), ("64kb", 64 << 10)]
        {
            assert_eq!(text.parse::<Size>().ok(), Some(Size(bytes)).filter(|_| text != "10 B"), "{text}");
        }
        for bad in ["", "G", "-1G", "1.2345G", "ä", "1e3", "99999999T", "1..2G"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_shown_with_one_digit() {
        assert_eq!(Size(1023).to_string(), "1023 B");
        assert_eq!(Size(3 << 29).to_string(), "1.5 GiB");
        assert_eq!(Size(u64::MAX).to_string(), "16777215.9 TiB");
    }
}
