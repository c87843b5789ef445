//! A started receiver, and people with keys and checkouts who use it.
use async_trait::async_trait;
use paas::builder::{Repos, Ticket, Verdict};
use paas::clock::{Clock, SystemClock};
use paas::console::{Console, Output};
use paas::domain::{App, AppId, BuildId, BuildState, Failure, ImageId, Key, Oid, Origin, Pusher, RefMove, Site};
use paas::logs::{Logs, TranscriptOf};
use paas::receiver::{CommandRunner, Intake, Limits, Neighbours, Receiver, ReceiverSettings, parse_public_key, start};
use paas::store::{ConfigChange, NewRelease, SealKey, Store};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Town {
    pub(crate) dir: TempDir,
    pub(crate) store: Store,
    pub(crate) repos: Repos,
    pub(crate) receiver: Receiver,
    pub(crate) builder: Arc<ToldBuilder>,
    pub(crate) runner: Arc<ToldRunner>,
    pub(crate) tracker: TaskTracker,
    pub(crate) stop: CancellationToken,
}

impl Town {
    /// A receiver with one person, `laptop`, whose key may log in.
    pub(crate) async fn start() -> Self {
        Self::start_with(Limits::default()).await
    }

    pub(crate) async fn start_with(limits: Limits) -> Self {
        let town = Self::start_in(tempfile::tempdir().unwrap(), limits).await;
        town.add_key("laptop").await;
        town
    }

    pub(crate) async fn start_in(dir: TempDir, limits: Limits) -> Self {
        let data = dir.path().join("data");
        std::fs::create_dir_all(&data).unwrap();
        let seal = SealKey::load_or_make(&data.join("seal.key")).unwrap();
        let store = Store::open(&data.join("paas.db"), seal).await.unwrap();
        let (repos, clock) = (Repos::new(data.join("repos")), SystemClock::shared());
        let logs = Logs::new(data.join("logs"), Arc::clone(&clock));
        let builder = Arc::new(ToldBuilder::new(&store, &repos, &logs, &clock));
        let runner = Arc::<ToldRunner>::default();
        let settings = ReceiverSettings {
            run_dir: data.join("run"),
            host_key: data.join("keys/ssh_host_ed25519"),
            program: PathBuf::from(env!("CARGO_BIN_EXE_paas")),
            git: ReceiverSettings::usual_git(),
            reserved_names: vec!["admin".to_owned()],
            site: Site { base_domain: "example.test".parse().unwrap(), http_port: 80, ssh_port: 2222, https: None },
            limits,
            fetch_allow: paas::domain::FetchAllow::default(),
        };
        let neighbours = Neighbours {
            store: store.clone(),
            intake: Arc::clone(&builder) as Arc<dyn Intake>,
            logs,
            repos: repos.clone(),
            clock,
            runner: Arc::clone(&runner) as Arc<dyn CommandRunner>,
            duty: paas::generation::Duty::default(),
        };
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let receiver = start(listener, settings, neighbours, tracker.clone(), stop.clone()).await.unwrap();
        receiver.collect_repositories(&tracker, stop.clone());
        Self { dir, store, repos, receiver, builder, runner, tracker, stop }
    }

    /// Stops the server and starts another one on the same data.
    pub(crate) async fn restart(self) -> Self {
        self.restart_with(Limits::default()).await
    }

    /// The same under other limits.
    pub(crate) async fn restart_with(self, limits: Limits) -> Self {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
        self.store.close().await;
        Self::start_in(self.dir, limits).await
    }

    /// Makes a person's key and lets it in.
    pub(crate) async fn add_key(&self, name: &str) -> Key {
        self.make_key(name, "ed25519").await;
        let parsed = parse_public_key(&std::fs::read_to_string(self.public_key(name)).unwrap()).unwrap();
        let now = SystemClock::shared().now();
        self.store.add_key(name, &parsed.fingerprint, &parsed.public_key, now).await.unwrap();
        self.store.key_by_fingerprint(&parsed.fingerprint).await.unwrap().unwrap()
    }

    pub(crate) async fn make_key(&self, name: &str, kind: &str) {
        let file = self.dir.path().join(name);
        let file = file.to_str().unwrap();
        run(command("ssh-keygen").args(["-q", "-t", kind, "-N", "", "-C", name, "-f", file])).await.succeeds();
    }

    pub(crate) fn public_key(&self, name: &str) -> PathBuf {
        self.dir.path().join(format!("{name}.pub"))
    }

    /// The beginning of every ssh command line of this person's.
    pub(crate) fn ssh_words(&self, who: &str) -> Vec<String> {
        let mut words = vec!["ssh".to_owned(), "-F".to_owned(), "/dev/null".to_owned()];
        words.push("-i".to_owned());
        words.push(self.dir.path().join(who).to_str().unwrap().to_owned());
        for option in [
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
            "BatchMode=yes",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
        ] {
            words.extend(["-o".to_owned(), option.to_owned()]);
        }
        words.extend(["-p".to_owned(), self.receiver.local_addr().port().to_string()]);
        words
    }

    pub(crate) fn ssh(&self, who: &str, arguments: &[&str]) -> Command {
        let words = self.ssh_words(who);
        let mut ssh = command(&words[0]);
        ssh.args(&words[1..]).args(arguments).stdin(Stdio::null());
        ssh
    }

    pub(crate) fn url(&self, app: &str) -> String {
        format!("ssh://paas@127.0.0.1:{}/{app}", self.receiver.local_addr().port())
    }

    /// A checkout with one commit, made by `laptop`, whose remote `paas` is this app.
    pub(crate) async fn checkout(&self, app: &str) -> Checkout<'_> {
        let path = self.dir.path().join(format!("checkout-{app}"));
        let checkout = Checkout { town: self, path, git: PathBuf::from("git"), who: "laptop" };
        std::fs::create_dir_all(&checkout.path).unwrap();
        checkout.git(&["init", "-q", "-b", "main"]).await.succeeds();
        checkout.git(&["remote", "add", "paas", &self.url(app)]).await.succeeds();
        checkout.commit("index.html", "hello").await;
        checkout
    }

    /// A checkout that was made before a restart.
    pub(crate) fn checkout_again(&self, app: &str) -> Checkout<'_> {
        let path = self.dir.path().join(format!("checkout-{app}"));
        Checkout { town: self, path, git: PathBuf::from("git"), who: "laptop" }
    }

    pub(crate) async fn app(&self, name: &str) -> Option<App> {
        self.store.find_app(&name.parse().unwrap()).await.unwrap()
    }

    /// Where the app's branch stands on the server.
    pub(crate) async fn branch(&self, app: &str, branch: &str) -> Oid {
        self.repos.branch(&self.app(app).await.unwrap().key, branch).unwrap()
    }

    /// Claims that refused pushes left nothing: no row, no repository, no log.
    pub(crate) async fn has_nothing(&self) {
        until("rows to go", async || self.store.provisional_apps().await.unwrap().is_empty()).await;
        assert!(self.store.apps().await.unwrap().is_empty());
        for folder in ["repos", "logs"] {
            let folder = self.dir.path().join("data").join(folder);
            let left = std::fs::read_dir(&folder).map_or(0, Iterator::count);
            assert_eq!(left, 0, "something is left in {}", folder.display());
        }
    }
}

pub(crate) struct Checkout<'a> {
    pub(crate) town: &'a Town,
    pub(crate) path: PathBuf,
    pub(crate) git: PathBuf,
    pub(crate) who: &'static str,
}

impl Checkout<'_> {
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut git = command(self.git.to_str().unwrap());
        git.current_dir(&self.path)
            .args(["-c", "user.name=a", "-c", "user.email=a@b", "-c", "protocol.file.allow=always"])
            .args(arguments)
            .env("GIT_SSH_COMMAND", self.town.ssh_words(self.who).join(" "))
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .stdin(Stdio::null());
        git
    }

    pub(crate) async fn git(&self, arguments: &[&str]) -> Done {
        run(&mut self.command(arguments)).await
    }

    pub(crate) async fn commit(&self, file: &str, content: &str) {
        let file = self.path.join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, content).unwrap();
        self.commit_all().await;
    }

    pub(crate) async fn commit_all(&self) {
        self.git(&["add", "-A"]).await.succeeds();
        self.git(&["commit", "-q", "--allow-empty", "-m", "x"]).await.succeeds();
    }

    pub(crate) async fn push(&self, refs: &[&str]) -> Done {
        self.git(&[&["push", "paas"], refs].concat()).await
    }

    pub(crate) async fn head(&self) -> Oid {
        self.git(&["rev-parse", "HEAD"]).await.succeeds().out.trim().parse().unwrap()
    }
}

/// How a program ended and what it said.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Done {
    #[track_caller]
    pub(crate) fn succeeds(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self
    }

    /// Claims a failure that says all of these on standard error.
    #[track_caller]
    pub(crate) fn fails_with(self, texts: &[&str]) -> Self {
        assert!(self.code != Some(0), "{self:#?}");
        for text in texts {
            assert!(self.err.contains(text), "`{text}` is missing in {self:#?}");
        }
        self
    }

    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.err.contains(text) || self.out.contains(text), "`{text}` is missing in {self:#?}");
        self
    }
}

#[expect(clippy::disallowed_methods, reason = "the real clients are what these tests are about")]
pub(crate) fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.kill_on_drop(true);
    command
}

pub(crate) async fn run(command: &mut Command) -> Done {
    let output = tokio::time::timeout(Duration::from_mins(2), command.output()).await.expect("it hangs").unwrap();
    Done {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Waits for a condition.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = tokio::time::Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What a [`ToldBuilder`] does with the next pushes.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    Accept(Vec<String>),
    /// Accepts after this long.
    AcceptAfter(Duration),
    Refuse(&'static str),
    /// Builds until it is cancelled.
    Hang,
    /// Stops like a server does.
    Stop,
}

/// A builder that promotes, refuses or hangs, as told, through the real store, logs and repositories.
pub(crate) struct ToldBuilder {
    store: Store,
    repos: Repos,
    logs: Logs,
    clock: Arc<dyn Clock>,
    told: Mutex<Told>,
    pub(crate) taken: Mutex<Vec<(RefMove, Pusher)>>,
    pub(crate) cancelled: Mutex<Vec<String>>,
    /// What pushes are refused for, before their packs come.
    pub(crate) no_room: Mutex<Option<Failure>>,
    running: Mutex<HashMap<BuildId, CancellationToken>>,
}

impl ToldBuilder {
    fn new(store: &Store, repos: &Repos, logs: &Logs, clock: &Arc<dyn Clock>) -> Self {
        Self {
            store: store.clone(),
            repos: repos.clone(),
            logs: logs.clone(),
            clock: Arc::clone(clock),
            told: Mutex::new(Told::Accept(vec!["-----> Live: v1".to_owned()])),
            taken: Mutex::default(),
            cancelled: Mutex::default(),
            no_room: Mutex::default(),
            running: Mutex::default(),
        }
    }

    pub(crate) fn will(&self, told: Told) {
        *self.told.lock().unwrap() = told;
    }

    pub(crate) fn is_building(&self) -> bool {
        !self.running.lock().unwrap().is_empty()
    }

    async fn promote(&self, app: &App, build: BuildId, moves: &RefMove) -> Verdict {
        let release = NewRelease {
            app: app.id,
            origin: Origin::Push { build },
            image: ImageId::new("sha256:1"),
            commit: moves.new.clone(),
            source: None,
            makeup: paas::domain::Makeup::default(),
            processes: BTreeMap::new(),
            port: 5000,
            jobs: paas::domain::Jobs::default(),
            description: "Deploy".to_owned(),
            created_by: "test".to_owned(),
            change: ConfigChange::new(),
        };
        let now = self.clock.now();
        assert!(self.store.begin_build(build, now).await.unwrap());
        let no = self.store.create_release(&release, now).await.unwrap();
        self.store.promote_release(app.id, no, now).await.unwrap();
        let moved_from = self.repos.branch(&app.key, &moves.branch).unwrap();
        self.repos.move_branch(&app.key, &moves.branch, &moves.new, "deployed").unwrap();
        Verdict::Accepted { moved_from }
    }
}

#[async_trait]
impl Intake for ToldBuilder {
    async fn enqueue(&self, app: &App, moves: RefMove, pusher: &Pusher) -> anyhow::Result<Ticket> {
        self.taken.lock().unwrap().push((moves.clone(), pusher.clone()));
        let told = self.told.lock().unwrap().clone();
        let (build, _) = self.store.enqueue_build(app.id, &moves, pusher, self.clock.now()).await?;
        self.repos.pin(&app.key, build, &moves.new)?;
        let journal = self.logs.transcript(&app.key, TranscriptOf::Build(build))?;
        let (answer, verdict) = oneshot::channel();
        match told {
            Told::Accept(lines) => {
                for line in lines {
                    journal.append(&line)?;
                }
                let given = self.promote(app, build, &moves).await;
                let _ = answer.send(given);
                journal.close();
            }
            Told::Refuse(reason) => {
                journal.append(" !     build failed")?;
                let _ = answer.send(Verdict::Refused { reason: reason.to_owned() });
                journal.close();
            }
            Told::Stop => drop(answer),
            Told::AcceptAfter(wait) => {
                let given = self.promote(app, build, &moves).await;
                std::thread::spawn(move || {
                    std::thread::sleep(wait);
                    let _ = answer.send(given);
                    journal.close();
                });
            }
            Told::Hang => {
                journal.append("-----> Building for ever")?;
                let cancelled = CancellationToken::new();
                self.running.lock().unwrap().insert(build, cancelled.clone());
                std::thread::spawn(move || {
                    while !cancelled.is_cancelled() {
                        std::thread::sleep(Duration::from_millis(10));
                    }
                    let _ = answer.send(Verdict::Refused { reason: "cancelled".to_owned() });
                    journal.close();
                });
            }
        }
        Ok(Ticket { build, verdict })
    }

    async fn make_room(&self, _place: &Path) -> Result<(), Failure> {
        self.no_room.lock().unwrap().clone().map_or(Ok(()), Err)
    }

    async fn cancel(&self, _app: AppId, build: BuildId, by: &str) -> anyhow::Result<bool> {
        self.cancelled.lock().unwrap().push(by.to_owned());
        let Some(running) = self.running.lock().unwrap().remove(&build) else { return Ok(false) };
        running.cancel();
        let state = BuildState::Failed { failure: Failure::Cancelled { by: by.to_owned() } };
        Ok(self.store.end_build(build, &state, self.clock.now()).await?)
    }
}

/// A runner with a handful of commands that show what a console can do.
#[derive(Default)]
pub(crate) struct ToldRunner {
    pub(crate) ran: Mutex<Vec<Vec<String>>>,
    pub(crate) was_left: CancellationToken,
}

#[async_trait]
impl CommandRunner for ToldRunner {
    async fn run(&self, words: Vec<String>, caller: Pusher, mut console: Console) -> u8 {
        self.ran.lock().unwrap().push(words.clone());
        match words[0].as_str() {
            "whoami" => {
                console.say(&caller.to_string()).await;
                0
            }
            "count" => {
                let mut bytes = 0;
                while let Some(chunk) = console.input.recv().await {
                    bytes += chunk.len();
                }
                console.say(&bytes.to_string()).await;
                0
            }
            "flood" => {
                let line = "x".repeat(1 << 20);
                for _ in 0..64 {
                    if console.output.send(Output::Standard(line.clone().into())).await.is_err() {
                        break;
                    }
                }
                0
            }
            "follow" => {
                console.say("following").await;
                console.left.cancelled().await;
                self.was_left.cancel();
                0
            }
            other => {
                console.complain(&format!("paas: no such command: {other}")).await;
                2
            }
        }
    }
}

/// Peak resident memory of this process, in bytes.
pub(crate) fn peak_memory_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

pub(crate) fn file_names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .map(|entries| entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect())
        .unwrap_or_default();
    names.sort();
    names
}
