//! The engine's own threads, which are kept off the machine's first core: a container that floods its log keeps dockerd
//! busy with it, on every core that it may use, and the others' answers would wait for the ends of its turns.
//!
//! Affinity belongs to threads, not to a control group: whatever group the engine is in, it holds, and threads that it
//! starts later inherit it. Containers do not: containerd starts them, and it is left alone.
use super::cores::cores;
use anyhow::Context;
use rustix::io::Errno;
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::path::{Path, PathBuf};

/// As the kernel knows the program (`/proc/PID/comm`).
const ENGINE: &str = "dockerd";
/// The cores that the machine has now, below the root.
const CORES: &str = "sys/devices/system/cpu/online";

pub(super) struct EngineThreads {
    root: PathBuf,
}

impl EngineThreads {
    /// `root`: where `/proc` and `/sys` are.
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Where an owner keeps them off the first core already, or there is but one, nothing is changed.
    pub(super) fn keep_off_the_first_core(&self) -> anyhow::Result<()> {
        self.change(narrowed)
    }

    /// As they were made.
    pub(super) fn free(&self) -> anyhow::Result<()> {
        self.change(widened)
    }

    fn change(&self, change: fn(CpuSet, &[usize]) -> Option<CpuSet>) -> anyhow::Result<()> {
        let online = std::fs::read_to_string(self.root.join(CORES)).unwrap_or_default();
        let Some(online) = cores(online.trim()) else { return Ok(()) };
        for thread in self.threads() {
            // Threads end as they like; such a one needs nothing any more.
            let Ok(now) = sched_getaffinity(Some(thread)) else { continue };
            let Some(wanted) = change(now, &online) else { continue };
            match sched_setaffinity(Some(thread), &wanted) {
                // An owner's cpuset may leave it nothing but the first core.
                Ok(()) | Err(Errno::SRCH | Errno::INVAL) => {}
                Err(error) => {
                    return Err(error).context(
                        "keep dockerd off the first core: host-guard needs CAP_SYS_NICE, as its unit of this version gives it",
                    );
                }
            }
        }
        Ok(())
    }

    fn threads(&self) -> Vec<Pid> {
        let processes = numbers(&self.root.join("proc")).into_iter().filter(|process| self.is_engine(*process));
        processes
            .flat_map(|process| numbers(&self.root.join(format!("proc/{process}/task"))))
            .filter_map(Pid::from_raw)
            .collect()
    }

    /// One of this machine's, not of a container's.
    fn is_engine(&self, process: i32) -> bool {
        let read =
            |file: &str| std::fs::read_to_string(self.root.join(format!("proc/{process}/{file}"))).unwrap_or_default();
        if read("comm").trim() != ENGINE {
            return false;
        }
        let status = read("status");
        let words = |key: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(key))
                .map(|rest| rest.split_whitespace().collect::<Vec<_>>())
        };
        let is_roots = words("Uid:").is_some_and(|users| users.iter().all(|user| *user == "0"));
        // The process's number in each namespace of processes that it is in (proc_pid_status(5)).
        is_roots && words("NSpid:").is_some_and(|numbers| numbers.len() == 1)
    }
}

/// Entries that are numbers.
fn numbers(folder: &Path) -> Vec<i32> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn narrowed(mut now: CpuSet, online: &[usize]) -> Option<CpuSet> {
    let (first, others) = online.split_first()?;
    let may_move = now.is_set(*first) && others.iter().any(|core| now.is_set(*core));
    now.unset(*first);
    may_move.then_some(now)
}

/// Only what `narrowed` makes of all cores is ours to undo.
fn widened(mut now: CpuSet, online: &[usize]) -> Option<CpuSet> {
    let (first, others) = online.split_first()?;
    let is_ours = !others.is_empty() && !now.is_set(*first) && others.iter().all(|core| now.is_set(*core));
    now.set(*first);
    is_ours.then_some(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(cores: &[usize]) -> CpuSet {
        let mut set = CpuSet::new();
        for core in cores {
            set.set(*core);
        }
        set
    }

    #[test]
    fn the_first_core_is_taken_where_another_is_left_and_given_back_where_it_was_taken() {
        let online = [0, 1, 2];
        assert!(narrowed(set(&[0, 1, 2]), &online) == Some(set(&[1, 2])));
        assert!(narrowed(set(&[0, 2]), &online) == Some(set(&[2])));
        for left_alone in [set(&[1, 2]), set(&[0]), set(&[])] {
            assert!(narrowed(left_alone, &online).is_none());
        }
        assert!(narrowed(set(&[0]), &[0]).is_none());
        assert!(widened(set(&[1, 2]), &online) == Some(set(&[0, 1, 2])));
        for left_alone in [set(&[0, 1, 2]), set(&[1]), set(&[0])] {
            assert!(widened(left_alone, &online).is_none());
        }
        assert!(widened(set(&[0]), &[0]).is_none());
    }

    #[test]
    fn engines_are_found_that_are_roots_and_of_this_machine() {
        let root = tempfile::tempdir().unwrap();
        let process = |number: i32, comm: &str, uid: u32, numbers: &str| {
            let folder = root.path().join(format!("proc/{number}"));
            std::fs::create_dir_all(folder.join(format!("task/{number}"))).unwrap();
            std::fs::create_dir_all(folder.join(format!("task/{}", number + 1))).unwrap();
            std::fs::write(folder.join("comm"), format!("{comm}\n")).unwrap();
            let status = format!("Name:\t{comm}\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nNSpid:\t{numbers}\n");
            std::fs::write(folder.join("status"), status).unwrap();
        };
        process(100, "dockerd", 0, "100");
        process(200, "dockerd", 0, "200\t1");
        process(300, "dockerd", 1000, "300");
        process(400, "containerd", 0, "400");
        let mut threads: Vec<i32> =
            EngineThreads::new(root.path()).threads().into_iter().map(Pid::as_raw_pid).collect();
        threads.sort_unstable();
        assert_eq!(threads, [100, 101]);
    }

    #[test]
    fn a_running_thread_is_moved_and_moved_back() {
        let root = tempfile::tempdir().unwrap();
        let all = sched_getaffinity(None).unwrap();
        let online: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| all.is_set(*core)).collect();
        let me = rustix::thread::gettid().as_raw_pid();
        let folder = root.path().join(format!("proc/{me}"));
        std::fs::create_dir_all(folder.join(format!("task/{me}"))).unwrap();
        std::fs::write(folder.join("comm"), "dockerd\n").unwrap();
        std::fs::write(folder.join("status"), format!("Uid:\t0\t0\t0\t0\nNSpid:\t{me}\n")).unwrap();
        std::fs::create_dir_all(root.path().join("sys/devices/system/cpu")).unwrap();
        let list: Vec<String> = online.iter().map(usize::to_string).collect();
        std::fs::write(root.path().join(CORES), list.join(",")).unwrap();
        let threads = EngineThreads::new(root.path());
        threads.keep_off_the_first_core().unwrap();
        let mut expected = all;
        if online.len() > 1 {
            expected.unset(online[0]);
        }
        assert!(sched_getaffinity(None).unwrap() == expected);
        threads.free().unwrap();
        assert!(sched_getaffinity(None).unwrap() == all);
    }
}
