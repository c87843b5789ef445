//! Rules of the house that no compiler checks: who may know whom, where SQL and processes are, how files begin.
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Which rooms each room of `server/src` may name (ARCHITECTURE.md, directions). A room that is missing here knows nobody.
const MAY_KNOW: [(&str, &[&str]); 25] = [
    ("domain", &[]),
    ("clock", &["domain"]),
    ("console", &["domain"]),
    ("config", &["domain"]),
    ("store", &["domain", "files"]),
    ("engine", &["domain", "crash_point"]),
    ("guard", &["domain"]),
    ("logs", &["domain", "clock"]),
    ("visit", &[]),
    ("disk", &["domain", "engine", "store"]),
    ("outbound", &["domain"]),
    ("certs", &["domain", "clock", "logs", "outbound", "store"]),
    ("generation", &["domain", "files"]),
    ("proxy", &["domain", "clock", "generation", "visit"]),
    ("scheduler", &["proxy", "domain", "clock", "disk", "engine", "logs", "store", "crash_point"]),
    ("builder", &["scheduler", "domain", "clock", "console", "engine", "logs", "outbound", "store", "crash_point"]),
    ("receiver", &["builder", "domain", "clock", "console", "disk", "files", "generation", "logs", "store"]),
    ("laptop", &["builder", "commands", "domain"]),
    ("upgrade", &["commands", "files"]),
    ("data_dir", &[]),
    ("files", &[]),
    ("backups", &["builder", "scheduler", "domain", "clock", "data_dir", "engine", "files", "logs", "store"]),
    ("desk", &["builder", "scheduler", "domain", "clock", "engine", "logs", "store"]),
    ("web", &["certs", "desk", "builder", "scheduler", "domain", "logs", "store", "visit"]),
    (
        "commands",
        &[
            "backups",
            "certs",
            "desk",
            "builder",
            "scheduler",
            "domain",
            "clock",
            "console",
            "disk",
            "engine",
            "files",
            "generation",
            "guard",
            "logs",
            "outbound",
            "store",
        ],
    ),
];
/// Edges that one folder may have beyond its room's: the fake engine stamps what happens, as Docker does; the tests of the
/// pages build the house that the pages are about.
const MAY_KNOW_TOO: [(&str, &str); 6] = [
    ("server/src/engine/fake/", "clock"),
    ("server/src/web/tests/", "clock"),
    ("server/src/web/tests/", "disk"),
    ("server/src/web/tests/", "engine"),
    ("server/src/web/tests/", "outbound"),
    ("server/src/web/tests/", "proxy"),
];
/// git, mmdebstrap, a laptop's ssh, nft, the configuration file's program for records in DNS, and the next version of this
/// program.
const STARTS_PROCESSES: [&str; 7] = [
    "server/src/receiver/child.rs",
    "server/src/builder/base.rs",
    "server/src/laptop/ssh.rs",
    "server/src/guard/firewall.rs",
    "server/src/certs/dns_program.rs",
    "server/src/generation/successor.rs",
    "server/src/upgrade.rs",
];
const LINES_MAX: usize = 500;

struct Source {
    /// From the workspace's root.
    path: String,
    text: String,
}

impl Source {
    /// The lines that are no comments, with their numbers.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().map(|(at, line)| (at + 1, line));
        lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// The room of a file of the server: the folder or file right below `server/src`.
    fn room(&self) -> Option<&str> {
        let inner = self.path.strip_prefix("server/src/")?;
        inner.split('/').next().map(|room| room.strip_suffix(".rs").unwrap_or(room))
    }

    fn complaints<'a>(
        &'a self,
        what: &'a str,
        is_bad: impl Fn(&str) -> bool + 'a,
    ) -> impl Iterator<Item = String> + 'a {
        let bad = self.code().filter(move |(_, line)| is_bad(line));
        bad.map(move |(at, line)| format!("{}:{at}: {what}: {}", self.path, line.trim()))
    }
}

fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the crate stands in the workspace").to_owned()
}

/// Every file below a folder of the workspace whose name ends so.
fn sources(folder: &str, ending: &str) -> Vec<Source> {
    let (root, mut found) = (root(), Vec::new());
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for path in entries.map(|entry| entry.expect("read a folder").path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                let name = path.strip_prefix(&root).expect("a file of the workspace").to_string_lossy().into_owned();
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                found.push(Source { path: name, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn all_rust() -> Vec<Source> {
    ["server", "buildpacks", "tests"].into_iter().flat_map(|folder| sources(folder, ".rs")).collect()
}

#[track_caller]
fn assert_none(complaints: impl IntoIterator<Item = String>) {
    let complaints: Vec<String> = complaints.into_iter().collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// The rooms that a text names behind `crate::`, in groups such as `use crate::{clock, store::Store};` too.
fn rooms_named(text: &str) -> BTreeSet<&str> {
    let mut named = BTreeSet::new();
    for (at, _) in text.match_indices("crate::") {
        // `$crate::` in a macro, and paths of other crates that end so, are not ours to judge.
        if text[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_') {
            continue;
        }
        let rest = &text[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => named.extend(first_words(group)),
            None => named.extend(word(rest)),
        }
    }
    named
}

/// The first word of each member of a `{…}` group.
fn first_words(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut words) = (0, 0, Vec::new());
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => {
                words.extend(word(group[start..at].trim()));
                return words;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                words.extend(word(group[start..at].trim()));
                start = at + 1;
            }
            _ => {}
        }
    }
    words
}

/// A lower-case word, as rooms are named; types and macros at the crate's root are none.
fn word(text: &str) -> Option<&str> {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    Some(&text[..end]).filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase()))
}

#[test]
fn rooms_are_read_out_of_use_lines() {
    let text = "use crate::{clock::{Clock, X}, store};\nlet a = crate::domain::App;\nuse super::y; $crate::z;";
    assert_eq!(rooms_named(text).into_iter().collect::<Vec<_>>(), ["clock", "domain", "store", "z"]);
    assert!(rooms_named("use mycrate::thing; use crate::Macro;").is_empty());
}

#[test]
fn rooms_know_only_whom_they_may() {
    let rules: BTreeMap<&str, &[&str]> = MAY_KNOW.into_iter().collect();
    let mut complaints = Vec::new();
    for source in sources("server/src", ".rs") {
        let Some(room) = source.room().filter(|room| !matches!(*room, "lib" | "main" | "lifecycle" | "crash_point"))
        else {
            continue;
        };
        let allowed = rules.get(room).copied().unwrap_or_default();
        let code: String = source.code().flat_map(|(_, line)| [line, "\n"]).collect();
        let is_excepted =
            |named: &str| MAY_KNOW_TOO.iter().any(|(folder, too)| source.path.starts_with(folder) && named == *too);
        let is_strange = |named: &&str| *named != room && !allowed.contains(named) && !is_excepted(named);
        let strangers = rooms_named(&code).into_iter().filter(is_strange);
        complaints.extend(strangers.map(|named| format!("{}: {room} may not know {named}", source.path)));
    }
    assert_none(complaints);
}

#[test]
fn nobody_knows_the_lifecycle_but_main() {
    let named = |source: &&Source| source.room() != Some("lifecycle") && source.room() != Some("main");
    let sources = sources("server/src", ".rs");
    let bad = sources
        .iter()
        .filter(named)
        .flat_map(|source| source.complaints("knows lifecycle", |l| l.contains("lifecycle::")));
    assert_none(bad);
}

#[test]
fn the_domain_and_the_buildpacks_do_no_io() {
    let bad = |line: &str| {
        ["tokio::", "std::fs", "std::net", "std::process", "SystemTime", "Instant::now"]
            .iter()
            .any(|io| line.contains(io))
    };
    let domain = sources("server/src/domain", ".rs");
    let net_is_fine = |line: &str| bad(line) && !line.contains("std::net::");
    let mut complaints: Vec<String> =
        domain.iter().flat_map(|source| source.complaints("the domain does no IO", net_is_fine)).collect();
    let buildpacks = sources("buildpacks/src", ".rs");
    complaints.extend(buildpacks.iter().flat_map(|source| source.complaints("buildpacks do no IO", bad)));
    assert_none(complaints);
}

#[test]
fn files_are_short_and_say_first_what_they_are_for() {
    let mut complaints = Vec::new();
    for source in all_rust() {
        let lines = source.text.lines().count();
        if lines > LINES_MAX {
            complaints.push(format!("{}: {lines} lines, more than {LINES_MAX}", source.path));
        }
        if !source.text.starts_with("//! ") {
            complaints.push(format!("{}: begins without `//! ` and its purpose", source.path));
        }
    }
    assert_none(complaints);
}

#[test]
fn only_the_store_knows_sql_and_only_the_docker_engine_knows_bollard() {
    let mut complaints = Vec::new();
    for source in sources("server/src", ".rs") {
        if source.room() != Some("store") {
            complaints.extend(source.complaints("SQL belongs to store/", |line| line.contains("sqlx::")));
        }
        if !source.path.starts_with("server/src/engine/docker/") {
            complaints
                .extend(source.complaints("bollard belongs to engine/docker/", |line| line.contains("bollard::")));
        }
    }
    assert_none(complaints);
}

#[test]
fn processes_are_started_in_few_places_and_never_by_a_shell_or_the_docker_command() {
    let mut complaints = Vec::new();
    for source in sources("server/src", ".rs") {
        if !STARTS_PROCESSES.contains(&source.path.as_str()) {
            complaints.extend(source.complaints("starts a process", |line| line.contains("Command::new(")));
        }
        // A shell line for the inside of an instance is the engine's to hand over.
        if source.room() != Some("engine") {
            complaints
                .extend(source.complaints("a shell", |line| line.contains("\"sh\"") || line.contains("\"bash\"")));
        }
        complaints.extend(source.complaints("the docker command", |line| line.contains("Command::new(\"docker\"")));
    }
    assert_none(complaints);
}

#[test]
fn what_is_deployed_has_no_crash_points() {
    let deployed = sources("deploy", "");
    let named =
        deployed.iter().filter(|source| source.text.contains("crash-points") || source.text.contains("--all-features"));
    assert_none(named.map(|source| format!("{} names crash-points", source.path)));
    let manifest = std::fs::read_to_string(root().join("server/Cargo.toml")).expect("read server/Cargo.toml");
    assert!(manifest.contains("\ncrash-points = []\n"), "the feature is where tests look for it");
    let default = manifest.lines().find(|line| line.starts_with("default ")).unwrap_or_default();
    assert!(!default.contains("crash-points"), "{default}");
}

#[test]
fn migrations_are_numbered_without_a_gap_and_tables_are_strict() {
    let mut complaints = Vec::new();
    for (at, source) in sources("migrations", ".sql").into_iter().enumerate() {
        let name = source.path.strip_prefix("migrations/").unwrap_or_default();
        let (number, rest) = name.split_once('_').unwrap_or_default();
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '.';
        if number != format!("{:04}", at + 1) || rest.len() <= ".sql".len() || !rest.chars().all(is_plain) {
            complaints.push(format!("{}: migrations are named NNNN_name.sql, without a gap", source.path));
        }
        let (tables, strict) = (source.text.matches("CREATE TABLE").count(), source.text.matches(") STRICT").count());
        if tables != strict {
            complaints.push(format!("{}: {tables} tables, {strict} of them STRICT", source.path));
        }
    }
    assert_none(complaints);
}

/// From here on migrations only add, so that the program before goes on working with them (ARCHITECTURE.md, an upgrade).
#[test]
fn migrations_only_add() {
    let takes_away = |line: &str| {
        let line = line.trim_start().to_ascii_uppercase();
        !line.starts_with("--") && ["DROP ", "RENAME ", "DELETE ", "UPDATE "].iter().any(|word| line.contains(word))
    };
    let mut complaints = Vec::new();
    let later = |source: &Source| source.path.as_str() >= "migrations/0008";
    for source in sources("migrations", ".sql").into_iter().filter(later) {
        let has_default = |line: &str| !line.contains(" NOT NULL") || line.contains(" DEFAULT ");
        for (at, line) in source.text.lines().enumerate() {
            if takes_away(&line.replace("ON DELETE CASCADE", "").replace("ON DELETE SET NULL", "")) {
                complaints.push(format!("{}:{}: takes away: {line}", source.path, at + 1));
            }
            if line.contains("ADD COLUMN") && !has_default(line) {
                complaints.push(format!(
                    "{}:{}: the program before writes no such column: {line}",
                    source.path,
                    at + 1
                ));
            }
        }
    }
    assert_none(complaints);
}

/// What stands between `before` and `after` in a text, every time.
fn between<'a>(text: &'a str, before: &'a str, after: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(before).skip(1).filter_map(move |rest| Some(rest.split_once(after)?.0))
}

#[test]
fn every_crash_point_has_a_story() {
    let stories: String = sources("tests/stories", ".rs").into_iter().map(|source| source.text).collect();
    let code: String = sources("server/src", ".rs")
        .iter()
        .flat_map(|source| source.code().map(|(_, line)| format!("{line}\n")).collect::<Vec<_>>())
        .collect();
    let points: BTreeSet<&str> = between(&code, "crash_point!(\"", "\")").collect();
    assert!(points.len() >= 15, "{points:?}");
    let without = points.into_iter().filter(|point| !stories.contains(&format!("\"{point}\"")));
    assert_none(without.map(|point| format!("no story dies at the crash point {point}")));
}

#[test]
fn every_fault_names_a_test_that_exists() {
    let faults = std::fs::read_to_string(root().join("FAULTS.md")).expect("read FAULTS.md");
    let tests: String =
        all_rust().into_iter().filter(|source| source.path != "tests/tidy.rs").map(|source| source.text).collect();
    let rows: Vec<&str> = faults.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(rows.len() >= 15, "{} rows", rows.len());
    let mut complaints = Vec::new();
    for row in rows {
        let last = row.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
        let named = quoted(last);
        if named.is_empty() {
            complaints.push(format!("no test stands in the row {row}"));
        }
        let is_test = |name: &&str| tests.contains(&format!("#[test]\nfn {name}("));
        complaints.extend(named.iter().filter(|name| !is_test(name)).map(|name| format!("there is no test {name}")));
    }
    assert_none(complaints);
}

#[test]
fn the_papers_of_the_house_are_there() {
    for paper in
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "FAULTS.md", "LIMITS.md", "LICENSE-MIT", "LICENSE-APACHE"]
    {
        assert!(root().join(paper).is_file(), "{paper} is missing");
    }
    let changes = std::fs::read_to_string(root().join("CHANGELOG.md")).expect("read CHANGELOG.md");
    assert!(changes.contains("## [Unreleased]"), "CHANGELOG.md has a place for what comes");
    let architecture = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("read ARCHITECTURE.md");
    assert!(architecture.lines().count() <= 175, "ARCHITECTURE.md is more than 175 lines long");
}

/// The words in backticks of a cell.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[test]
fn the_table_of_limits_names_what_is_there() {
    let (table, all) = (std::fs::read_to_string(root().join("LIMITS.md")).expect("read LIMITS.md"), all_rust());
    let (mut complaints, mut rows) = (Vec::new(), 0);
    for line in table.lines().filter(|line| line.starts_with("| ") && line.contains(".rs`")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").collect();
        let [what, _limit, _by, place, test] = cells[..] else { panic!("five cells: {line}") };
        rows += 1;
        let [file, name] = quoted(place)[..] else { panic!("a file and a name: {place}") };
        if !all.iter().any(|source| source.path == file && source.text.contains(name)) {
            complaints.push(format!("{}: {file} holds no {name}", what.trim()));
        }
        let is_test = |name: &str| all.iter().any(|source| source.text.contains(&format!("fn {name}()")));
        complaints.extend(
            quoted(test)
                .into_iter()
                .filter(|name| !is_test(name))
                .map(|name| format!("{}: no test {name}", what.trim())),
        );
    }
    assert!(rows >= 40, "only {rows} rows were read");
    assert_none(complaints);
}
