//! What a build may take of this machine: apps go first. One core stays free of builds (a quarter of the only one), they
//! weigh a tenth of what an app weighs, and half of the memory is the most.
use anyhow::Context;
use std::path::Path;

/// Length of the interval over which CPU time is counted. Short, so that a build that has used up its part leaves soon.
pub(super) const PERIOD_MICROS: u64 = 20_000;
const MIB: u64 = 1 << 20;
/// A build of a small web app fails below this, so that small machines give up to [`SMALL_MACHINE_PERCENT`] instead of half.
const USEFUL_MEMORY: u64 = 768 * MIB;
const SMALL_MACHINE_PERCENT: u64 = 75;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BuildLimits {
    /// CPU time in each period, of all cores together.
    pub(super) quota_micros: u64,
    pub(super) memory_bytes: u64,
}

impl BuildLimits {
    /// `root` is `/`, or a folder that looks like it.
    pub(super) fn of_machine(root: &Path) -> anyhow::Result<Self> {
        let path = root.join("proc/meminfo");
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let memory = total_bytes(&text).with_context(|| format!("find MemTotal in {}", path.display()))?;
        let cores = std::thread::available_parallelism().context("count the cores")?;
        Ok(Self::new(u64::try_from(cores.get()).unwrap_or(1), memory))
    }

    fn new(cores: u64, memory_bytes: u64) -> Self {
        let quota_micros = if cores > 1 { (cores - 1) * PERIOD_MICROS } else { PERIOD_MICROS * 3 / 4 };
        let most = memory_bytes / 100 * SMALL_MACHINE_PERCENT;
        Self { quota_micros, memory_bytes: (memory_bytes / 2).max(USEFUL_MEMORY).min(most) }
    }
}

fn total_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_core_stays_free_and_half_of_the_memory() {
        assert_eq!(BuildLimits::new(4, 8192 * MIB), BuildLimits { quota_micros: 60_000, memory_bytes: 4096 * MIB });
        assert_eq!(BuildLimits::new(1, 1000 * MIB), BuildLimits { quota_micros: 15_000, memory_bytes: 750 * MIB });
        assert_eq!(BuildLimits::new(2, 1200 * MIB).memory_bytes, 768 * MIB);
    }

    #[test]
    fn the_machines_memory_is_read() {
        assert_eq!(total_bytes("MemFree: 1 kB\nMemTotal:       24683740 kB\n"), Some(24_683_740 * 1024));
        assert_eq!(total_bytes("MemTotal: many\n"), None);
    }
}
