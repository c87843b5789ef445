//! PHP with Composer, served by nginx and PHP's own process manager.

use std::sync::LazyLock;

use serde::Deserialize;

use crate::PlanError;
use crate::command;
use crate::detect::present;
use crate::language::{About, App, Rules, table};
use crate::plan::{BuildPlan, Start};
use crate::range::{Range, Version, spelled_as_npm};
use crate::recipe::{Mount, Sharing, Stage, Step};
use crate::stack::{self, StackImage};
use crate::tree::{SourceTree, config_text, has};
use crate::versions;

static TABLE: LazyLock<Table> = LazyLock::new(|| table(include_str!("php.toml")));

/// Runs in the stack image: the port is known only when an instance starts.
const SERVE: &str = include_str!("php_serve.sh");

#[derive(Debug, Deserialize)]
struct Table {
    language: About,
    debian: Debian,
}

#[derive(Debug, Deserialize)]
struct Debian {
    version: String,
    extensions: Vec<String>,
}

pub(crate) struct Php;

impl Rules for Php {
    fn about(&self) -> &'static About {
        &TABLE.language
    }

    /// A composer.json beside the pages of another language holds tools for the desk.
    fn detect(&self, tree: &dyn SourceTree) -> Vec<String> {
        let found = present(tree, &self.about().triggers);
        let has_pages = found.iter().any(|file| file != "composer.json") || has(tree, "artisan");
        let is_alone = !has(tree, "package.json") && !has(tree, "requirements.txt");
        if has_pages || is_alone { found } else { Vec::new() }
    }

    fn plan(&self, app: &App<'_>) -> Result<BuildPlan, PlanError> {
        let mut plan = BuildPlan::new(app.detection);
        plan.versions.insert("php".to_owned(), TABLE.debian.version.clone());
        let composes = has(app.tree, "composer.json");
        let action = if composes { "composer install" } else { "nothing to install" };
        let action = app.install_command().unwrap_or(action);
        plan.notes.push(format!("{}, {action}", version_note(app.tree)?));
        if composes {
            check_composer(app.tree, &mut plan)?;
        }
        if let Some(procfile) = app.procfile {
            plan.set_processes(procfile);
            serve_as_heroku(&mut plan);
        } else {
            let (folder, why) = root(app.tree)?;
            plan.notes.push(format!("nginx and php-fpm serve {folder} ({why})"));
            plan.set_web(&format!("paas-php {folder}"));
        }
        lay_out(&mut plan, app, composes);
        Ok(plan)
    }

    fn installs_by_itself(&self) -> bool {
        true
    }
}

/// Heroku's two programs, with or without `vendor/bin/` before them: the folder is all that they share with ours.
fn serve_as_heroku(plan: &mut BuildPlan) {
    let mut ignored = Vec::new();
    for start in plan.processes.values_mut() {
        let Start::Command(line) = start else { continue };
        let Some((folder, has_options)) = heroku_folder(line) else { continue };
        if has_options {
            ignored.push(line.clone());
        }
        *line = format!("paas-php {}", command::quote(&folder));
    }
    plan.warnings.extend(ignored.iter().map(|line| {
        format!("the options of `{line}` are not read: nginx and php-fpm serve as they do by default; add a Dockerfile if they are needed")
    }));
}

/// The folder that `heroku-php-nginx -C nginx.conf web/` serves, and whether it has options.
fn heroku_folder(line: &str) -> Option<(String, bool)> {
    let mut words = line.split_whitespace();
    let program = words.next()?.rsplit('/').next()?;
    if !["heroku-php-apache2", "heroku-php-nginx"].contains(&program) {
        return None;
    }
    let (mut folder, mut has_options) = ("", false);
    while let Some(word) = words.next() {
        if word.starts_with('-') {
            has_options = true;
            // `-C file`, and `-v`, which stands alone.
            if word != "-v" && !word.contains('=') {
                words.next();
            }
        } else {
            folder = word.trim_start_matches("./").trim_matches('/');
        }
    }
    Some((if folder.is_empty() { "/app".to_owned() } else { format!("/app/{folder}") }, has_options))
}

fn version_note(tree: &dyn SourceTree) -> Result<String, PlanError> {
    let debian = TABLE.debian.version.as_str();
    let Some(request) = versions::find(tree, &TABLE.language)? else {
        return Ok(format!("php {debian} (Debian's php; composer.json asks for none)"));
    };
    let line = debian.rsplit_once('.').map_or(debian, |(line, _)| line);
    let text = if request.text == "latest" { "*" } else { request.text.as_str() };
    let range = spelled_by_composer(text).and_then(|text| Range::parse(&text));
    let ours = Version::parse(debian);
    if range.zip(ours).is_none_or(|(range, ours)| !range.holds(ours)) {
        let fix = format!("and there is Debian's {debian} only: write \"^{line}\", or add a Dockerfile");
        return Err(request.refused("PHP", fix));
    }
    Ok(format!("php {debian} (Debian's php satisfies {} \"{}\")", request.place, request.text))
}

/// Composer's `~8.2` lets the last part grow, as Ruby's `~>` does.
fn spelled_by_composer(text: &str) -> Option<String> {
    spelled_as_npm(&text.replace('~', "~="))
}

fn check_composer(tree: &dyn SourceTree, plan: &mut BuildPlan) -> Result<(), PlanError> {
    let text = config_text(tree, "composer.json")?.unwrap_or_default();
    if let Err(error) = serde_json::from_str::<serde_json::Value>(&text) {
        return Err(PlanError::Manifest {
            file: "composer.json".to_owned(),
            line: error.line(),
            reason: "this is no valid JSON: correct it, then `composer validate` checks the file".to_owned(),
        });
    }
    if !has(tree, "composer.lock") {
        plan.warnings.push(
            "no composer.lock: every build may install other versions; run `composer update` and commit composer.lock"
                .to_owned(),
        );
    }
    Ok(())
}

/// The folder whose index.php answers.
fn root(tree: &dyn SourceTree) -> Result<(&'static str, &'static str), PlanError> {
    if has(tree, "public/index.php") {
        let why = if has(tree, "artisan") { "a Laravel app" } else { "public/index.php is here" };
        return Ok(("/app/public", why));
    }
    if has(tree, "web/index.php") {
        return Ok(("/app/web", "web/index.php is here"));
    }
    if has(tree, "webroot/index.php") {
        return Ok(("/app/webroot", "webroot/index.php is here"));
    }
    if has(tree, "index.php") {
        return Ok(("/app", "index.php is here"));
    }
    Err(PlanError::NoStartCommand {
        fix: "there is no index.php, at the root or in public/ or web/: add one, or a Procfile with a line such as `web: paas-php /app/FOLDER`".to_owned(),
    })
}

fn lay_out(plan: &mut BuildPlan, app: &App<'_>, composes: bool) {
    let base = stack::base();
    let (run, build) = images(&base);
    plan.add_stack([base, run.clone()]);
    let usual = composes.then_some("composer install --no-dev --no-interaction --prefer-dist --optimize-autoloader");
    let source = if let Some(command) = app.install_command().or(usual) {
        let cache = Mount::cache("composer", "/root/.composer-cache", Sharing::Shared);
        let steps = vec![Step::CopySource, Step::run(command.to_owned(), vec![cache])];
        plan.stages.push(Stage::new("build", &build.reference(), steps));
        plan.add_stack([build]);
        Step::copy("build", "/app")
    } else {
        Step::CopySource
    };
    plan.stages.push(Stage::new("app", &run.reference(), vec![source]));
}

fn images(base: &StackImage) -> (StackImage, StackImage) {
    let line = TABLE.debian.version.rsplit_once('.').map_or("", |(line, _)| line);
    let extensions = TABLE.debian.extensions.iter().map(|name| format!("php{line}-{name}"));
    let all: Vec<String> = ["nginx".to_owned(), format!("php{line}-cli"), format!("php{line}-fpm")]
        .into_iter()
        .chain(extensions)
        .collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let run = StackImage::new(
        &format!("php{line}"),
        Some(base),
        &[
            "USER root".to_owned(),
            stack::run(&stack::apt_install(&all)),
            stack::install_script("/usr/local/bin/paas-php", SERVE),
            "USER app".to_owned(),
            // SIGTERM would cut off who is being answered.
            "STOPSIGNAL SIGQUIT".to_owned(),
        ],
    );
    let build = StackImage::new(
        &format!("php{line}-build"),
        Some(&run),
        &[
            "USER root".to_owned(),
            stack::run(&stack::apt_install(&["composer", "git", "unzip"])),
            "ENV COMPOSER_ALLOW_SUPERUSER=1 COMPOSER_CACHE_DIR=/root/.composer-cache COMPOSER_NO_INTERACTION=1"
                .to_owned(),
        ],
    );
    (run, build)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_heroku_s_programs_is_found() {
        for (line, folder) in [
            ("heroku-php-apache2", Some(("/app", false))),
            ("vendor/bin/heroku-php-nginx public/", Some(("/app/public", false))),
            ("heroku-php-nginx -C nginx.conf web", Some(("/app/web", true))),
            ("heroku-php-apache2 -v", Some(("/app", true))),
            ("php -S 0.0.0.0:$PORT", None),
        ] {
            let found = heroku_folder(line);
            assert_eq!(found.as_ref().map(|(folder, has)| (folder.as_str(), *has)), folder, "{line}");
        }
    }
}
