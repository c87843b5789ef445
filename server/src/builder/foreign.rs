//! A user's Dockerfile may not build on another app's image: it would read that app's files.
use crate::domain::AppKey;
use crate::engine::{Engine, EngineError, label};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The build argument that does the same as a `# syntax` line.
const BUILDER_ARG: &str = "BUILDKIT_SYNTAX";

/// The first image that the Dockerfile names and that belongs to another app.
pub(super) async fn find(engine: &dyn Engine, dockerfile: &str, own: &AppKey) -> Result<Option<String>, EngineError> {
    for reference in references(dockerfile) {
        let Some(image) = engine.image(&reference).await? else { continue };
        if image.labels.get(label::APP_KEY).is_some_and(|key| key != own.as_str()) {
            return Ok(Some(reference));
        }
    }
    Ok(None)
}

/// The Dockerfile as it reads with these arguments: a value goes before the default that an ARG line has.
pub(super) fn with_args(dockerfile: &str, args: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    // A value with a space in it names no image.
    for (name, value) in args.iter().filter(|(_, value)| !value.contains(char::is_whitespace)) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "ARG {name}={value}");
    }
    text + dockerfile
}

/// Every image that FROM, `COPY --from=`, a mount's `from=` or the line for another builder may name. Stage names among
/// them are no images and do no harm.
pub(super) fn references(dockerfile: &str) -> Vec<String> {
    let mut found: Vec<String> = dockerfile.lines().filter_map(builder).collect();
    // A comment at the top may choose the other mark. Both are tried: nothing can hide behind the wrong one.
    for mark in ['\\', '`'] {
        found.extend(named(&instructions(dockerfile, mark)));
    }
    found.sort();
    found.dedup();
    // A mark that was not taken for one stands there alone.
    found.retain(|reference| !reference.trim_matches(['\\', '`']).is_empty());
    found
}

fn named(instructions: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    let mut defaults: Vec<(String, String)> = Vec::new();
    for line in instructions {
        let line = &defaults.iter().fold(line.clone(), |line, (name, value)| {
            line.replace(&format!("${{{name}}}"), value).replace(&format!("${name}"), value)
        });
        let mut words = line.split_whitespace();
        if words.clone().next().is_some_and(|first| first.eq_ignore_ascii_case("ARG")) {
            let pairs = words.clone().skip(1).filter_map(|pair| pair.split_once('='));
            found.extend(pairs.clone().filter(|(name, _)| *name == BUILDER_ARG).map(|(_, value)| unquoted(value)));
            defaults.extend(pairs.map(|(name, value)| (name.to_owned(), unquoted(value))));
        }
        if words.next().is_some_and(|first| first.eq_ignore_ascii_case("FROM")) {
            found.extend(words.find(|word| !word.starts_with("--")).map(unquoted));
        }
        for option in line.split([' ', '\t', ',']) {
            let option = option.strip_prefix("--mount=").unwrap_or(option);
            let value = option.strip_prefix("--from=").or_else(|| option.strip_prefix("from="));
            found.extend(value.map(unquoted));
        }
    }
    found
}

/// The instructions as Docker reads them, where `mark` says that a line goes on: comments and empty lines do not count, not
/// even between the lines of one.
fn instructions(dockerfile: &str, mark: char) -> Vec<String> {
    let mut all = Vec::new();
    let mut current = String::new();
    for line in dockerfile.lines().map(str::trim_end) {
        if line.is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        match line.strip_suffix(mark) {
            Some(beginning) => current.push_str(beginning),
            None => all.push(std::mem::take(&mut current) + line),
        }
    }
    all.push(current);
    all
}

/// The image that a line `# syntax=IMAGE` has the engine build with.
fn builder(line: &str) -> Option<String> {
    let line = line.trim_start();
    let comment = line.strip_prefix('#').or_else(|| line.strip_prefix("//"))?;
    let (name, image) = comment.split_once('=')?;
    name.trim().eq_ignore_ascii_case("syntax").then(|| unquoted(image.trim()))
}

fn unquoted(word: &str) -> String {
    word.trim_matches(['"', '\'']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::{references, with_args};
    use std::collections::BTreeMap;

    #[test]
    fn every_place_that_names_an_image_is_found() {
        let dockerfile = "FROM --platform=linux/amd64 debian:trixie-slim AS one\nfrom \\\n  other:1\n\
            COPY --chown=1:1 --from=third /a /b\nRUN --mount=type=bind,from=fourth,target=/x --mount=from=fifth,target=/y true\n";
        assert_eq!(references(dockerfile), ["debian:trixie-slim", "fifth", "fourth", "other:1", "third"]);
        let args = BTreeMap::from([("A".to_owned(), "other".to_owned()), ("B".to_owned(), "two words".to_owned())]);
        let given = with_args("ARG A=mine\nFROM paas/$A:b1\n", &args);
        assert_eq!(references(&given), ["paas/other:b1"]);
        let builders = "# escape=\\\n#syntax = one/builder:1\nARG BUILDKIT_SYNTAX=two/builder\nFROM x\n";
        assert_eq!(references(builders), ["one/builder:1", "two/builder", "x"]);
        for hidden in [
            "# a note \\\nFROM other:1\n",
            "FROM \\ \n\n# why\n  other:1\n",
            "FROM oth\\\ner:1\n",
            "# escape=`\nFROM `\n other:1\n",
            "FROM \\\r\n other:1",
            "FROM \\\n other:1\n# escape=`\n",
            "RUN echo `\nFROM other:1\n",
        ] {
            assert!(references(hidden).contains(&"other:1".to_owned()), "{hidden:?}");
        }
        assert_eq!(references("ARG A=app\nARG B=paas/${A}:b3\nFROM ${B}\n"), ["paas/app:b3"]);
    }
}
