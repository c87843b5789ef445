//! Chance that can be had again: numbers from a seed, which is told.

/// Numbers by chance (xorshift64*).
pub(crate) struct Dice(u64);

impl Dice {
    /// From `PAAS_SEED`, or else from the clock.
    pub(crate) fn thrown() -> Self {
        let given = std::env::var("PAAS_SEED").ok().and_then(|seed| seed.parse().ok());
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let seed = given.unwrap_or_else(|| since.map_or(1, |since| u64::from(since.subsec_nanos())));
        eprintln!("PAAS_SEED={seed}");
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }

    pub(crate) fn of<T: Copy>(&mut self, all: &[T]) -> T {
        let at = usize::try_from(self.below(all.len() as u64)).unwrap_or(0);
        all[at]
    }

    /// So many bytes or characters, up to `most`, each out of `all`.
    pub(crate) fn some<T: Copy>(&mut self, most: u64, all: &[T]) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| self.of(all)).collect()
    }
}
