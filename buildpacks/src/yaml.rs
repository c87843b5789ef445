//! YAML as a tree that knows its lines, for files of which we read a few keys.
//!
//! Anchors, aliases and tags are refused: no file that we read needs them, and an alias makes a small file large.

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput};

use crate::text::excerpt;

const DEPTH_MAX: usize = 20;
const NODES_MAX: usize = 10_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// Counted from 1.
    pub(crate) line: usize,
    pub(crate) value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// Nothing stands there, or `null`.
    Nothing,
    /// A text, a number, a word such as `true`: as it was written.
    Text(String),
    List(Vec<Node>),
    /// The members in their order, each name once.
    Members(Vec<Member>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) line: usize,
    pub(crate) name: String,
    pub(crate) node: Node,
}

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct YamlError {
    pub(crate) line: usize,
    pub(crate) reason: String,
}

impl YamlError {
    pub(crate) fn new(line: usize, reason: impl Into<String>) -> Self {
        Self { line, reason: reason.into() }
    }
}

/// Reads one document; an empty file is [`Value::Nothing`].
pub(crate) fn parse(text: &str) -> Result<Node, YamlError> {
    let mut reader = Reader { events: Parser::new_from_str(text), nodes: 0 };
    let mut root = None;
    while let Some((event, line)) = reader.next()? {
        match event {
            Event::StreamEnd => break,
            Event::Nothing | Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd => {}
            _content if root.is_some() => return Err(YamlError::new(line, "a second document begins: keep one")),
            content => root = Some(reader.node(content, line, 0)?),
        }
    }
    Ok(root.unwrap_or(Node { line: 1, value: Value::Nothing }))
}

struct Reader<'a> {
    events: Parser<'a, StrInput<'a>>,
    nodes: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Option<(Event<'a>, usize)>, YamlError> {
        let found: Option<Result<(Event<'a>, Span), ScanError>> = self.events.next_event();
        match found {
            Some(Ok((event, span))) => Ok(Some((event, span.start.line()))),
            Some(Err(error)) => Err(YamlError::new(error.marker().line().max(1), excerpt(error.info()))),
            None => Ok(None),
        }
    }

    /// The next event of a list or of members that have begun; they may not end with the file.
    fn inside(&mut self, line: usize) -> Result<(Event<'a>, usize), YamlError> {
        self.next()?.ok_or_else(|| YamlError::new(line, "what begins here has no end"))
    }

    fn node(&mut self, event: Event<'a>, line: usize, depth: usize) -> Result<Node, YamlError> {
        self.nodes += 1;
        if depth > DEPTH_MAX || self.nodes > NODES_MAX {
            return Err(YamlError::new(line, "there is too much in this file, or too deep: make it simpler"));
        }
        let value = match event {
            Event::Scalar(text, style, 0, None) => scalar(&text, style),
            Event::SequenceStart(0, None) => self.list(line, depth)?,
            Event::MappingStart(0, None) => self.members(line, depth)?,
            _anchor_alias_or_tag => {
                return Err(YamlError::new(line, "anchors, aliases and tags are not read: write the value itself"));
            }
        };
        Ok(Node { line, value })
    }

    fn list(&mut self, begun: usize, depth: usize) -> Result<Value, YamlError> {
        let mut items = Vec::new();
        loop {
            match self.inside(begun)? {
                (Event::SequenceEnd, _) => return Ok(Value::List(items)),
                (event, line) => items.push(self.node(event, line, depth + 1)?),
            }
        }
    }

    fn members(&mut self, begun: usize, depth: usize) -> Result<Value, YamlError> {
        let mut members: Vec<Member> = Vec::new();
        loop {
            let (name, line) = match self.inside(begun)? {
                (Event::MappingEnd, _) => return Ok(Value::Members(members)),
                (Event::Scalar(name, ..), line) => (name.into_owned(), line),
                (_no_text, line) => return Err(YamlError::new(line, "a name must be a text")),
            };
            if let Some(first) = members.iter().find(|member| member.name == name) {
                let reason = format!("{} is on line {} already: remove one of the two", excerpt(&name), first.line);
                return Err(YamlError::new(line, reason));
            }
            let (event, at) = self.inside(begun)?;
            let node = self.node(event, at, depth + 1)?;
            members.push(Member { line, name, node });
        }
    }
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    match (text, style) {
        ("" | "~" | "null" | "Null" | "NULL", ScalarStyle::Plain) => Value::Nothing,
        (text, _) => Value::Text(text.to_owned()),
    }
}

impl Node {
    /// The members; none where nothing stands.
    pub(crate) fn members(&self, field: &str) -> Result<&[Member], YamlError> {
        match &self.value {
            Value::Nothing => Ok(&[]),
            Value::Members(members) => Ok(members),
            Value::Text(_) | Value::List(_) => {
                Err(YamlError::new(self.line, format!("{field} must be names with values: `NAME: value`")))
            }
        }
    }

    pub(crate) fn text(&self, field: &str) -> Result<&str, YamlError> {
        match &self.value {
            Value::Text(text) => Ok(text),
            Value::Nothing | Value::List(_) | Value::Members(_) => {
                Err(YamlError::new(self.line, format!("{field} must be a text")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        let YamlError { line, reason } = parse(text).unwrap_err();
        format!("{line}: {reason}")
    }

    #[test]
    fn a_tree_knows_its_lines() {
        let root = parse("# first\nbuild:\n  docker:\n    web: Dockerfile\nlist: [a, 'null', ~]\n").unwrap();
        let members = root.members("the file").unwrap();
        assert_eq!((members[0].name.as_str(), members[0].line), ("build", 2));
        let docker = &members[0].node.members("build").unwrap()[0];
        let web = &docker.node.members("build.docker").unwrap()[0];
        assert_eq!((web.line, web.node.text("web").unwrap()), (4, "Dockerfile"));
        let Value::List(items) = &members[1].node.value else { panic!("no list") };
        let values: Vec<&Value> = items.iter().map(|item| &item.value).collect();
        assert_eq!(values, [&Value::Text("a".to_owned()), &Value::Text("null".to_owned()), &Value::Nothing]);
        assert_eq!(parse("").unwrap().value, Value::Nothing);
        assert_eq!(parse("--- {}\n").unwrap().value, Value::Members(Vec::new()));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, words) in [
            ("a: 1\na: 2\n", "2: a is on line 1 already"),
            ("a: &x 1\nb: *x\n", "1: anchors, aliases and tags are not read"),
            ("a: !!str 1\n", "1: anchors, aliases and tags"),
            ("a: 1\n---\nb: 2\n", "3: a second document begins"),
            ("a: [1\n", ": "),
            ("? [a]\n: b\n", "1: a name must be a text"),
            ("a:\n\t- b\n", "2: "),
        ] {
            let shown = error(text);
            assert!(shown.contains(words), "{text}: {shown}");
        }
        assert!(error(&"[".repeat(100)).contains("too deep"));
    }

    #[test]
    fn nothing_makes_it_panic() {
        for text in
            ["\u{0}", "\u{feff}a: b", "%YAML 9\n---", "a: \"\\xZZ\"", "- - - -\n -", "{a: b, c", "|\n x\n>", "&a *a"]
        {
            let _ = parse(text);
        }
    }
}
