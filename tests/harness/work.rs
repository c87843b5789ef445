//! A user's checkout, and pushes from it by the real git.
use super::{Outcome, Town, eventually};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::TempDir;

/// Longest wait for a line of a push that goes on.
const LINE_LIMIT: Duration = Duration::from_mins(3);

pub(crate) struct Work {
    folder: TempDir,
    ssh: String,
}

impl Work {
    /// A copy of `tests/apps/SAMPLE`, committed on `main`, with the remote `paas`.
    pub(super) fn of_sample(town: &Town, sample: &str, app: &str) -> Self {
        let work = Self::empty(town, app);
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("apps").join(sample);
        copy_folder(&source, work.folder.path());
        work.commit("first");
        work
    }

    /// A checkout without any commit.
    pub(crate) fn empty(town: &Town, app: &str) -> Self {
        Self::empty_as(town, app, "key")
    }

    pub(crate) fn empty_as(town: &Town, app: &str, key: &str) -> Self {
        let work = Self::bare_folder(town, key);
        work.git(&["init", "--quiet", "--initial-branch=main"]).succeeds();
        work.git(&["remote", "add", "paas", &town.remote(app)]).succeeds();
        work
    }

    /// A folder for `git clone` and the like.
    pub(crate) fn bare_folder(town: &Town, key: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("paas-work-").tempdir_in(town.home()).expect("make a folder");
        Self { folder, ssh: format!("ssh {}", town.ssh_options(key).join(" ")) }
    }

    /// A second checkout of the same history.
    pub(crate) fn copy_of(&self, town: &Town, options: &[&str]) -> Self {
        let copy = Self::bare_folder(town, "key");
        let from = format!("file://{}", self.folder.path().display());
        copy.git(&[&["clone", "--quiet"], options, &[&from, "."]].concat()).succeeds();
        let remote = self.git(&["remote", "get-url", "paas"]).stdout;
        copy.git(&["remote", "add", "paas", remote.trim()]).succeeds();
        copy
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> &Self {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("make a folder");
        std::fs::write(path, text).expect("write a file");
        self
    }

    pub(crate) fn write_script(&self, name: &str, text: &str) -> &Self {
        use std::os::unix::fs::PermissionsExt;
        self.write(name, text);
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(0o755)).expect("make it executable");
        self
    }

    pub(crate) fn remove(&self, name: &str) -> &Self {
        std::fs::remove_file(self.path(name)).expect("remove a file");
        self
    }

    /// Commits everything; an unchanged tree makes a commit too.
    pub(crate) fn commit(&self, message: &str) -> &Self {
        self.git(&["add", "--all"]).succeeds();
        self.git(&["commit", "--quiet", "--allow-empty", "-m", message]).succeeds();
        self
    }

    /// The usual change: another VERSION, committed.
    pub(crate) fn set_version(&self, text: &str) -> &Self {
        self.write("VERSION", &format!("{text}\n")).commit(text)
    }

    pub(crate) fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"]).succeeds().stdout.trim().to_owned()
    }

    /// Where the server's branch is, as the server tells it.
    pub(crate) fn remote_head(&self, branch: &str) -> Option<String> {
        let listed = self.git(&["ls-remote", "paas", &format!("refs/heads/{branch}")]);
        listed.succeeds().stdout.split_whitespace().next().map(str::to_owned)
    }

    pub(crate) fn git(&self, words: &[&str]) -> Outcome {
        let output = self.command(words).output().expect("start git");
        Outcome::new(&format!("git {}", words.join(" ")), &output)
    }

    /// The same for a server whose certificate these authorities made.
    pub(crate) fn git_trusting(&self, authorities: &Path, words: &[&str]) -> Outcome {
        let output = self.command(words).env("GIT_SSL_CAINFO", authorities).output().expect("start git");
        Outcome::new(&format!("git {}", words.join(" ")), &output)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("git");
        command
            .args(["-c", "protocol.file.allow=always", "-c", "advice.detachedHead=false"])
            .args(words)
            .current_dir(self.folder.path())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_SSH_COMMAND", &self.ssh)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("LC_ALL", "C")
            .envs(["AUTHOR", "COMMITTER"].map(|who| (format!("GIT_{who}_NAME"), "Ada")))
            .envs(["AUTHOR", "COMMITTER"].map(|who| (format!("GIT_{who}_EMAIL"), "ada@example.com")));
        command
    }

    pub(crate) fn push(&self) -> Push {
        self.push_with(&["main"])
    }

    /// `git push paas WORDS`.
    pub(crate) fn push_with(&self, words: &[&str]) -> Push {
        self.begin_push_with(words).finish()
    }

    pub(crate) fn begin_push(&self) -> Pushing {
        self.begin_push_with(&["main"])
    }

    pub(crate) fn begin_push_with(&self, words: &[&str]) -> Pushing {
        let words = [&["push", "paas"], words].concat();
        let mut command = self.command(&words);
        // A group of its own, so that Ctrl-C reaches git and its ssh, as on a terminal.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let started = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        Pushing::new(started.expect("start git push"))
    }
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display())) {
        let entry = entry.expect("read a sample");
        let copy = to.join(entry.file_name());
        if entry.file_type().expect("look at a sample").is_dir() {
            std::fs::create_dir(&copy).expect("make a folder");
            copy_folder(&entry.path(), &copy);
        } else {
            std::fs::copy(entry.path(), copy).expect("copy a sample");
        }
    }
}

/// A push that goes on.
pub(crate) struct Pushing {
    child: Child,
    said: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Pushing {
    fn new(mut child: Child) -> Self {
        let said = Arc::new(Mutex::new(String::new()));
        let (mut stderr, heard) = (child.stderr.take().expect("standard error is piped"), Arc::clone(&said));
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(count @ 1..) = stderr.read(&mut buffer) {
                heard.lock().expect("nobody panics with it").push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        });
        Self { child, said, reader: Some(reader) }
    }

    pub(crate) fn said(&self) -> String {
        self.said.lock().expect("nobody panics with it").clone()
    }

    /// Waits until the pusher reads `text`.
    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) -> &Self {
        let begun = std::time::Instant::now();
        while !self.said().contains(text) {
            let is_over = self.reader.as_ref().is_none_or(JoinHandle::is_finished);
            assert!(!is_over && begun.elapsed() < LINE_LIMIT, "a push should have said `{text}`: {}", self.said());
            std::thread::sleep(Duration::from_millis(10));
        }
        self
    }

    pub(crate) fn is_over(&mut self) -> bool {
        self.child.try_wait().expect("look at git").is_some()
    }

    /// What Ctrl-C does on a terminal.
    pub(crate) fn interrupt(&self) {
        let group = rustix::process::Pid::from_raw(self.child.id().cast_signed()).expect("a process has an id");
        rustix::process::kill_process_group(group, rustix::process::Signal::INT).expect("send SIGINT");
    }

    pub(crate) fn finish(mut self) -> Push {
        let status = self.child.wait().expect("wait for git push");
        if let Some(reader) = self.reader.take() {
            reader.join().expect("read git's words");
        }
        Push { code: status.code(), stderr: self.said() }
    }

    /// The same with a limit, for pushes that might hang.
    pub(crate) fn finish_within(mut self, limit: Duration) -> Push {
        eventually("a push ends", limit, || self.is_over());
        self.finish()
    }
}

/// How a push ended, and what the pusher read.
#[derive(Debug)]
pub(crate) struct Push {
    code: Option<i32>,
    pub(crate) stderr: String,
}

impl Push {
    pub(crate) fn succeeded(&self) -> bool {
        self.code == Some(0)
    }

    #[track_caller]
    pub(crate) fn succeeds(&self) -> &Self {
        assert!(self.code == Some(0), "the push should have succeeded ({:?}):\n{}", self.code, self.stderr);
        self
    }

    /// git failed, and its own `! [remote rejected]` line holds the reason.
    #[track_caller]
    pub(crate) fn is_rejected_with(&self, reason: &str) -> &Self {
        assert!(self.code.is_some_and(|code| code != 0), "the push should have failed:\n{}", self.stderr);
        let is_there =
            self.stderr.lines().any(|line| line.starts_with(" ! [remote rejected]") && line.contains(reason));
        assert!(is_there, "`{reason}` should stand in git's `! [remote rejected]` line:\n{}", self.stderr);
        self
    }

    /// git failed without coming as far as that.
    #[track_caller]
    pub(crate) fn fails_with(&self, text: &str) -> &Self {
        assert!(self.code.is_some_and(|code| code != 0), "the push should have failed:\n{}", self.stderr);
        self.says(text)
    }

    #[track_caller]
    pub(crate) fn says(&self, text: &str) -> &Self {
        assert!(self.stderr.contains(text), "the push should have said `{text}`:\n{}", self.stderr);
        self
    }

    #[track_caller]
    pub(crate) fn does_not_say(&self, text: &str) -> &Self {
        assert!(!self.stderr.contains(text), "the push should not have said `{text}`:\n{}", self.stderr);
        self
    }
}
