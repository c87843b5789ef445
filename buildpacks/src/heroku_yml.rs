//! heroku.yml: a Dockerfile for each process type, and what runs in the images.
//!
//! <https://devcenter.heroku.com/articles/build-docker-images-heroku-yml>. It steers the build when it has `build.docker`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::app_json::{addons_warning, is_var_name};
use crate::command;
use crate::ignore;
use crate::language::{App, Language};
use crate::languages::dockerfile;
use crate::plan::{BuildPlan, DockerfileSource, Start};
use crate::procfile::{COMMAND_BYTES_MAX, is_process_name};
use crate::setup::{WantedVar, Wish};
use crate::text::{excerpt, is_invisible};
use crate::tree::{SourceTree, config_file, config_text, has};
use crate::yaml::{self, Member, Node, Value, YamlError};
use crate::{Detection, PlanError};

pub(crate) const FILE: &str = "heroku.yml";
const IMAGES_MAX: usize = 10;
/// The process type whose image the app's other lines run in.
const WEB: &str = "web";
const RELEASE: &str = "release";

/// One image of an app that has several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DockerBuild {
    /// The build context: the folder that its Dockerfile is in; empty for the root of the repository.
    pub folder: String,
    /// The Dockerfile's name inside that folder.
    pub file: String,
    /// The stage that becomes the image; the last one where none is named.
    pub target: Option<String>,
    /// The process types that run in it; `release` stands for the release command.
    pub processes: Vec<String>,
}

/// What the file says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct HerokuYml {
    images: Vec<Image>,
    args: BTreeMap<String, String>,
    /// Whether it has `run` at all.
    runs: Option<Vec<Run>>,
    release: Option<Run>,
    vars: Vec<WantedVar>,
    addons: Vec<String>,
    unused: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
struct Image {
    process: String,
    path: String,
    target: Option<String>,
    line: usize,
}

#[derive(Debug, PartialEq, Eq)]
struct Run {
    process: String,
    command: Option<String>,
    image: Option<String>,
    line: usize,
}

/// Reads the file, if it is there.
pub(crate) fn read(tree: &dyn SourceTree) -> Result<Option<HerokuYml>, PlanError> {
    let Some(text) = config_text(tree, FILE)? else { return Ok(None) };
    parse(&text).map(Some).map_err(|YamlError { line, reason }| wrong(line, reason))
}

fn wrong(line: usize, reason: impl Into<String>) -> PlanError {
    PlanError::Manifest { file: FILE.to_owned(), line, reason: reason.into() }
}

fn parse(text: &str) -> Result<HerokuYml, YamlError> {
    let mut file = HerokuYml::default();
    for section in yaml::parse(text)?.members("the file")? {
        match section.name.as_str() {
            "build" => file.read_build(&section.node)?,
            "run" => file.runs = Some(section.node.members("run")?.iter().map(run).collect::<Result<_, _>>()?),
            "release" => file.release = Some(run(section)?),
            "setup" => file.read_setup(&section.node)?,
            _other => file.unused.push(excerpt(&section.name)),
        }
    }
    Ok(file)
}

impl HerokuYml {
    fn read_build(&mut self, node: &Node) -> Result<(), YamlError> {
        for member in node.members("build")? {
            match member.name.as_str() {
                "docker" => {
                    for image in member.node.members("build.docker")? {
                        self.images.push(image_of(image)?);
                    }
                }
                "config" => {
                    for (name, value) in config(&member.node, "build.config")? {
                        self.args.insert(name.name.clone(), value);
                    }
                }
                _other => self.unused.push(format!("build.{}", excerpt(&member.name))),
            }
        }
        match self.images.get(IMAGES_MAX) {
            Some(image) => Err(YamlError::new(image.line, format!("more than {IMAGES_MAX} images: remove some"))),
            None => Ok(()),
        }
    }

    fn read_setup(&mut self, node: &Node) -> Result<(), YamlError> {
        for member in node.members("setup")? {
            match member.name.as_str() {
                "config" => {
                    for (name, value) in config(&member.node, "setup.config")? {
                        self.vars.push(WantedVar {
                            name: name.name.clone(),
                            wish: Wish::Value(value),
                            description: None,
                            place: format!("{FILE} line {}", name.line),
                        });
                    }
                }
                "addons" => self.addons = addons(&member.node)?,
                _other => self.unused.push(format!("setup.{}", excerpt(&member.name))),
            }
        }
        Ok(())
    }

    /// Whether it says how the app is built.
    pub(crate) fn steers(&self) -> bool {
        !self.images.is_empty()
    }

    /// What was found in a tree, with this file before all.
    pub(crate) fn order(mut found: Vec<Detection>) -> Vec<Detection> {
        found.retain(|detection| detection.language != Language::Dockerfile);
        found.insert(0, Detection { language: Language::Dockerfile, because: vec![FILE.to_owned()] });
        found
    }

    /// For a file that says nothing of images.
    pub(crate) fn is_not_used() -> String {
        format!(
            "{FILE} is not used: it has no `build.docker` that names a Dockerfile, or buildpacks were set for the app"
        )
    }

    pub(crate) fn vars(&self) -> &[WantedVar] {
        &self.vars
    }

    /// The release command, whose image is one of `builds`.
    pub(crate) fn release_command(&self) -> Option<&str> {
        self.release.as_ref().and_then(|release| release.command.as_deref())
    }

    pub(crate) fn plan(&self, app: &App<'_>) -> Result<BuildPlan, PlanError> {
        let mut plan = BuildPlan::new(app.detection);
        let builds = self.with_borrowed_images(self.builds(app.tree)?)?;
        for build in &builds {
            let path = path_of(build);
            let target = build.target.as_ref().map(|target| format!(", stage {target}")).unwrap_or_default();
            plan.notes.push(format!("{}: {path}{target}", build.processes.join(", ")));
            let text = config_text(app.tree, &path)?.unwrap_or_default();
            config_file(app.tree, &ignore::own_file(&path))?;
            plan.warnings.extend(dockerfile::warnings(&text, &path, app.env, |name| self.args.contains_key(name)));
        }
        self.set_processes(&mut plan)?;
        if has(app.tree, "Procfile") {
            plan.warnings.push(format!("Procfile is not used: {FILE} says what runs"));
        }
        if !self.unused.is_empty() {
            plan.warnings.push(format!("{FILE}: not used by this version: {}", self.unused.join(", ")));
        }
        plan.warnings.extend(addons_warning(FILE, &self.addons));
        if let Some(first) = builds.first() {
            plan.dockerfile = DockerfileSource::Users { path: path_of(first) };
            plan.needs = vec![path_of(first), ".dockerignore".to_owned()];
        }
        plan.docker_builds = builds;
        plan.docker_args = self.args.clone();
        Ok(plan)
    }

    /// The images, the one of web first; process types of the same Dockerfile and stage share one.
    fn builds(&self, tree: &dyn SourceTree) -> Result<Vec<DockerBuild>, PlanError> {
        let mut builds: Vec<DockerBuild> = Vec::new();
        for image in &self.images {
            if config_text(tree, &image.path)?.is_none() {
                let reason = format!("{} is not in the commit: add it, or correct the path", excerpt(&image.path));
                return Err(wrong(image.line, reason));
            }
            let (folder, file) = image.path.rsplit_once('/').unwrap_or(("", &image.path));
            let same = |build: &&mut DockerBuild| {
                (build.folder.as_str(), build.file.as_str()) == (folder, file) && build.target == image.target
            };
            match builds.iter_mut().find(same) {
                Some(build) => build.processes.push(image.process.clone()),
                None => builds.push(DockerBuild {
                    folder: folder.to_owned(),
                    file: file.to_owned(),
                    target: image.target.clone(),
                    processes: vec![image.process.clone()],
                }),
            }
        }
        builds.sort_by_key(|build| !build.processes.iter().any(|process| process == WEB));
        Ok(builds)
    }

    fn set_processes(&self, plan: &mut BuildPlan) -> Result<(), PlanError> {
        for image in self.images.iter().filter(|image| image.process != RELEASE) {
            // An image that only others run in is no process type of its own.
            let is_lent = self.all_runs().any(|run| run.image.as_deref() == Some(image.process.as_str()));
            let runs = self.runs.iter().flatten().any(|run| run.process == image.process);
            if image.process == WEB || runs || !is_lent {
                plan.processes.insert(image.process.clone(), Start::Image);
            }
        }
        for run in self.runs.iter().flatten() {
            let line = run.command.as_deref().map(command::executable);
            plan.processes.insert(run.process.clone(), line.map_or(Start::Image, Start::Command));
        }
        if plan.processes.is_empty() {
            return Err(PlanError::NoStartCommand { fix: format!("add `web:` below `build.docker` in {FILE}") });
        }
        Ok(())
    }

    fn all_runs(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter().flatten().chain(&self.release)
    }

    /// Adds to each image the process types that name it, or that have none and so run in web's.
    fn with_borrowed_images(&self, mut builds: Vec<DockerBuild>) -> Result<Vec<DockerBuild>, PlanError> {
        for run in self.all_runs() {
            let has_own = self.images.iter().any(|image| image.process == run.process);
            let name = match &run.image {
                Some(name) => name.as_str(),
                None if has_own => continue,
                None => WEB,
            };
            let Some(at) = builds.iter().position(|build| build.processes.iter().any(|process| process == name)) else {
                let reason =
                    format!("`{}` runs in the image `{}`, which build.docker does not name", run.process, name);
                return Err(wrong(run.line, reason));
            };
            for build in &mut builds {
                build.processes.retain(|process| *process != run.process);
            }
            builds[at].processes.push(run.process.clone());
        }
        builds.retain(|build| !build.processes.is_empty());
        Ok(builds)
    }
}

fn path_of(build: &DockerBuild) -> String {
    if build.folder.is_empty() { build.file.clone() } else { format!("{}/{}", build.folder, build.file) }
}

fn image_of(member: &Member) -> Result<Image, YamlError> {
    check_process(member)?;
    let field = format!("build.docker.{}", member.name);
    let (mut path, mut target) = (None, None);
    match &member.node.value {
        Value::Text(text) => path = Some(text.clone()),
        Value::Nothing | Value::List(_) | Value::Members(_) => {
            for part in member.node.members(&field)? {
                let text = part.node.text(&format!("{field}.{}", excerpt(&part.name)))?.to_owned();
                match part.name.as_str() {
                    "dockerfile" => path = Some(text),
                    "target" => target = Some(text),
                    other => {
                        let reason =
                            format!("{field}.{} is unknown: there are `dockerfile` and `target`", excerpt(other));
                        return Err(YamlError::new(part.line, reason));
                    }
                }
            }
        }
    }
    let path = path.unwrap_or_else(|| "Dockerfile".to_owned());
    let path = path.strip_prefix("./").unwrap_or(&path).to_owned();
    let is_odd = |part: &str| matches!(part, "" | "." | "..");
    if path.split('/').any(is_odd) || path.chars().any(is_invisible) {
        return Err(YamlError::new(
            member.node.line,
            format!("{field} must be the path of a Dockerfile in the repository"),
        ));
    }
    let is_stage = |name: &String| name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    if target.as_ref().is_some_and(|target| !is_stage(target)) {
        return Err(YamlError::new(member.node.line, format!("{field}.target must be the name of a stage")));
    }
    Ok(Image { process: member.name.clone(), path, target, line: member.line })
}

fn check_process(member: &Member) -> Result<(), YamlError> {
    if is_process_name(&member.name) {
        return Ok(());
    }
    let reason = format!("`{}` cannot name a process: use letters, digits, `-` and `_`", excerpt(&member.name));
    Err(YamlError::new(member.line, reason))
}

/// A line, or `command` and `image`.
fn run(member: &Member) -> Result<Run, YamlError> {
    check_process(member)?;
    let field = &member.name;
    let mut run = Run { process: field.clone(), command: None, image: None, line: member.line };
    match &member.node.value {
        Value::Text(_) => run.command = Some(line(&member.node, field)?),
        Value::Nothing | Value::List(_) | Value::Members(_) => {
            for part in member.node.members(field)? {
                match part.name.as_str() {
                    "command" => run.command = Some(line(&part.node, &format!("{field}.command"))?),
                    "image" => run.image = Some(part.node.text(&format!("{field}.image"))?.to_owned()),
                    other => {
                        let reason = format!("{field}.{} is unknown: there are `command` and `image`", excerpt(other));
                        return Err(YamlError::new(part.line, reason));
                    }
                }
            }
        }
    }
    if run.command.is_none() && run.image.is_none() {
        return Err(YamlError::new(member.line, format!("{field} says neither a command nor an image")));
    }
    Ok(run)
}

/// One command, as a text or as the only item of a list.
fn line(node: &Node, field: &str) -> Result<String, YamlError> {
    let node = match &node.value {
        Value::List(items) => match items.as_slice() {
            [only] => only,
            _several => {
                let reason = format!("{field} must be one command: join several by `&&`, or put them into a script");
                return Err(YamlError::new(node.line, reason));
            }
        },
        Value::Nothing | Value::Text(_) | Value::Members(_) => node,
    };
    let line = node.text(field)?.trim();
    if line.is_empty() || line.len() > COMMAND_BYTES_MAX || line.chars().any(is_invisible) {
        let reason = format!("{field} must be one line of 1 to {COMMAND_BYTES_MAX} bytes without invisible characters");
        return Err(YamlError::new(node.line, reason));
    }
    Ok(line.to_owned())
}

fn config<'a>(node: &'a Node, field: &str) -> Result<Vec<(&'a Member, String)>, YamlError> {
    let value = |member: &'a Member| {
        if !is_var_name(&member.name) {
            let reason = format!("{field}.{} must be named with letters, digits and `_`", excerpt(&member.name));
            return Err(YamlError::new(member.line, reason));
        }
        Ok((member, member.node.text(&format!("{field}.{}", member.name))?.to_owned()))
    };
    node.members(field)?.iter().map(value).collect()
}

fn addons(node: &Node) -> Result<Vec<String>, YamlError> {
    let Value::List(items) = &node.value else {
        return Err(YamlError::new(node.line, "setup.addons must be a list: `- plan: NAME`"));
    };
    let name = |item: &Node| match &item.value {
        Value::Text(name) => Ok(excerpt(name)),
        Value::Nothing | Value::List(_) | Value::Members(_) => {
            let plan = item.members("an add-on")?.iter().find(|member| member.name == "plan");
            let plan = plan.ok_or_else(|| YamlError::new(item.line, "an add-on of setup.addons has no `plan`"))?;
            Ok(excerpt(plan.node.text("plan")?))
        }
    };
    items.iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::BuildEnv;
    use crate::{MemoryTree, plan};

    const WHOLE: &str = "setup:\n  addons:\n    - plan: heroku-postgresql\n      as: DATABASE\n  config:\n    S3_BUCKET: my-bucket\nbuild:\n  docker:\n    worker: worker/Dockerfile\n    web: Dockerfile\n    tools:\n      dockerfile: Dockerfile\n      target: builder\n  config:\n    RAILS_ENV: development\nrelease:\n  command:\n    - ./deploy tasks\n  image: tools\nrun:\n  web: bundle exec puma -p $PORT\n  syncer:\n    command:\n      - python sync.py\n    image: worker\n";

    fn tree(yml: &str) -> MemoryTree {
        MemoryTree::new()
            .file("heroku.yml", yml)
            .file("Dockerfile", "FROM debian:trixie-slim AS builder\nARG RAILS_ENV\nARG TOKEN\n")
            .file("worker/Dockerfile", "FROM debian:trixie-slim\n")
    }

    #[test]
    fn images_process_types_and_what_is_set_up_are_read() {
        let env = BuildEnv::from([("TOKEN".to_owned(), "x".to_owned()), ("RAILS_ENV".to_owned(), "x".to_owned())]);
        let plan = plan(&tree(WHOLE), &env).unwrap();
        let shown: Vec<(&str, Option<&str>, Vec<&str>)> = plan
            .docker_builds
            .iter()
            .map(|b| (b.folder.as_str(), b.target.as_deref(), b.processes.iter().map(String::as_str).collect()))
            .collect();
        assert_eq!(
            shown,
            [
                ("", None, vec!["web"]),
                ("worker", None, vec!["worker", "syncer"]),
                ("", Some("builder"), vec!["tools", "release"])
            ]
        );
        assert_eq!(plan.processes["web"], Start::Command("bundle exec puma -p $PORT".to_owned()));
        assert_eq!(plan.processes["syncer"], Start::Command("python sync.py".to_owned()));
        // What others run in alone runs by itself only when it is said to.
        assert_eq!(plan.processes.keys().collect::<Vec<_>>(), ["syncer", "web"]);
        assert_eq!(plan.release_command.as_deref(), Some("./deploy tasks"));
        assert_eq!(plan.docker_args["RAILS_ENV"], "development");
        assert_eq!(
            (plan.setup.vars[0].name.as_str(), plan.setup.vars[0].place.as_str()),
            ("S3_BUCKET", "heroku.yml line 6")
        );
        let warnings = plan.warnings.join("\n");
        assert!(warnings.contains("add-ons are not provided: heroku-postgresql"), "{warnings}");
        assert!(warnings.contains("`ARG TOKEN`") && !warnings.contains("`ARG RAILS_ENV`"), "{warnings}");
    }

    #[test]
    fn without_run_each_image_runs_as_it_says_and_without_images_the_file_is_left_alone() {
        let plan = |yml: &str| plan(&tree(yml), &BuildEnv::new()).unwrap();
        let both = plan("build:\n  docker:\n    web: Dockerfile\n    worker: Dockerfile\n");
        assert_eq!(both.docker_builds.len(), 1);
        assert!(both.processes.values().all(|start| *start == Start::Image) && both.processes.len() == 2);
        let none = plan("run:\n  web: ./server\n");
        assert!(
            none.docker_builds.is_empty() && none.warnings[0].contains("heroku.yml is not used"),
            "{:?}",
            none.warnings
        );
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (yml, words) in [
            ("build:\n  docker:\n    web: Dockerfile\n  docker: {}\n", "line 4: docker is on line 2 already"),
            ("build:\n  docker:\n    web: no/Dockerfile\n", "line 3: no/Dockerfile is not in the commit"),
            ("build:\n  docker:\n    web: ../Dockerfile\n", "line 3: build.docker.web must be the path"),
            ("build:\n  docker:\n    a b: Dockerfile\n", "line 3: `a b` cannot name a process"),
            ("build:\n  docker:\n    web:\n      stage: x\n", "line 4: build.docker.web.stage is unknown"),
            ("build:\n  docker:\n    web: Dockerfile\nrun:\n  x:\n    image: y\n", "line 5: `x` runs in the image `y`"),
            ("build:\n  docker:\n    worker: Dockerfile\nrun:\n  x: ls\n", "line 5: `x` runs in the image `web`"),
            (
                "build:\n  docker:\n    web: Dockerfile\nrun:\n  web:\n    command: [a, b]\n",
                "line 6: web.command must be one command",
            ),
            ("build:\n  docker:\n    web: Dockerfile\nrelease: {}\n", "line 4: release says neither"),
            ("build:\n  config:\n    1X: a\n", "line 3: build.config.1X must be named"),
            ("setup:\n  addons: x\n", "line 2: setup.addons must be a list"),
            ("build: [\n", "heroku.yml line "),
        ] {
            let shown = plan(&tree(yml), &BuildEnv::new()).unwrap_err().to_string();
            assert!(shown.starts_with("heroku.yml line ") && shown.contains(words), "{yml}: {shown}");
        }
    }
    #[test]
    fn one_image_more_than_there_may_be_is_refused() {
        let images = |count: usize| (0..count).map(|at| format!("    p{at}: Dockerfile\n")).collect::<Vec<_>>();
        let read = |count| parse(&format!("build:\n  docker:\n{}", images(count).concat()));
        assert_eq!(read(IMAGES_MAX).unwrap().images.len(), IMAGES_MAX);
        let YamlError { line, reason } = read(IMAGES_MAX + 1).unwrap_err();
        assert_eq!((line, reason.as_str()), (13, "more than 10 images: remove some"));
    }
}
