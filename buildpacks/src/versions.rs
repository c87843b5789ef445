//! Where a version may be asked for: the places stand in a language's table, in order, and the first that says something
//! is the request. `VERSIONS.md` shows them all.

use serde::Deserialize;
use serde_json::Value as Json;
use toml::Value as Toml;

use crate::PlanError;
use crate::language::About;
use crate::overrides::FILE;
use crate::text::excerpt;
use crate::tree::{SourceTree, config_text};

/// One place, as a language's table lists it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Place {
    pub(crate) file: String,
    pub(crate) read: Reader,
    /// Names by which the file may call it; for TOML and JSON a path with dots.
    #[serde(default)]
    pub(crate) keys: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reader {
    /// The file's first line that is no comment.
    Line,
    /// What follows a word at the beginning of a line, in quotes or up to a space: `go 1.24`, `ruby "3.3"`, `java=21`.
    Word,
    /// asdf's `nodejs 22.1.0`.
    ToolVersions,
    /// mise's `[tools]`.
    Mise,
    Toml,
    /// `<java.version>21</java.version>`
    Element,
    /// What follows a word anywhere in a line: Gradle's `languageVersion = JavaLanguageVersion.of(21)`.
    Within,
    /// rust-toolchain has been both.
    LineOrToml,
    Json,
}

/// A version that somebody asked for, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) text: String,
    pub(crate) file: String,
    /// Counted from 1; 0 when it cannot be told.
    pub(crate) line: usize,
    /// How notes call the place: `.nvmrc`, `engines.node`, `go.mod`.
    pub(crate) place: String,
}

impl Request {
    /// `go.mod line 3`, for sentences about what is wrong there.
    pub(crate) fn at(&self) -> String {
        match self.line {
            0 => self.file.clone(),
            line => format!("{} line {line}", self.file),
        }
    }

    /// A sentence's beginning for a version that cannot be had; `fix` says what there is and what to write.
    pub(crate) fn refused(&self, what: &str, fix: impl Into<String>) -> PlanError {
        PlanError::Version { place: self.at(), what: what.to_owned(), request: excerpt(&self.text), fix: fix.into() }
    }
}

/// What a reader found: the version, its line, and the key that it stands behind where there are keys.
struct Found {
    version: String,
    line: usize,
    key: Option<String>,
}

/// The first request: what paas.toml says, then the places of the language in their order.
pub(crate) fn find(tree: &dyn SourceTree, about: &About) -> Result<Option<Request>, PlanError> {
    let own = Place { file: FILE.to_owned(), read: Reader::Toml, keys: vec![format!("versions.{}", about.id)] };
    find_in(tree, [&own].into_iter().chain(&about.versions))
}

fn find_in<'a>(
    tree: &dyn SourceTree,
    places: impl IntoIterator<Item = &'a Place>,
) -> Result<Option<Request>, PlanError> {
    for place in places {
        let Some((file, text)) = read(tree, place)? else { continue };
        let found = match place.read {
            Reader::Line => first_line(&text),
            Reader::Word | Reader::ToolVersions => place.keys.iter().find_map(|key| after_word(&text, key)),
            Reader::Element => place.keys.iter().find_map(|key| in_element(&text, key)),
            Reader::Within => place.keys.iter().find_map(|key| behind(&text, key)),
            Reader::Mise => in_mise(place, &text)?,
            Reader::LineOrToml if !text.contains('[') => first_line(&text),
            Reader::Toml | Reader::LineOrToml => in_toml(place, &text)?,
            Reader::Json => in_json(place, &text),
        };
        let Some(found) = found.filter(|found| !found.version.is_empty()) else { continue };
        let name = found.key.unwrap_or_else(|| file.clone());
        return Ok(Some(Request { text: found.version, file, line: found.line, place: name }));
    }
    Ok(None)
}

/// The file of a place under the name it has: mise's may begin with a dot.
fn read(tree: &dyn SourceTree, place: &Place) -> Result<Option<(String, String)>, PlanError> {
    let hidden = (place.read == Reader::Mise).then(|| format!(".{}", place.file));
    for file in [place.file.clone()].into_iter().chain(hidden) {
        if let Some(text) = config_text(tree, &file)? {
            return Ok(Some((file, text)));
        }
    }
    Ok(None)
}

/// A TOML file that steers the build, or the sentence with the line that is wrong.
pub(crate) fn parse_toml(file: &str, text: &str) -> Result<toml::Table, PlanError> {
    text.parse::<toml::Table>().map_err(|error| toml_refused(file, text, &error))
}

pub(crate) fn toml_refused(file: &str, text: &str, error: &toml::de::Error) -> PlanError {
    let at = error.span().map_or(0, |span| span.start.min(text.len()));
    let line = text.as_bytes()[..at].split(|byte| *byte == b'\n').count();
    let reason = error.message().lines().collect::<Vec<_>>().join(", ");
    PlanError::Manifest { file: file.to_owned(), line, reason: format!("{reason}: correct it, then push again") }
}

fn first_line(text: &str) -> Option<Found> {
    let mut lines = text.lines().enumerate().map(|(at, line)| (line.trim(), at + 1));
    let (line, number) = lines.find(|(line, _)| !line.is_empty() && !line.starts_with('#'))?;
    Some(Found { version: line.to_owned(), line: number, key: None })
}

fn after_word(text: &str, word: &str) -> Option<Found> {
    text.lines().enumerate().find_map(|(at, line)| {
        let rest = line.trim().strip_prefix(word)?;
        if !rest.starts_with([' ', '\t', '=', ':', '(']) {
            return None;
        }
        let rest = rest.trim_start_matches([' ', '\t', '=', ':', '(']);
        let version = match rest.chars().next() {
            Some(quote @ ('"' | '\'')) => rest[1..].split(quote).next().unwrap_or_default(),
            Some(_) => rest.split([' ', '\t', ',', '#', ')']).next().unwrap_or_default(),
            None => "",
        };
        // Another word with a value of its own, such as Gemfile's `ruby file: ".ruby-version"`.
        (!version.ends_with(':')).then(|| Found { version: version.trim().to_owned(), line: at + 1, key: None })
    })
}

fn in_element(text: &str, name: &str) -> Option<Found> {
    let opening = format!("<{name}>");
    let at = text.find(&opening)?;
    let (version, _) = text[at + opening.len()..].split_once("</")?;
    // A reference to another property says nothing by itself.
    let is_plain = !version.contains(['$', '<']);
    let line = text[..at].matches('\n').count() + 1;
    is_plain.then(|| Found { version: version.trim().to_owned(), line, key: Some(name.to_owned()) })
}

fn behind(text: &str, word: &str) -> Option<Found> {
    text.lines().enumerate().find_map(|(at, line)| {
        let rest = line.split_once(word)?.1.trim_start_matches([' ', '=', '(', '"', '\'']);
        let version: String = rest.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
        (!version.is_empty()).then(|| Found { version, line: at + 1, key: None })
    })
}

/// `node = "22"`, a list of which the first is the default, or a table with the version among other settings.
fn in_mise(place: &Place, text: &str) -> Result<Option<Found>, PlanError> {
    let table = parse_toml(&place.file, text)?;
    let Some(Toml::Table(tools)) = table.get("tools") else { return Ok(None) };
    Ok(place.keys.iter().find_map(|key| {
        let version = match tools.get(key)? {
            Toml::Array(all) => mise_version(all.first()?)?,
            one => mise_version(one)?,
        };
        let version = version.strip_prefix("prefix:").unwrap_or(&version).to_owned();
        Some(Found { version, line: line_of(text, &[key]), key: None })
    }))
}

fn mise_version(value: &Toml) -> Option<String> {
    match value {
        Toml::String(text) => Some(text.trim().to_owned()),
        Toml::Integer(number) => Some(number.to_string()),
        Toml::Float(number) => Some(number.to_string()),
        Toml::Table(table) => mise_version(table.get("version")?),
        Toml::Boolean(_) | Toml::Datetime(_) | Toml::Array(_) => None,
    }
}

fn in_toml(place: &Place, text: &str) -> Result<Option<Found>, PlanError> {
    let table = Toml::Table(parse_toml(&place.file, text)?);
    Ok(place.keys.iter().find_map(|key| {
        let parts: Vec<&str> = key.split('.').collect();
        let value = parts.iter().try_fold(&table, |value, part| value.get(part))?;
        let version = value.as_str()?.trim().to_owned();
        Some(Found { version, line: line_of(text, &parts), key: Some(key.clone()) })
    }))
}

/// What is no JSON is its language's to refuse.
fn in_json(place: &Place, text: &str) -> Option<Found> {
    let json: Json = serde_json::from_str(text).ok()?;
    place.keys.iter().find_map(|key| {
        let parts: Vec<&str> = key.split('.').collect();
        let value = parts.iter().try_fold(&json, |value, part| value.get(part))?;
        let version = value.as_str()?.trim().to_owned();
        Some(Found { version, line: line_of(text, &parts), key: Some(key.clone()) })
    })
}

/// The line on which the last of the parts stands, searched behind the parts before it.
fn line_of(text: &str, parts: &[&str]) -> usize {
    let mut at = 0;
    for part in parts {
        match text[at..].find(part) {
            Some(found) => at += found,
            None => return 0,
        }
    }
    text[..at].matches('\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Language, MemoryTree};

    fn place(file: &str, read: Reader, keys: &[&str]) -> Place {
        Place { file: file.to_owned(), read, keys: keys.iter().map(|key| (*key).to_owned()).collect() }
    }

    #[test]
    fn every_kind_of_file_is_read_with_its_line() {
        for (file, read, keys, text, version, line) in [
            ("v", Reader::Line, &[][..], "# x\n\n 22 \n", "22", 3),
            ("go.mod", Reader::Word, &["toolchain", "go"], "module x\ngo 1.22\ntoolchain go1.24.1\n", "go1.24.1", 3),
            ("go.mod", Reader::Word, &["toolchain", "go"], "module x\r\ngo 1.22\r\n", "1.22", 2),
            ("Gemfile", Reader::Word, &["ruby"], "source 'x'\nruby \"~> 3.3\" # y\n", "~> 3.3", 2),
            ("p", Reader::Word, &["java.runtime.version"], "java.runtime.version=21\n", "21", 1),
            (".tool-versions", Reader::ToolVersions, &["nodejs"], "#\nnodejs 22.1.0 20\n", "22.1.0", 2),
            ("mise.toml", Reader::Mise, &["node"], "[tools]\nnode = '22'\n", "22", 2),
            (".mise.toml", Reader::Mise, &["node"], "[tools]\nnode = '22'\n", "22", 2),
            ("mise.toml", Reader::Mise, &["node"], "[tools]\nnode = ['prefix:20', '18']\n", "20", 2),
            ("mise.toml", Reader::Mise, &["node"], "[tools]\nnode = { version = 22 }\n", "22", 2),
            ("c.toml", Reader::Toml, &["package.rust-version"], "[package]\nrust-version = '1.80'\n", "1.80", 2),
            ("pom.xml", Reader::Element, &["java.version"], "<a>\n<java.version> 21 </java.version>", "21", 2),
            ("b.gradle", Reader::Within, &["Version.of"], "java {\n x = Version.of(25)\n", "25", 2),
            ("p.json", Reader::Json, &["engines.node"], "{\n\"node\": 1,\n\"engines\": {\n\"node\": \"20\"}}", "20", 4),
        ] {
            let tree = MemoryTree::new().file(file, text);
            let named = if file == ".mise.toml" { "mise.toml" } else { file };
            let found = find_in(&tree, &[place(named, read, keys)]).unwrap().unwrap();
            assert_eq!((found.text.as_str(), found.line), (version, line), "{text}");
        }
    }

    #[test]
    fn the_paper_shows_every_place_in_its_order() {
        let mut table = "| Language | Places, first to last |\n|---|---|\n".to_owned();
        for about in Language::ALL.iter().map(|language| language.rules().about()) {
            let shown = about.versions.iter().map(|place| match place.keys.as_slice() {
                [] => format!("`{}`", place.file),
                keys => format!("`{}` ({})", place.file, keys.join(", ")),
            });
            let shown: Vec<String> = shown.collect();
            if !shown.is_empty() {
                table = format!("{table}| {} | {} |\n", about.name, shown.join(" · "));
            }
        }
        assert!(include_str!("../VERSIONS.md").contains(&table), "write into VERSIONS.md:\n{table}");
    }

    #[test]
    fn what_says_nothing_leaves_the_next_place_to_speak() {
        let tree = MemoryTree::new()
            .file("Gemfile", "ruby file: \".ruby-version\"\n")
            .file("mise.toml", "[env]\n")
            .file(".ruby-version", "3.3\n");
        let places = [
            place("Gemfile", Reader::Word, &["ruby"]),
            place("mise.toml", Reader::Mise, &["ruby"]),
            place(".ruby-version", Reader::Line, &[]),
        ];
        let found = find_in(&tree, &places).unwrap().unwrap();
        assert_eq!((found.text.as_str(), found.at().as_str()), ("3.3", ".ruby-version line 1"));
    }

    #[test]
    fn a_file_that_is_no_toml_is_told_with_its_line() {
        let tree = MemoryTree::new().file("mise.toml", "[tools]\nnode = \n");
        let shown = find_in(&tree, &[place("mise.toml", Reader::Mise, &["node"])]).unwrap_err().to_string();
        assert!(shown.starts_with("mise.toml line 2: "), "{shown}");
    }
}
