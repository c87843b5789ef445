//! A town whose server runs from a file of its own, which can be replaced while it runs.
use super::server::{self, Server};
use super::{Outcome, Town, eventually, run};
use rustix::process::{Pid, Signal, kill_process};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

impl Town {
    /// Starts a copy of the program, which stands in the town's folder.
    pub(crate) fn start_installed(environment: &[(&str, &str)]) -> Self {
        let home = Self::make_home();
        std::fs::copy(server::program(), home.path().join("paas")).expect("copy paas");
        let server = Server::start_by(Command::new(home.path().join("paas")), home.path(), None, environment);
        let town = Self::of_server(server, home);
        town.make_key("key");
        town.add_key("laptop", "key").succeeds();
        town
    }

    /// The file that the server is started from.
    pub(crate) fn installed(&self) -> PathBuf {
        self.home().join("paas")
    }

    /// Another version, as far as bytes can tell.
    pub(crate) fn another_version(&self, name: &str) -> PathBuf {
        let file = self.home().join(name);
        std::fs::copy(server::program(), &file).expect("copy paas");
        let mut appended = std::fs::OpenOptions::new().append(true).open(&file).expect("open the copy");
        appended.write_all(name.as_bytes()).expect("change the copy");
        file
    }

    /// As root types it on the host.
    pub(crate) fn upgrade(&self, file: &Path) -> Outcome {
        run(self.upgrade_command(file), &format!("paas server:upgrade {}", file.display()), b"")
    }

    pub(crate) fn upgrade_command(&self, file: &Path) -> Command {
        let mut command = Command::new(self.installed());
        command.arg("--data-dir").arg(self.data_dir()).arg("server:upgrade").arg(file);
        command
    }

    /// The process that holds the data folder.
    pub(crate) fn in_charge(&self) -> i32 {
        let signed = std::fs::read_to_string(self.data_dir().join("run/lock")).expect("read the lock");
        signed.trim().parse().expect("a process id")
    }

    /// Whether the process in charge runs the file that is in place.
    pub(crate) fn runs_what_is_installed(&self) -> bool {
        let installed = std::fs::metadata(self.installed()).expect("look at the program");
        let running = std::fs::metadata(format!("/proc/{}/exe", self.in_charge()));
        running.is_ok_and(|running| running.ino() == installed.ino())
    }

    /// All servers that run from the town's folder, those that finish too.
    pub(crate) fn servers(&self) -> Vec<i32> {
        servers_in(self.home())
    }

    /// Asks all servers but the one in charge to end now.
    pub(crate) fn end_earlier_servers(&self) {
        let last = self.in_charge();
        for process in self.servers().into_iter().filter(|process| *process != last) {
            signal(process, Signal::TERM);
        }
        let limit = Duration::from_secs(30);
        eventually("earlier servers end when they are told to", limit, || self.servers() == [last]);
    }

    /// Kills the server in charge, and no other.
    pub(crate) fn kill_in_charge(&self) {
        let process = self.in_charge();
        signal(process, Signal::KILL);
        eventually("the killed server is gone", Duration::from_secs(10), || !self.servers().contains(&process));
    }

    /// Starts what is installed at the same addresses, beside those that finish.
    pub(crate) fn start_another(&mut self) {
        let installed = self.installed();
        self.start_by(Command::new(installed));
    }

    /// Kills whatever serves, and starts what is installed at the same addresses.
    pub(crate) fn start_installed_again(&mut self) {
        kill_all(self.home());
        self.reap();
        let installed = self.installed();
        self.start_by(Command::new(installed));
    }
}

/// Kills every server that runs from a town's folder.
pub(super) fn kill_all(home: &Path) {
    for process in servers_in(home) {
        signal(process, Signal::KILL);
    }
    eventually("killed servers are gone", Duration::from_secs(10), || servers_in(home).is_empty());
}

fn signal(process: i32, signal: Signal) {
    // It may have ended by itself.
    let _ = Pid::from_raw(process).map(|process| kill_process(process, signal));
}

fn servers_in(home: &Path) -> Vec<i32> {
    let mut found: Vec<i32> = std::fs::read_dir("/proc")
        .expect("read /proc")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|process| {
            let is_ours = std::fs::read_link(format!("/proc/{process}/exe")).is_ok_and(|exe| exe.starts_with(home));
            let line = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
            is_ours && line.split(|byte| *byte == 0).nth(1) == Some(b"server")
        })
        .collect();
    found.sort_unstable();
    found
}
