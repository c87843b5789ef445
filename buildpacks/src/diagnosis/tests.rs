//! What real tools said, and what is made of it: `said.txt` holds the lines, the snapshot the sentences.

use std::fmt::Write;

use super::*;

fn cases() -> Vec<(&'static str, Vec<String>)> {
    let parts = include_str!("said.txt").split("=== ").skip(1);
    let case = |part: &'static str| {
        let (name, lines) = part.split_once('\n').unwrap();
        (name, lines.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
    };
    parts.map(case).collect()
}

#[test]
fn each_failure_is_explained_by_its_own_words() {
    let mut text = String::new();
    for (name, lines) in cases() {
        let builds = if name.starts_with("dockerfile") { Builds::Dockerfile } else { Builds::Language };
        let told = explain(&lines, builds, Some("all builds together may use 2.0 GiB"));
        let _ = writeln!(text, "{name}\n    {}", told.unwrap_or_else(|| "(nothing is known about it)".to_owned()));
    }
    insta::assert_snapshot!("explained", text);
}

#[test]
fn the_table_is_whole() {
    for rule in &TABLE.rules {
        let ways = [rule.needs.is_some(), !rule.packages.is_empty(), !rule.advice.is_empty()];
        assert_eq!(ways.iter().filter(|way| **way).count(), 1, "{:?}", rule.says);
        assert_eq!(rule.packages.is_empty(), rule.what.is_empty(), "{:?}", rule.says);
        for pattern in &rule.says {
            let example = pattern.replacen('*', "name", 1);
            assert!(explain(&[example], Builds::Language, None).is_some(), "{pattern}");
        }
    }
    let every = [&TABLE.headers, &TABLE.modules, &TABLE.libraries, &TABLE.programs, &TABLE.renamed];
    let mut packages = every.into_iter().flat_map(|names| names.values().flatten());
    assert!(packages.all(|package| crate::aptfile::is_package(package)));
}

#[test]
fn a_name_that_nobody_knows_is_looked_up_and_escapes_are_spelled_out() {
    let told = |line: &str| explain(&[line.to_owned()], Builds::Language, None).unwrap();
    let unknown = told("x.c:1:10: fatal error: odd/thing.h: No such file or directory");
    assert!(
        unknown.contains("the header odd/thing.h is missing: look up") && unknown.contains("apt-file search thing.h")
    );
    assert!(told("E: Unable to locate package a\u{1b}[2Jb").contains("a\\u{1b}[2Jb"));
    assert!(
        told("/usr/include/python3.13/x.h:1:10: fatal error: sub/ffi.h: No such file or directory")
            .contains("`libffi-dev`")
    );
}
