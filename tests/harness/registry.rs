//! A registry of its own, at a loopback address, as CI would push to.
use super::eventually;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// What `htpasswd -B` makes of the password of [`Registry::start_private`].
const HTPASSWD: &str = "ci:$2b$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW\n";

pub(crate) struct Registry {
    pub(crate) address: SocketAddr,
    child: Child,
    home: TempDir,
}

impl Registry {
    pub(crate) fn start() -> Self {
        Self::start_with("")
    }

    /// Only `ci`, whose password is `open sesame`, is let in.
    pub(crate) fn start_private() -> Self {
        Self::start_with("auth:\n  htpasswd:\n    realm: test\n    path: HOME/htpasswd\n")
    }

    fn start_with(more: &str) -> Self {
        let home = tempfile::Builder::new().prefix("paas-registry-").tempdir().expect("make a folder");
        // Whoever had the port just now has given it back.
        let address = TcpListener::bind("127.0.0.1:0").expect("listen").local_addr().expect("its address");
        let folder = home.path().display().to_string();
        let config = format!(
            "version: 0.1\nlog: {{level: warn}}\nstorage:\n  filesystem:\n    rootdirectory: {folder}/data\nhttp:\n  addr: {address}\n{}",
            more.replace("HOME", &folder)
        );
        std::fs::write(home.path().join("config.yml"), config).expect("write config.yml");
        std::fs::write(home.path().join("htpasswd"), HTPASSWD).expect("write htpasswd");
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(home.path().join("config.yml")).stdin(Stdio::null()).stdout(Stdio::null());
        let log = std::fs::File::create(home.path().join("log")).expect("make a log");
        let child = command.stderr(log).spawn().expect("start docker-registry: run tests/install");
        eventually("the registry answers", Duration::from_secs(20), || TcpStream::connect(address).is_ok());
        Self { address, child, home }
    }

    /// How an image of this registry is called.
    pub(crate) fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.address)
    }

    /// A file with the login, as `docker login` writes it.
    pub(crate) fn login_file(&self) -> String {
        let path = self.home.path().join("config.json");
        // `ci:open sesame`
        let text = format!(r#"{{"auths": {{"{}": {{"auth": "Y2k6b3BlbiBzZXNhbWU="}}}}}}"#, self.address);
        std::fs::write(&path, text).expect("write config.json");
        path.display().to_string()
    }

    /// The folder that `docker --config` is given to push there.
    pub(crate) fn docker_config(&self) -> String {
        self.login_file();
        self.home.path().display().to_string()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
