//! What an instance may use of the machine (security rule R15): memory without swap beyond it, and processor time.
use std::fmt;
use std::str::FromStr;

/// What a person set for a process type; `None` is the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub memory: Option<Memory>,
    pub cpu: Option<Cpu>,
}

impl Limits {
    /// The memory that an instance gets.
    pub fn memory(&self) -> Memory {
        self.memory.unwrap_or(Memory::DEFAULT)
    }
}

/// An amount of memory, at least 16 MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Memory(u64);

impl Memory {
    pub const DEFAULT: Self = Self(512 << 20);
    /// Below it most programs do not even start, and the engine refuses soon.
    const LEAST: Self = Self(16 << 20);

    /// `None` when it is out of range, as a damaged row may be.
    pub fn from_bytes(bytes: u64) -> Option<Self> {
        (bytes >= Self::LEAST.0).then_some(Self(bytes))
    }

    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_multiple_of(1 << 30) {
            return write!(f, "{} GiB", self.0 >> 30);
        }
        write!(f, "{} MiB", self.0 >> 20)
    }
}

impl FromStr for Memory {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || format!("`{text}` is no amount of memory; write it like 512M or 2G");
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let shift = match unit {
            "M" | "MiB" => 20,
            "G" | "GiB" => 30,
            _other => return Err(refuse()),
        };
        let number: u64 = number.parse().map_err(|_| refuse())?;
        let bytes = number.checked_mul(1 << shift).filter(|bytes| i64::try_from(*bytes).is_ok()).ok_or_else(refuse)?;
        Self::from_bytes(bytes).ok_or_else(|| format!("`{text}` is too little memory; the least is {}", Self::LEAST))
    }
}

/// Processor time, in thousandths of one core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cpu(u32);

impl Cpu {
    const LEAST_MILLIS: u32 = 10;
    /// Cores that can be written at all; the machine's own number is checked where it is known.
    const CORES_MAX: u32 = 1024;

    pub fn from_millis(millis: u32) -> Option<Self> {
        (Self::LEAST_MILLIS..=Self::CORES_MAX * 1000).contains(&millis).then_some(Self(millis))
    }

    pub const fn millis(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:03}", self.0 / 1000, self.0 % 1000);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl FromStr for Cpu {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || format!("`{text}` is no number of cores; write it like 0.5 or 2");
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        if !is_number(whole) || !is_number(part) || part.len() > 3 {
            return Err(refuse());
        }
        let millis = format!("{part:0<3}").parse::<u32>().map_err(|_| refuse())?;
        let cores = whole.parse::<u32>().ok().filter(|cores| *cores <= Self::CORES_MAX).ok_or_else(refuse)?;
        Self::from_millis(cores * 1000 + millis)
            .ok_or_else(|| format!("`{text}` is out of range; the least is 0.01 cores"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_written_with_a_binary_unit() {
        for (text, bytes, shown) in [
            ("16M", 16 << 20, "16 MiB"),
            ("512MiB", 512 << 20, "512 MiB"),
            ("1G", 1 << 30, "1 GiB"),
            ("1536M", 1536 << 20, "1536 MiB"),
            ("2GiB", 2 << 30, "2 GiB"),
        ] {
            let memory: Memory = text.parse().unwrap();
            assert_eq!((memory.bytes(), memory.to_string().as_str()), (bytes, shown));
        }
        for bad in [
            "",
            "M",
            "512",
            "512K",
            "512MB",
            "512 M",
            "-1G",
            "+1G",
            "1.5G",
            "15M",
            "0M",
            "1g",
            "0x1G",
            "99999999999G",
            "18446744073709551616M",
            "٣M",
        ] {
            assert!(bad.parse::<Memory>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn processor_time_is_written_in_cores() {
        for (text, millis, shown) in
            [("0.5", 500, "0.5"), ("2", 2000, "2"), ("0.01", 10, "0.01"), ("1.25", 1250, "1.25"), ("10", 10_000, "10")]
        {
            let cpu: Cpu = text.parse().unwrap();
            assert_eq!((cpu.millis(), cpu.to_string().as_str()), (millis, shown));
        }
        for bad in ["", ".", "0", "0.009", ".5", "5.", "0.0001", "-1", "1e3", "1,5", "inf", "99999999999", "1025"] {
            assert!(bad.parse::<Cpu>().is_err(), "{bad:?} was accepted");
        }
    }
}
