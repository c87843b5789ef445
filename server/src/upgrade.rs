//! Root's half of `paas server:upgrade FILE`: checks the new program, puts it in place, asks the running server to hand
//! over, and puts the old program back when that does not go well.
//!
//! The server runs as a user without powers and never writes its own program; root writes that, and only that: its own
//! path, never one that the server named. The new program is run here as the server's user.
use crate::commands::client::{self, Ask};
use crate::commands::socket::SOCKET;
use crate::files::remove_if_there;
use anyhow::{Context, bail};
use clap::Parser;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};

/// How long the new program may take to answer a question.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// When the server is lost on the way: how long somebody else is looked for who serves.
const LOST_LIMIT: Duration = Duration::from_secs(10);
/// How often and how many times in a row the server of before is to be met, until it counts as the one that goes on.
const LOOK: Duration = Duration::from_millis(200);
const LOOKS: u32 = 5;
/// Of an ELF file's head.
const HEAD_BYTES: usize = 64;

#[derive(Parser)]
#[command(name = "paas", disable_help_subcommand = true)]
enum Line {
    /// Replace the running server by another version of it; requests, sessions and pushes go on
    #[command(name = "server:upgrade")]
    Upgrade {
        /// The new program
        file: PathBuf,
    },
}

/// Whether these words are for this file and not for the server.
pub fn takes(words: &[String]) -> bool {
    joined(words).first().is_some_and(|word| word == "server:upgrade")
}

fn joined(words: &[String]) -> Vec<String> {
    match words {
        [topic, verb, rest @ ..] if topic == "server" && verb == "upgrade" => {
            std::iter::once("server:upgrade".to_owned()).chain(rest.iter().cloned()).collect()
        }
        words => words.to_vec(),
    }
}

/// Runs the command; what to say in the end, and the exit code.
pub async fn run(words: &[String], data_dir: &Path) -> (String, u8) {
    let Line::Upgrade { file } = match Line::try_parse_from(std::iter::once("paas".to_owned()).chain(joined(words))) {
        Ok(line) => line,
        Err(error) => return (error.render().to_string(), if error.use_stderr() { 2 } else { 0 }),
    };
    let done = match std::path::absolute(data_dir).context("find the data folder") {
        Ok(data_dir) => upgrade(&file, &data_dir).await,
        Err(error) => Err(error),
    };
    match done {
        Ok(text) => (text, 0),
        Err(error) => (format!("paas: server:upgrade: {error:#}\n"), 1),
    }
}

async fn upgrade(file: &Path, data_dir: &Path) -> anyhow::Result<String> {
    if !rustix::process::geteuid().is_root() {
        bail!("only root may do this, on the server's own machine");
    }
    let place = Place::of(std::env::current_exe().context("find this program")?);
    let server = server_of(data_dir).await.context("find the running server")?;
    if !place.is_run_by(server)? {
        bail!(
            "the running server was not started from {}: run the upgrade with the program that the server runs",
            place.program.display()
        );
    }
    place.stage(file)?;
    let version = match check(&place.staged, &place.program, data_dir).await {
        Ok(version) => version,
        Err(error) => {
            remove_if_there(&place.staged)?;
            return Err(error.context(format!("{} may not take over", file.display())));
        }
    };
    place.put_in()?;
    let ask = Ask {
        words: ["server:upgrade", "--in-place"].map(str::to_owned).to_vec(),
        is_program: false,
        term: None,
        looked_for: None,
    };
    let code = client::ask(data_dir, ask).await;
    if code == 0 || newcomer_serves(&place, data_dir, server).await {
        return Ok(format!("upgraded to {version}; the program before is kept as {}\n", place.previous.display()));
    }
    place.put_back()?;
    bail!("nothing has changed: {} is the program of before again", place.program.display())
}

/// The process behind the local socket.
async fn server_of(data_dir: &Path) -> anyhow::Result<i32> {
    let socket = data_dir.join("run").join(SOCKET);
    let stream = UnixStream::connect(&socket).await.with_context(|| format!("connect to {}", socket.display()))?;
    stream.peer_cred()?.pid().context("the system does not say which process it is")
}

/// When the server was lost while it handed over: whether the new program came to serve even so.
async fn newcomer_serves(place: &Place, data_dir: &Path, before: i32) -> bool {
    let (begun, mut met) = (Instant::now(), 0);
    while begun.elapsed() < LOST_LIMIT {
        match server_of(data_dir).await {
            Ok(server) if server != before => return place.is_run_by(server).unwrap_or(false),
            Ok(_) if met == LOOKS => return false,
            // The socket of one that is dying still takes connections for a moment.
            Ok(_) => met += 1,
            Err(_) => met = 0,
        }
        sleep(LOOK).await;
    }
    false
}

/// Where the program is, and its neighbours on the way. All are in one folder, so that a rename is one step.
struct Place {
    program: PathBuf,
    staged: PathBuf,
    previous: PathBuf,
}

impl Place {
    fn of(program: PathBuf) -> Self {
        let beside = |ending: &str| {
            let mut path = program.clone().into_os_string();
            path.push(ending);
            PathBuf::from(path)
        };
        Self { staged: beside(".new"), previous: beside(".previous"), program }
    }

    /// Whether a process runs the file that is in place.
    fn is_run_by(&self, process: i32) -> anyhow::Result<bool> {
        let running = format!("/proc/{process}/exe");
        let running = std::fs::metadata(&running).with_context(|| format!("look at {running}"))?;
        let ours = std::fs::metadata(&self.program)?;
        Ok((running.dev(), running.ino()) == (ours.dev(), ours.ino()))
    }

    /// A copy of our own: what is checked is what is put in place.
    fn stage(&self, file: &Path) -> anyhow::Result<()> {
        remove_if_there(&self.staged)?;
        std::fs::copy(file, &self.staged).with_context(|| format!("copy {}", file.display()))?;
        let staged = File::open(&self.staged)?;
        staged.set_permissions(std::fs::Permissions::from_mode(0o755))?;
        staged.sync_all().context("write the new program to disk")
    }

    /// At every moment there is a whole program in place.
    fn put_in(&self) -> anyhow::Result<()> {
        link_as(&self.program, &self.previous)?;
        std::fs::rename(&self.staged, &self.program).context("put the new program in place")?;
        self.sync()
    }

    fn put_back(&self) -> anyhow::Result<()> {
        link_as(&self.previous, &self.program).context("put the program of before back")?;
        self.sync()
    }

    fn sync(&self) -> anyhow::Result<()> {
        let folder = self.program.parent().context("the program is in a folder")?;
        File::open(folder)?.sync_all().with_context(|| format!("write {} to disk", folder.display()))
    }
}

/// A second name for a file, in place of whatever had it.
fn link_as(file: &Path, name: &Path) -> anyhow::Result<()> {
    let mut passing = name.to_path_buf().into_os_string();
    passing.push(".link");
    let passing = PathBuf::from(passing);
    remove_if_there(&passing)?;
    std::fs::hard_link(file, &passing).with_context(|| format!("keep {}", file.display()))?;
    std::fs::rename(&passing, name).with_context(|| format!("keep {} as {}", file.display(), name.display()))?;
    // Of two names of one file neither is renamed (rename(2)).
    remove_if_there(&passing)
}

/// Looks at a program and asks it; gives what it calls itself.
async fn check(program: &Path, ours: &Path, data_dir: &Path) -> anyhow::Result<String> {
    check_elf(program, ours)?;
    let said = answer(program, &["--version".as_ref()], data_dir).await.context("ask for its version")?;
    let version = said.trim().to_owned();
    if !version.starts_with("paas ") || version.lines().count() != 1 {
        bail!("it calls itself `{}` and not paas", version.lines().next().unwrap_or_default());
    }
    let question = ["server".as_ref(), "--check".as_ref(), "--data-dir".as_ref(), data_dir.as_os_str()];
    answer(program, &question, data_dir).await.context("ask whether it can take over")?;
    Ok(version)
}

/// Same kind of machine, and nothing is missing at its end.
fn check_elf(program: &Path, ours: &Path) -> anyhow::Result<()> {
    let (file, our_file) = (File::open(program)?, File::open(ours)?);
    let (mut head, mut our_head) = ([0; HEAD_BYTES], [0; HEAD_BYTES]);
    if (&file).take(HEAD_BYTES as u64).read(&mut head)? < HEAD_BYTES || !head.starts_with(b"\x7fELF") {
        bail!("it is no program (ELF file)");
    }
    our_file.read_exact_at(&mut our_head, 0)?;
    // Class and byte order, then the machine.
    if head[4..6] != our_head[4..6] || head[18..20] != our_head[18..20] {
        bail!("it is for another kind of machine");
    }
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    // The table of sections stands at the end of a file.
    let end = number(&head[0x28..0x30]) + number(&head[0x3a..0x3c]) * number(&head[0x3c..0x3e]);
    if file.metadata()?.len() < end {
        bail!("it is cut off: {} of {end} bytes are there", file.metadata()?.len());
    }
    Ok(())
}

/// What a program says when it is asked as the user whose folder the data is.
#[expect(clippy::disallowed_methods, reason = "one of the few places that start a process: the new program is asked")]
async fn answer(program: &Path, words: &[&std::ffi::OsStr], data_dir: &Path) -> anyhow::Result<String> {
    let owner = std::fs::metadata(data_dir).with_context(|| format!("look at {}", data_dir.display()))?;
    let mut command = tokio::process::Command::new(program);
    command.args(words).env_clear().current_dir("/").stdin(Stdio::null()).kill_on_drop(true);
    command.gid(owner.gid()).uid(owner.uid());
    let Ok(output) = timeout(ANSWER_LIMIT, command.output()).await else {
        bail!("no answer within {} s", ANSWER_LIMIT.as_secs());
    };
    let output = output.with_context(|| format!("run {}", program.display()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{}: {}", output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_whole_program_of_this_machine_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let ours = std::env::current_exe().unwrap();
        let whole = std::fs::read(&ours).unwrap();
        let mut foreign = whole.clone();
        foreign[18] ^= 0xff;
        let cases: [(&str, &[u8], Option<&str>); 6] = [
            ("whole", &whole, None),
            ("empty", b"", Some("no program")),
            (
                "script",
                b"#!/bin/sh\nexit 0\n# and some more text that makes it longer than a head\n",
                Some("no program"),
            ),
            ("foreign", &foreign, Some("another kind")),
            ("half", &whole[..whole.len() / 2], Some("cut off")),
            ("head", &whole[..HEAD_BYTES], Some("cut off")),
        ];
        for (name, bytes, complaint) in cases {
            let file = dir.path().join(name);
            std::fs::write(&file, bytes).unwrap();
            let checked = check_elf(&file, &ours).map_err(|error| error.to_string());
            match complaint {
                None => assert_eq!(checked, Ok(())),
                Some(part) => assert!(checked.as_ref().is_err_and(|error| error.contains(part)), "{name}: {checked:?}"),
            }
        }
    }

    #[test]
    fn a_program_is_kept_replaced_and_put_back() {
        let dir = tempfile::tempdir().unwrap();
        let (program, file) = (dir.path().join("paas"), dir.path().join("download"));
        std::fs::write(&program, "old").unwrap();
        std::fs::write(&file, "new").unwrap();
        let place = Place::of(program.clone());
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        for _ in 0..2 {
            place.stage(&file).unwrap();
            place.put_in().unwrap();
            assert_eq!((read(&program), read(&place.previous)), ("new".to_owned(), "old".to_owned()));
            place.put_back().unwrap();
            assert_eq!(read(&program), "old");
        }
        assert!(!place.staged.exists());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3, "nothing is left but the one of before");
    }

    #[test]
    fn only_upgrades_are_taken_from_the_server() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        for (line, is_taken) in
            [("server:upgrade x", true), ("server upgrade --help", true), ("server:status", false), ("apps", false)]
        {
            assert_eq!(takes(&words(line)), is_taken, "{line}");
        }
    }
}
