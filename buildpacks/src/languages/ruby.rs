//! Ruby with Bundler: gems into /opt/bundle from the manifests alone, Rails' assets into the image.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use serde::Deserialize;

use crate::PlanError;
use crate::language::{About, App, Rules, table};
use crate::plan::BuildPlan;
use crate::range::{Range, Version, spelled_as_npm};
use crate::recipe::{Mount, Sharing, Stage, Step};
use crate::stack::{self, StackImage};
use crate::tree::{SourceTree, config_text, has, has_folder};
use crate::versions;

const BUNDLE: &str = "/opt/bundle";

static TABLE: LazyLock<Table> = LazyLock::new(|| table(include_str!("ruby.toml")));

#[derive(Debug, Deserialize)]
struct Table {
    language: About,
    debian: Debian,
    native: BTreeMap<String, Native>,
}

#[derive(Debug, Deserialize)]
struct Debian {
    version: String,
    run: Vec<String>,
    build: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Native {
    build: Vec<String>,
    run: Vec<String>,
}

pub(crate) struct Ruby;

/// Gemfile and its lockfile, as far as they matter.
struct Bundle {
    gemfile: String,
    gems: BTreeSet<String>,
    /// Rack 2 or older.
    has_old_rack: bool,
}

impl Rules for Ruby {
    fn about(&self) -> &'static About {
        &TABLE.language
    }

    fn plan(&self, app: &App<'_>) -> Result<BuildPlan, PlanError> {
        let mut plan = BuildPlan::new(app.detection);
        plan.versions.insert("ruby".to_owned(), TABLE.debian.version.clone());
        let bundle = Bundle::read(app.tree)?;
        let note = version_note(app.tree, &bundle, &mut plan)?;
        plan.notes.push(format!("{note}, {}", app.install_command().unwrap_or("bundle install")));
        if let Some(procfile) = app.procfile {
            plan.set_processes(procfile);
        } else {
            let (command, origin) = web(app.tree, &bundle)?;
            plan.notes.push(format!("web: {command} ({origin})"));
            plan.set_web(&command);
        }
        let precompiles = bundle.has("rails") && has_folder(app.tree, "app/assets") && has(app.tree, "Rakefile");
        if precompiles {
            plan.notes.push("rails assets:precompile".to_owned());
        }
        lay_out(&mut plan, app, &bundle, precompiles);
        Ok(plan)
    }

    fn installs_by_itself(&self) -> bool {
        true
    }
}

impl Bundle {
    fn read(tree: &dyn SourceTree) -> Result<Self, PlanError> {
        let gemfile = config_text(tree, "Gemfile")?.unwrap_or_default();
        let Some(lock) = config_text(tree, "Gemfile.lock")? else {
            return Err(PlanError::Unclear(
                "Gemfile is here without Gemfile.lock: run `bundle lock --add-platform x86_64-linux`, then `git add Gemfile.lock` and commit".to_owned(),
            ));
        };
        let platforms: Vec<&str> =
            lock.lines().skip_while(|line| *line != "PLATFORMS").skip(1).take_while(|line| !line.is_empty()).collect();
        let runs_here = |platform: &&str| platform.trim() == "ruby" || platform.contains("linux");
        if !platforms.is_empty() && !platforms.iter().any(runs_here) {
            return Err(PlanError::Unclear(format!(
                "Gemfile.lock was made for {} only: run `bundle lock --add-platform x86_64-linux` and commit it",
                platforms.join(",").trim()
            )));
        }
        // `    rails (8.0.1)`: four spaces, where what a gem needs has six.
        let gems = lock.lines().filter_map(|line| line.strip_prefix("    ")).filter(|line| !line.starts_with(' '));
        let gems = gems.filter_map(|line| Some(line.split_once(" (")?.0.to_owned())).collect();
        let has_old_rack =
            ["    rack (1.", "    rack (2."].iter().any(|old| lock.lines().any(|line| line.starts_with(old)));
        Ok(Self { gemfile, gems, has_old_rack })
    }

    fn has_rackup(&self) -> bool {
        self.has("rackup") || self.has_old_rack
    }

    fn has(&self, gem: &str) -> bool {
        self.gems.contains(gem)
    }
}

fn version_note(tree: &dyn SourceTree, bundle: &Bundle, plan: &mut BuildPlan) -> Result<String, PlanError> {
    let debian = TABLE.debian.version.as_str();
    let Some(request) = versions::find(tree, &TABLE.language)? else {
        return Ok(format!("ruby {debian} (Debian's ruby; no version in Gemfile)"));
    };
    let text = request.text.trim_start_matches("ruby-");
    let text = text.split('p').next().unwrap_or(text).trim();
    let line = debian.rsplit_once('.').map_or(debian, |(line, _)| line);
    let refusal = || {
        let how = if request.file == "Gemfile" { format!("`ruby \"~> {line}.0\"`") } else { format!("`{line}`") };
        request.refused("Ruby", format!("and there is Debian's {debian} only: write {how}, or add a Dockerfile"))
    };
    let ours = Version::parse(debian).ok_or_else(refusal)?;
    let text = if text == "latest" { "*" } else { text };
    let range = spelled_as_npm(text).and_then(|range| Range::parse(&range)).ok_or_else(refusal)?;
    // Bundler holds to an exact version of the Gemfile; what else names one is a wish.
    let is_strict =
        request.file == "Gemfile" || bundle.gemfile.lines().any(|line| line.trim().starts_with("ruby file:"));
    let is_same_line = Version::parse(text).is_some() && text.starts_with(&format!("{line}."));
    if !range.holds(ours) {
        if is_strict || !is_same_line {
            return Err(refusal());
        }
        plan.warnings.push(format!("{} asks for Ruby {text}, Debian's {debian} is used", request.file));
    }
    Ok(format!("ruby {debian} (Debian's ruby satisfies {} \"{}\")", request.place, request.text))
}

fn web(tree: &dyn SourceTree, bundle: &Bundle) -> Result<(String, String), PlanError> {
    if bundle.has("puma") && has(tree, "config/puma.rb") {
        return Ok(("bundle exec puma -C config/puma.rb".to_owned(), "config/puma.rb is here".to_owned()));
    }
    if bundle.has("rails") && has(tree, "bin/rails") {
        return Ok(("bundle exec rails server -b 0.0.0.0 -p $PORT".to_owned(), "a Rails app".to_owned()));
    }
    if has(tree, "config.ru") {
        let why = "config.ru is here".to_owned();
        // Since Rack 3 rackup is a gem of its own, which not every bundle has.
        let line = if bundle.has_rackup() || !bundle.has("puma") {
            "bundle exec rackup config.ru -o 0.0.0.0 -p $PORT"
        } else {
            "bundle exec puma -b tcp://0.0.0.0:$PORT"
        };
        return Ok((line.to_owned(), why));
    }
    match ["app.rb", "main.rb", "server.rb"].into_iter().find(|script| has(tree, script)) {
        Some(script) => Ok((format!("bundle exec ruby {script}"), format!("{script} is here"))),
        None => Err(PlanError::NoStartCommand {
            fix: "there is no config.ru, no Rails and no app.rb: add a Procfile with a line such as `web: bundle exec puma -b tcp://0.0.0.0:$PORT`".to_owned(),
        }),
    }
}

fn lay_out(plan: &mut BuildPlan, app: &App<'_>, bundle: &Bundle, precompiles: bool) {
    let base = stack::base();
    let native = || TABLE.native.iter().filter(|(gem, _)| bundle.has(gem)).map(|(_, native)| native);
    let run_packages: BTreeSet<&str> = native().flat_map(|native| &native.run).map(String::as_str).collect();
    let all = native().flat_map(|native| native.build.iter().chain(&native.run));
    let build_packages: BTreeSet<&str> = all.map(String::as_str).collect();
    let (run, build) = images(&base);
    let (run_with, build_with) = (run.with_packages(&run_packages), build.with_packages(&build_packages));
    let cache = Mount::cache("gems", "/root/.bundle/cache", Sharing::Shared);
    let custom = app.install_command();
    let reads_source = custom.is_some()
        || ["path:", "gemspec", "eval_gemfile", ":path"].iter().any(|word| bundle.gemfile.contains(word));
    let command = custom.unwrap_or("bundle install --jobs 4");
    let command = format!("{command} && mkdir -p {BUNDLE} && rm -rf {BUNDLE}/ruby/*/cache");
    let install = if reads_source {
        vec![Step::CopySource, Step::install(command, vec![cache])]
    } else {
        let files = ["Gemfile", "Gemfile.lock", ".ruby-version"].into_iter().filter(|file| has(app.tree, file));
        plan.needs.extend(files.clone().map(str::to_owned));
        vec![Step::install(command, files.map(Mount::file).chain([cache]).collect())]
    };
    plan.stages.push(Stage::new("dependencies", &build_with.reference(), install));
    let mut last = vec![Step::copy("dependencies", BUNDLE)];
    if precompiles {
        let gems = Mount::StageFolder { stage: "dependencies".to_owned(), path: BUNDLE.to_owned() };
        // What package.json builds was built in a stage of its own.
        let command = "SECRET_KEY_BASE_DUMMY=1 SKIP_JS_BUILD=1 SKIP_CSS_BUILD=1 SKIP_YARN_INSTALL=1 bundle exec rake assets:precompile";
        let steps = vec![Step::CopySource, Step::run(command.to_owned(), vec![gems])];
        plan.stages.push(Stage::new("static", &build_with.reference(), steps));
        last.push(Step::copy("static", "/app"));
    } else {
        last.push(Step::CopySource);
    }
    plan.stages.push(Stage::new("app", &run_with.reference(), last));
    plan.add_stack([base, run, run_with, build, build_with]);
}

fn images(base: &StackImage) -> (StackImage, StackImage) {
    let line = TABLE.debian.version.rsplit_once('.').map_or("", |(line, _)| line);
    let names = |packages: &'static [String]| packages.iter().map(String::as_str).collect::<Vec<_>>();
    let settings = format!(
        "ENV BUNDLE_PATH={BUNDLE} BUNDLE_DEPLOYMENT=1 BUNDLE_WITHOUT=development:test BUNDLE_VERSION=system RAILS_ENV=production RACK_ENV=production RAILS_LOG_TO_STDOUT=1 RAILS_SERVE_STATIC_FILES=1"
    );
    let run = StackImage::new(
        &format!("ruby{line}"),
        Some(base),
        &[
            "USER root".to_owned(),
            stack::run(&stack::apt_install(&names(&TABLE.debian.run))),
            settings,
            "USER app".to_owned(),
        ],
    );
    let build = StackImage::new(
        &format!("ruby{line}-build"),
        Some(&run),
        &["USER root".to_owned(), stack::run(&stack::apt_install(&names(&TABLE.debian.build)))],
    );
    (run, build)
}
