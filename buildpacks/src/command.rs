//! Command lines as people write them, and as an instance can run them.
//!
//! An instance runs `sh -c 'exec <command>'`, so that SIGTERM reaches the program and not a shell
//! which would die of it and take the program along. `exec` takes one simple command; the rest is
//! rewritten here to an equal line that begins with a program.

/// What a shell does itself: `exec cd x` would look for a program named cd.
const SHELL_WORDS: &[&str] = &[
    "!", ".", ":", "[[", "alias", "case", "cd", "command", "eval", "exit", "export", "for", "hash", "if", "read",
    "return", "set", "shift", "source", "times", "trap", "type", "ulimit", "umask", "unalias", "unset", "until",
    "wait", "while", "{",
];

/// Rewrites a command line so that `exec` may stand before it.
pub fn executable(command: &str) -> String {
    let command = command.trim();
    let chain = split_chain(command);
    match chain {
        Chain::Simple => simple(command),
        Chain::Steps { last_at } => {
            let (before, last) = command.split_at(last_at);
            let last = last.trim_start();
            let line = if starts_with_shell_word(last) || last.is_empty() {
                command.to_owned()
            } else {
                format!("{} exec {}", before.trim_end(), simple(last))
            };
            format!("sh -c {}", quote(&line))
        }
        Chain::Complex => format!("sh -c {}", quote(command)),
    }
}

/// Quotes a word for a POSIX shell.
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./-_".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// One command: an assignment before it needs `env`, a shell's own word needs the shell.
fn simple(command: &str) -> String {
    let command = command.strip_prefix("exec ").unwrap_or(command).trim_start();
    if starts_with_shell_word(command) {
        return format!("sh -c {}", quote(command));
    }
    if starts_with_assignment(command) {
        return format!("env {command}");
    }
    command.to_owned()
}

fn first_word(command: &str) -> &str {
    command.split_whitespace().next().unwrap_or_default()
}

fn starts_with_shell_word(command: &str) -> bool {
    SHELL_WORDS.contains(&first_word(command))
}

fn starts_with_assignment(command: &str) -> bool {
    first_word(command).split_once('=').is_some_and(|(name, _)| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

enum Chain {
    /// No operator but redirections.
    Simple,
    /// Commands joined by `&&` and `;` alone; the last one begins here.
    Steps { last_at: usize },
    /// Pipes, `||`, groups, the background: only a shell can say when that is over.
    Complex,
}

/// Finds the operators that stand outside of quotes.
fn split_chain(command: &str) -> Chain {
    let bytes = command.as_bytes();
    let mut last_at = None;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 1,
            b'\'' => at = closing(bytes, at, b'\''),
            b'"' => at = closing(bytes, at, b'"'),
            b'`' => at = closing(bytes, at, b'`'),
            b'$' if bytes.get(at + 1) == Some(&b'(') => return Chain::Complex,
            b';' => last_at = Some(at + 1),
            b'&' if bytes.get(at + 1) == Some(&b'&') => {
                at += 1;
                last_at = Some(at + 1);
            }
            b'&' if at > 0 && matches!(bytes[at - 1], b'>' | b'<') => {}
            b'&' | b'|' | b'(' | b')' | b'\n' => return Chain::Complex,
            _ => {}
        }
        at += 1;
    }
    match last_at {
        Some(last_at) if starts_with_shell_word(command) && opens_block(command) => {
            let _ = last_at;
            Chain::Complex
        }
        Some(last_at) => Chain::Steps { last_at },
        None => Chain::Simple,
    }
}

/// `if a; then b; fi`: the semicolons are inside of one command.
fn opens_block(command: &str) -> bool {
    matches!(first_word(command), "case" | "for" | "if" | "until" | "while" | "{")
}

/// Where the quote that opens at `from` closes, or the end of the line.
fn closing(bytes: &[u8], from: usize, quote: u8) -> usize {
    let mut at = from + 1;
    while let Some(byte) = bytes.get(at) {
        if *byte == quote {
            return at;
        }
        if *byte == b'\\' && quote != b'\'' {
            at += 1;
        }
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_command_stays_as_it_was_written() {
        for line in [
            "./server.pl $PORT",
            "node -e \"a && b; c\"",
            "gunicorn --bind 0.0.0.0:$PORT app:app",
            "node x >log 2>&1",
            "echo 'a;b' \\; c",
        ] {
            assert_eq!(executable(line), line);
        }
    }

    #[test]
    fn the_last_command_of_a_chain_replaces_the_shell() {
        assert_eq!(executable("./migrate && node 'my app.js'"), r"sh -c './migrate && exec node '\''my app.js'\'''");
        assert_eq!(executable("cd src; A=1 node x"), "sh -c 'cd src; exec env A=1 node x'");
    }

    #[test]
    fn what_only_a_shell_can_run_gets_one() {
        assert_eq!(executable("FOO=1 node x"), "env FOO=1 node x");
        assert_eq!(executable("exec node x"), "node x");
        assert_eq!(executable("cd src"), "sh -c 'cd src'");
        assert_eq!(executable("a | b"), "sh -c 'a | b'");
        assert_eq!(executable("a & b"), "sh -c 'a & b'");
        assert_eq!(executable("a || b"), "sh -c 'a || b'");
        assert_eq!(executable("a; cd b"), "sh -c 'a; cd b'");
        assert_eq!(executable("if a; then b; fi"), "sh -c 'if a; then b; fi'");
        assert_eq!(executable("x $(a && b)"), "sh -c 'x $(a && b)'");
    }

    #[test]
    fn an_open_quote_is_left_to_the_shell_to_complain_about() {
        assert_eq!(executable("echo 'a"), "echo 'a");
        assert_eq!(executable("echo \"a\\"), "echo \"a\\");
    }
}
