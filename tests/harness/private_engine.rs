//! A container engine, firewall and network of a story's own, which it may harm: the engine of this machine, and whoever
//! else uses it, notices nothing.
//!
//! The story starts itself again inside new namespaces (`unshare`). There, /var/run holds the private engine's socket, so
//! that everything finds it where it always is.
use super::eventually;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const INSIDE: &str = "PAAS_STORY_IS_INSIDE";
const BASE_IMAGE: &str = "debian:trixie-slim";

pub(crate) struct PrivateEngine {
    daemon: Child,
    /// Control groups of its containers, below each controller.
    pub(crate) cgroup: String,
    home: TempDir,
}

/// Runs `story`, which is the test called `name`, in namespaces of its own.
pub(crate) fn in_private(name: &str, story: impl FnOnce(&PrivateEngine)) {
    if std::env::var_os(INSIDE).is_some() {
        story(&PrivateEngine::start());
        return;
    }
    let image = tempfile::NamedTempFile::new().expect("make a file");
    let saved = Command::new("docker").args(["save", "-o"]).arg(image.path()).arg(BASE_IMAGE).status();
    assert!(saved.expect("start docker").success(), "save {BASE_IMAGE}");
    let done = Command::new("unshare")
        .args(["--net", "--mount", "--propagation", "private", "--"])
        .arg(std::env::current_exe().expect("find the test's own program"))
        .args([name, "--exact", "--nocapture"])
        .env(INSIDE, image.path())
        .status();
    assert!(done.expect("start unshare").success(), "{name} failed inside its namespaces: see above");
}

impl PrivateEngine {
    fn start() -> Self {
        let home = tempfile::Builder::new().prefix("paas-engine-").tempdir().expect("make a folder");
        ran("ip", &["link", "set", "lo", "up"]);
        for hidden in ["/var/run", "/run/containerd"] {
            if Path::new(hidden).exists() {
                ran("mount", &["-t", "tmpfs", "tmpfs", hidden]);
            }
        }
        let cgroup = format!("paas-story-{}", std::process::id());
        let log = File::create(home.path().join("dockerd.log")).expect("make a log");
        let daemon = Command::new("dockerd")
            .args(["--host", "unix:///var/run/docker.sock", "--pidfile"])
            .arg(home.path().join("pid"))
            .args(["--cgroup-parent", &cgroup, "--data-root"])
            .arg(home.path().join("data"))
            .arg("--exec-root")
            .arg(home.path().join("exec"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("share the log"))
            .stderr(log)
            .spawn()
            .expect("start dockerd");
        let mut engine = Self { daemon, cgroup, home };
        eventually("the private engine answers", Duration::from_mins(1), || {
            let log = engine.home.path().join("dockerd.log");
            let ended = engine.daemon.try_wait().expect("look at dockerd").is_some();
            assert!(!ended, "dockerd ended: {}", std::fs::read_to_string(log).unwrap_or_default());
            quiet("docker", &["version"])
        });
        let image = std::env::var(INSIDE).expect("the outer story names the image");
        ran("docker", &["load", "--quiet", "--input", &image]);
        engine
    }
}

impl Drop for PrivateEngine {
    fn drop(&mut self) {
        // SIGTERM: it takes its containers and its containerd with it.
        let pid = self.daemon.id().to_string();
        quiet("kill", &["-TERM", &pid]);
        let _ = self.daemon.wait();
        let roots = ["cpu", "memory", ""].map(|controller| Path::new("/sys/fs/cgroup").join(controller));
        for root in roots {
            for group in [format!("{}/buildkit", self.cgroup), self.cgroup.clone()] {
                let _ = std::fs::remove_dir(root.join(group));
            }
        }
    }
}

#[track_caller]
pub(crate) fn ran(program: &str, words: &[&str]) {
    let status = Command::new(program).args(words).stdout(Stdio::null()).status();
    assert!(status.unwrap_or_else(|error| panic!("start {program}: {error}")).success(), "{program} {words:?} failed");
}

fn quiet(program: &str, words: &[&str]) -> bool {
    let status = Command::new(program).args(words).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
