//! How much of what an app says is kept: so many lines and bytes a second; what is more is counted and dropped (R16).
use crate::domain::Moment;

/// What one app's instances together may add to its log each second on average; its visitors' lines as much again.
pub(super) const LINES_PER_SECOND: u64 = 1000;
pub(super) const BYTES_PER_SECOND: u64 = 512 << 10;
/// Seconds' worth that may come at once after a quiet time.
const BURST_SECONDS: u64 = 10;

/// Counts in thousandths, so that a millisecond refills whole numbers.
pub(super) struct Gate {
    filled_at: Moment,
    lines_milli: u64,
    bytes_milli: u64,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            filled_at: Moment::default(),
            lines_milli: LINES_PER_SECOND * BURST_SECONDS * 1000,
            bytes_milli: BYTES_PER_SECOND * BURST_SECONDS * 1000,
        }
    }
}

impl Gate {
    /// Whether a line of this length passes now.
    pub(super) fn admits(&mut self, now: Moment, bytes: usize) -> bool {
        self.refill(now);
        let bytes_milli = bytes as u64 * 1000;
        if self.lines_milli < 1000 || self.bytes_milli < bytes_milli {
            return false;
        }
        self.lines_milli -= 1000;
        self.bytes_milli -= bytes_milli;
        true
    }

    fn refill(&mut self, now: Moment) {
        let ms = u64::try_from(now.since(self.filled_at).as_millis()).unwrap_or(u64::MAX);
        // A clock that was set back fills nothing, and counts on from where it is.
        self.filled_at = now;
        let fill = |have: u64, rate: u64| have.saturating_add(ms.saturating_mul(rate)).min(rate * BURST_SECONDS * 1000);
        self.lines_milli = fill(self.lines_milli, LINES_PER_SECOND);
        self.bytes_milli = fill(self.bytes_milli, BYTES_PER_SECOND);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(gate: &mut Gate, now_ms: i64, count: usize, bytes: usize) -> usize {
        (0..count).filter(|_| gate.admits(Moment::from_unix_ms(now_ms), bytes)).count()
    }

    #[test]
    fn a_flood_is_cut_to_the_rate_in_lines_and_in_bytes() {
        let mut gate = Gate::default();
        assert_eq!(admitted(&mut gate, 0, 50_000, 10), 10_000, "the burst");
        assert_eq!(admitted(&mut gate, 1000, 50_000, 10), 1000, "a second later");
        assert_eq!(admitted(&mut gate, 1005, 50_000, 10), 5);
        let mut gate = Gate::default();
        assert_eq!(admitted(&mut gate, 0, 50_000, 16 << 10), 320, "5 MiB of long lines");
        assert_eq!(admitted(&mut gate, 1000, 50_000, 16 << 10), 32, "512 KiB");
    }

    #[test]
    fn a_clock_set_back_neither_opens_nor_shuts_the_gate_for_long() {
        let mut gate = Gate::default();
        assert_eq!(admitted(&mut gate, 1_000_000, 50_000, 10), 10_000);
        assert_eq!(admitted(&mut gate, 0, 10, 10), 0);
        assert_eq!(admitted(&mut gate, 1000, 50_000, 10), 1000);
    }
}
