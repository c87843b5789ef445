//! What starts a Node.js app when there is no Procfile, and scripts spelled out instead of started
//! through npm or its like: npm takes half a second, 60 MB and the signals.

use serde::Deserialize;

use super::manager;
use super::package::Package;
use super::pages;
use super::version::AVAILABLE;
use super::workspaces::{self, Found};
use crate::PlanError;
use crate::tree::{SourceTree, has};

/// A framework that brings its own server, as the table has it.
#[derive(Debug, Deserialize)]
pub(super) struct Server {
    package: String,
    start: String,
    /// What its build script has to be given.
    build_env: Option<String>,
    /// What the server has to be given to listen where the router comes from.
    env: Option<String>,
}

/// The package managers, and how each runs a program of a package.
const TOOLS: [&str; 8] = ["npm", "npx", "pnpm", "pnpx", "yarn", "yarnpkg", "bun", "bunx"];

/// Scripts may run scripts; a ring of them must end somewhere.
const SCRIPT_DEPTH_MAX: usize = 5;

/// Files that Node.js is started with by themselves, beside what package.json calls `main`.
const ENTRIES: [&str; 1] = ["index.js"];
/// Bun runs TypeScript as it is.
const BUN_ENTRIES: [&str; 7] =
    ["index.ts", "index.tsx", "server.ts", "main.ts", "src/index.ts", "src/index.tsx", "src/server.ts"];

/// The web command of an app without a Procfile, and where it comes from.
pub(super) fn web(tree: &dyn SourceTree, package: &Package) -> Result<(String, String), PlanError> {
    let start = package.script("start").filter(|script| !pages::is_for_the_desk(tree, script, package));
    if start.is_some() {
        return Ok((spell_out_all(tree, package, "npm start")?, "scripts.start".to_owned()));
    }
    if pages::are_asked_for(tree, package) {
        return Err(PlanError::NoStartCommand { fix: fix(tree, package) });
    }
    if let Some(server) = server(package) {
        return Ok((server.start.clone(), format!("{} is in package.json", server.package)));
    }
    if let Some(file) = entry(tree, package) {
        let program = if manager::is_bun(tree, package) { "bun" } else { "node" };
        return Ok((format!("{program} {}", crate::command::quote(&file)), format!("{file} is here")));
    }
    match workspaces::find(tree, package)? {
        Found::One(member) => Ok((member.start(), format!("{} alone has a start script", member.folder))),
        Found::Several(folders) => Err(PlanError::NoStartCommand { fix: workspaces::advice(tree, &folders) }),
        Found::Nothing => Err(PlanError::NoStartCommand { fix: fix(tree, package) }),
    }
}

fn server(package: &Package) -> Option<&'static Server> {
    let builds = package.script("build").is_some();
    AVAILABLE.servers.iter().find(|server| builds && package.asks_for(&server.package))
}

/// What the build script is given beside the config vars, such as `NAME=value`.
pub(super) fn build_env(package: &Package) -> Option<&'static str> {
    server(package)?.build_env.as_deref()
}

/// A command that starts the server of a framework which listens on 127.0.0.1 unless it is told otherwise.
pub(super) fn told_where(package: &Package, command: String) -> String {
    let mut servers = AVAILABLE.servers.iter().filter(|server| package.asks_for(&server.package));
    let Some(env) = servers.find_map(|server| server.env.as_deref()) else { return command };
    let name = env.split('=').next().unwrap_or(env);
    if command.contains(&format!("{name}=")) || command.contains(&format!("--{}", name.to_ascii_lowercase())) {
        return command;
    }
    // An assignment before a chain would be its first command's alone.
    let is_chain = command.contains(['&', ';', '|']);
    if is_chain { format!("export {env} && {command}") } else { format!("{env} {command}") }
}

/// The file to start: npm's own default, what package.json names, then the usual ones.
fn entry(tree: &dyn SourceTree, package: &Package) -> Option<String> {
    let by_bun = manager::is_bun(tree, package);
    let runs = |file: &str| {
        let endings: &[&str] = if by_bun { &["js", "mjs", "cjs", "ts", "tsx", "jsx"] } else { &["js", "mjs", "cjs"] };
        endings.contains(&crate::tree::ending(file)) && has(tree, file)
    };
    let named = package.main.iter().chain(&package.module).map(|file| file.trim_start_matches("./"));
    // `main` may leave the ending out.
    let named = named.flat_map(|file| [file.to_owned(), format!("{file}.js"), format!("{file}/index.js")]);
    let usual = ENTRIES.iter().chain(BUN_ENTRIES.iter().filter(|_| by_bun)).map(|file| (*file).to_owned());
    ["server.js".to_owned()].into_iter().chain(named).chain(usual).find(|file| runs(file))
}

fn fix(tree: &dyn SourceTree, package: &Package) -> String {
    let usual =
        "add \"scripts\": { \"start\": \"node server.js\" } to package.json, or a Procfile with `web: node server.js`";
    if package.has_workspaces {
        return format!(
            "{usual}; in a workspace the root's `start` may start a member, such as \"npm start -w apps/web\""
        );
    }
    if package.script("build").is_some() {
        return format!(
            "{usual}; an app that is only files after its build needs no server: commit a file named Staticfile with the line `root: dist`, the folder that the build writes"
        );
    }
    if has(tree, "index.html") {
        return format!(
            "{usual}; to serve index.html as it is, commit a file named Staticfile with the line `root: .`"
        );
    }
    usual.to_owned()
}

/// A command line without a manager, as far as that can be: through the root's scripts, then a package's of the workspace.
pub(super) fn spell_out_all(tree: &dyn SourceTree, package: &Package, command: &str) -> Result<String, PlanError> {
    let line = spell_out(command, package);
    Ok(workspaces::spell_out(tree, package, &line)?.unwrap_or(line))
}

/// `npm start` and `npm run x` as the command lines behind them.
pub(super) fn spell_out(command: &str, package: &Package) -> String {
    let mut line = command.trim().to_owned();
    for _ in 0..SCRIPT_DEPTH_MAX {
        match script_named(&line, package).and_then(|name| whole_script(name, package)) {
            Some(next) => line = next,
            None => break,
        }
    }
    line
}

/// Whether a command line cannot do without a package manager.
pub(super) fn needs_manager(command: &str) -> bool {
    let mut words = command.split(|c: char| !(c.is_ascii_alphanumeric() || "-_./".contains(c)));
    words.any(|word| TOOLS.contains(&word)) || command.contains("npm_")
}

/// Whether it is Bun that runs the program itself: `bun server.ts`.
pub(super) fn runs_by_bun(command: &str) -> bool {
    let mut words = command.split_whitespace().skip_while(|word| word.contains('='));
    words.next() == Some("bun") && words.any(|word| word.contains('.') && !word.starts_with('-'))
}

/// The script that `npm start`, `pnpm run NAME` or `yarn NAME` runs; arguments are the manager's business.
fn script_named<'a>(command: &'a str, package: &Package) -> Option<&'a str> {
    let words: Vec<&str> = command.split_whitespace().collect();
    match words.as_slice() {
        ["npm" | "pnpm" | "yarn" | "bun", "start"] => Some("start"),
        ["npm" | "pnpm" | "yarn" | "bun", "run" | "run-script", name] => Some(name),
        ["pnpm" | "yarn", name] if package.script(name).is_some() => Some(name),
        _ => None,
    }
}

/// The script with its `pre` before it. A `post` script waits for the end of a server: a manager alone can.
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
        assert_eq!(spell_out("yarn serve", &package), "./check && node x");
        assert_eq!(spell_out("bun run x.ts", &package), "bun run x.ts");
    }

    #[test]
    fn a_server_is_told_where_to_listen_once() {
        let astro = Package::parse(r#"{"dependencies":{"@astrojs/node":"9"}}"#).unwrap();
        for (line, told) in [
            ("node dist/server/entry.mjs", "HOST=0.0.0.0 node dist/server/entry.mjs"),
            ("./check && node dist/server/entry.mjs", "export HOST=0.0.0.0 && ./check && node dist/server/entry.mjs"),
            ("HOST=:: node dist/server/entry.mjs", "HOST=:: node dist/server/entry.mjs"),
        ] {
            assert_eq!(told_where(&astro, line.to_owned()), told);
        }
        assert_eq!(told_where(&package(""), "node x".to_owned()), "node x");
    }

    #[test]
    fn a_manager_is_needed_only_where_it_is_called() {
        assert!(needs_manager("npm run a -- --b"));
        assert!(needs_manager("a && npx b"));
        assert!(needs_manager("echo $npm_package_version"));
        assert!(needs_manager("yarn workspace web start"));
        assert!(!needs_manager("node npm.js"));
        assert!(!needs_manager("./npm/run"));
    }
}
