//! Config vars as text: the `.env` files that people have. Read strictly, written so that reading gives the same bytes.
//!
//! The common dialect of dotenv libraries: `NAME=value`, `export NAME=value`, `#` comments, values without quotes, in
//! single quotes (as they stand, over several lines) or in double quotes (with `\n`, `\r`, `\t`, `\"`, `\\`, `\$`).
//! Nothing is expanded. Whatever cannot be read for sure refuses the whole text, with every line that is wrong.
use super::name::NameError;
use super::release::Config;
use super::{Secret, VarName};
use std::fmt::Write;

/// A line that cannot be read. Says where and why, and never the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct LineError {
    /// Counts from 1.
    pub line: usize,
    pub what: String,
}

/// Reads a whole text, or says everything that is wrong with it.
pub fn read(bytes: &[u8]) -> Result<Config, Vec<LineError>> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = bytes[..error.valid_up_to()].split(|b| *b == b'\n').count();
        vec![LineError { line, what: "is not UTF-8 text".to_owned() }]
    })?;
    let mut reader = Reader { rest: text, line: 1, config: Config::new(), errors: Vec::new() };
    let mut first_lines = std::collections::BTreeMap::new();
    while !reader.rest.is_empty() {
        let (line, unread) = (reader.line, reader.rest.len());
        match reader.assignment() {
            Ok(Some((name, value))) => {
                if let Some(first) = first_lines.insert(name.clone(), line) {
                    let what = format!("{name} was set in line {first} already");
                    reader.errors.push(LineError { line, what });
                }
                reader.config.insert(name, Secret::new(value));
            }
            Ok(None) => {}
            Err(what) => {
                reader.errors.push(LineError { line, what });
                let read = &text[..text.len() - reader.rest.len()];
                if reader.rest.len() == unread || !read.ends_with('\n') {
                    reader.skip_line();
                }
            }
        }
    }
    if reader.errors.is_empty() { Ok(reader.config) } else { Err(reader.errors) }
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
    config: Config,
    errors: Vec<LineError>,
}

impl<'a> Reader<'a> {
    /// Reads one assignment with its line end; `None` for an empty line or a comment.
    fn assignment(&mut self) -> Result<Option<(VarName, String)>, String> {
        let end = self.rest.find('\n').unwrap_or(self.rest.len());
        let line = self.rest[..end].trim_matches([' ', '\t', '\r']);
        if line.is_empty() || line.starts_with('#') {
            self.skip_line();
            return Ok(None);
        }
        let Some((name, _)) = line.split_once('=') else {
            return Err("has no `=`; write NAME=VALUE, or `#` before a comment".to_owned());
        };
        let bare = name.trim_end_matches([' ', '\t']);
        let bare = bare.strip_prefix("export").map_or(bare, |rest| match rest.trim_start_matches([' ', '\t']) {
            // A variable that is called so, or begins so.
            same if same.len() == rest.len() => bare,
            name => name,
        });
        // What is no name may be a piece of a value: it is not shown.
        let name: VarName = bare.parse().map_err(|error| match error {
            NameError::VarReserved(_) => error.to_string(),
            _no_name => "what stands before `=` is no name of letters, digits and `_`".to_owned(),
        })?;
        let equals = self.rest.find('=').unwrap_or(end);
        self.rest = &self.rest[equals + 1..];
        if self.rest.starts_with('#') {
            return Err(format!(
                "the value of {name} begins with `#`; put it into quotes, or a space before a comment"
            ));
        }
        self.rest = self.rest.trim_start_matches([' ', '\t']);
        let value = match self.rest.bytes().next() {
            Some(b'\'') => self.single_quoted(&name)?,
            Some(b'"') => self.double_quoted(&name)?,
            _unquoted => self.unquoted(&name)?,
        };
        if value.contains('\0') {
            return Err(format!("the value of {name} holds a NUL byte, which no environment can"));
        }
        Ok(Some((name, value)))
    }

    /// To the line's end, without spaces around it and without a comment behind a space.
    fn unquoted(&mut self, name: &VarName) -> Result<String, String> {
        let line = self.take_line();
        let comment = line.char_indices().find(|(at, c)| *c == '#' && (*at == 0 || line[..*at].ends_with([' ', '\t'])));
        let value = line[..comment.map_or(line.len(), |(at, _)| at)].trim_end_matches([' ', '\t']);
        if value.contains('\r') {
            return Err(format!("the value of {name} holds a carriage return; put it into double quotes as \\r"));
        }
        Ok(value.to_owned())
    }

    /// Everything up to the next single quote, as it stands.
    fn single_quoted(&mut self, name: &VarName) -> Result<String, String> {
        let inner = &self.rest[1..];
        let Some(end) = inner.find('\'') else { return Err(self.unclosed(name)) };
        let value = inner[..end].to_owned();
        self.pass(end + 2);
        self.expect_end(name)?;
        Ok(value)
    }

    fn double_quoted(&mut self, name: &VarName) -> Result<String, String> {
        let mut value = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        let end = loop {
            match (chars.next(), chars.clone().next()) {
                (Some((at, '"')), _) => break at,
                (Some((_, '\\')), Some((_, escaped))) => {
                    chars.next();
                    match escaped {
                        'n' => value.push('\n'),
                        'r' => value.push('\r'),
                        't' => value.push('\t'),
                        plain @ ('"' | '\\' | '$' | '`') => value.push(plain),
                        // Of no meaning here: `\d` in a pattern, say.
                        other => value.extend(['\\', other]),
                    }
                }
                (None, _) | (Some((_, '\\')), None) => return Err(self.unclosed(name)),
                (Some((_, plain)), _) => value.push(plain),
            }
        };
        self.pass(end + 1);
        self.expect_end(name)?;
        Ok(value)
    }

    /// Behind a closing quote only a comment may stand.
    fn expect_end(&mut self, name: &VarName) -> Result<(), String> {
        let behind = self.rest.split('\n').next().unwrap_or_default().trim_matches([' ', '\t', '\r']);
        if !behind.is_empty() && !behind.starts_with('#') {
            return Err(format!(
                "something stands behind the closing quote of {name}; write a quote inside double quotes as \\\""
            ));
        }
        self.skip_line();
        Ok(())
    }

    /// The rest of the line, without its end; CRLF is one.
    fn take_line(&mut self) -> &'a str {
        let rest = self.rest;
        self.skip_line();
        let line = rest.split('\n').next().unwrap_or_default();
        line.strip_suffix('\r').unwrap_or(line)
    }

    fn skip_line(&mut self) {
        let end = self.rest.find('\n').map_or(self.rest.len(), |end| end + 1);
        self.pass(end);
    }

    /// Where it should have ended nobody knows: what follows may be a piece of the value.
    fn unclosed(&mut self, name: &VarName) -> String {
        self.rest = "";
        format!("the quote around the value of {name} is not closed")
    }

    fn pass(&mut self, bytes: usize) {
        self.line += self.rest[..bytes].bytes().filter(|b| *b == b'\n').count();
        self.rest = &self.rest[bytes..];
    }
}

/// One line for each var, in the order of their names.
pub fn write(config: &Config) -> String {
    let mut text = String::new();
    for (name, value) in config {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name}={}", quoted(value.reveal()));
    }
    text
}

/// As it stands where nothing could be misread, in single quotes where those do, else in double quotes.
fn quoted(value: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:@%+,=".contains(c);
    if value.chars().all(is_plain) {
        return value.to_owned();
    }
    if !value.contains(['\'', '\n', '\r']) {
        return format!("'{value}'");
    }
    let mut out = String::with_capacity(value.len() + 2);
    out.push('"');
    for c in value.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '"' | '\\' | '$' | '`' => out.extend(['\\', c]),
            plain => out.push(plain),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(config: &Config) -> Vec<(&str, &str)> {
        config.iter().map(|(name, value)| (name.as_str(), value.reveal().as_str())).collect()
    }

    #[track_caller]
    fn reads(text: &str, expected: &[(&str, &str)]) {
        let config = read(text.as_bytes()).unwrap_or_else(|errors| panic!("{text:?}: {errors:?}"));
        assert_eq!(plain(&config), expected, "{text:?}");
    }

    #[test]
    fn files_as_people_have_them_are_read() {
        reads("", &[]);
        reads("\u{feff}A=1\r\nB=two words \r\n\r\n# no\r\nC=\r\n", &[("A", "1"), ("B", "two words"), ("C", "")]);
        reads("export A=1\nexport\tB = 2\nexported=3", &[("A", "1"), ("B", "2"), ("exported", "3")]);
        reads("export=1", &[("export", "1")]);
        reads(
            "A=b=c==\nURL=postgres://u:p#w@h/d?x=1&y=2 # the database",
            &[("A", "b=c=="), ("URL", "postgres://u:p#w@h/d?x=1&y=2")],
        );
        reads(
            "A='a # \"b\" $C \\n' # why\nB=\"x\\n\\\"y\\\" \\$Z \\d\\\\\" ",
            &[("A", "a # \"b\" $C \\n"), ("B", "x\n\"y\" $Z \\d\\")],
        );
        let key = "-----BEGIN KEY-----\nMIIB/+==\n-----END KEY-----\n";
        reads(&format!("A=1\nKEY=\"{key}\"\nB='{key}'\nC=2\n"), &[("A", "1"), ("B", key), ("C", "2"), ("KEY", key)]);
        reads("A= # nothing\nC=a#b", &[("A", ""), ("C", "a#b")]);
        reads("A=it's \"fine\"", &[("A", "it's \"fine\"")]);
    }

    #[track_caller]
    fn refuses(bytes: &[u8], expected: &[(usize, &str)]) {
        let errors = read(bytes).err().unwrap_or_default();
        let found: Vec<usize> = errors.iter().map(|error| error.line).collect();
        assert_eq!(found, expected.iter().map(|(line, _)| *line).collect::<Vec<_>>(), "{errors:?}");
        for (error, (_, text)) in errors.iter().zip(expected) {
            assert!(error.to_string().contains(text), "{error} should say `{text}`");
            assert!(!error.to_string().contains("s3cret"), "{error} shows a value");
        }
    }

    #[test]
    fn everything_that_is_wrong_is_told_with_its_line_and_no_value() {
        refuses(b"A=1\ns3cret-without-name\nB=2\n1X=3\n", &[(2, "has no `=`"), (4, "is no name")]);
        refuses(b"A=1\nB=2\nA=s3cret\n", &[(3, "A was set in line 1 already")]);
        refuses(b"A=1\n\nB=\"s3cret\nC=2\n", &[(3, "quote around the value of B is not closed")]);
        refuses(b"B='s3cret' x\nC=2\nD=\"a\"b\n", &[(1, "behind the closing quote of B"), (3, "closing quote of D")]);
        refuses(b"A=1\nB=s3cret\xff\n", &[(2, "not UTF-8")]);
        refuses(b"A='s3cret\0'", &[(1, "NUL byte")]);
        refuses(b"A=s3cret\rB=2\r\n1=s3cret\n", &[(1, "carriage return"), (2, "is no name")]);
        refuses(b"COLOUR=#s3cret\nB=2", &[(1, "begins with `#`")]);
        refuses(b"A=\"x\ns3cret/+==\ns3cret", &[(1, "not closed")]);
        refuses(b"A=\"s3cret\\", &[(1, "not closed")]);
        refuses(b"PAAS_APP=x\n=s3cret\n", &[(1, "set by the platform"), (2, "is no name")]);
        refuses("Ä=1".as_bytes(), &[(1, "is no name")]);
    }

    #[test]
    fn what_is_written_is_plain_where_it_can_be() {
        let config = Config::from(
            [("A", "plain-1.2/3:4"), ("B", "two words"), ("C", "it's\n\"$\\"), ("D", "")]
                .map(|(name, value)| (name.parse().unwrap(), Secret::new(value.to_owned()))),
        );
        assert_eq!(write(&config), "A=plain-1.2/3:4\nB='two words'\nC=\"it's\\n\\\"\\$\\\\\"\nD=\n");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_as_the_same_bytes(
            pairs in proptest::collection::btree_map("[A-Za-z_][A-Za-z0-9_]{0,8}", "(\\PC|[\n\r\t'\"\\\\$`# =\u{feff}\u{85}\u{2028}\u{1}]){0,24}", 0..6)
        ) {
            let config: Config = pairs
                .into_iter()
                .filter_map(|(name, value)| Some((name.parse().ok()?, Secret::new(value))))
                .collect();
            let text = write(&config);
            let again = read(text.as_bytes()).expect("what was written can be read");
            prop_assert_eq!(plain(&again), plain(&config));
            // And again in an editor that ends lines with CRLF.
            let again = read(text.replace('\n', "\r\n").as_bytes()).expect("CRLF can be read");
            prop_assert_eq!(plain(&again), plain(&config));
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }
    }
}
