//! Go: every main package becomes a program in bin/, built from the modules' cache or from vendor/, on an image of its own.

mod mains;

use std::sync::LazyLock;

use mains::{Main, Module};
use serde::Deserialize;

use crate::detect::present;
use crate::language::{About, App, Rules, table};
use crate::plan::BuildPlan;
use crate::recipe::{EnvScope, Mount, Sharing, Stage, Step};
use crate::stack::{self, StackImage};
use crate::tree::{SourceTree, ending, has};
use crate::versions::{self, Request};
use crate::{PlanError, binaries, command};

static TABLE: LazyLock<Table> = LazyLock::new(|| table(include_str!("go.toml")));

#[derive(Debug, Deserialize)]
struct Table {
    /// Manifests of other languages: beside them a Go file without a go.mod says nothing.
    others: Vec<String>,
    language: About,
    debian: Toolchain,
    backports: Backports,
    cgo: Cgo,
}

#[derive(Debug, Deserialize)]
struct Toolchain {
    version: String,
    packages: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Backports {
    versions: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Cgo {
    packages: Vec<String>,
    modules: Vec<String>,
}

pub(crate) struct Go;

impl Rules for Go {
    fn about(&self) -> &'static About {
        &TABLE.language
    }

    /// A program without a go.mod counts where no manifest of another language is beside it.
    fn detect(&self, tree: &dyn SourceTree) -> Vec<String> {
        let found = present(tree, &self.about().triggers);
        let is_other = TABLE.others.iter().any(|file| has(tree, file));
        if found.is_empty() && !is_other { mains::bare_program(tree).into_iter().collect() } else { found }
    }

    fn plan(&self, app: &App<'_>) -> Result<BuildPlan, PlanError> {
        let modules = mains::modules(app.tree)?;
        let mains = mains::find(app.tree, &modules)?;
        let mut plan = BuildPlan::new(app.detection);
        let chosen = choose(app.tree)?;
        plan.versions.insert("go".to_owned(), chosen.version().to_owned());
        let vendored = has(app.tree, "vendor/modules.txt");
        if !vendored {
            check_sums(app.tree, &modules)?;
        }
        let from = if vendored { "vendor/" } else { "Go's module cache" };
        plan.notes.push(format!("{}, modules from {from}", chosen.note));
        let names: Vec<String> = mains.iter().map(|main| main.name.clone()).collect();
        plan.notes.push(format!("go build: {}", names.join(", ")));
        let preferred: Vec<&str> = mains.iter().filter(|main| main.is_root).map(|main| main.name.as_str()).collect();
        binaries::set_processes(&mut plan, app, &names, &preferred)?;
        let unnamed = modules.first().filter(|_| !["go.mod", "go.work"].iter().any(|file| has(app.tree, file)));
        if unnamed.is_some() {
            plan.warnings.push(
                "no go.mod: the app is built as a module without a version of Go; run `go mod init example.com/app` and commit go.mod".to_owned(),
            );
        }
        let build =
            Build { chosen, vendored, cgo: cgo(app, &modules), init: unnamed.map(|module| module.name.clone()) };
        if let Some(why) = &build.cgo {
            plan.notes.push(format!("programs are linked with the C library ({why})"));
        }
        build.lay_out(&mut plan, app, &mains);
        Ok(plan)
    }

    fn builds_by_itself(&self) -> bool {
        true
    }
}

/// The Go that was chosen.
struct Chosen {
    source: Source,
    note: String,
}

enum Source {
    Debian,
    /// A version of Debian's backports.
    Backports(&'static str),
    /// A version that Go fetches itself.
    Proxy(String),
}

impl Chosen {
    fn version(&self) -> &str {
        match &self.source {
            Source::Debian => &TABLE.debian.version,
            Source::Backports(version) => version,
            Source::Proxy(version) => version,
        }
    }

    /// The value of GOTOOLCHAIN.
    fn toolchain(&self) -> String {
        match &self.source {
            Source::Debian | Source::Backports(_) => "local".to_owned(),
            Source::Proxy(version) => format!("go{version}"),
        }
    }
}

/// Debian's is right for every older one, which Go promises; then the oldest of its backports that is new enough.
fn choose(tree: &dyn SourceTree) -> Result<Chosen, PlanError> {
    let debian = TABLE.debian.version.as_str();
    let ours = |why: String| Chosen { source: Source::Debian, note: format!("go {debian} (Debian's golang{why})") };
    let Some(request) = versions::find(tree, &TABLE.language)? else {
        return Ok(ours("; no version in go.mod".to_owned()));
    };
    let text = request.text.trim_start_matches("go").trim_start_matches(['v', '>', '=', '^', '~', ' ']);
    if ["latest", "default", "local"].contains(&request.text.as_str()) {
        return Ok(ours(format!("; {} names none", request.file)));
    }
    let wanted = Wanted::parse(text).ok_or_else(|| no_version(&request))?;
    let satisfies = |version: &str| Wanted::parse(version).is_some_and(|ours| wanted <= ours);
    if satisfies(debian) {
        return Ok(ours(format!(" satisfies {} \"{}\"", request.place, request.text)));
    }
    if let Some(version) = TABLE.backports.versions.iter().find(|version| satisfies(version)) {
        let note = format!("go {version} (Debian's backports satisfy {} \"{}\")", request.place, request.text);
        return Ok(Chosen { source: Source::Backports(version), note });
    }
    let exact = wanted.release(text);
    let note = format!(
        "go {exact} ({} asks for {}; Debian's go {debian} fetches it through Go's module proxy)",
        request.at(),
        request.text
    );
    Ok(Chosen { source: Source::Proxy(exact), note })
}

fn minor(version: &str) -> &str {
    version.rsplit_once('.').map_or(version, |(minor, _)| minor)
}

fn no_version(request: &Request) -> PlanError {
    let ours = minor(&TABLE.debian.version);
    request.refused("Go", format!("which is no version of Go: write `{ours}`, or whatever `go version` says"))
}

/// `1.24`, `1.24.1`, `1.25rc1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Wanted {
    minor: u32,
    patch: u32,
    is_named_whole: bool,
}

impl Wanted {
    fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("1.")?;
        let early = rest.find("rc").or_else(|| rest.find("beta"));
        let (rest, is_early) = early.map_or((rest, false), |at| (&rest[..at], true));
        let mut parts = rest.split('.');
        let minor = parts.next()?.parse().ok()?;
        let patch = parts.next();
        let number = patch.filter(|patch| !["x", "*"].contains(patch)).map(str::parse).transpose().ok()?;
        parts.next().is_none().then_some(Self {
            minor,
            patch: number.unwrap_or(0),
            is_named_whole: number.is_some() || is_early,
        })
    }

    /// The name of the release to fetch: since 1.21 the first of a line is called `.0`.
    fn release(self, text: &str) -> String {
        if self.is_named_whole { text.to_owned() } else { format!("1.{}.0", self.minor) }
    }
}

/// Without go.sum the build would stop at the first module.
fn check_sums(tree: &dyn SourceTree, modules: &[Module]) -> Result<(), PlanError> {
    for module in modules.iter().filter(|module| !module.requires.is_empty() && !module.has_replacements) {
        let path = module.path_of("go.sum");
        if !has(tree, &path) && !has(tree, "go.work.sum") {
            return Err(PlanError::Unclear(format!(
                "{} requires {} modules, and {path} is not in the commit: run `go mod tidy`, then `git add {path}` and commit",
                module.path_of("go.mod"),
                module.requires.len()
            )));
        }
    }
    Ok(())
}

/// Why the programs need a C compiler, when they do.
fn cgo(app: &App<'_>, modules: &[Module]) -> Option<String> {
    match app.env.get("CGO_ENABLED").map(String::as_str) {
        Some("1") => return Some("CGO_ENABLED=1".to_owned()),
        Some(_) => return None,
        None => {}
    }
    let required = modules.iter().flat_map(|module| &module.requires);
    let mut in_c = required.filter(|name| TABLE.cgo.modules.contains(name));
    in_c.next().map(|name| format!("{name} is C inside"))
}

struct Build {
    chosen: Chosen,
    vendored: bool,
    cgo: Option<String>,
    /// The name of the module to make, where there is no go.mod.
    init: Option<String>,
}

impl Build {
    fn lay_out(&self, plan: &mut BuildPlan, app: &App<'_>, mains: &[Main]) {
        let base = stack::base();
        let run = binaries::run_image(&base);
        let wants_git = ["GOPRIVATE", "GONOPROXY"].iter().any(|name| app.env.contains_key(*name))
            || app.env.get("GOPROXY").is_some_and(|proxy| proxy == "direct");
        let build = self.image(&base, wants_git);
        let data = binaries::data_file(app.tree, |path| {
            ending(path) == "go"
                || path.starts_with("vendor/")
                || ["go.mod", "go.sum", "go.work", "go.work.sum"].iter().any(|name| path.ends_with(name))
        });
        let cache = |name: &str, path: &str| Mount::Cache {
            name: name.to_owned(),
            path: path.to_owned(),
            sharing: Sharing::Shared,
        };
        let mut mounts = vec![cache("go-build", "/root/.cache/go-build")];
        if !self.vendored || matches!(self.chosen.source, Source::Proxy(_)) {
            mounts.push(cache("go-mod", "/root/go/pkg/mod"));
        }
        // Only what steers the toolchain: a program cannot read a variable while it is compiled.
        let step = Step::Run { command: self.command(app, mains), mounts, env: EnvScope::Install };
        plan.stages = vec![
            Stage { name: "build".to_owned(), from: build.reference(), steps: vec![Step::CopySource, step] },
            binaries::app_stage(&run, data),
        ];
        plan.stack = vec![base, run, build];
    }

    fn command(&self, app: &App<'_>, mains: &[Main]) -> String {
        let cgo = i32::from(self.cgo.is_some());
        let mut parts =
            vec![format!("export GOTOOLCHAIN={} CGO_ENABLED=${{CGO_ENABLED:-{cgo}}}", self.chosen.toolchain())];
        if self.vendored {
            parts.push("export GOFLAGS=\"-mod=vendor ${GOFLAGS:-}\"".to_owned());
        }
        parts.extend(self.init.iter().map(|name| format!("go mod init {}", command::quote(name))));
        let built = mains.iter().map(|main| {
            let package = if main.folder.is_empty() { ".".to_owned() } else { format!("./{}", main.folder) };
            format!("go build -trimpath -o bin/{} {}", command::quote(&main.name), command::quote(&package))
        });
        parts.push(app.build_or(built.collect::<Vec<_>>().join(" && ")));
        parts.join(" && ")
    }

    fn image(&self, base: &StackImage, wants_git: bool) -> StackImage {
        let minor = match &self.chosen.source {
            Source::Backports(version) => minor(version),
            Source::Debian | Source::Proxy(_) => minor(&TABLE.debian.version),
        };
        let mut name = format!("go{minor}-build");
        let backport = format!("golang-{minor}-go");
        let mut commands = Vec::new();
        let mut packages: Vec<&str> = match &self.chosen.source {
            Source::Backports(_) => {
                commands.push(
                    "printf 'deb http://deb.debian.org/debian trixie-backports main\\n' > /etc/apt/sources.list.d/backports.list"
                        .to_owned(),
                );
                vec![&backport]
            }
            Source::Debian | Source::Proxy(_) => TABLE.debian.packages.iter().map(String::as_str).collect(),
        };
        if self.cgo.is_some() {
            name.push_str("-cgo");
            packages.extend(TABLE.cgo.packages.iter().map(String::as_str));
        }
        if wants_git {
            name.push_str("-git");
            packages.push("git");
        }
        commands.extend(stack::apt_install(&packages));
        if matches!(self.chosen.source, Source::Backports(_)) {
            commands.push(format!("ln -s /usr/lib/go-{minor}/bin/go /usr/local/bin/go"));
        }
        StackImage::new(&name, Some(base), &["USER root".to_owned(), stack::run(&commands)])
    }
}
