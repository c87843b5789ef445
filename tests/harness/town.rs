//! A server of its own on a folder of its own, with a user who has a key; gone without a trace at the end.
use super::server::{self, Server};
use super::{Authority, Connection, Engine, Outcome, OwnEngine, Push, Response, Work, eventually};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// A user that nobody is.
const CONFINED_ID: u32 = 64_999;

pub(crate) struct Town {
    server: Server,
    pub(crate) engine: Engine,
    own: Option<OwnEngine>,
    /// Where visitors come in, if that outlives the server.
    listener: Option<TcpListener>,
    home: TempDir,
}

impl Town {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    pub(crate) fn start_with(environment: &[(&str, &str)]) -> Self {
        let town = Self::in_folder(Self::make_home(), environment);
        town.make_key("key");
        town.add_key("laptop", "key").succeeds();
        town
    }

    /// The visitors' listener is ours, and handed to one server after the other.
    pub(crate) fn start_on_a_listener_of_ours() -> Self {
        let (home, listener) = (Self::make_home(), TcpListener::bind("127.0.0.1:0").expect("listen"));
        let server = Server::start_on(&listener, home.path(), None, &[]);
        let engine = Engine { installation: installation(&home.path().join("data/paas.db")), host: None };
        let town = Self { server, engine, own: None, listener: Some(listener), home };
        town.make_key("key");
        town.add_key("laptop", "key").succeeds();
        town
    }

    /// Process id of the server.
    pub(crate) fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// Its server runs as the installer's unit has it: a user without powers, in the group that may use the engine.
    pub(crate) fn start_confined(engine_group: &str) -> Self {
        let home = tempfile::Builder::new().prefix("paas-town-").tempdir().expect("make a folder");
        // Its user may look into no folder of ours.
        std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o711)).expect("let it pass");
        let (program, data) = (home.path().join("paas"), home.path().join("data"));
        std::fs::copy(server::program(), &program).expect("copy paas");
        std::fs::create_dir(&data).expect("make a folder");
        std::os::unix::fs::chown(&data, Some(CONFINED_ID), Some(CONFINED_ID)).expect("give it away");
        let id = CONFINED_ID.to_string();
        let mut command = Command::new("setpriv");
        // As systemd starts it, with nothing of our own environment.
        command.env_clear().env("HOME", &data).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.args(["--reuid", &id, "--regid", &id, "--groups", engine_group, "--no-new-privs"]);
        command.args(["--bounding-set", "-all", "--inh-caps", "-all", "--"]).arg(program).current_dir("/");
        let server = Server::start_by(command, home.path(), None, &[]);
        let engine = Engine { installation: installation(&home.path().join("data/paas.db")), host: None };
        let town = Self { server, engine, own: None, listener: None, home };
        town.make_key("key");
        town.add_key("laptop", "key").succeeds();
        town
    }

    /// A town whose CA and whose DNS are those of `authority`.
    pub(crate) fn start_beside(authority: &Authority, more: &[(&str, &str)]) -> Self {
        let home = Self::make_home();
        let server = Self::serve_beside(authority, home.path(), None, more);
        let engine = Engine { installation: installation(&home.path().join("data/paas.db")), host: None };
        Self { server, engine, own: None, listener: None, home }
    }

    /// Starts the server of such a town again, by another clock where `FAKETIME` says so.
    pub(crate) fn start_again_beside(&mut self, authority: &Authority, more: &[(&str, &str)]) {
        self.server.stop();
        let ports = Some((self.server.http, self.server.ssh));
        self.server = Self::serve_beside(authority, self.home.path(), ports, more);
    }

    fn serve_beside(
        authority: &Authority,
        home: &Path,
        ports: Option<(SocketAddr, SocketAddr)>,
        more: &[(&str, &str)],
    ) -> Server {
        let its = authority.environment();
        let its = its.iter().map(|(name, value)| (*name, value.as_str()));
        let library = super::faketime().to_string_lossy().into_owned();
        let clock = [("LD_PRELOAD", library.as_str()), ("DONT_FAKE_MONOTONIC", "1")];
        let clock = clock.into_iter().filter(|_| more.iter().any(|(name, _)| *name == "FAKETIME"));
        let environment: Vec<(&str, &str)> = its.chain(clock).chain(more.iter().copied()).collect();
        Server::start_by(authority.command(&server::program()), home, ports, &environment)
    }

    /// A folder for a town that is founded later.
    pub(crate) fn make_home() -> TempDir {
        tempfile::Builder::new().prefix("paas-town-").tempdir().expect("make a folder")
    }

    /// Starts a server on what `home` holds already, keys included.
    pub(crate) fn in_folder(home: TempDir, environment: &[(&str, &str)]) -> Self {
        Self::of_server(Server::start(home.path(), None, environment), home)
    }

    pub(super) fn of_server(server: Server, home: TempDir) -> Self {
        let engine = Engine { installation: installation(&home.path().join("data/paas.db")), host: None };
        Self { server, engine, own: None, listener: None, home }
    }

    /// Starts it by this command, at the addresses of before. Nobody serves there.
    pub(super) fn start_by(&mut self, command: Command) {
        let ports = (self.server.http, self.server.ssh);
        self.server = Server::start_by(command, self.home.path(), Some(ports), &[]);
    }

    /// Takes note that the server of the beginning has ended.
    pub(super) fn reap(&mut self) {
        self.server.kill9();
    }

    /// A town beside an engine of its own, which it may harm.
    pub(crate) fn start_on(engine: OwnEngine) -> Self {
        Self::start_on_disks(engine, &[])
    }

    /// The same with small disks: folders of the data folder (`.` is itself), and how many MiB each has.
    pub(crate) fn start_on_disks(own: OwnEngine, disks: &[(&str, u32)]) -> Self {
        let home = Self::make_home();
        for (folder, size_mb) in disks {
            own.mount_disk(&home.path().join("data").join(folder), *size_mb);
        }
        let environment = own.environment();
        let environment: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let server = Server::start_by(own.command(&server::program()), home.path(), None, &environment);
        let installation = own.installation(&home.path().join("data/paas.db"));
        let engine = Engine { installation, host: Some(own.host()) };
        let town = Self { server, engine, own: Some(own), listener: None, home };
        town.make_key("key");
        town.add_key("laptop", "key").succeeds();
        town
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.home().join("data")
    }

    pub(crate) fn log(&self) -> String {
        server::read_log(self.home())
    }

    // The server's life.

    /// How many sockets the server holds.
    pub(crate) fn sockets(&self) -> usize {
        self.server.sockets()
    }

    /// Processor time that the server has used so far.
    pub(crate) fn cpu(&self) -> Duration {
        self.server.cpu()
    }

    pub(crate) fn kill9(&mut self) {
        self.server.kill9();
    }

    /// Waits until the server has ended by itself, as it does at a crash point.
    pub(crate) fn wait_for_crash(&mut self, limit: Duration) {
        let server = &mut self.server;
        eventually("paas ends at its crash point (was it built with `--features crash-points`?)", limit, || {
            server.try_wait().is_some()
        });
    }

    /// Starts the server again, at the same addresses.
    pub(crate) fn start_again(&mut self, environment: &[(&str, &str)]) {
        self.server.stop();
        let ports = (self.server.http, self.server.ssh);
        if let Some(listener) = &self.listener {
            self.server = Server::start_on(listener, self.home.path(), Some(ports), environment);
            return;
        }
        let Some(own) = &self.own else {
            self.server = Server::start(self.home.path(), Some(ports), environment);
            return;
        };
        let its = own.environment();
        let its = its.iter().map(|(name, value)| (*name, value.as_str()));
        let environment: Vec<(&str, &str)> = its.chain(environment.iter().copied()).collect();
        let command = own.command(&server::program());
        self.server = Server::start_by(command, self.home.path(), Some(ports), &environment);
    }

    /// The engine of its own.
    pub(crate) fn own(&mut self) -> &mut OwnEngine {
        self.own.as_mut().expect("the town was started with an engine of its own")
    }

    /// Lends the engine out, to be harmed while others use the town.
    pub(crate) fn take_own(&mut self) -> OwnEngine {
        self.own.take().expect("the town was started with an engine of its own")
    }

    pub(crate) fn give_own(&mut self, engine: OwnEngine) {
        self.own = Some(engine);
    }

    /// Does something to the disks that the engine and `paas` were given.
    pub(crate) fn disk(&self, act: impl FnOnce(&OwnEngine)) {
        act(self.own.as_ref().expect("the town was started with an engine of its own"));
    }

    /// What the app and the platform said of it.
    pub(crate) fn log_of(&self, app: &str) -> String {
        self.paas(&["logs", "-n", "10000", "-a", app]).succeeds().stdout.clone()
    }

    // The user's keys and commands.

    /// Makes a key pair in the town's folder.
    pub(crate) fn make_key(&self, file: &str) -> PathBuf {
        let path = self.home().join(file);
        let made =
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", file, "-f"]).arg(&path).status();
        assert!(made.expect("start ssh-keygen").success(), "ssh-keygen failed");
        path
    }

    pub(crate) fn add_key(&self, name: &str, file: &str) -> Outcome {
        let public = std::fs::read(self.home().join(format!("{file}.pub"))).expect("read a public key");
        self.paas_with_input(&["keys:add", name], &public)
    }

    /// A command on the host, over the local socket.
    pub(crate) fn paas(&self, words: &[&str]) -> Outcome {
        self.paas_with_input(words, b"")
    }

    pub(crate) fn paas_with_input(&self, words: &[&str], input: &[u8]) -> Outcome {
        run(self.paas_command(words), &format!("paas {}", words.join(" ")), input)
    }

    pub(crate) fn paas_command(&self, words: &[&str]) -> Command {
        let Some(own) = &self.own else { return host_command(&self.data_dir(), words) };
        let mut command = own.command(&server::program());
        command.arg("--data-dir").arg(self.data_dir()).args(words);
        command
    }

    /// A command over SSH, exactly as the user's shell would hand it over.
    pub(crate) fn ssh(&self, line: &str) -> Outcome {
        self.ssh_as("key", &[], line)
    }

    /// The same with another key and with options of ssh.
    pub(crate) fn ssh_as(&self, key: &str, options: &[&str], line: &str) -> Outcome {
        run(self.ssh_command(key, options, line), &format!("ssh {} {line}", options.join(" ")), b"")
    }

    pub(crate) fn ssh_command(&self, key: &str, options: &[&str], line: &str) -> Command {
        let mut command = Command::new("ssh");
        command.args(self.ssh_options(key)).args(options);
        command.args(["-p", &self.server.ssh.port().to_string(), &format!("paas@{}", self.server.ssh.ip())]);
        command.args((!line.is_empty()).then_some(line));
        command
    }

    pub(crate) fn ssh_options(&self, key: &str) -> Vec<String> {
        let home = self.home().display();
        ["-F", "/dev/null", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=accept-new"]
            .into_iter()
            .map(str::to_owned)
            .chain(["-o".to_owned(), format!("UserKnownHostsFile={home}/known_hosts")])
            .chain(["-i".to_owned(), format!("{home}/{key}")])
            .collect()
    }

    // The user's checkouts.

    /// The address of an app's repository.
    pub(crate) fn remote(&self, app: &str) -> String {
        format!("ssh://paas@{}/{app}", self.server.ssh)
    }

    /// A checkout of the sample app, committed and ready to be pushed to `app`.
    pub(crate) fn work(&self, sample: &str, app: &str) -> Work {
        Work::of_sample(self, sample, app)
    }

    /// Pushes the sample as it is.
    pub(crate) fn push(&self, sample: &str, app: &str) -> Push {
        self.work(sample, app).push()
    }

    // The visitors.

    pub(crate) fn http(&self) -> SocketAddr {
        self.server.http
    }

    pub(crate) fn https(&self) -> SocketAddr {
        self.server.https.expect("the town serves HTTPS")
    }

    pub(crate) fn connect(&self, app: &str) -> std::io::Result<Connection> {
        Connection::open(self.server.http, &format!("{app}.localhost"))
    }

    pub(crate) fn ssh_port(&self) -> u16 {
        self.server.ssh.port()
    }

    /// A visitor who comes by any host name.
    pub(crate) fn connect_to_host(&self, host: &str) -> std::io::Result<Connection> {
        Connection::open(self.server.http, host)
    }

    /// A visitor's request over a fresh connection.
    pub(crate) fn try_get(&self, app: &str, path: &str) -> std::io::Result<Response> {
        self.connect(app)?.get(path)
    }

    #[track_caller]
    pub(crate) fn get(&self, app: &str, path: &str) -> Response {
        self.try_get(app, path).unwrap_or_else(|error| panic!("GET {path} of {app}: {error}"))
    }

    /// The app answers 200 with `text`.
    #[track_caller]
    pub(crate) fn shows(&self, app: &str, text: &str) {
        let response = self.get(app, "/");
        assert!(response.status == 200 && response.text().contains(text), "{app} should show `{text}`: {response:?}");
    }

    // What holds at the end of every story.

    /// `server:doctor` finds nothing, as soon as what is still ending has ended.
    #[track_caller]
    pub(crate) fn doctor_is_clean(&self) {
        let mut last = None;
        let limit = Duration::from_secs(45);
        let begun = std::time::Instant::now();
        while begun.elapsed() < limit {
            let outcome = self.paas(&["server:doctor"]);
            if outcome.code == Some(0) {
                return;
            }
            last = Some(outcome);
            std::thread::sleep(Duration::from_millis(200));
        }
        panic!("the doctor is not content: {last:?}");
    }
}

impl Drop for Town {
    fn drop(&mut self) {
        // Not by SIGTERM: a polite end takes seconds, and has a story of its own.
        self.server.kill9();
        super::installed::kill_all(self.home.path());
        // An engine of its own goes as a whole.
        if self.engine.host.is_none() {
            self.engine.sweep();
        }
        if std::thread::panicking() {
            eprintln!("---- log of the server ----\n{}", self.log());
        }
    }
}

/// `paas` on the host, for the server of a data folder.
pub(crate) fn host_command(data_dir: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(server::program());
    command.arg("--data-dir").arg(data_dir).args(words);
    command
}

pub(crate) fn run(mut command: Command, what: &str, input: &[u8]) -> Outcome {
    use std::io::Write;
    let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = started.unwrap_or_else(|error| panic!("start {what}: {error}"));
    // It may end without reading all of it.
    let _ = child.stdin.take().expect("standard input is piped").write_all(input);
    Outcome::new(what, &child.wait_with_output().expect("wait for a command"))
}

/// The installation's id, which is on everything that it owns; no command tells it.
fn installation(database: &Path) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("make a runtime");
    runtime.block_on(async {
        use sqlx::Connection as _;
        let url = format!("sqlite://{}", database.display());
        let mut connection = sqlx::SqliteConnection::connect(&url).await.expect("open paas.db");
        sqlx::query_scalar("SELECT id FROM installation").fetch_one(&mut connection).await.expect("read the id")
    })
}
