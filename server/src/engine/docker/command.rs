//! A Procfile line as words for the shell: with `exec` before its last command, where that is sure to mean the same. The
//! program then gets SIGTERM itself. Without it the shell gets it, dies alone, and takes the program down by SIGKILL:
//! Debian's dash (0.5.12 tried) forks even for the last command of a list.

/// Words of the shell that cannot follow `exec`, since they are no programs.
const SHELL_WORDS: [&str; 38] = [
    ".", ":", "[", "alias", "break", "case", "cd", "command", "continue", "do", "done", "elif", "else", "esac", "eval",
    "exec", "exit", "export", "fi", "for", "if", "local", "read", "readonly", "return", "set", "shift", "source",
    "then", "time", "times", "trap", "ulimit", "umask", "unset", "until", "wait", "while",
];

/// `node x` → `exec node x`, `cd app && A=1 node x` → `cd app && A=1 exec node x`; what cannot be told apart for sure
/// (pipes, groups, substitutions, several lines) stays as it is.
pub(super) fn shell_line(line: &str) -> String {
    let exec_at = last_command(line).and_then(|start| Some(start + program(&line[start..])?));
    match exec_at {
        Some(at) => format!("{}exec {}", &line[..at], &line[at..]),
        None => line.to_owned(),
    }
}

/// Where the last command of a list (`;`, `&&`, `||`) begins; `None` for anything but such a list.
fn last_command(line: &str) -> Option<usize> {
    let bytes = line.as_bytes();
    let (mut start, mut quote, mut previous) = (0, None, b' ');
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match (quote, byte) {
            (Some(open), _) if open == byte => quote = None,
            (Some(b'\''), _) => {}
            (Some(_), b'(') if previous == b'$' => return None,
            (None, b'\'' | b'"') => quote = Some(byte),
            // `2>&1` is no operator of a list.
            (None, b'&') if matches!(previous, b'>' | b'<') => {}
            (None, b'&' | b'|') if bytes.get(at) == Some(&byte) => {
                at += 1;
                start = at;
            }
            // Escapes and substitutions (in double quotes too), several lines; groups, comments, jobs in the
            // background and pipes.
            (_, b'`' | b'\\' | b'\n' | b'\r') | (None, b'(' | b')' | b'#' | b'&' | b'|') => return None,
            (None, b';') => start = at,
            _part_of_a_word => {}
        }
        previous = byte;
    }
    quote.is_none().then_some(start)
}

/// Where a command's program stands: after its assignments; `None` if it is none that can be executed.
fn program(command: &str) -> Option<usize> {
    let mut at = 0;
    loop {
        at += command[at..].len() - command[at..].trim_start().len();
        let word = command[at..].split_ascii_whitespace().next()?;
        if !is_assignment(word) {
            let is_plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "_./+-".contains(c));
            return (is_plain && !SHELL_WORDS.contains(&word)).then_some(at);
        }
        if word.contains(['\'', '"']) {
            return None;
        }
        at += word.len();
    }
}

fn is_assignment(word: &str) -> bool {
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    word.split_once('=').is_some_and(|(name, _)| is_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_command_takes_the_shells_place() {
        let lines = [
            ("node server.js", "exec node server.js"),
            (" ./bin/run --port=$PORT 2>&1", " exec ./bin/run --port=$PORT 2>&1"),
            ("gunicorn app:app > /tmp/log", "exec gunicorn app:app > /tmp/log"),
            ("cd app && node x", "cd app && exec node x"),
            ("A=1 B=$HOME node x", "A=1 B=$HOME exec node x"),
            ("set -e; migrate; A=1 serve", "set -e; migrate; A=1 exec serve"),
            ("test -f x || serve", "test -f x || exec serve"),
            ("node -e 'a; b | c && d'", "exec node -e 'a; b | c && d'"),
            ("perl -e 'print qq(\\n) && `x`'", "exec perl -e 'print qq(\\n) && `x`'"),
            ("perl -e \"print 'a;b'\"; run", "perl -e \"print 'a;b'\"; exec run"),
            ("if a; then b; fi; run", "if a; then b; fi; exec run"),
        ];
        for (line, expected) in lines {
            assert_eq!(shell_line(line), expected);
        }
    }

    #[test]
    fn what_could_change_its_meaning_stays_as_it_is() {
        let lines = [
            "a | b",
            "a & b",
            "a &",
            "a & ",
            "(a)",
            "exec node x",
            "cd x",
            "if a; then b; fi",
            "while a; do b; done",
            "$RUN x",
            "'my prog' x",
            "f() { a; }",
            "a $(b)",
            "a `b`",
            "{ a; }",
            "! a",
            "a # b; c",
            "a \\; b",
            "a\nb",
            "A='x y' b",
            "a 'open",
            "a;",
            "a &&",
            "A=1",
            "case x in y) z;; esac",
            "",
            " ",
            ">x a",
        ];
        for line in lines {
            assert_eq!(shell_line(line), line);
        }
    }
}
