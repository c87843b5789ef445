//! A host of git repositories by https on loopback, with an authority of its own: where buildpacks and submodules come from.
use super::authority::make_certificates;
use super::run;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

const SYSTEM_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

pub(crate) struct Forge {
    home: TempDir,
    child: Child,
    port: u16,
}

impl Forge {
    pub(crate) fn start() -> Self {
        let home = tempfile::Builder::new().prefix("paas-forge-").tempdir().expect("make a folder");
        make_certificates(home.path(), Ipv4Addr::LOCALHOST);
        let bundle = [SYSTEM_BUNDLE.into(), home.path().join("ca.pem")]
            .map(|file: PathBuf| std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display())));
        std::fs::write(home.path().join("bundle.pem"), bundle.concat()).expect("write the bundle");
        let served = home.path().join("served");
        std::fs::create_dir(&served).expect("make a folder");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("harness/git_https.py");
        let mut python = Command::new("python3");
        python.arg(script).arg(&served).args(["leaf.pem", "leaf.key"].map(|file| home.path().join(file)));
        let log = std::fs::File::create(home.path().join("log")).expect("make a log");
        python.current_dir(home.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = python.spawn().expect("start python3");
        let mut line = String::new();
        let said = child.stdout.take().expect("standard output is piped");
        BufReader::new(said).read_line(&mut line).expect("read the port");
        let port = line.trim().parse().expect("a port");
        Self { home, child, port }
    }

    /// What a server is told, so that its builds may fetch here.
    pub(crate) fn environment(&self) -> [(&'static str, String); 2] {
        let bundle = self.authority().to_string_lossy().into_owned();
        [("PAAS_FETCH_ALLOW", self.host()), ("PAAS_CA_BUNDLE", bundle)]
    }

    /// A file of the authorities that its visitors have to trust.
    pub(crate) fn authority(&self) -> PathBuf {
        self.home.path().join("bundle.pem")
    }

    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn url(&self, name: &str) -> String {
        format!("https://{}/{name}", self.host())
    }

    /// Publishes a folder's files as the newest commit of a repository; returns the commit.
    pub(crate) fn publish(&self, folder: &Path, repository: &str) -> String {
        let bare = self.served(repository);
        let git = |words: &[&str]| {
            let mut git = Command::new("git");
            git.current_dir(folder).arg("--git-dir").arg(&bare).arg("--work-tree").arg(folder).args(words);
            git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
            git.envs(["AUTHOR", "COMMITTER"].map(|who| (format!("GIT_{who}_NAME"), "Ada")));
            git.envs(["AUTHOR", "COMMITTER"].map(|who| (format!("GIT_{who}_EMAIL"), "ada@example.com")));
            run(git, &format!("git {}", words.join(" ")), b"").succeeds().stdout.trim().to_owned()
        };
        if !bare.exists() {
            git(&["init", "--quiet", "--initial-branch=main"]);
            git(&["config", "core.bare", "false"]);
        }
        git(&["add", "--all", "."]);
        git(&["commit", "--quiet", "--allow-empty", "-m", "published"]);
        git(&["rev-parse", "HEAD"])
    }

    /// Checks a repository out into a folder: one that is inside of a folder to publish is a submodule there.
    pub(crate) fn clone_into(&self, repository: &str, folder: &Path) {
        let mut git = Command::new("git");
        git.args(["clone", "--quiet"]).arg(self.served(repository)).arg(folder);
        run(git, "git clone", b"").succeeds();
    }

    /// Packs a folder as GitHub does, in a folder of its own.
    pub(crate) fn pack(&self, folder: &Path, archive: &str) {
        let mut tar = Command::new("tar");
        tar.args(["--create", "--gzip", "--transform", "s,^\\.,pack-1,", "--file"]).arg(self.served(archive));
        tar.arg("--directory").arg(folder).arg(".");
        run(tar, "tar", b"").succeeds();
    }

    fn served(&self, name: &str) -> PathBuf {
        self.home.path().join("served").join(name)
    }
}

impl Drop for Forge {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.home.path().join("log")).unwrap_or_default();
            eprintln!("---- log of the forge ----\n{log}");
        }
    }
}
