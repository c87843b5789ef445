//! The process under test: found, started, asked whether it is ready, ended.
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

/// A running `paas server`.
pub(super) struct Server {
    child: Child,
    pub(super) http: SocketAddr,
    pub(super) https: Option<SocketAddr>,
    pub(super) ssh: SocketAddr,
    _stdout: BufReader<ChildStdout>,
}

/// The program that the stories are about.
pub(super) fn program() -> PathBuf {
    if let Some(given) = std::env::var_os("PAAS_BIN") {
        return PathBuf::from(given);
    }
    let here = std::env::current_exe().expect("find the test's own program");
    let built = here.parent().and_then(Path::parent).expect("a test stands in target/PROFILE/deps").join("paas");
    assert!(
        built.exists(),
        "{} is missing: run `cargo build -p paas --features crash-points`, or set PAAS_BIN",
        built.display()
    );
    built
}

/// The program, to be started with words of its own.
pub(crate) fn paas() -> Command {
    Command::new(program())
}

impl Server {
    /// Starts it on `home/data`; `ports` are those of before, so that a restart answers at the same addresses.
    pub(super) fn start(home: &Path, ports: Option<(SocketAddr, SocketAddr)>, environment: &[(&str, &str)]) -> Self {
        Self::start_by(Command::new(program()), home, ports, environment)
    }

    /// The same on a listener that outlives the server, handed over as systemd does it (sd_listen_fds(3)).
    pub(super) fn start_on(
        listener: &TcpListener,
        home: &Path,
        ports: Option<(SocketAddr, SocketAddr)>,
        environment: &[(&str, &str)],
    ) -> Self {
        // What a child is given as its standard input is the one descriptor that std passes on; `LISTEN_PID` is its own id.
        let script = "exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=http exec \"$@\"";
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).arg(program());
        let handed = OwnedFd::from(listener.try_clone().expect("clone a listener"));
        Self::start_with_input(command, Stdio::from(handed), home, ports, environment)
    }

    /// The same, by a command that becomes the program.
    pub(super) fn start_by(
        command: Command,
        home: &Path,
        ports: Option<(SocketAddr, SocketAddr)>,
        environment: &[(&str, &str)],
    ) -> Self {
        Self::start_with_input(command, Stdio::null(), home, ports, environment)
    }

    fn start_with_input(
        mut command: Command,
        input: Stdio,
        home: &Path,
        ports: Option<(SocketAddr, SocketAddr)>,
        environment: &[(&str, &str)],
    ) -> Self {
        let usual = |key: &str| {
            let given = environment.iter().find(|(name, _)| *name == key);
            given.map_or("127.0.0.1:0", |(_, value)| value).to_owned()
        };
        let ca_bundle = environment.iter().find(|(name, _)| *name == "PAAS_CA_BUNDLE");
        let ca_bundle = ca_bundle.map_or("/etc/ssl/certs/ca-certificates.crt", |(_, file)| *file);
        let (http, ssh) = ports.map_or_else(
            || (usual("PAAS_HTTP_LISTEN"), usual("PAAS_SSH_LISTEN")),
            |(http, ssh)| (http.to_string(), ssh.to_string()),
        );
        let mut child = command
            .args(["server", "--http-listen", &http, "--ssh-listen", &ssh])
            .args(["--https-listen", &usual("PAAS_HTTPS_LISTEN")])
            .args(["--ca-bundle", ca_bundle, "--data-dir"])
            .arg(home.join("data"))
            .env("PAAS_LOG", "info,russh=warn,sqlx=warn")
            .envs(environment.iter().copied())
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(log(home))
            .spawn()
            .expect("start paas");
        let mut stdout = BufReader::new(child.stdout.take().expect("standard output is piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("read the ready line");
        let ready: Value = serde_json::from_str(&line)
            .unwrap_or_else(|_| panic!("paas did not say that it is ready, but {line:?}: {}", read_log(home)));
        let find = |key: &str| ready[key].as_str().and_then(|text| text.parse().ok());
        let address = |key: &str| find(key).expect("an address");
        Self { http: address("http"), https: find("https"), ssh: address("ssh"), child, _stdout: stdout }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How many sockets it holds.
    pub(super) fn sockets(&self) -> usize {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("read /proc");
        let targets = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
    }

    /// Processor time that it has used so far.
    pub(super) fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("read /proc");
        let fields: Vec<u64> = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        // After the state, which is a letter: utime and stime are the 11th and 12th number, in hundredths of a second.
        Duration::from_millis((fields[10] + fields[11]) * 10)
    }

    pub(super) fn kill9(&mut self) {
        // It may have ended already, by a crash point.
        let _ = self.child.kill();
        self.child.wait().expect("wait for paas");
    }

    /// Ends it as an administrator does; by force when that takes too long.
    pub(super) fn stop(&mut self) {
        if self.try_wait().is_some() {
            return;
        }
        let pid = Pid::from_raw(self.child.id().cast_signed()).expect("a process has an id");
        kill_process(pid, Signal::TERM).expect("send SIGTERM");
        let begun = std::time::Instant::now();
        while self.try_wait().is_none() && begun.elapsed() < Duration::from_secs(25) {
            std::thread::sleep(Duration::from_millis(10));
        }
        if self.try_wait().is_none() {
            self.kill9();
        }
    }

    pub(super) fn try_wait(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("look at paas")
    }
}

fn log(home: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(home.join("paas.log")).expect("open paas.log")
}

pub(super) fn read_log(home: &Path) -> String {
    std::fs::read_to_string(home.join("paas.log")).unwrap_or_default()
}
