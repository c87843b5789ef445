//! The last lines of a build: what is told of one that was not shown live, and what a failure is explained from.
use buildpacks::{Builds, explain};
use std::collections::VecDeque;
use std::path::Path;

/// Tools name the cause early and complain long about it.
const KEPT: usize = 400;
/// Lines of a build that is not shown live, told when it fails.
const TOLD: usize = 30;
/// Where host-guard limits the memory of builds: control groups of the second version and of the first.
const MEMORY_FILES: [&str; 2] =
    ["/sys/fs/cgroup/docker/buildkit/memory.max", "/sys/fs/cgroup/memory/docker/buildkit/memory.limit_in_bytes"];
/// The first version's way of writing that there is none is a number beyond any machine.
const NO_LIMIT: u64 = 1 << 50;

#[derive(Default)]
pub(super) struct Last(VecDeque<String>);

impl Last {
    pub(super) fn push(&mut self, line: String) {
        self.0.push_back(line);
        if self.0.len() > KEPT {
            self.0.pop_front();
        }
    }

    /// The end of it.
    pub(super) fn told(&self) -> Vec<String> {
        self.0.iter().skip(self.0.len().saturating_sub(TOLD)).cloned().collect()
    }

    /// What they mean, together with the step that failed and its reason.
    pub(super) fn advice(self, builds: Builds, (step, reason): (&str, &str)) -> Option<String> {
        let lines: Vec<String> = self.0.into_iter().chain([step.to_owned(), reason.to_owned()]).collect();
        explain(&lines, builds, Some(&memory_words(&MEMORY_FILES.map(Path::new))))
    }
}

fn memory_words(files: &[&Path]) -> String {
    let read = |file: &&Path| std::fs::read_to_string(file).ok()?.trim().parse::<u64>().ok();
    match files.iter().find_map(read).filter(|bytes| *bytes < NO_LIMIT) {
        Some(bytes) => format!("all builds together may use {}", crate::domain::Size(bytes)),
        None => "builds may use what the server has to spare, with host-guard half of its memory".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_found_among_the_last_lines_and_the_end_of_them_is_told() {
        let mut last = Last::default();
        last.push("E: Unable to locate package libssl1.1".to_owned());
        (0..KEPT - 1).for_each(|n| last.push(format!("line {n}")));
        assert_eq!(last.told().len(), TOLD);
        assert!(last.advice(Builds::Language, ("RUN apt", "exited with status 100")).unwrap().contains("libssl3t64"));
        let mut last = Last::default();
        last.push("nothing".to_owned());
        let advice = last.advice(Builds::Language, ("RUN make", "was killed by signal 9")).unwrap();
        assert!(advice.contains("ran out of memory") && advice.contains("builds"), "{advice}");
    }

    #[test]
    fn the_limit_of_builds_is_told_where_there_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("memory.max");
        let words = |text: &str| {
            std::fs::write(&file, text).unwrap();
            memory_words(&[&dir.path().join("none"), &file])
        };
        assert_eq!(words("2147483648\n"), "all builds together may use 2.0 GiB");
        assert!(words("max\n").contains("half of its memory") && words("9223372036854771712\n").contains("half"));
    }
}
