//! Why a build failed, told from what its tools said: the missing package of Debian, the lockfile that is out of date, the
//! memory that was not enough. The knowledge is a table; here is how it is looked up.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::language::table;
use crate::text::excerpt;

static TABLE: LazyLock<Table> = LazyLock::new(|| table(include_str!("diagnosis.toml")));

/// The names of something that can be missing, each with the packages of Debian that have it.
type Names = BTreeMap<String, Vec<String>>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    rules: Vec<Rule>,
    headers: Names,
    modules: Names,
    libraries: Names,
    programs: Names,
    renamed: Names,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    /// What a line holds; `*` is whatever stands there.
    says: Vec<String>,
    #[serde(default)]
    needs: Option<Needs>,
    #[serde(default)]
    packages: Vec<String>,
    /// What the packages bring, for the sentence.
    #[serde(default)]
    what: String,
    #[serde(default)]
    advice: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Needs {
    Headers,
    Modules,
    Libraries,
    Programs,
    Renamed,
}

/// Who says how the app is built: where packages are added depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Builds {
    Language,
    Dockerfile,
}

/// The cause and the way out, for the last lines of a build that failed. `memory` is what builds may use, in words.
pub fn explain(lines: &[String], builds: Builds, memory: Option<&str>) -> Option<String> {
    let matched = TABLE.rules.iter().find_map(|rule| {
        let of_line = |line: &String| rule.says.iter().find_map(|pattern| captured(pattern, line));
        Some((rule, lines.iter().find_map(of_line)?))
    });
    let (rule, name) = matched?;
    let name = excerpt(&name);
    Some(match rule.needs {
        Some(Needs::Renamed) => renamed(&name, builds),
        Some(needs) => missing(needs, &name, builds),
        None if rule.packages.is_empty() => {
            let memory = memory.map(|memory| format!(" ({memory})")).unwrap_or_default();
            rule.advice.replace("{memory}", &memory).replace("{}", &name)
        }
        None => format!("{} is missing: {}", rule.what, way_out(&rule.packages, builds)),
    })
}

/// What stands where the pattern has its `*`; an empty text for a pattern without one.
fn captured(pattern: &str, line: &str) -> Option<String> {
    let Some((before, after)) = pattern.split_once('*') else {
        return line.contains(pattern).then(String::new);
    };
    let rest = &line[line.find(before)? + before.len()..];
    let found = if after.is_empty() {
        rest.split([' ', '\t', '\'', '"', ')', ',', ';']).next().unwrap_or(rest)
    } else {
        &rest[..rest.find(after)?]
    };
    let found = found.trim().trim_end_matches(['.', ':']);
    // Two words are no name: another sentence that happens to begin alike.
    (!found.is_empty() && !found.contains(' ')).then(|| found.to_owned())
}

fn missing(needs: Needs, name: &str, builds: Builds) -> String {
    let (names, what) = match needs {
        Needs::Headers => (&TABLE.headers, format!("the header {name}")),
        Needs::Modules => (&TABLE.modules, format!("the library {name}")),
        Needs::Libraries => (&TABLE.libraries, format!("the library lib{name}")),
        Needs::Programs | Needs::Renamed => (&TABLE.programs, format!("the program `{name}`")),
    };
    let short = name.rsplit('/').next().unwrap_or(name);
    match names.get(name).or_else(|| names.get(short)) {
        Some(packages) => format!("{what} is missing: {}", way_out(packages, builds)),
        None => format!(
            "{what} is missing: look up which package of Debian 13 has it (`apt-file search {short}`), then {}",
            place("that package", builds)
        ),
    }
}

fn way_out(packages: &[String], builds: Builds) -> String {
    let listed: Vec<String> = packages.iter().map(|package| format!("`{package}`")).collect();
    place(&listed.join(", "), builds)
}

fn place(packages: &str, builds: Builds) -> String {
    match builds {
        Builds::Language => format!(
            "add {packages} to a file named Aptfile, one a line, commit it and push again (`apt.build` in paas.toml takes it for the build alone)"
        ),
        Builds::Dockerfile => format!("install {packages} in the Dockerfile, before the step that failed"),
    }
}

fn renamed(name: &str, builds: Builds) -> String {
    let place = match builds {
        Builds::Language => "Aptfile or paas.toml",
        Builds::Dockerfile => "the Dockerfile",
    };
    match TABLE.renamed.get(name).map(Vec::as_slice) {
        Some([]) => format!("Debian 13 has no package {name} any more: remove it from {place}"),
        Some(packages) => {
            format!("Debian 13 has no package {name}; it is called {} there: correct {place}", packages.join(", "))
        }
        None => format!(
            "Debian 13 has no package {name}: correct the name in {place}; names of Ubuntu may differ (`apt-cache search` on a Debian 13 finds them)"
        ),
    }
}

#[cfg(test)]
mod tests;
