//! What a person's terminal is called and how large it is.
use std::fmt;
use std::str::FromStr;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowSize {
    pub columns: u16,
    pub rows: u16,
}

/// The value of TERM: `xterm-256color`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TermName(String);

impl TermName {
    const LENGTH_MAX: usize = 64;

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TermName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.+".contains(&b);
        let fits = (1..=Self::LENGTH_MAX).contains(&text.len()) && text.bytes().all(is_plain);
        if fits { Ok(Self(text.to_owned())) } else { Err(format!("{text:?} is no name of a terminal")) }
    }
}

impl fmt::Display for TermName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_terminals_are_plain_words() {
        for good in ["xterm-256color", "screen.xterm", "vt100", "rxvt+pcfkeys"] {
            assert_eq!(good.parse::<TermName>().unwrap().as_str(), good);
        }
        let long = "x".repeat(65);
        for bad in ["", "a b", "a=b", "a\n", "../x", "ü", long.as_str()] {
            assert!(bad.parse::<TermName>().is_err(), "{bad:?} was accepted");
        }
    }
}
