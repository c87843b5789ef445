//! Rust: the programs of a package or workspace, built with caches for the registry and for target/.
//!
//! cargo compares file times. A cached target/ beside sources whose times the builder froze would take a reverted file for an
//! old one and ship the program from before: so every source is touched first, and what is ours compiles anew each time.

mod programs;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use programs::Program;
use serde::Deserialize;

use crate::language::{About, App, Rules, table};
use crate::plan::BuildPlan;
use crate::range::Version;
use crate::recipe::{EnvScope, Mount, Sharing, Stage, Step};
use crate::stack::{self, StackImage};
use crate::tree::{SourceTree, ending, has, has_folder};
use crate::{PlanError, binaries, command, versions};

/// A longer Cargo.lock is not searched for crates that need a C library.
const LOCK_BYTES_MAX: u64 = 8 * 1024 * 1024;

static TABLE: LazyLock<Table> = LazyLock::new(|| table(include_str!("rust.toml")));

#[derive(Debug, Deserialize)]
struct Table {
    language: About,
    debian: Toolchain,
    native: BTreeMap<String, Native>,
}

#[derive(Debug, Deserialize)]
struct Toolchain {
    version: String,
    packages: Vec<String>,
    rustup_packages: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Native {
    build: Vec<String>,
    run: Vec<String>,
}

pub(crate) struct Rust;

impl Rules for Rust {
    fn about(&self) -> &'static About {
        &TABLE.language
    }

    /// A package.json beside a library alone is an app of Node.js with a part in Rust.
    fn detect(&self, tree: &dyn SourceTree) -> Vec<String> {
        let text = tree.read("Cargo.toml").unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let has_program = has(tree, "src/main.rs")
            || has_folder(tree, "src/bin")
            || ["[[bin]]", "[workspace"].iter().any(|table| text.contains(table));
        if has(tree, "Cargo.toml") && (has_program || !has(tree, "package.json")) {
            return vec!["Cargo.toml".to_owned()];
        }
        Vec::new()
    }

    fn plan(&self, app: &App<'_>) -> Result<BuildPlan, PlanError> {
        let found = programs::find(app.tree)?;
        let mut plan = BuildPlan::new(app.detection);
        let (toolchain, note) = choose(app.tree)?;
        let version = match &toolchain {
            Chosen::Debian => &TABLE.debian.version,
            Chosen::Rustup(channel) => channel,
        };
        plan.versions.insert("rust".to_owned(), version.clone());
        plan.notes.push(note);
        let names: Vec<String> = found.programs.iter().map(|program| program.name.clone()).collect();
        plan.notes.push(format!("cargo build --release: {}", names.join(", ")));
        let preferred: Vec<&str> = found.default_run.iter().map(String::as_str).collect();
        binaries::set_processes(&mut plan, app, &names, &preferred)?;
        name_bin_folder(&mut plan);
        let crates = locked_crates(app.tree);
        if app.procfile.is_none() && (crates.contains_key("rocket") || found.names_rocket) {
            listen_as_rocket(&mut plan);
        }
        let is_locked = has(app.tree, "Cargo.lock");
        if !is_locked {
            plan.warnings.push(
                "no Cargo.lock: every build may take other versions; run `cargo generate-lockfile`, then `git add -f Cargo.lock` and commit".to_owned(),
            );
        }
        let command = build_command(app, &toolchain, &found.programs, &crates, is_locked);
        lay_out(&mut plan, app, &toolchain, &crates.into_keys().collect(), &command);
        Ok(plan)
    }

    fn builds_by_itself(&self) -> bool {
        true
    }
}

enum Chosen {
    Debian,
    /// A channel or version, as rustup names it.
    Rustup(String),
}

/// Debian's, when it is new enough: Rust promises that a newer compiler builds what an older one did.
fn choose(tree: &dyn SourceTree) -> Result<(Chosen, String), PlanError> {
    let debian = TABLE.debian.version.as_str();
    let ours = format!("rust {debian} (Debian's rustc");
    let Some(request) = versions::find(tree, &TABLE.language)? else {
        return Ok((Chosen::Debian, format!("{ours}; no rust-toolchain.toml and no rust-version)")));
    };
    let text = request.text.as_str();
    if ["stable", "latest"].contains(&text) {
        return Ok((Chosen::Debian, format!("{ours} stands for {} \"{text}\")", request.place)));
    }
    let by_rustup = || {
        let note = format!("rust {text} ({} asks for it; installed by Debian's rustup)", request.at());
        (Chosen::Rustup(text.to_owned()), note)
    };
    let is_channel = |name: &str| {
        let dated = text.strip_prefix(name).and_then(|rest| rest.strip_prefix('-'));
        text == name || dated.is_some_and(|date| date.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-'))
    };
    if ["nightly", "beta"].into_iter().any(is_channel) {
        return Ok(by_rustup());
    }
    let whole = if text.matches('.').count() == 1 { format!("{text}.0") } else { text.to_owned() };
    match Version::parse(&whole) {
        Some(wanted) if Version::parse(debian).is_some_and(|ours| wanted <= ours) => {
            Ok((Chosen::Debian, format!("{ours} satisfies {} \"{text}\")", request.place)))
        }
        Some(_) => Ok(by_rustup()),
        None => {
            let minor = debian.rsplit_once('.').map_or(debian, |(minor, _)| minor);
            let fix = format!("which is neither a version of Rust nor stable, beta or nightly: write \"{minor}\"");
            Err(request.refused("Rust", fix))
        }
    }
}

/// Procfiles of Heroku's days name `target/release/`, which is a cache here and in no image.
fn name_bin_folder(plan: &mut BuildPlan) {
    plan.map_commands(|line| line.replace("./target/release/", "bin/").replace("target/release/", "bin/"));
}

/// Rocket listens on 127.0.0.1:8000 unless it is told.
fn listen_as_rocket(plan: &mut BuildPlan) {
    plan.map_commands(|line| format!("env ROCKET_ADDRESS=0.0.0.0 ROCKET_PORT=$PORT {line}"));
    plan.notes.push("Rocket is told address and port by ROCKET_ADDRESS and ROCKET_PORT".to_owned());
}

/// The names of the crates that Cargo.lock lists, and how many there are of each.
fn locked_crates(tree: &dyn SourceTree) -> BTreeMap<String, usize> {
    let is_short = |entry: &crate::TreeEntry| entry.size_bytes <= LOCK_BYTES_MAX;
    if !crate::tree::entry(tree, "Cargo.lock").is_some_and(is_short) {
        return BTreeMap::new();
    }
    let text = tree.read("Cargo.lock").unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let mut crates = BTreeMap::new();
    for name in text.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"')) {
        *crates.entry(name.to_owned()).or_default() += 1;
    }
    crates
}

/// How cargo is told which package is meant: by its name, unless a dependency has the same one, or may have it.
fn package_id(program: &Program, crates: &BTreeMap<String, usize>) -> String {
    if crates.get(&program.package) == Some(&1) {
        return program.package.clone();
    }
    let folder = if program.folder.is_empty() { String::new() } else { format!("/{}", program.folder) };
    format!("file:///app{folder}#{}", program.package)
}

fn build_command(
    app: &App<'_>,
    chosen: &Chosen,
    programs: &[Program],
    crates: &BTreeMap<String, usize>,
    is_locked: bool,
) -> String {
    let locked = if is_locked { " --locked" } else { "" };
    let toolchain = match chosen {
        Chosen::Debian => String::new(),
        // Else rustup would look into rust-toolchain.toml and fetch what that lists, at every build.
        Chosen::Rustup(channel) => format!("export RUSTUP_TOOLCHAIN={} && ", command::quote(channel)),
    };
    let packages: BTreeSet<String> = programs.iter().map(|program| package_id(program, crates)).collect();
    let names = || programs.iter().map(|program| program.name.as_str());
    let each = |before: &str, words: Vec<&str>| {
        words.into_iter().flat_map(|word| [before.to_owned(), command::quote(word)]).collect::<String>()
    };
    let packages = each(" -p ", packages.iter().map(String::as_str).collect());
    let bins = each(" --bin ", names().collect());
    let built = each(" target/release/", names().collect());
    let cargo = app.build_or(format!("cargo build --release{locked}{packages}{bins}"));
    format!(
        "{toolchain}export CARGO_TARGET_DIR=/app/target && find . -path ./target -prune -o -type f -exec touch {{}} + && {cargo} && mkdir -p bin && cp{built} bin/"
    )
}

fn lay_out(plan: &mut BuildPlan, app: &App<'_>, chosen: &Chosen, crates: &BTreeSet<String>, command: &str) {
    let base = stack::base();
    let native = || TABLE.native.iter().filter(|(name, _)| crates.contains(*name)).map(|(_, native)| native);
    let run_packages: BTreeSet<&str> = native().flat_map(|native| &native.run).map(String::as_str).collect();
    let build_packages: BTreeSet<&str> = native().flat_map(|native| &native.build).map(String::as_str).collect();
    let run = binaries::run_image(&base);
    let run_with = run.with_packages(&run_packages);
    let build = build_image(&base, chosen);
    let build_with = build.with_packages(&build_packages);
    let data = binaries::data_file(app.tree, |path| {
        ending(path) == "rs"
            || ["Cargo.toml", "Cargo.lock"].iter().any(|name| path.ends_with(name))
            || ["rust-toolchain", "rust-toolchain.toml", "rustfmt.toml", "clippy.toml", "deny.toml"].contains(&path)
            || ["benches/", "target/", "vendor/"].iter().any(|folder| path.starts_with(folder))
    });
    let cache = |name: &str, path: &str| Mount::Cache {
        name: name.to_owned(),
        path: path.to_owned(),
        sharing: Sharing::Locked,
    };
    let mounts = vec![
        cache("cargo-registry", "/root/.cargo/registry"),
        cache("cargo-git", "/root/.cargo/git"),
        cache("cargo-target", "/app/target"),
    ];
    // A build script may read any variable, and the code too, by `env!`.
    let step = Step::Run { command: command.to_owned(), mounts, env: EnvScope::Everything };
    let steps = vec![Step::CopySource, step];
    plan.stages = vec![
        Stage { name: "build".to_owned(), from: build_with.reference(), steps },
        binaries::app_stage(&run_with, data),
    ];
    plan.add_stack([base, run, run_with, build, build_with]);
}

fn build_image(base: &StackImage, chosen: &Chosen) -> StackImage {
    let (version, packages, commands) = match chosen {
        Chosen::Debian => (TABLE.debian.version.as_str(), &TABLE.debian.packages, Vec::new()),
        Chosen::Rustup(channel) => (channel.as_str(), &TABLE.debian.rustup_packages, rustup(channel)),
    };
    let packages: Vec<&str> = packages.iter().map(String::as_str).collect();
    let mut all = stack::apt_install(&packages);
    all.extend(commands);
    StackImage::new(&format!("rust{version}-build"), Some(base), &["USER root".to_owned(), stack::run(&all)])
}

fn rustup(channel: &str) -> Vec<String> {
    vec![
        "if [ -f /tmp/paas-meta/ca.crt ]; then export SSL_CERT_FILE=/tmp/paas-meta/ca.crt; fi".to_owned(),
        format!("rustup toolchain install {} --profile minimal", command::quote(channel)),
        format!("rustup default {}", command::quote(channel)),
    ]
}
