//! The control groups that build steps run in, and their limits. BuildKit takes no limits from who asks it to build, so
//! they are set on the groups. Where depends on Docker's driver:
//!
//! - cgroupfs: all steps below one group, `docker/buildkit`, which is made ahead and limited as a whole;
//! - systemd: a scope per step, `system.slice/docker-<25 letters>.scope` (instances have 64 hex digits there). Each is
//!   limited as it appears; steps that run side by side have the limits each.
//!
//! Beside them stand the groups of the instances, which `crowds` looks at.
use super::build_limits::{BuildLimits, PERIOD_MICROS};
use super::cores::{all_but_the_first, list};
use anyhow::Context;
use std::path::{Path, PathBuf};

/// Where systemd's driver puts scopes.
const SLICE: &str = "system.slice";
/// ENODEV: the group was removed while its file was open.
const GONE: i32 = 19;
/// BuildKit's ids, in base 36.
const STEP_ID_LENGTH: usize = 25;
/// Docker's ids, in base 16.
const INSTANCE_ID_LENGTH: usize = 64;
/// The kernel takes no more: of `cpu.weight` (cgroups(7), version 2), and of `cpu.shares` (version 1).
const WEIGHT_MAX: u64 = 10_000;
const SHARES_MAX: u64 = 262_144;

pub(super) struct ControlGroups {
    root: PathBuf,
    /// Below the root, or below each controller's folder.
    group: PathBuf,
}

/// The files of one version of control groups: controller's folder, file, what to write.
type Files = Vec<(&'static str, &'static str, String)>;

impl ControlGroups {
    pub(super) fn new(root: &Path, group: &Path) -> Self {
        Self { root: root.to_owned(), group: group.to_owned() }
    }

    pub(super) fn limit(&self, limits: &BuildLimits) -> anyhow::Result<()> {
        let memory = limits.memory_bytes.to_string();
        let files = if self.is_v2() {
            vec![
                ("", "cpu.max", format!("{} {PERIOD_MICROS}", limits.quota_micros)),
                ("", "cpu.weight", "10".to_owned()),
                ("", "memory.max", memory),
            ]
        } else {
            vec![
                ("cpu", "cpu.cfs_period_us", PERIOD_MICROS.to_string()),
                ("cpu", "cpu.cfs_quota_us", limits.quota_micros.to_string()),
                ("cpu", "cpu.shares", "102".to_owned()),
                ("memory", "memory.limit_in_bytes", memory),
            ]
        };
        self.make(&files)?;
        self.write(&files)?;
        self.weigh_instances(self.instances())?;
        self.pin(all_but_the_first)
    }

    /// As they were made.
    pub(super) fn unlimit(&self) -> anyhow::Result<()> {
        let files = if self.is_v2() {
            vec![("", "cpu.max", "max"), ("", "cpu.weight", "100"), ("", "memory.max", "max")]
        } else {
            vec![
                ("cpu", "cpu.cfs_quota_us", "-1"),
                ("cpu", "cpu.cfs_period_us", "100000"),
                ("cpu", "cpu.shares", "1024"),
                ("memory", "memory.limit_in_bytes", "-1"),
            ]
        };
        self.write(&files.into_iter().map(|(folder, file, value)| (folder, file, value.to_owned())).collect())?;
        self.weigh_instances(1)?;
        self.pin(list)
    }

    /// With the cgroupfs driver all instances weigh together as much as one service of the machine, and what one of them
    /// takes is missing to the others as soon as Docker itself is busy (with a flood of log lines, say). So each is given the
    /// weight of a service, as the systemd driver does.
    fn weigh_instances(&self, instances: u64) -> anyhow::Result<()> {
        let Some(parent) = self.group.parent().filter(|parent| !parent.as_os_str().is_empty()) else { return Ok(()) };
        if self.is_v2() {
            set(&self.root.join(parent).join("cpu.weight"), &(100 * instances).min(WEIGHT_MAX).to_string())
        } else {
            set(&self.root.join("cpu").join(parent).join("cpu.shares"), &(1024 * instances).min(SHARES_MAX).to_string())
        }
    }

    /// Those that run beside the builds, one at least.
    fn instances(&self) -> u64 {
        let beside = self.group.parent().map(|parent| self.controller("cpu").join(parent));
        let count = beside.map_or(0, |parent| children(&parent, is_instance).len());
        u64::try_from(count).unwrap_or(u64::MAX).max(1)
    }

    /// Where the cores of each instance are set, with either of Docker's drivers.
    pub(super) fn cpusets_of_instances(&self) -> Vec<PathBuf> {
        let controller = self.controller("cpuset");
        let beside = self.group.parent().filter(|parent| !parent.as_os_str().is_empty());
        let mut found = beside.map_or_else(Vec::new, |parent| children(&controller.join(parent), is_instance));
        found.extend(children(&controller.join(SLICE), |name| scope_id(name).is_some_and(is_instance)));
        found
    }

    /// Keeps steps to some of the cores that their parent may use, where the controller is at hand: a share of the time
    /// alone leaves an app waiting for the end of a build's turn, milliseconds each time.
    fn pin(&self, which: fn(&str) -> Option<String>) -> anyhow::Result<()> {
        for group in self.groups_below(&self.controller("cpuset")) {
            self.keep_to_cores(&group, which)?;
        }
        Ok(())
    }

    /// Keeps one group to some of the cores that its parent may use.
    fn keep_to_cores(&self, group: &Path, which: fn(&str) -> Option<String>) -> anyhow::Result<()> {
        let Some(parent) = group.parent() else { return Ok(()) };
        let Some(cores) = which(&self.cores(parent)) else { return Ok(()) };
        // The first version gives a group no memory to begin with, and then nothing can run in it.
        if !self.is_v2() {
            set(&group.join("cpuset.mems"), &trimmed(&parent.join("cpuset.effective_mems")))?;
        }
        set(&group.join("cpuset.cpus"), &cores)
    }

    /// The same for one that is kept to others of them now; where an owner chose its cores, nothing is changed.
    pub(super) fn exchange_cores(
        &self,
        group: &Path,
        now: fn(&str) -> Option<String>,
        wanted: fn(&str) -> Option<String>,
    ) -> anyhow::Result<()> {
        if self.is_kept_to(group, now) { self.keep_to_cores(group, wanted) } else { Ok(()) }
    }

    /// Whether a group is kept to just these of its parent's cores.
    pub(super) fn is_kept_to(&self, group: &Path, which: fn(&str) -> Option<String>) -> bool {
        group.parent().is_some_and(|parent| which(&self.cores(parent)) == list(&self.cores(group)))
    }

    /// Those that a group may use.
    fn cores(&self, group: &Path) -> String {
        trimmed(&group.join(if self.is_v2() { "cpuset.cpus.effective" } else { "cpuset.effective_cpus" }))
    }

    /// Where a controller's groups are.
    fn controller(&self, name: &str) -> PathBuf {
        if self.is_v2() { self.root.clone() } else { self.root.join(name) }
    }

    pub(super) fn is_v2(&self) -> bool {
        self.root.join("cgroup.controllers").exists()
    }

    /// Makes the common group where Docker has made its parent: the first build finds it limited.
    fn make(&self, files: &Files) -> anyhow::Result<()> {
        let controllers = files.iter().map(|(controller, ..)| *controller);
        for controller in controllers.chain((!self.is_v2()).then_some("cpuset")) {
            let group = self.root.join(controller).join(&self.group);
            if group.parent().is_some_and(Path::exists) && !group.exists() {
                std::fs::create_dir(&group).with_context(|| format!("make {}", group.display()))?;
            }
        }
        Ok(())
    }

    fn write(&self, files: &Files) -> anyhow::Result<()> {
        for (controller, file, value) in files {
            for group in self.groups_below(&self.root.join(controller)) {
                set(&group.join(file), value)?;
            }
        }
        Ok(())
    }

    /// The common group, whether it is there or not, and each step's that has one of its own.
    fn groups_below(&self, controller: &Path) -> impl Iterator<Item = PathBuf> + use<> {
        std::iter::once(controller.join(&self.group)).chain(scopes(&controller.join(SLICE)))
    }
}

/// Scopes of build steps that run now.
fn scopes(slice: &Path) -> Vec<PathBuf> {
    let is_step =
        |id: &str| id.len() == STEP_ID_LENGTH && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    children(slice, |name| scope_id(name).is_some_and(is_step))
}

fn scope_id(name: &str) -> Option<&str> {
    name.strip_prefix("docker-")?.strip_suffix(".scope")
}

fn is_instance(id: &str) -> bool {
    id.len() == INSTANCE_ID_LENGTH && id.bytes().all(|b| b.is_ascii_hexdigit())
}

/// What a file says, nothing when it is not there.
fn trimmed(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// Groups below one, by their names.
fn children(group: &Path, is_wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(group).into_iter().flatten().flatten();
    entries.filter(|entry| is_wanted(&entry.file_name().to_string_lossy())).map(|entry| entry.path()).collect()
}

/// Writes what differs. A group may end between two looks, and one without this controller has no such file.
fn set(path: &Path, value: &str) -> anyhow::Result<()> {
    use std::io::ErrorKind::NotFound;
    let now = match std::fs::read_to_string(path) {
        Ok(now) => now,
        Err(error) if error.kind() == NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
    };
    if is_same(now.trim(), value) {
        return Ok(());
    }
    match std::fs::write(path, value) {
        Err(error) if error.kind() == NotFound || error.raw_os_error() == Some(GONE) => Ok(()),
        written => written.with_context(|| format!("write {}", path.display())),
    }
}

/// The kernel rounds bytes down to whole pages.
fn is_same(now: &str, value: &str) -> bool {
    let pages = |text: &str| text.parse::<u64>().map(|bytes| bytes / 4096);
    now == value || matches!((pages(now), pages(value)), (Ok(a), Ok(b)) if a == b && a > 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: BuildLimits = BuildLimits { quota_micros: 20_000, memory_bytes: 1 << 30 };
    const STEP: &str = "system.slice/docker-piwyn61y3o549xm6a6x00rmi6.scope";

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    fn read(root: &tempfile::TempDir, path: &str) -> String {
        std::fs::read_to_string(root.path().join(path)).unwrap()
    }

    #[test]
    fn steps_of_the_systemd_driver_are_limited_and_instances_are_not() {
        let instance = format!("system.slice/docker-{}.scope", "a".repeat(64));
        let root = tree(&[
            ("cgroup.controllers", "cpu memory"),
            (&format!("{STEP}/cpu.max"), "max 100000\n"),
            (&format!("{STEP}/cpu.weight"), "100\n"),
            (&format!("{STEP}/memory.max"), "max\n"),
            (&format!("{instance}/cpu.max"), "max 100000\n"),
            ("system.slice/docker.service/cpu.max", "max 100000\n"),
        ]);
        let groups = ControlGroups::new(root.path(), Path::new("docker/buildkit"));
        groups.limit(&LIMITS).unwrap();
        assert_eq!(read(&root, &format!("{STEP}/cpu.max")), "20000 20000");
        assert_eq!(read(&root, &format!("{STEP}/cpu.weight")), "10");
        assert_eq!(read(&root, &format!("{STEP}/memory.max")), "1073741824");
        assert_eq!(read(&root, &format!("{instance}/cpu.max")), "max 100000\n");
        assert_eq!(read(&root, "system.slice/docker.service/cpu.max"), "max 100000\n");
        groups.unlimit().unwrap();
        assert_eq!(read(&root, &format!("{STEP}/memory.max")), "max");
    }

    #[test]
    fn the_common_group_of_the_cgroupfs_driver_is_made_and_limited() {
        let root = tree(&[
            ("cpu/docker/cpu.shares", "1024\n"),
            ("memory/docker/buildkit/memory.limit_in_bytes", "9223372036854771712\n"),
        ]);
        let groups = ControlGroups::new(root.path(), Path::new("docker/buildkit"));
        groups.limit(&LIMITS).unwrap();
        assert!(root.path().join("cpu/docker/buildkit").is_dir());
        assert_eq!(read(&root, "memory/docker/buildkit/memory.limit_in_bytes"), "1073741824");
        assert_eq!(read(&root, "cpu/docker/cpu.shares"), "1024\n");
    }

    #[test]
    fn each_instance_of_the_cgroupfs_driver_weighs_as_much_as_a_service() {
        let instance = |version: &str, digit: &str| format!("{version}docker/{}/tasks", digit.repeat(64));
        let root = tree(&[
            ("cpu/docker/cpu.shares", "1024\n"),
            (&instance("cpu/", "a"), ""),
            (&instance("cpu/", "b"), ""),
            (&instance("cpu/", "c"), ""),
            ("cpu/docker/buildkit/cpu.shares", "1024\n"),
        ]);
        let groups = ControlGroups::new(root.path(), Path::new("docker/buildkit"));
        groups.limit(&LIMITS).unwrap();
        assert_eq!(read(&root, "cpu/docker/cpu.shares"), "3072");
        assert_eq!(read(&root, "cpu/docker/buildkit/cpu.shares"), "102");
        groups.unlimit().unwrap();
        assert_eq!(read(&root, "cpu/docker/cpu.shares"), "1024");
        let root = tree(&[
            ("cgroup.controllers", "cpu memory"),
            ("docker/cpu.weight", "100\n"),
            (&instance("", "a"), ""),
            (&instance("", "b"), ""),
        ]);
        ControlGroups::new(root.path(), Path::new("docker/buildkit")).limit(&LIMITS).unwrap();
        assert_eq!(read(&root, "docker/cpu.weight"), "200");
    }

    #[test]
    fn one_core_is_kept_from_builds_where_the_controller_is_at_hand() {
        let root = tree(&[
            ("cpu/docker/cpu.shares", "1024\n"),
            ("cpuset/docker/cpuset.effective_cpus", "0-3\n"),
            ("cpuset/docker/cpuset.effective_mems", "0\n"),
            ("cpuset/docker/buildkit/cpuset.cpus", "\n"),
            ("cpuset/docker/buildkit/cpuset.mems", "\n"),
        ]);
        let groups = ControlGroups::new(root.path(), Path::new("docker/buildkit"));
        groups.limit(&LIMITS).unwrap();
        assert_eq!(read(&root, "cpuset/docker/buildkit/cpuset.cpus"), "1-3");
        assert_eq!(read(&root, "cpuset/docker/buildkit/cpuset.mems"), "0");
        groups.unlimit().unwrap();
        assert_eq!(read(&root, "cpuset/docker/buildkit/cpuset.cpus"), "0-3");
        let root = tree(&[
            ("cgroup.controllers", "cpu memory"),
            ("system.slice/cpuset.cpus.effective", "0,2\n"),
            (&format!("{STEP}/cpuset.cpus"), "\n"),
        ]);
        ControlGroups::new(root.path(), Path::new("docker/buildkit")).limit(&LIMITS).unwrap();
        assert_eq!(read(&root, &format!("{STEP}/cpuset.cpus")), "2");
    }

    #[test]
    fn a_machine_without_docker_is_no_failure() {
        let root = tempfile::tempdir().unwrap();
        ControlGroups::new(root.path(), Path::new("docker/buildkit")).limit(&LIMITS).unwrap();
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_the_kernel_rounds_counts_as_written() {
        assert!(is_same("12638072832", "12638074880"));
        assert!(!is_same("20000", "40000"));
        assert!(!is_same("max", "10"));
    }
}
