//! What an SSH client asks to run, by a strict grammar (security rule R3). Pure.
use super::limits::EXEC_LINE_BYTES_MAX;
use crate::domain::AppName;
use crate::domain::name::NameError;
use crate::logs::printable;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ExecLine {
    /// `git-receive-pack`: a push comes in.
    Receive(AppName),
    /// `git-upload-pack`: a clone or fetch goes out.
    Upload(AppName),
    /// Anything else is a command of ours, at least one word.
    Command(Vec<String>),
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ExecError {
    #[error("the command line is longer than 4 KiB; give long values on standard input (`config:set KEY=-`)")]
    TooLong,
    #[error("the command line is not UTF-8")]
    NotText,
    #[error(
        "the command line holds a line break or another control character; give such values on standard input (`config:set KEY=-`)"
    )]
    ControlCharacter,
    #[error("a quote in the command line is not closed; quote once for your shell and once for ours: \"'two words'\"")]
    Unbalanced,
    #[error("no command given; try `help`")]
    Empty,
    #[error("only pushes and clones are served, not `{0}`")]
    OtherService(String),
    #[error("git asked for {0} repositories where one belongs; the remote is `ssh://paas@HOST:PORT/APP`")]
    NotOneRepository(usize),
    #[error("`{path}` names no app: {source}")]
    App { path: String, source: NameError },
}

impl ExecError {
    /// 2: the line is wrong; 1: the line is right and what it names is not.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::TooLong | Self::NotText | Self::ControlCharacter | Self::Unbalanced | Self::Empty => 2,
            Self::OtherService(_) | Self::NotOneRepository(_) | Self::App { .. } => 1,
        }
    }
}

/// Splits by POSIX quoting, without any expansion, and tells git's services from our commands.
pub(super) fn parse(line: &[u8]) -> Result<ExecLine, ExecError> {
    if line.len() > EXEC_LINE_BYTES_MAX {
        return Err(ExecError::TooLong);
    }
    let line = std::str::from_utf8(line).map_err(|_| ExecError::NotText)?;
    if line.chars().any(char::is_control) {
        return Err(ExecError::ControlCharacter);
    }
    let words = shlex::split(line).ok_or(ExecError::Unbalanced)?;
    let (first, rest) = words.split_first().ok_or(ExecError::Empty)?;
    match (first.strip_prefix("git-"), first.as_str(), rest) {
        (Some(service), _, operands) => service_of(service, operands),
        (None, "git", [service, operands @ ..]) => service_of(service, operands),
        (None, "git", []) => Err(ExecError::OtherService("git".to_owned())),
        (None, ..) => Ok(ExecLine::Command(words)),
    }
}

fn service_of(service: &str, operands: &[String]) -> Result<ExecLine, ExecError> {
    let wrap = match service {
        "receive-pack" => ExecLine::Receive,
        "upload-pack" => ExecLine::Upload,
        other => return Err(ExecError::OtherService(format!("git {}", printable(other)))),
    };
    match operands {
        [path] => app_of(path).map(wrap),
        other => Err(ExecError::NotOneRepository(other.len())),
    }
}

/// `blog`, `/blog` and `/blog.git` are the same app.
fn app_of(path: &str) -> Result<AppName, ExecError> {
    let name = path.strip_prefix('/').unwrap_or(path);
    let name = name.strip_suffix(".git").unwrap_or(name);
    name.parse().map_err(|source| ExecError::App { path: shortened(path), source })
}

fn shortened(path: &str) -> String {
    let mut shown: String = path.chars().take(80).collect();
    if shown.len() < path.len() {
        shown.push('…');
    }
    printable(&shown).into_owned()
}

#[cfg(test)]
#[path = "../../../tests/fuzz/exec_line.rs"]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;

    fn command(words: &[&str]) -> ExecLine {
        ExecLine::Command(words.iter().map(|word| (*word).to_owned()).collect())
    }

    #[test]
    fn git_services_name_one_app() {
        for line in ["git-receive-pack '/blog'", "git-receive-pack 'blog.git'", "git receive-pack blog"] {
            assert_eq!(parse(line.as_bytes()), Ok(ExecLine::Receive("blog".parse().unwrap())), "{line}");
        }
        assert_eq!(parse(b"git-upload-pack '/my-app.git'"), Ok(ExecLine::Upload("my-app".parse().unwrap())));
    }

    #[test]
    fn bad_app_names_are_refused_by_name() {
        let long = "a".repeat(70);
        for bad in ["../x", "a b", "-x", "x;id", long.as_str(), "blög", "www", "", "/", "//x", "x.git.git", "x/y", "~x"]
        {
            let line = format!("git-receive-pack '{bad}'");
            let error = parse(line.as_bytes()).unwrap_err();
            assert!(matches!(error, ExecError::App { .. }), "{bad}: {error}");
            assert_eq!(error.exit_code(), 1);
        }
    }

    #[test]
    fn options_several_repositories_and_other_services_are_refused() {
        for line in ["git-receive-pack", "git-receive-pack a b", "git-upload-pack --strict a"] {
            assert!(matches!(parse(line.as_bytes()), Err(ExecError::NotOneRepository(_))), "{line}");
        }
        for line in ["git-upload-archive 'a'", "git", "git gc", "git-shell", "git-"] {
            assert!(matches!(parse(line.as_bytes()), Err(ExecError::OtherService(_))), "{line}");
        }
    }

    #[test]
    fn commands_are_split_by_quoting_and_nothing_is_expanded() {
        assert_eq!(parse(b"apps:create blog"), Ok(command(&["apps:create", "blog"])));
        assert_eq!(
            parse(b"config:set 'A=two words' B=\"x y\" C=a\\ b D=$HOME `id` $(id) *"),
            Ok(command(&["config:set", "A=two words", "B=x y", "C=a b", "D=$HOME", "`id`", "$(id)", "*"]))
        );
        assert_eq!(parse(b"scp -t /tmp"), Ok(command(&["scp", "-t", "/tmp"])));
    }

    #[test]
    fn broken_lines_are_usage_errors() {
        assert_eq!(parse(b"a 'b"), Err(ExecError::Unbalanced));
        assert_eq!(parse(b"  "), Err(ExecError::Empty));
        assert_eq!(parse(b"a\nb"), Err(ExecError::ControlCharacter));
        assert_eq!(parse(b"a\0b"), Err(ExecError::ControlCharacter));
        assert_eq!(parse(b"a \x7f"), Err(ExecError::ControlCharacter));
        assert_eq!(parse(&[b'a', 0xff]), Err(ExecError::NotText));
        assert_eq!(parse(&[b'a'; 4097]), Err(ExecError::TooLong));
        assert_eq!(parse(b"a 'b").unwrap_err().exit_code(), 2);
    }
}
