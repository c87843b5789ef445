//! What can be told of a command line before anybody runs it: for who hands it over from elsewhere. Pure.
use super::grammar::{Line, parse};
use clap::CommandFactory;

/// Options of `run` and `exec` with a value behind them; `-r` is the laptop's.
const WITH_VALUE: [&str; 6] = ["-a", "--app", "-e", "--env", "-r", "--remote"];
/// Stands for the name of any app.
const SOME_APP: &str = "some-app";

/// The parts of a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// `topic:verb`, however it was written.
    pub name: String,
    /// Where the words behind the name begin.
    pub name_end: usize,
    /// Where a program's own words begin; the end of the line for commands that run none.
    pub options_end: usize,
    /// It is about an app, and none is named.
    pub wants_app: bool,
    /// It runs a program that reads what is typed.
    pub is_program: bool,
    /// It runs a program that may take the terminal.
    pub takes_terminal: bool,
}

/// `None`: there is no such command.
pub fn outline(words: &[String]) -> Option<Outline> {
    let line = Line::command();
    let find = |name: &str| {
        let is_it = |command: &&clap::Command| {
            command.get_name() == name || command.get_all_aliases().any(|alias| alias == name)
        };
        line.get_subcommands().find(is_it)
    };
    let both = (words.len() > 1).then(|| format!("{}:{}", words[0], words[1]));
    let (command, name_end) = match both.as_deref().and_then(find) {
        Some(command) => (command, 2),
        None => (find(words.first()?)?, 1),
    };
    let name = command.get_name().to_owned();
    let is_program = matches!(name.as_str(), "run" | "exec");
    let options_end = match name.as_str() {
        "run" => program_start(words, name_end, 0),
        "exec" => program_start(words, name_end, 1),
        _no_program => words.len(),
    };
    let is_detached = words[..options_end].iter().any(|word| word == "-d" || word == "--detach");
    let has_app = command.get_arguments().any(|argument| argument.get_id() == "app");
    Some(Outline {
        wants_app: has_app && wants_app(words, name_end),
        takes_terminal: is_program && !is_detached,
        name,
        name_end,
        options_end,
        is_program,
    })
}

/// The text that a line asks for with `--help`, `help` or `--version`, or by saying nothing.
pub fn help(words: &[String]) -> Option<String> {
    let refusal = parse(words.to_vec()).err().filter(|refusal| refusal.code == 0)?;
    Some(format!("{}\n", refusal.text.trim_end()))
}

/// Whether the line lacks nothing but the app, or something else too, and would not be worse with one.
fn wants_app(words: &[String], name_end: usize) -> bool {
    if parse(words.to_vec()).is_ok() {
        return false;
    }
    let mut with_app = words.to_vec();
    with_app.splice(name_end..name_end, ["-a".to_owned(), SOME_APP.to_owned()]);
    match parse(with_app) {
        Ok(_) => true,
        Err(refusal) => !refusal.is_conflict,
    }
}

/// Skips options and so many operands.
fn program_start(words: &[String], mut at: usize, mut operands: usize) -> usize {
    while let Some(word) = words.get(at) {
        if word == "--" {
            return at;
        }
        if WITH_VALUE.contains(&word.as_str()) {
            at += 2;
            continue;
        }
        if !word.starts_with('-') {
            if operands == 0 {
                return at;
            }
            operands -= 1;
        }
        at += 1;
    }
    words.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline_of(line: &str) -> Outline {
        outline(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn a_program_begins_behind_its_options() {
        for (line, start) in [
            ("run ls -a", 1),
            ("run -a blog -d --env A=1 ls -r", 6),
            ("run --env=A ls", 2),
            ("run -- ls", 1),
            ("exec web.1 ls -l", 2),
            ("exec -a blog web.1 -r x ls", 6),
            ("ps -a blog", 3),
        ] {
            assert_eq!(outline_of(line).options_end, start, "{line}");
        }
    }

    #[test]
    fn only_programs_that_stay_attached_take_the_terminal() {
        assert!(outline_of("run bash").takes_terminal && outline_of("exec web.1 sh -d").takes_terminal);
        assert!(!outline_of("run -d worker").takes_terminal && outline_of("run -d worker").is_program);
        assert!(!outline_of("ps").takes_terminal);
    }

    #[test]
    fn no_command_has_the_laptops_own_option() {
        for command in Line::command().get_subcommands() {
            let taken = command.get_arguments().find(|a| a.get_short() == Some('r') || a.get_long() == Some("remote"));
            assert!(taken.is_none(), "{} has -r or --remote", command.get_name());
        }
    }

    #[test]
    fn help_needs_no_server() {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        for line in ["", "--help", "help", "--version", "run --help"] {
            assert!(help(&words(line)).is_some(), "{line}");
        }
        for line in ["run ls --help", "ps", "nonsense"] {
            assert!(help(&words(line)).is_none(), "{line}");
        }
    }
}
