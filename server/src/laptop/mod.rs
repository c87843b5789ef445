//! `paas` in a checkout: the remote named `paas` says which server and which app are meant, and the system's `ssh`
//! carries the words there. On the server's own host too, as long as nobody names its folder.

mod browser;
pub mod plan;
mod remote;
mod ssh;

pub use remote::{NoRemote, Remote};

use crate::commands::{self, Outline};
use std::io::IsTerminal;
use std::path::Path;

/// The remote that is looked for when none is named.
const USUAL_REMOTE: &str = "paas";
/// Exit codes: it failed, and the line is wrong.
const FAILED: u8 = 1;
const USAGE: u8 = 2;

/// Where a command line goes.
#[derive(Debug)]
pub enum Way {
    /// To the server on this host.
    Local {
        /// What was looked for before.
        looked_for: Option<String>,
    },
    /// Over SSH.
    Remote(Remote),
}

/// Takes `-r NAME`, `--remote NAME` or `--remote=NAME` out of a command line: from before the command, or from among its
/// own options, but never from behind the beginning of a program's words.
fn take_remote(words: &mut Vec<String>) -> Result<Option<String>, String> {
    let end = commands::outline(words).map_or(words.len(), |outline| outline.options_end);
    let Some(at) = words[..end].iter().position(|word| is_remote_flag(word)) else { return Ok(None) };
    let flag = words.remove(at);
    if let Some(name) = flag.strip_prefix("--remote=") {
        return Ok(Some(name.to_owned()));
    }
    if at == words.len() {
        return Err(format!("`{flag}` wants the name of a git remote behind it"));
    }
    Ok(Some(words.remove(at)))
}

fn is_remote_flag(word: &str) -> bool {
    word == "-r" || word == "--remote" || word.starts_with("--remote=")
}

/// Chooses the way of a command line: a remote that it names, the server's folder that it names, the remote `paas` of the
/// checkout, the server on this host. An error is a sentence for the person.
pub fn choose(words: &mut Vec<String>, here: &Path, is_folder_named: bool) -> Result<Way, String> {
    if let Some(name) = take_remote(words)? {
        return Remote::find(here, &name).map(Way::Remote).map_err(|error| error.to_string());
    }
    if is_folder_named {
        return Ok(Way::Local { looked_for: None });
    }
    match Remote::find(here, USUAL_REMOTE) {
        Ok(remote) => Ok(Way::Remote(remote)),
        Err(error @ (NoRemote::NoCheckout(_) | NoRemote::Missing { .. })) => {
            let add = format!("`git remote add {USUAL_REMOTE} ssh://paas@HOST:2222/APP`");
            Ok(Way::Local { looked_for: Some(format!("or go over SSH: {error}; add one with {add}")) })
        }
        Err(error @ (NoRemote::Unfit { .. } | NoRemote::Unreadable(..))) => Err(error.to_string()),
    }
}

/// Runs a command line on the remote's server and gives its exit code.
pub fn run(remote: &Remote, mut words: Vec<String>) -> u8 {
    let outline = commands::outline(&words);
    if let Some(outline) = &outline {
        add_app(&mut words, outline, remote);
    }
    let is_on_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let terminal = outline.as_ref().is_some_and(|outline| outline.takes_terminal) && is_on_terminal;
    let line = match shlex::try_join(words.iter().map(String::as_str)) {
        Ok(line) => line,
        Err(error) => return refuse(&format!("paas: these words cannot be sent: {error}"), USAGE),
    };
    let opens = is_on_terminal && outline.is_some_and(|outline| outline.name == "apps:open");
    let ended = if opens { browser::open(remote, &line) } else { ssh::run(remote, &line, terminal) };
    match ended {
        Ok(code) => code,
        Err(error) => refuse(&format!("paas: {error:#}"), FAILED),
    }
}

/// `-a APP` right behind the command, when it is about an app and none is named.
fn add_app(words: &mut Vec<String>, outline: &Outline, remote: &Remote) {
    if outline.wants_app {
        words.splice(outline.name_end..outline.name_end, ["-a".to_owned(), remote.app.to_string()]);
    }
}

fn refuse(text: &str, code: u8) -> u8 {
    use std::io::Write;
    // Nobody is left to tell when standard error is gone.
    let _ = writeln!(std::io::stderr(), "{text}");
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn the_remote_is_taken_from_before_a_programs_words_only() {
        for (line, taken, left) in [
            ("-r staging ps", Some("staging"), "ps"),
            ("ps --remote=staging -a x", Some("staging"), "ps -a x"),
            ("ps:scale web=2 --remote staging", Some("staging"), "ps:scale web=2"),
            ("run -r staging ls -r", Some("staging"), "run ls -r"),
            ("run ls -r staging", None, "run ls -r staging"),
            ("run -d --env A=1 rm -r x", None, "run -d --env A=1 rm -r x"),
            ("exec web.1 ls -r x", None, "exec web.1 ls -r x"),
        ] {
            let mut words = words(line);
            assert_eq!(take_remote(&mut words).unwrap().as_deref(), taken, "{line}");
            assert_eq!(words.join(" "), left, "{line}");
        }
        assert!(take_remote(&mut words("ps -r")).is_err());
    }

    #[test]
    fn the_app_is_added_where_it_is_missing() {
        let remote = Remote::parse("ssh://paas@example.com:2222/blog").unwrap();
        for (line, sent) in [
            ("ps", "ps -a blog"),
            ("ps -a other", "ps -a other"),
            ("ps --app=other", "ps --app=other"),
            ("config set A=1", "config set -a blog A=1"),
            ("run ls -a", "run -a blog ls -a"),
            ("run -d ls", "run -a blog -d ls"),
            ("exec web.1 sh", "exec -a blog web.1 sh"),
            ("apps", "apps"),
            ("keys", "keys"),
            ("apps:create new", "apps:create new"),
            ("logs -f", "logs -a blog -f"),
        ] {
            let mut words = words(line);
            let outline = commands::outline(&words).unwrap();
            add_app(&mut words, &outline, &remote);
            assert_eq!(words.join(" "), sent, "{line}");
        }
        assert!(commands::outline(&words("nonsense")).is_none());
    }

    #[test]
    fn words_arrive_as_they_were_typed() {
        for word in ["two words", "$HOME", "`id`", "a'b\"c", "\\", "", "*", "-x", "ü", "a=b c", "!!", "#", "~"] {
            let words = ["run", word, "end"];
            let line = shlex::try_join(words).unwrap();
            assert_eq!(shlex::split(&line).unwrap(), words, "{line}");
        }
    }

    #[test]
    fn a_named_remote_wins_then_a_named_folder_then_the_checkout() {
        let dir = tempfile::tempdir().unwrap();
        let choose = |line: &str, here: &Path, named: bool| super::choose(&mut words(line), here, named);
        let is_local = |way: Result<Way, String>| matches!(way, Ok(Way::Local { .. }));
        assert!(is_local(choose("ps", dir.path(), false)));
        assert!(choose("ps -r staging", dir.path(), false).is_err());
        let repo = git2::Repository::init(dir.path()).unwrap();
        let Ok(Way::Local { looked_for: Some(sentence) }) = choose("ps", dir.path(), false) else {
            panic!("no remote")
        };
        assert!(sentence.contains("no remote named `paas`"), "{sentence}");
        repo.remote("paas", "ssh://paas@example.com/blog").unwrap();
        repo.remote("origin", "https://example.com/x.git").unwrap();
        let below = dir.path().join("a/b");
        std::fs::create_dir_all(&below).unwrap();
        let Ok(Way::Remote(remote)) = choose("ps", &below, false) else { panic!("the checkout has a remote") };
        assert_eq!((remote.app.as_str(), remote.port), ("blog", None));
        assert!(is_local(choose("ps", &below, true)));
        assert!(matches!(choose("ps -r paas", &below, true), Ok(Way::Remote(_))));
        let refused = choose("ps -r origin", &below, false).unwrap_err();
        assert!(refused.contains("`origin`"), "{refused}");
    }
}
