//! The build plan: everything that is decided before the engine is asked for anything.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::app_json::{AppJson, CronEntry};
use crate::buildpack::PinnedBuildpack;
use crate::detect::{Detection, detect};
use crate::heroku_yml::{self, DockerBuild, HerokuYml};
use crate::ignore::IgnoreRules;
use crate::language::{App, Language};
use crate::languages::classic::{self, Request};
use crate::languages::node;
use crate::overrides::{self, Overrides};
use crate::procfile::{self, Procfile};
use crate::recipe::{EnvScope, Stage, Step};
use crate::setup::{HealthWish, Setup};
use crate::stack::StackImage;
use crate::tree::{SourceTree, config_file, config_text};
use crate::{PlanError, app_json, aptfile, command, hints, text};

/// Config vars, by name.
pub type BuildEnv = BTreeMap<String, String>;

/// Versions of languages, by their ids.
pub type Versions = BTreeMap<String, String>;

/// Process types and what starts them. Beside `web`, none runs until it is scaled.
pub type ProcessTypes = BTreeMap<String, Start>;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// The image's own ENTRYPOINT and CMD.
    Image,
    /// A command line that `exec` may stand before: run `sh -c "exec <command>"`.
    Command(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DockerfileSource {
    /// The app's own Dockerfile, as it is: the context is the tree itself, the one build argument GIT_REV.
    Users { path: String },
    /// Ours, named `meta/Dockerfile`: the app's files stand under `src/` in the context.
    Generated,
}

/// How a tree becomes an image and what the image runs. The same tree gives the same plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildPlan {
    pub language: Language,
    /// The files that decided on the language.
    pub because: Vec<String>,
    /// What was decided and why, for the pusher.
    pub notes: Vec<String>,
    /// What works now but should be mended, for the pusher.
    pub warnings: Vec<String>,
    pub processes: ProcessTypes,
    /// What runs once before the release's first instance starts (Procfile's `release:`), as `sh -c "exec <command>"`.
    pub release_command: Option<String>,
    /// What the first deploy of the app sets up.
    pub setup: Setup,
    /// How new web instances are asked whether they are ready (app.json's `healthchecks`).
    pub health: Option<HealthWish>,
    /// What runs by the clock (app.json's `cron`).
    pub cron: Vec<CronEntry>,
    /// Images the builder must have before the build, in this order.
    pub stack: Vec<StackImage>,
    pub dockerfile: DockerfileSource,
    /// Classic buildpacks that the build runs, in this order; those from elsewhere are fetched into the context as
    /// `buildpacks/NUMBER`.
    pub buildpacks: Vec<PinnedBuildpack>,
    /// The images of an app with several Dockerfiles (heroku.yml), the one of web first; else none.
    pub docker_builds: Vec<DockerBuild>,
    /// Build arguments beside GIT_REV, for the app's own Dockerfiles.
    pub docker_args: BTreeMap<String, String>,
    /// The stages of a generated Dockerfile; empty for the app's own.
    pub stages: Vec<Stage>,
    /// Files that the build reads by name: no ignore file may leave them out.
    pub needs: Vec<String>,
    /// What was chosen of each language that it is built with or runs on.
    pub versions: Versions,
    /// Variables that paas.toml gives to the build's steps; a config var of the same name wins.
    pub build_env: BTreeMap<String, String>,
    /// The config vars and variables that the build of the app's own Dockerfile is given as arguments, by name.
    pub build_args: Vec<String>,
    /// The config vars which installers are given, by name.
    pub install_env: Vec<String>,
    /// The config vars which any step is given, by name: their values are inputs of the image.
    pub reads_env: Vec<String>,
}

impl BuildPlan {
    pub(crate) fn new(detection: &Detection) -> Self {
        Self {
            language: detection.language,
            because: detection.because.clone(),
            notes: Vec::new(),
            warnings: Vec::new(),
            processes: ProcessTypes::new(),
            release_command: None,
            setup: Setup::default(),
            health: None,
            cron: Vec::new(),
            stack: Vec::new(),
            dockerfile: DockerfileSource::Generated,
            buildpacks: Vec::new(),
            docker_builds: Vec::new(),
            docker_args: BTreeMap::new(),
            stages: Vec::new(),
            needs: Vec::new(),
            versions: Versions::new(),
            build_env: BTreeMap::new(),
            build_args: Vec::new(),
            install_env: Vec::new(),
            reads_env: Vec::new(),
        }
    }

    /// Whether a change of this config var makes the image stale.
    pub fn reads(&self, name: &str) -> bool {
        self.gives_everything() || self.reads_env.iter().any(|read| read == name)
    }

    /// The build arguments of the app's own Dockerfile, as far as they have a value.
    pub fn arguments(&self, env: &BuildEnv) -> BTreeMap<String, String> {
        let value = |name: &String| env.get(name).or_else(|| self.build_env.get(name));
        self.build_args.iter().filter_map(|name| Some((name.clone(), value(name)?.clone()))).collect()
    }

    /// Which files of its tree stay out of the build context.
    pub fn ignore_rules(&self, tree: &dyn SourceTree) -> IgnoreRules {
        match &self.dockerfile {
            DockerfileSource::Users { path } => IgnoreRules::of_dockerfile(tree, path),
            DockerfileSource::Generated => IgnoreRules::from_tree(tree),
        }
    }

    /// Whether a file of the tree belongs into the build context.
    pub fn takes(&self, path: &str, rules: &IgnoreRules) -> bool {
        self.needs.iter().any(|needed| needed == path) || rules.keeps(path)
    }

    /// Where a file of the tree stands in the build context.
    pub fn context_path(&self, path: &str) -> String {
        match &self.dockerfile {
            DockerfileSource::Users { .. } => path.to_owned(),
            DockerfileSource::Generated => format!("src/{path}"),
        }
    }

    /// A plan for each image that the app runs in; the first one's is the release's own.
    pub fn of_images(&self) -> Vec<Self> {
        match self.docker_builds.as_slice() {
            [] => vec![self.clone()],
            several => several.iter().map(|build| self.of_image(build)).collect(),
        }
    }

    fn of_image(&self, build: &DockerBuild) -> Self {
        let mut one = self.clone();
        one.dockerfile = DockerfileSource::Users { path: build.file.clone() };
        one.needs = vec![build.file.clone(), ".dockerignore".to_owned()];
        one.docker_builds = vec![build.clone()];
        one
    }

    pub(crate) fn set_processes(&mut self, procfile: &Procfile) {
        self.processes.clear();
        self.add_processes(procfile);
    }

    fn add_processes(&mut self, procfile: &Procfile) {
        let lines = procfile.iter().map(|(name, line)| (name.to_owned(), Start::Command(command::executable(line))));
        self.processes.extend(lines);
    }

    pub(crate) fn set_web(&mut self, line: &str) {
        self.processes.insert("web".to_owned(), Start::Command(command::executable(line)));
    }

    /// Changes what runs, beside what runs once.
    pub(crate) fn map_commands(&mut self, change: impl Fn(&str) -> String) {
        for start in self.processes.values_mut() {
            if let Start::Command(line) = start {
                *line = change(line);
            }
        }
    }

    /// Lists the images that the stages stand on, each once and behind its base.
    pub(crate) fn add_stack(&mut self, images: impl IntoIterator<Item = StackImage>) {
        for image in images {
            if !self.stack.contains(&image) {
                self.stack.push(image);
            }
        }
    }

    fn scopes(&self) -> impl Iterator<Item = EnvScope> {
        let steps = self.stages.iter().flat_map(|stage| &stage.steps);
        steps.filter_map(|step| match step {
            Step::Run { env, .. } => Some(*env),
            Step::CopySource | Step::CopyFolder { .. } => None,
        })
    }

    /// Whether any step is given every config var: one that is set later is read too.
    pub fn gives_everything(&self) -> bool {
        self.scopes().any(|scope| matches!(scope, EnvScope::Everything | EnvScope::Files))
    }

    fn steers_installer(&self, name: &str) -> bool {
        let upper = name.to_ascii_uppercase();
        let proxies = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"];
        // Node.js may build the assets of any.
        let with_assets = self.stages.iter().any(|stage| stage.name == "assets").then_some(Language::Node);
        let languages = [self.language].into_iter().chain(with_assets);
        let mut prefixes = languages.flat_map(|language| &language.rules().about().env_prefixes);
        prefixes.any(|prefix| upper.starts_with(prefix.as_str())) || proxies.contains(&upper.as_str())
    }

    /// Narrows what the installers may see to what there is, and sums up what the build reads.
    fn settle_env(&mut self, env: &BuildEnv) {
        let given = |name: &&String| is_env_name(name);
        if self.scopes().any(|scope| scope == EnvScope::Install) {
            let named = std::mem::take(&mut self.install_env);
            self.install_env = env
                .keys()
                .filter(given)
                .filter(|name| self.steers_installer(name) || named.contains(name))
                .cloned()
                .collect();
        } else {
            self.install_env.clear();
        }
        self.reads_env = if self.gives_everything() {
            env.keys().filter(given).cloned().collect()
        } else {
            self.install_env.clone()
        };
        self.reads_env.extend(self.build_args.iter().filter(|name| env.contains_key(*name)).cloned());
    }
}

/// Decides how the tree is built and started. `env` holds the app's config vars.
pub fn plan(tree: &dyn SourceTree, env: &BuildEnv) -> Result<BuildPlan, PlanError> {
    plan_with(tree, env, &Versions::new(), &[])
}

/// The same for an app that has a release already: what that was built with, `before`, is kept where the tree asks for no
/// version. `buildpacks` were set for the app: they win over everything in the tree.
pub fn plan_with(
    tree: &dyn SourceTree,
    env: &BuildEnv,
    before: &Versions,
    buildpacks: &[String],
) -> Result<BuildPlan, PlanError> {
    if tree.files().is_empty() {
        return Err(PlanError::EmptyTree);
    }
    let overrides = Overrides::read(tree)?;
    let mut files = Files::read(tree)?;
    // One that says only what runs once, or nothing of `web`, leaves the rest to the language.
    let is_whole = files.procfile.as_ref().is_some_and(Procfile::has_processes) || overrides.starts("web");
    files.procfile = overrides.over(files.procfile.take());
    let steering = files.heroku_yml.as_ref().filter(|file| file.steers() && buildpacks.is_empty());
    let request = match steering {
        Some(_) => None,
        None => classic::requested(tree, buildpacks, files.app_json.buildpacks())?,
    };
    let found = overridden(detect(tree), &overrides);
    let detections = match (&request, steering) {
        (Some(request), _) => request.order(found)?,
        (None, Some(_)) => HerokuYml::order(found),
        (None, None) => found,
    };
    let Some(chosen) = detections.first() else {
        return Err(PlanError::NothingDetected { sought: hints::sought(), hints: hints::for_nothing_detected(tree) });
    };
    let release = files.release_command(steering);
    let cron = files.app_json.cron.iter().map(|entry| entry.command.as_str());
    let once: Vec<&str> = release.as_deref().into_iter().chain(cron).collect();
    let procfile = files.procfile.as_ref().filter(|_| is_whole);
    let buildpacks = request.as_ref().map_or(&[][..], Request::buildpacks);
    let app = App {
        detection: chosen,
        tree,
        env,
        procfile,
        once: &once,
        buildpacks,
        heroku_yml: steering,
        overrides: &overrides,
        before,
    };
    let mut plan = chosen.language.rules().plan(&app)?;
    if let Some(procfile) = files.procfile.as_ref().filter(|_| !is_whole) {
        plan.add_processes(procfile);
    }
    plan.release_command = release.as_deref().map(command::executable);
    add_the_rest(&mut plan, &detections, &app)?;
    overrides.apply(&mut plan, &aptfile::read(tree)?)?;
    let steering = if steering.is_some() { Steering::HerokuYml } else { Steering::Other };
    files.add_to(&mut plan, steering);
    plan.warnings.extend(hints::misspelt(tree));
    plan.settle_env(env);
    for line in plan.notes.iter_mut().chain(&mut plan.warnings) {
        *line = text::visible(line.chars());
    }
    Ok(plan)
}

/// What steers a push whatever the language.
struct Files {
    procfile: Option<Procfile>,
    app_json: AppJson,
    heroku_yml: Option<HerokuYml>,
}

impl Files {
    fn read(tree: &dyn SourceTree) -> Result<Self, PlanError> {
        for ignore_file in [".dockerignore", ".slugignore"] {
            config_file(tree, ignore_file)?;
        }
        let app_json = config_text(tree, "app.json")?.map(|text| app_json::parse(&text)).transpose()?;
        Ok(Self {
            procfile: config_file(tree, "Procfile")?.map(|bytes| procfile::parse(&bytes)).transpose()?,
            app_json: app_json.unwrap_or_default(),
            heroku_yml: heroku_yml::read(tree)?,
        })
    }

    fn release_command(&self, steering: Option<&HerokuYml>) -> Option<String> {
        let of_file = match steering {
            Some(file) => file.release_command(),
            None => self.procfile.as_ref().and_then(Procfile::release),
        };
        self.app_json.scripts.release_command(of_file)
    }

    /// What holds for every language.
    fn add_to(self, plan: &mut BuildPlan, steering: Steering) {
        plan.warnings.extend(self.app_json.warnings());
        (plan.cron, plan.setup, plan.health) = (self.app_json.cron, self.app_json.setup, self.app_json.health);
        match (&self.heroku_yml, steering) {
            (Some(file), Steering::HerokuYml) => plan.setup.add_vars(file.vars()),
            (Some(_), Steering::Other) => plan.warnings.push(HerokuYml::is_not_used()),
            (None, _) => {}
        }
        // What buildpacks run is known when they have run.
        let says_nothing_yet = plan.processes.is_empty() && plan.asks_the_image();
        let is_asked = self.procfile.is_some() && steering == Steering::Other && !says_nothing_yet;
        if is_asked && !plan.processes.contains_key("web") {
            let warning = "Procfile has no `web` line: nothing will answer requests until one is added";
            plan.warnings.push(warning.to_owned());
        }
    }
}

/// What says how the app is built.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Steering {
    HerokuYml,
    Other,
}

/// What the tree holds beside the chosen language: assets that Node.js builds, else what is likely to surprise.
fn add_the_rest(plan: &mut BuildPlan, detections: &[Detection], app: &App<'_>) -> Result<(), PlanError> {
    let installs =
        |language| !matches!(language, Language::Dockerfile | Language::Static | Language::Shell | Language::Classic);
    let [chosen, rest @ ..] = detections else { return Ok(()) };
    if rest.iter().any(|other| other.language == Language::Classic) {
        let way_out = "to build the app by it, commit a file .buildpacks with the line `.`";
        plan.warnings.push(format!("bin/compile looks like a buildpack and is not run: {way_out}"));
    }
    if !installs(chosen.language) {
        return Ok(());
    }
    for other in rest.iter().filter(|other| installs(other.language)) {
        if other.language == Language::Node && node::build_assets(plan, app)? {
            continue;
        }
        let shown = |found: &Detection| format!("{} ({})", found.language.name(), found.because.join(", "));
        let way_out = if other.language == Language::Node {
            "give package.json a `build` script if it makes what the app serves".to_owned()
        } else {
            format!(
                "to build that one instead, write `build.language = \"{}\"` into paas.toml; to build both, add a Dockerfile",
                other.language.id()
            )
        };
        plan.warnings.push(format!("built as {}; {} is not installed: {way_out}", shown(chosen), shown(other)));
    }
    Ok(())
}

/// What paas.toml names goes before what the tree tells.
fn overridden(mut found: Vec<Detection>, overrides: &Overrides) -> Vec<Detection> {
    let by_file = overrides.dockerfile.as_ref().map(|set| (Language::Dockerfile, vec![set.value.clone()]));
    let named = overrides.language.as_ref().map(|set| (set.value, vec![overrides::FILE.to_owned()]));
    let Some((language, because)) = by_file.or(named) else { return found };
    let at = found.iter().position(|detection| detection.language == language);
    let is_as_told = overrides.dockerfile.is_none();
    let detection = at.map(|at| found.remove(at)).filter(|_| is_as_told);
    found.insert(0, detection.unwrap_or(Detection { language, because }));
    found
}

/// Values that could only break a build step: they belong to the instance's world, not to the builder's.
/// Whether a variable of that name can be set for a build step.
pub(crate) fn is_env_name(name: &str) -> bool {
    let ours = ["PATH", "HOME", "PWD", "LD_PRELOAD", "LD_LIBRARY_PATH", "GIT_REV"];
    !ours.contains(&name)
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
