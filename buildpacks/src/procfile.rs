//! Procfile: `name: command`, one process type a line, and nothing else.
//!
//! Strict on purpose. A line which is half understood (a merge marker, a second `web`) would deploy
//! something nobody wrote.

use std::collections::BTreeMap;

use crate::text::is_invisible;

const BYTES_MAX: usize = 64 * 1024;
pub(crate) const COMMAND_BYTES_MAX: usize = 4096;
const PROCESS_TYPES_MAX: usize = 64;
const NAME_CHARS_MAX: usize = 31;
/// The line that is run once for each release.
const RELEASE: &str = "release";

/// The process types of a Procfile, by name, with the command lines as they were written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Procfile {
    commands: BTreeMap<String, String>,
    release: Option<String>,
}

impl Procfile {
    /// What runs once before a release's instances start. It is no process type: there is nothing to scale.
    pub fn release(&self) -> Option<&str> {
        self.release.as_deref()
    }

    /// Whether it names what goes on running, beside what runs once.
    pub fn has_processes(&self) -> bool {
        !self.commands.is_empty()
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.commands.get(name).map(String::as_str)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.commands.iter().map(|(name, command)| (name.as_str(), command.as_str()))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProcfileError {
    #[error("Procfile is longer than {BYTES_MAX} bytes: make it shorter")]
    TooLong,
    #[error("Procfile names no process: add a line such as `web: ./server`, or remove the file")]
    Empty,
    #[error("Procfile line {line} is not valid UTF-8: save the file as UTF-8")]
    NotUtf8 { line: usize },
    #[error(
        "Procfile line {line} holds an unresolved merge marker (`{marker}`): resolve the conflict, commit and push again"
    )]
    MergeMarker { line: usize, marker: String },
    #[error("Procfile line {line} has no colon: write `name: command`, for example `web: ./server`")]
    NoColon { line: usize },
    #[error(
        "Procfile line {line}: {name:?} cannot name a process: use 1 to {NAME_CHARS_MAX} letters, digits, `-` and `_`, starting with a letter, and no space before the name or the colon"
    )]
    Name { line: usize, name: String },
    #[error("Procfile line {line}: `{name}:` has no command: write one after the colon, or remove the line")]
    NoCommand { line: usize, name: String },
    #[error(
        "Procfile line {line}: the command of `{name}` is longer than {COMMAND_BYTES_MAX} bytes: put it into a script"
    )]
    CommandTooLong { line: usize, name: String },
    #[error(
        "Procfile line {line}: the command of `{name}` holds the invisible character {character}: type the line again"
    )]
    Invisible { line: usize, name: String, character: String },
    #[error(
        "Procfile line {line}: `{name}` is on line {first} already: keep one of the two, or give this one another name"
    )]
    Duplicate { line: usize, first: usize, name: String },
    #[error("Procfile line {line}: more than {PROCESS_TYPES_MAX} process types: remove some")]
    TooMany { line: usize },
}

pub fn parse(bytes: &[u8]) -> Result<Procfile, ProcfileError> {
    if bytes.len() > BYTES_MAX {
        return Err(ProcfileError::TooLong);
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut seen: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for (at, raw) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = at + 1;
        let raw = raw.strip_suffix(b"\r").unwrap_or(raw);
        let text = std::str::from_utf8(raw).map_err(|_| ProcfileError::NotUtf8 { line })?;
        let Some((name, command)) = parse_line(text, line)? else {
            continue;
        };
        if let Some((first, _)) = seen.get(name) {
            return Err(ProcfileError::Duplicate { line, first: *first, name: name.to_owned() });
        }
        if seen.len() == PROCESS_TYPES_MAX {
            return Err(ProcfileError::TooMany { line });
        }
        seen.insert(name.to_owned(), (line, command.to_owned()));
    }
    if seen.is_empty() {
        return Err(ProcfileError::Empty);
    }
    let mut commands: BTreeMap<String, String> = seen.into_iter().map(|(name, (_, command))| (name, command)).collect();
    let release = commands.remove(RELEASE);
    Ok(Procfile { commands, release })
}

/// The name and the command of a line; `None` for a blank line and a comment.
fn parse_line(text: &str, line: usize) -> Result<Option<(&str, &str)>, ProcfileError> {
    if text.trim().is_empty() || text.trim_start().starts_with('#') {
        return Ok(None);
    }
    refuse_merge_marker(text, line)?;
    let (name, command) = text.split_once(':').ok_or(ProcfileError::NoColon { line })?;
    if !is_process_name(name) {
        return Err(ProcfileError::Name { line, name: name.chars().take(NAME_CHARS_MAX * 2).collect() });
    }
    let command = check_command(name, command.trim(), line)?;
    Ok(Some((name, command)))
}

fn refuse_merge_marker(text: &str, line: usize) -> Result<(), ProcfileError> {
    let marker = ["<<<<<<<", "=======", ">>>>>>>", "|||||||"].into_iter().find(|marker| text.starts_with(marker));
    match marker {
        Some(marker) => Err(ProcfileError::MergeMarker { line, marker: marker.to_owned() }),
        None => Ok(()),
    }
}

pub(crate) fn is_process_name(name: &str) -> bool {
    name.len() <= NAME_CHARS_MAX
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

fn check_command<'a>(name: &str, command: &'a str, line: usize) -> Result<&'a str, ProcfileError> {
    let name = || name.to_owned();
    if command.is_empty() {
        return Err(ProcfileError::NoCommand { line, name: name() });
    }
    if command.len() > COMMAND_BYTES_MAX {
        return Err(ProcfileError::CommandTooLong { line, name: name() });
    }
    match command.chars().find(|c| is_invisible(*c)) {
        Some(character) => {
            Err(ProcfileError::Invisible { line, name: name(), character: format!("U+{:04X}", u32::from(character)) })
        }
        None => Ok(command),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(bytes: impl AsRef<[u8]>) -> String {
        parse(bytes.as_ref()).unwrap_err().to_string()
    }

    #[test]
    fn comments_blank_lines_and_windows_line_ends_are_fine() {
        let procfile = parse(b"\xef\xbb\xbf# what runs\r\n\r\nweb: ./a b:c \r\nworker_2:x\r\n").unwrap();
        assert_eq!(procfile.iter().collect::<Vec<_>>(), [("web", "./a b:c"), ("worker_2", "x")]);
    }

    #[test]
    fn every_bad_line_is_named_with_its_number() {
        for (bytes, line, word) in [
            (&b"web: a\n<<<<<<< HEAD\nweb: b\n"[..], 2, "merge marker"),
            (b"web: a\n=======\n", 2, "merge marker"),
            (b"web: a\nweb: b\n", 2, "line 1 already"),
            (b"web\n", 1, "no colon"),
            (b"\nweb:  \n", 2, "no command"),
            (b"web: \xff\n", 1, "UTF-8"),
            (b" web: a\n", 1, "cannot name a process"),
            (b"web : a\n", 1, "cannot name a process"),
            (b"-x: a\n", 1, "cannot name a process"),
            ("wéb: a\n".as_bytes(), 1, "cannot name a process"),
            (b"web: a\x07\n", 1, "U+0007"),
            (b"web: a\x00\n", 1, "U+0000"),
            (b"web: a\rb\n", 1, "U+000D"),
            ("web: a\u{202e}b\n".as_bytes(), 1, "U+202E"),
        ] {
            let shown = error(bytes);
            assert!(shown.contains(&format!("line {line}")), "{shown}");
            assert!(shown.contains(word), "{shown}");
        }
    }

    #[test]
    fn the_release_command_is_no_process_type() {
        let procfile = parse(b"release: ./migrate && ./seed\nweb: a\n").unwrap();
        assert_eq!(procfile.release(), Some("./migrate && ./seed"));
        assert_eq!(procfile.iter().collect::<Vec<_>>(), [("web", "a")]);
        assert!(!parse(b"release: ./migrate\n").unwrap().has_processes());
        assert!(error(b"release: a\nrelease: b\n").contains("line 1 already"));
    }

    #[test]
    fn limits_hold_exactly() {
        let name = "a".repeat(NAME_CHARS_MAX);
        assert!(parse(format!("{name}: x").as_bytes()).is_ok());
        assert!(error(format!("{name}a: x")).contains("cannot name"));
        let command = "x".repeat(COMMAND_BYTES_MAX);
        assert!(parse(format!("web: {command}").as_bytes()).is_ok());
        assert!(error(format!("web: {command}x")).contains("longer than 4096"));
        let many = |count: usize| -> String { (0..count).fold(String::new(), |text, n| text + &format!("p{n}: x\n")) };
        assert!(parse(many(PROCESS_TYPES_MAX).as_bytes()).is_ok());
        assert!(error(many(PROCESS_TYPES_MAX + 1)).contains("line 65"));
        assert!(error(vec![b'\n'; BYTES_MAX + 1]).contains("longer"));
    }

    #[test]
    fn a_file_without_a_process_is_refused() {
        assert_eq!(parse(b""), Err(ProcfileError::Empty));
        assert_eq!(parse(b"# later\n"), Err(ProcfileError::Empty));
    }
}
