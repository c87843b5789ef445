//! Fuzz target: what a client of SSH asks to run.
use super::{ExecLine, parse};
use crate::domain::AppName;
use crate::mutate;

#[test]
fn fuzz_exec_lines() {
    let seeds: Vec<Vec<u8>> = include_str!("exec_lines.txt").lines().map(|line| line.as_bytes().to_vec()).collect();
    mutate::fuzz("exec lines", &seeds, |input| match parse(input) {
        Err(error) => assert!(!error.to_string().chars().any(char::is_control), "{error:?} is shown to people"),
        Ok(ExecLine::Receive(app)) => names_an_app(input, &app, "receive-pack"),
        Ok(ExecLine::Upload(app)) => names_an_app(input, &app, "upload-pack"),
        Ok(ExecLine::Command(words)) => is_written_again(&words),
    });
}

fn names_an_app(input: &[u8], app: &AppName, service: &str) {
    assert_eq!(app.as_str().parse::<AppName>().as_ref(), Ok(app));
    let again = parse(format!("git-{service} '{app}'").as_bytes());
    assert_eq!(again, parse(input));
}

/// Quoted by the rules of POSIX, the words are read as they were.
fn is_written_again(words: &[String]) {
    assert!(!words.is_empty() && !words.iter().any(|word| word.chars().any(char::is_control)));
    let line = shlex::try_join(words.iter().map(String::as_str)).expect("no word holds a NUL");
    // Quoting may make it longer than a line may be.
    if line.len() <= super::EXEC_LINE_BYTES_MAX {
        assert_eq!(parse(line.as_bytes()), Ok(ExecLine::Command(words.to_vec())), "{line}");
    }
}
