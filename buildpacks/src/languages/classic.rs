//! Heroku's classic buildpacks: `bin/detect`, `bin/compile` and `bin/release`, run over the app in their order by one step.
//!
//! <https://devcenter.heroku.com/articles/buildpack-api>. Which ones is said by `paas builds:buildpacks`, app.json or
//! `.buildpacks`, whichever comes first; an app that nothing else is known of may hold one itself.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::buildpack::{BUILDPACKS_MAX, Buildpack, Named, PinnedBuildpack, named};
use crate::detect::Detection;
use crate::language::{About, App, Language, Rules, table};
use crate::plan::BuildPlan;
use crate::recipe::{EnvScope, Mount, Stage, Step};
use crate::stack::{self, StackImage};
use crate::tree::{EntryKind, SourceTree, config_text, entry};
use crate::{PlanError, command};

const FILE: &str = ".buildpacks";
const COMPILE: &str = include_str!("classic_compile.sh");
const START: &str = include_str!("classic_start.sh");
pub(crate) const STARTER: &str = "/usr/local/bin/paas-start";
const COMPILER: &str = "/usr/local/bin/paas-compile";

static TABLE: LazyLock<Table> = LazyLock::new(|| table(include_str!("classic.toml")));

#[derive(Debug, Deserialize)]
struct Table {
    language: About,
    stands_for: BTreeMap<String, Language>,
    stack: Packages,
}

#[derive(Debug, Deserialize)]
struct Packages {
    name: String,
    run: Vec<String>,
    build: Vec<String>,
}

/// The language that one of Heroku's own buildpacks is for, if it is built here without it.
pub(crate) fn stands_for(name: &str) -> Option<Language> {
    TABLE.stands_for.get(name).copied()
}

pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    TABLE.stands_for.keys().map(String::as_str)
}

/// A source, and where it is named.
pub(crate) struct Line {
    pub(crate) place: String,
    pub(crate) source: String,
}

/// What a list of buildpacks asks for.
pub(crate) enum Request {
    Buildpacks {
        list: Vec<Buildpack>,
        because: String,
    },
    /// Heroku's own, one for each language: the last one does the serving.
    Languages {
        of: Vec<Language>,
        because: String,
    },
}

/// Reads the lists in their order of precedence; the first that names anything counts.
pub(crate) fn requested(
    tree: &dyn SourceTree,
    set: &[String],
    in_app_json: Vec<Line>,
) -> Result<Option<Request>, PlanError> {
    let of_command = |source: &String| Line { place: "paas builds:buildpacks".to_owned(), source: source.clone() };
    let lists = [
        ("paas builds:buildpacks", set.iter().map(of_command).collect()),
        ("app.json", in_app_json),
        (FILE, in_file(tree)?),
    ];
    let found = lists.into_iter().find(|(_, list): &(&str, Vec<Line>)| !list.is_empty());
    found.map(|(because, list)| request(because, &list)).transpose()
}

fn in_file(tree: &dyn SourceTree) -> Result<Vec<Line>, PlanError> {
    let text = config_text(tree, FILE)?.unwrap_or_default();
    let lines = text.lines().enumerate().filter(|(_, line)| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with('#')
    });
    Ok(lines.map(|(at, line)| Line { place: format!("{FILE} line {}", at + 1), source: line.to_owned() }).collect())
}

fn request(because: &str, list: &[Line]) -> Result<Request, PlanError> {
    if list.len() > BUILDPACKS_MAX {
        let reason =
            format!("{because} names {} buildpacks, and {BUILDPACKS_MAX} are the most: remove some", list.len());
        return Err(PlanError::Unclear(reason));
    }
    let (mut buildpacks, mut languages) = (Vec::new(), Vec::new());
    for line in list {
        match named(&line.source) {
            Ok(Named::Buildpack(buildpack)) => buildpacks.push(buildpack),
            Ok(Named::Ours(language)) => languages.push((language, line)),
            Err(reason) => return Err(PlanError::Unclear(format!("{}: {reason}", line.place))),
        }
    }
    let because = because.to_owned();
    match languages.first() {
        None => Ok(Request::Buildpacks { list: buildpacks, because }),
        Some(_) if buildpacks.is_empty() => {
            Ok(Request::Languages { of: languages.into_iter().map(|(language, _)| language).collect(), because })
        }
        // What we build and what a buildpack builds do not fit into one another.
        Some((_, line)) => Err(PlanError::Unclear(format!(
            "{}: {name} beside other buildpacks has to be fetched like them: write https://github.com/heroku/heroku-buildpack-{short} there",
            line.place,
            name = line.source.trim(),
            short = line.source.trim().trim_start_matches("heroku/"),
        ))),
    }
}

impl Request {
    /// What was found in a tree, in the order that the list asks for.
    pub(crate) fn order(&self, mut found: Vec<Detection>) -> Result<Vec<Detection>, PlanError> {
        match self {
            Self::Buildpacks { because, .. } => {
                found.retain(|detection| detection.language != Language::Classic);
                found.insert(0, Detection { language: Language::Classic, because: vec![because.clone()] });
            }
            Self::Languages { of, because } => {
                let absent = of.iter().find(|language| !found.iter().any(|other| other.language == **language));
                if let Some(absent) = absent {
                    let sought = absent.rules().about().sought();
                    return Err(PlanError::Unclear(format!(
                        "{because} asks for {}, and there is no {sought} at the root of the repository: commit one, or correct the list",
                        absent.name()
                    )));
                }
                let serving = of.last().and_then(|last| found.iter().position(|other| other.language == *last));
                if let Some(at) = serving {
                    found[..=at].rotate_right(1);
                }
            }
        }
        Ok(found)
    }

    pub(crate) fn buildpacks(&self) -> &[Buildpack] {
        match self {
            Self::Buildpacks { list, .. } => list,
            Self::Languages { .. } => &[],
        }
    }
}

pub(crate) struct Classic;

impl Rules for Classic {
    fn about(&self) -> &'static About {
        &TABLE.language
    }

    /// The app's own one; lists are looked at by who plans.
    fn plan(&self, app: &App<'_>) -> Result<BuildPlan, PlanError> {
        let own = [Buildpack::Inline { folder: String::new() }];
        let list = if app.buildpacks.is_empty() { &own[..] } else { app.buildpacks };
        let mut plan = BuildPlan::new(app.detection);
        for buildpack in list {
            if let Buildpack::Inline { folder } = buildpack {
                check_inline(app.tree, folder)?;
            }
            plan.notes.push(format!("buildpack {buildpack}"));
        }
        plan.notes.push(format!("on Debian 13, as STACK={}", TABLE.stack.name));
        if let Some(procfile) = app.procfile {
            plan.set_processes(procfile);
        }
        plan.buildpacks =
            list.iter().map(|buildpack| PinnedBuildpack { buildpack: buildpack.clone(), pin: None }).collect();
        lay_out(&mut plan, list);
        Ok(plan)
    }
}

fn check_inline(tree: &dyn SourceTree, folder: &str) -> Result<(), PlanError> {
    for name in ["detect", "compile"] {
        let path = if folder.is_empty() { format!("bin/{name}") } else { format!("{folder}/bin/{name}") };
        let problem = match entry(tree, &path).map(|entry| entry.kind) {
            Some(EntryKind::Executable | EntryKind::Symlink) => continue,
            Some(EntryKind::File) => format!(
                "{path} is not executable, and a buildpack's programs are run: `git update-index --chmod=+x {path}`, then commit"
            ),
            Some(EntryKind::Submodule) | None => {
                format!("the buildpack in the folder ./{folder} has no {path}: commit one, or correct the list")
            }
        };
        return Err(PlanError::Unclear(problem));
    }
    Ok(())
}

fn lay_out(plan: &mut BuildPlan, list: &[Buildpack]) {
    let base = stack::base();
    let run = run_image(&base);
    let build = build_image(&run);
    let mut mounts = vec![
        Mount::Context { folder: "src".to_owned(), path: "/tmp/paas-source".to_owned() },
        Mount::OwnCache { name: "heroku".to_owned(), path: "/tmp/paas-cache".to_owned() },
    ];
    if list.iter().any(Buildpack::is_elsewhere) {
        mounts.push(Mount::Context { folder: "buildpacks".to_owned(), path: "/tmp/paas-buildpacks".to_owned() });
    }
    let word = |(at, buildpack): (usize, &Buildpack)| match buildpack {
        Buildpack::Git { .. } | Buildpack::Archive { .. } => at.to_string(),
        Buildpack::Inline { folder } => command::quote(&format!("./{folder}")),
    };
    let words: Vec<String> = list.iter().enumerate().map(word).collect();
    let compile = Step::Run {
        command: format!("export STACK={} && {COMPILER} {}", TABLE.stack.name, words.join(" ")),
        mounts,
        env: EnvScope::Files,
    };
    plan.stages = vec![
        Stage::new("build", &build.reference(), vec![compile]),
        Stage::new("app", &run.reference(), vec![Step::copy("build", "/app")]),
    ];
    plan.add_stack([base, run, build]);
}

fn run_image(base: &StackImage) -> StackImage {
    let lines = [
        "USER root".to_owned(),
        stack::run(&stack::apt_install(&words(&TABLE.stack.run))),
        stack::install_script(STARTER, START),
        "ENV HOME=/app".to_owned(),
        "USER app".to_owned(),
    ];
    StackImage::new(&TABLE.stack.name, Some(base), &lines)
}

fn build_image(run: &StackImage) -> StackImage {
    let lines = [
        "USER root".to_owned(),
        stack::run(&stack::apt_install(&words(&TABLE.stack.build))),
        stack::install_script(COMPILER, COMPILE),
        "USER app".to_owned(),
    ];
    StackImage::new(&format!("{}-build", TABLE.stack.name), Some(run), &lines)
}

fn words(list: &[String]) -> Vec<&str> {
    list.iter().map(String::as_str).collect()
}
