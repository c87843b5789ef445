//! Crowds: instances in which many threads want to run at the same time, as in a fork bomb. While it lasts they are kept
//! off the machine's first core, as builds are. They weigh no more than others, but what the kernel does for each of them
//! (forks that fail, what is freed later) is counted on no group, and every answer of the others would wait for it.
//!
//! A crowd is told by threads that run or wait for a core, not by their number: a web server with 200 idle workers is none.
use super::control_groups::ControlGroups;
use super::cores::{all_but_the_first, list};
use std::path::{Path, PathBuf};

/// So many that want to run make a crowd, and it ends below the second: an instance on the edge is not moved to and fro.
const RUNNABLE_MIN: usize = 32;
const RUNNABLE_LEFT: usize = 8;
/// No more are looked at in each instance, evenly drawn: the look itself must cost nothing that is noticed.
const LOOKED_AT_MAX: usize = 32;

pub(super) struct Crowds {
    proc: PathBuf,
}

impl Crowds {
    /// `root`: where `/proc` is.
    pub(super) fn new(root: &Path) -> Self {
        Self { proc: root.join("proc") }
    }

    pub(super) fn keep_off_the_first_core(&self, groups: &ControlGroups) -> anyhow::Result<()> {
        for group in groups.cpusets_of_instances() {
            let threads = threads(groups, &group);
            // Too few to be a crowd, and none is to be freed: nobody's state needs to be read.
            if threads.len() < RUNNABLE_MIN && !groups.is_kept_to(&group, all_but_the_first) {
                continue;
            }
            let runnable = self.runnable(&threads);
            if runnable >= RUNNABLE_MIN {
                groups.exchange_cores(&group, list, all_but_the_first)?;
            } else if runnable < RUNNABLE_LEFT {
                groups.exchange_cores(&group, all_but_the_first, list)?;
            }
        }
        Ok(())
    }

    /// As they were made.
    pub(super) fn free(groups: &ControlGroups) -> anyhow::Result<()> {
        let instances = groups.cpusets_of_instances();
        instances.iter().try_for_each(|group| groups.exchange_cores(group, all_but_the_first, list))
    }

    /// How many of these threads want to run; from a sample when they are many.
    fn runnable(&self, threads: &[String]) -> usize {
        let apart = threads.len().div_ceil(LOOKED_AT_MAX).max(1);
        threads.iter().step_by(apart).filter(|thread| self.wants_to_run(thread)).count() * apart
    }

    /// proc_pid_stat(5): the state is the letter behind the name, which may hold anything in its brackets.
    fn wants_to_run(&self, thread: &str) -> bool {
        let stat = std::fs::read_to_string(self.proc.join(thread).join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('R'))
    }
}

/// Processes and their threads, by number.
fn threads(groups: &ControlGroups, group: &Path) -> Vec<String> {
    let file = if groups.is_v2() { "cgroup.threads" } else { "tasks" };
    // It may have ended since it was found.
    let text = std::fs::read_to_string(group.join(file)).unwrap_or_default();
    text.lines().filter(|line| line.bytes().all(|b| b.is_ascii_digit())).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine of four cores with one instance, whose group is returned.
    fn machine(root: &Path, group: &str, files: &[(&str, &str)]) -> PathBuf {
        let group = root.join(group).join("a".repeat(64));
        std::fs::create_dir_all(&group).unwrap();
        for (file, text) in files {
            std::fs::write(group.parent().unwrap().join(file), text).unwrap();
            std::fs::write(group.join(file), text).unwrap();
        }
        group
    }

    /// Its threads, of which some want to run.
    fn threads_of(root: &Path, list: &Path, count: usize, runnable: usize) {
        let numbers: Vec<String> = (0..count).map(|number| (1000 + number).to_string()).collect();
        std::fs::write(list, numbers.join("\n")).unwrap();
        for (number, thread) in numbers.iter().enumerate() {
            let state = if number % count.max(1) < runnable { 'R' } else { 'S' };
            let folder = root.join("proc").join(thread);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("stat"), format!("{thread} (a) R b) {state} 1 1")).unwrap();
        }
    }

    fn look(root: &Path) {
        let groups = ControlGroups::new(root, Path::new("docker/buildkit"));
        Crowds::new(root).keep_off_the_first_core(&groups).unwrap();
    }

    #[test]
    fn a_crowd_is_kept_off_the_first_core_until_it_is_over() {
        let root = tempfile::tempdir().unwrap();
        let files = [("cpuset.effective_cpus", "0-3\n"), ("cpuset.effective_mems", "0\n"), ("cpuset.cpus", "0-3\n")];
        let group = machine(root.path(), "cpuset/docker", &files);
        let cores = || std::fs::read_to_string(group.join("cpuset.cpus")).unwrap();
        let step = |count, runnable| {
            threads_of(root.path(), &group.join("tasks"), count, runnable);
            look(root.path());
            std::fs::write(group.join("cpuset.effective_cpus"), cores()).unwrap();
        };
        step(500, 0);
        assert_eq!(cores(), "0-3\n", "idle workers are no crowd");
        step(20, 20);
        assert_eq!(cores(), "0-3\n", "a few busy threads are no crowd");
        step(500, 500);
        assert_eq!(cores(), "1-3");
        step(20, 20);
        assert_eq!(cores(), "1-3", "it is not over yet");
        step(20, 1);
        assert_eq!(cores(), "0-3");
        step(40, 40);
        assert_eq!(cores(), "1-3");
        Crowds::free(&ControlGroups::new(root.path(), Path::new("docker/buildkit"))).unwrap();
        assert_eq!(cores(), "0-3");
    }

    #[test]
    fn cores_that_an_owner_chose_stay_and_scopes_of_systemd_are_looked_at_too() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("cgroup.controllers"), "cpuset").unwrap();
        let chosen = machine(root.path(), "docker", &[("cpuset.cpus.effective", "0-3\n"), ("cpuset.cpus", "")]);
        std::fs::write(chosen.join("cpuset.cpus.effective"), "0\n").unwrap();
        let scope = root.path().join(format!("system.slice/docker-{}.scope", "b".repeat(64)));
        std::fs::create_dir_all(&scope).unwrap();
        std::fs::write(root.path().join("system.slice/cpuset.cpus.effective"), "0-1\n").unwrap();
        std::fs::write(scope.join("cpuset.cpus.effective"), "0-1\n").unwrap();
        std::fs::write(scope.join("cpuset.cpus"), "\n").unwrap();
        for group in [&chosen, &scope] {
            threads_of(root.path(), &group.join("cgroup.threads"), 64, 64);
        }
        look(root.path());
        assert_eq!(std::fs::read_to_string(chosen.join("cpuset.cpus")).unwrap(), "");
        assert_eq!(std::fs::read_to_string(scope.join("cpuset.cpus")).unwrap(), "1");
    }
}
