//! A container engine of one's own, which may be stopped, hung, filled or lose its power.
//!
//! It lives in namespaces of its own: the network, so that its bridges meet nobody's; the mounts, so that small disks can be
//! given to it and to `paas`; the processes, so that ending the first one ends everything, instances included. `paas` runs
//! in the same network and mounts, and is reached over a pair of virtual links.
use super::{Outcome, eventually};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::OpenOptions;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const BASE_IMAGE: &str = "debian:trixie-slim";
/// Links of all private engines are in 198.18.0.0/15, which is set aside for tests of networks.
const LINKS: u32 = 0xc612_0000;
const SOON: Duration = Duration::from_secs(30);

pub(crate) struct OwnEngine {
    folder: TempDir,
    keeps_instances: bool,
    /// First process of the namespaces, and the `unshare` that made them.
    first: u32,
    unshare: Child,
    dockerd: Option<Child>,
}

impl OwnEngine {
    /// An engine whose instances end with it, as Debian sets it up.
    pub(crate) fn start() -> Self {
        Self::prepare(false).ready()
    }

    /// An engine with `live-restore`: it can be restarted over its running instances.
    pub(crate) fn start_with_live_restore() -> Self {
        Self::prepare(true).ready()
    }

    /// An engine whose data is on a disk of this size.
    pub(crate) fn start_on_disk(size_mb: u32) -> Self {
        let engine = Self::prepare(false);
        engine.mount_disk(&engine.data_root(), size_mb);
        engine.ready()
    }

    fn prepare(keeps_instances: bool) -> Self {
        let folder = tempfile::Builder::new().prefix("paas-engine-").tempdir().expect("make a folder");
        std::fs::create_dir(folder.path().join("data")).expect("make a folder");
        let (unshare, first) = make_namespaces();
        let engine = Self { folder, keeps_instances, first, unshare, dockerd: None };
        engine.link_up();
        engine
    }

    fn ready(mut self) -> Self {
        self.start_again();
        let image = self.folder.path().join("base.tar");
        run(Command::new("docker").args(["save", BASE_IMAGE, "--output"]).arg(&image)).succeeds();
        let mut load = Command::new("docker");
        run(load.args(["--host", &self.host(), "load", "--input"]).arg(&image)).succeeds();
        std::fs::remove_file(image).expect("remove a file");
        self
    }

    /// What `docker_host` and `docker --host` want.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.folder.path().join("docker.sock").display())
    }

    pub(crate) fn data_root(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Where `paas` listens, seen from inside and from outside.
    fn address() -> IpAddr {
        IpAddr::V4(Ipv4Addr::from(link() + 2))
    }

    /// What tells `paas` to use it, and to listen where others reach it.
    pub(super) fn environment(&self) -> [(&'static str, String); 4] {
        let address = format!("{}:0", Self::address());
        [
            ("PAAS_DOCKER_HOST", self.host()),
            ("PAAS_HTTP_LISTEN", address.clone()),
            ("PAAS_SSH_LISTEN", address),
            // Its disks are small: nothing is refused before it is really full.
            ("PAAS_DISK_RESERVE", "1K".to_owned()),
        ]
    }

    /// A file or folder as it is seen inside.
    pub(crate) fn inside(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.first));
        root.join(path.strip_prefix("/").expect("an absolute path"))
    }

    /// The installation's id in a database that only the inside sees. (SQLite does not open what [`Self::inside`] names.)
    pub(super) fn installation(&self, database: &Path) -> String {
        let program = "import sqlite3, sys\n\
                       print(sqlite3.connect(sys.argv[1]).execute('SELECT id FROM installation').fetchone()[0])";
        let mut python = self.command(Path::new("python3"));
        run(python.args(["-c", program]).arg(database)).succeeds().stdout.trim().to_owned()
    }

    /// A command that runs in the engine's network and mounts; its process is the command's own.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.first.to_string(), "--net", "--mount", "--"]).arg(program);
        command
    }

    // Its life.

    pub(crate) fn start_again(&mut self) {
        assert!(self.dockerd.is_none(), "it runs already");
        let log = OpenOptions::new().create(true).append(true).open(self.folder.path().join("engine.log"));
        let path = |name: &str| self.folder.path().join(name);
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.first.to_string(), "--pid", "--net", "--mount", "--"]);
        command.args([
            "unshare",
            "--mount",
            "--mount-proc",
            "dockerd",
            "--bip",
            "10.191.0.1/24",
            "--shutdown-timeout",
            "5",
        ]);
        command.args(["--host", &self.host(), "--data-root"]).arg(self.data_root());
        command.arg("--exec-root").arg(path("exec")).arg("--pidfile").arg(path("pid"));
        command.args(self.keeps_instances.then_some("--live-restore"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.expect("open engine.log"));
        self.dockerd = Some(command.spawn().expect("start dockerd: is docker.io installed?"));
        eventually("the private engine answers", SOON, || self.docker(&["version"]).code == Some(0));
    }

    /// Ends it as an administrator does.
    pub(crate) fn stop(&mut self) {
        self.signal("TERM");
        let mut dockerd = self.dockerd.take().expect("it runs");
        eventually("the private engine has ended", SOON, || dockerd.try_wait().expect("look at dockerd").is_some());
    }

    /// It goes on existing and answers nothing.
    pub(crate) fn freeze(&self) {
        self.signal("STOP");
    }

    pub(crate) fn thaw(&self) {
        self.signal("CONT");
        // `nsenter` stops itself when its child is stopped.
        let nsenter = self.dockerd.as_ref().expect("it runs").id().cast_signed();
        kill_process(Pid::from_raw(nsenter).expect("a process has an id"), Signal::CONT).expect("wake nsenter");
    }

    /// The machine loses its power and comes back: no process is left, networks and mounts are made anew, and the kernel
    /// names another boot. The engine is not started yet.
    pub(crate) fn reboot(&mut self) {
        self.end();
        // What `/run` holds is gone after a boot: its process ids name others by now.
        let path = |name: &str| self.folder.path().join(name);
        std::fs::remove_dir_all(path("exec")).expect("remove a folder");
        std::fs::remove_file(path("pid")).expect("remove a file");
        (self.unshare, self.first) = make_namespaces();
        self.link_up();
        let id = std::fs::read_to_string("/proc/sys/kernel/random/uuid").expect("read a random id");
        let file = self.folder.path().join("boot_id");
        std::fs::write(&file, id).expect("write a file");
        let mut mount = self.command(Path::new("mount"));
        run(mount.arg("--bind").arg(file).arg("/proc/sys/kernel/random/boot_id")).succeeds();
    }

    fn signal(&self, name: &str) {
        let pid = std::fs::read_to_string(self.folder.path().join("pid")).expect("read the engine's pid file");
        let mut kill = Command::new("nsenter");
        kill.args(["--target", &self.first.to_string(), "--pid", "--", "/bin/kill", "-s", name, pid.trim()]);
        run(&mut kill).succeeds();
    }

    fn end(&mut self) {
        // The kernel ends every process of a namespace with its first one.
        let first = Pid::from_raw(self.first.cast_signed()).expect("a process has an id");
        let _ = kill_process(first, Signal::KILL);
        let _ = self.unshare.wait();
        if let Some(mut dockerd) = self.dockerd.take() {
            // It stopped itself with a frozen engine.
            let _ = dockerd.kill();
            let _ = dockerd.wait();
        }
        let _ = Command::new("ip").args(["link", "del", &link_name()]).stderr(Stdio::null()).status();
        self.forget_groups();
    }

    /// Instances that were ended with their namespace leave their empty control groups behind.
    fn forget_groups(&self) {
        let Ok(instances) = std::fs::read_dir(self.data_root().join("containers")) else { return };
        for instance in instances.flatten() {
            for kind in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
                let _ = std::fs::remove_dir(kind.path().join("docker").join(instance.file_name()));
            }
        }
    }

    // Disks.

    /// Puts a disk of this size at a folder, for the engine and for `paas` alone.
    pub(crate) fn mount_disk(&self, at: &Path, size_mb: u32) {
        let name: String = at.to_string_lossy().replace('/', "-");
        let image = self.folder.path().join(format!("disk{name}"));
        let file = std::fs::File::create(&image).expect("make a file");
        file.set_len(u64::from(size_mb) << 20).expect("make it large");
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0", "-O", "^has_journal"]).arg(&image)).succeeds();
        run(self.command(Path::new("mkdir")).arg("-p").arg(at)).succeeds();
        // The loop device goes with the mount, and the mount with the namespace.
        run(self.command(Path::new("mount")).args(["-o", "loop"]).arg(image).arg(at)).succeeds();
        run(self.command(Path::new("rmdir")).arg(at.join("lost+found"))).succeeds();
    }

    /// Takes all the space that is left on the disk at `folder`.
    pub(crate) fn fill(&self, folder: &Path) {
        let filler = self.inside(folder).join("filler");
        let mut file = std::fs::File::create(filler).expect("make a file");
        let chunk = vec![b'x'; 64 << 10];
        let mut size = chunk.len();
        while size > 0 {
            // Ever smaller pieces, until not a byte has a place.
            if std::io::Write::write_all(&mut file, &chunk[..size]).is_err() {
                size /= 2;
            }
        }
        let _ = file.sync_all();
    }

    pub(crate) fn free(&self, folder: &Path) {
        std::fs::remove_file(self.inside(folder).join("filler")).expect("remove the filler");
    }

    /// A look past `paas` at the engine.
    pub(crate) fn docker(&self, words: &[&str]) -> Outcome {
        run(Command::new("docker").args(["--host", &self.host()]).args(words))
    }

    fn link_up(&self) {
        let (name, first) = (link_name(), self.first.to_string());
        let address = |last: u32| format!("{}/30", Ipv4Addr::from(link() + last));
        let ip = |words: &[&str]| {
            run(Command::new("ip").args(words)).succeeds();
        };
        ip(&["link", "add", &name, "type", "veth", "peer", "name", "eth0", "netns", &first]);
        ip(&["address", "add", &address(1), "dev", &name]);
        ip(&["link", "set", &name, "up"]);
        let inside = |words: &[&str]| {
            run(self.command(Path::new("ip")).args(words)).succeeds();
        };
        inside(&["link", "set", "lo", "up"]);
        inside(&["address", "add", &address(2), "dev", "eth0"]);
        inside(&["link", "set", "eth0", "up"]);
    }
}

impl Drop for OwnEngine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.folder.path().join("engine.log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().rev().take(40).collect();
            eprintln!("---- end of the private engine's log ----");
            lines.iter().rev().for_each(|line| eprintln!("{line}"));
        }
        self.end();
    }
}

/// A process that does nothing in namespaces of its own, and its number. It ends with this test, however that ends.
fn make_namespaces() -> (Child, u32) {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "unshare", "--net", "--mount", "--propagation", "private", "--pid", "--fork"]);
    let unshare = command.args(["--kill-child", "sleep", "infinity"]).stdin(Stdio::null()).spawn();
    let unshare = unshare.expect("start unshare");
    let children = format!("/proc/{0}/task/{0}/children", unshare.id());
    let is_asleep =
        |first: &u32| std::fs::read_to_string(format!("/proc/{first}/comm")).is_ok_and(|comm| comm.trim() == "sleep");
    let mut first = None;
    eventually("the namespaces are there", SOON, || {
        let listed = std::fs::read_to_string(&children).unwrap_or_default();
        first = listed.trim().parse().ok().filter(is_asleep);
        first.is_some()
    });
    (unshare, first.expect("it was waited for"))
}

/// Each test has a process of its own, and so a pair of links of its own.
fn link() -> u32 {
    LINKS + 4 * (std::process::id() % (1 << 15))
}

fn link_name() -> String {
    format!("paas{}", std::process::id())
}

fn run(command: &mut Command) -> Outcome {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("start {command:?}: {error}"));
    Outcome::new(&format!("{command:?}"), &output)
}
