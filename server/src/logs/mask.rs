//! Hides known secret values in lines that are about to be kept or shown (security rule R9).
use crate::domain::release::Config;
use std::borrow::Cow;

/// Shorter values (`1`, `true`, `production`) would blot out half of every log.
const VALUE_BYTES_MIN: usize = 8;

#[derive(Clone, Default)]
pub struct Mask {
    /// Longest first, so that a value inside another one leaves nothing of the longer one.
    values: Vec<(String, String)>,
}

impl Mask {
    pub fn of(config: &Config) -> Self {
        let mut values: Vec<(String, String)> = config
            .iter()
            .flat_map(|(name, value)| {
                value.reveal().lines().map(move |line| (line.trim().to_owned(), format!("[{name}]")))
            })
            .filter(|(line, _)| line.len() >= VALUE_BYTES_MIN)
            .collect();
        values.sort_by_key(|(line, _)| std::cmp::Reverse(line.len()));
        Self { values }
    }

    pub fn apply<'a>(&self, line: &'a str) -> Cow<'a, str> {
        let mut masked = Cow::Borrowed(line);
        for (value, name) in &self.values {
            if masked.contains(value.as_str()) {
                masked = Cow::Owned(masked.replace(value.as_str(), name));
            }
        }
        masked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Secret;

    #[test]
    fn known_values_are_replaced_by_their_names() {
        let config: Config = [
            ("TOKEN".parse().unwrap(), Secret::new("hunter2-hunter2".to_owned())),
            ("DEBUG".parse().unwrap(), Secret::new("1".to_owned())),
        ]
        .into();
        assert_eq!(Mask::of(&config).apply("1: token is hunter2-hunter2!"), "1: token is [TOKEN]!");
    }
}
