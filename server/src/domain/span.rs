//! A span of time as people write it: `30s`, `10m`, `2h`, `3d`.
use std::time::Duration;

/// Reads a span; the error is fit to show.
pub fn parse(text: &str) -> Result<Duration, String> {
    let refuse = || format!("`{text}` is no time span; write 30s, 10m, 2h or 3d");
    let unit = text.chars().last().ok_or_else(refuse)?;
    let number: u64 = text[..text.len() - unit.len_utf8()].parse().map_err(|_| refuse())?;
    let secs = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(refuse()),
    };
    Ok(Duration::from_secs(number.saturating_mul(secs)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_written_with_a_unit() {
        assert_eq!(parse("10m"), Ok(Duration::from_mins(10)));
        for bad in ["", "10", "m", "10x", "-1m", "ä"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
