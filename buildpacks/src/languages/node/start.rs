//! What starts a Node.js app when there is no Procfile, and scripts spelled out instead of started
//! through npm: npm takes half a second, 60 MB and the signals.

use super::package::Package;
use crate::PlanError;
use crate::tree::{SourceTree, has};

/// Scripts may run scripts; a ring of them must end somewhere.
const SCRIPT_DEPTH_MAX: usize = 5;

/// The web command of an app without a Procfile, and where it comes from.
pub(super) fn web(tree: &dyn SourceTree, package: &Package) -> Result<(String, String), PlanError> {
    if package.script("start").is_some() {
        let command = spell_out("npm start", package);
        return Ok((command, "scripts.start".to_owned()));
    }
    let main = package.main.as_deref().map(|main| main.trim_start_matches("./"));
    let files = ["server.js", "index.js"].into_iter().chain(main);
    match files.into_iter().find(|file| has(tree, file)) {
        Some(file) => Ok((format!("node {}", crate::command::quote(file)), format!("{file} is here"))),
        None => Err(PlanError::NoStartCommand { fix: fix(tree, package) }),
    }
}

fn fix(tree: &dyn SourceTree, package: &Package) -> String {
    let usual =
        "add \"scripts\": { \"start\": \"node server.js\" } to package.json, or a Procfile with `web: node server.js`";
    if package.script("build").is_some() {
        return format!(
            "{usual}; an app that is only files after its build needs a program to serve them, for example `npm install serve` and `web: serve -s dist -l $PORT`"
        );
    }
    if has(tree, "index.html") {
        return format!(
            "{usual}; to serve index.html as it is, commit a file named Staticfile with the line `root: .`"
        );
    }
    usual.to_owned()
}

/// `npm start` and `npm run x` as the command lines behind them.
pub(super) fn spell_out(command: &str, package: &Package) -> String {
    let mut line = command.trim().to_owned();
    for _ in 0..SCRIPT_DEPTH_MAX {
        match script_named(&line).and_then(|name| whole_script(name, package)) {
            Some(next) => line = next,
            None => break,
        }
    }
    line
}

/// Whether a command line cannot do without npm.
pub(super) fn needs_npm(command: &str) -> bool {
    let mut words = command.split(|c: char| !(c.is_ascii_alphanumeric() || "-_./".contains(c)));
    words.any(|word| word == "npm" || word == "npx") || command.contains("npm_")
}

/// The script that `npm start` or `npm run NAME` runs; arguments are npm's business.
fn script_named(command: &str) -> Option<&str> {
    let words: Vec<&str> = command.split_whitespace().collect();
    match words.as_slice() {
        ["npm", "start"] => Some("start"),
        ["npm", "run" | "run-script", name] => Some(name),
        _ => None,
    }
}

/// The script with its `pre` before it. A `post` script waits for the end of a server: npm alone can.
fn whole_script(name: &str, package: &Package) -> Option<String> {
    let script = package.script(name)?;
    if script.contains("npm_") || package.script(&format!("post{name}")).is_some() {
        return None;
    }
    match package.script(&format!("pre{name}")) {
        Some(before) => Some(format!("{before} && {script}")),
        None => Some(script.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(scripts: &str) -> Package {
        Package::parse(&format!("{{\"scripts\":{{{scripts}}}}}")).unwrap()
    }

    #[test]
    fn scripts_are_spelled_out_through_each_other() {
        let package = package(
            r#""start":"npm run serve","preserve":"./check","serve":"node x","ring":"npm run ring","tail":"a","posttail":"b""#,
        );
        assert_eq!(spell_out("npm start", &package), "./check && node x");
        assert_eq!(spell_out("npm run ring", &package), "npm run ring");
        assert_eq!(spell_out("npm run tail", &package), "npm run tail");
        assert_eq!(spell_out("npm run absent", &package), "npm run absent");
        assert_eq!(spell_out("node x", &package), "node x");
    }

    #[test]
    fn npm_is_needed_only_where_it_is_called() {
        assert!(needs_npm("npm run a -- --b"));
        assert!(needs_npm("a && npx b"));
        assert!(needs_npm("echo $npm_package_version"));
        assert!(!needs_npm("node npm.js"));
        assert!(!needs_npm("./npm/run"));
    }
}
