//! A folder of files, served by nginx. A Staticfile says which folder, and whether unknown paths get
//! the start page (`pushstate: enabled`, for apps that route in the browser; elsewhere it is called `index_fallback: true`).

use std::sync::LazyLock;

use serde::Deserialize;

use crate::detect::present;
use crate::language::{About, App, Rules, table};
use crate::plan::BuildPlan;
use crate::recipe::{Stage, Step};
use crate::stack::{self, StackImage};
use crate::tree::{SourceTree, config_text, has};
use crate::{PlanError, command};

const STATICFILE: &str = "Staticfile";
const PUBLIC_PAGE: &str = "public/index.html";

/// Runs in the stack image: the port is known only when an instance starts.
const SERVE: &str = include_str!("static_serve.sh");

static TABLE: LazyLock<Table> = LazyLock::new(|| table(include_str!("static_site.toml")));

#[derive(Debug, Deserialize)]
struct Table {
    language: About,
}

pub(crate) struct StaticSite;

impl Rules for StaticSite {
    fn about(&self) -> &'static About {
        &TABLE.language
    }

    /// Pages in `public` alone are a site too; anywhere else they may be the leavings of a build.
    fn detect(&self, tree: &dyn SourceTree) -> Vec<String> {
        let mut found = present(tree, &self.about().triggers);
        if found.len() > 1 {
            found.retain(|file| file != PUBLIC_PAGE);
        }
        found
    }

    fn plan(&self, app: &App<'_>) -> Result<BuildPlan, PlanError> {
        plan(app)
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The folder to serve; empty for the root of the tree.
    pub(crate) root: String,
    pub(crate) unknown_paths: UnknownPaths,
}

/// What a Staticfile says; what it leaves open is the app's to decide.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Staticfile {
    pub(crate) root: Option<String>,
    pub(crate) unknown_paths: Option<UnknownPaths>,
}

impl Staticfile {
    pub(crate) fn or(self, settings: Settings) -> Settings {
        Settings {
            root: self.root.unwrap_or(settings.root),
            unknown_paths: self.unknown_paths.unwrap_or(settings.unknown_paths),
        }
    }
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnknownPaths {
    #[default]
    NotFound,
    StartPage,
}

fn plan(app: &App<'_>) -> Result<BuildPlan, PlanError> {
    let tree = app.tree;
    let is_public = !has(tree, "index.html") && has(tree, PUBLIC_PAGE);
    let usual = Settings { root: if is_public { "public" } else { "" }.to_owned(), ..Settings::default() };
    let settings = staticfile(app)?.unwrap_or_default().or(usual);
    // What a command of its own makes is not here yet.
    if app.overrides.command.is_none() {
        check_root(tree, &settings.root)?;
    }
    let mut plan = BuildPlan::new(app.detection);
    plan.notes.push(note(&settings));
    match app.procfile {
        Some(procfile) => plan.set_processes(procfile),
        None => plan.set_web(&serve_command(&settings)),
    }
    let base = stack::base();
    let nginx = nginx(&base);
    plan.stages = vec![Stage { name: "app".to_owned(), from: nginx.reference(), steps: vec![Step::CopySource] }];
    plan.stack = vec![base, nginx];
    Ok(plan)
}

/// What the Staticfile and paas.toml say, when one of them says anything.
pub(crate) fn staticfile(app: &App<'_>) -> Result<Option<Staticfile>, PlanError> {
    let written = config_text(app.tree, STATICFILE)?.map(|text| parse(&text)).transpose()?;
    let (root, pushstate) = (&app.overrides.root, app.overrides.pushstate);
    if root.is_none() && pushstate.is_none() {
        return Ok(written);
    }
    let mut staticfile = written.unwrap_or_default();
    if let Some(root) = root {
        staticfile.root = Some(root.value.clone());
    }
    match pushstate {
        Some(true) => staticfile.unknown_paths = Some(UnknownPaths::StartPage),
        Some(false) => staticfile.unknown_paths = Some(UnknownPaths::NotFound),
        None => {}
    }
    Ok(Some(staticfile))
}

fn parse(text: &str) -> Result<Staticfile, PlanError> {
    let mut settings = Staticfile::default();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |reason: String| PlanError::Staticfile { line: at + 1, reason };
        match line.split_once(':').map(|(key, value)| (key.trim(), value.trim())) {
            Some(("root", folder)) => settings.root = Some(folder_path(folder).map_err(wrong)?),
            Some(("pushstate", "enabled") | ("index_fallback", "true")) => {
                settings.unknown_paths = Some(UnknownPaths::StartPage);
            }
            Some(("pushstate", "disabled") | ("index_fallback", "false")) => {
                settings.unknown_paths = Some(UnknownPaths::NotFound);
            }
            Some(("pushstate", _)) => {
                return Err(wrong("write `pushstate: enabled` or `pushstate: disabled`".to_owned()));
            }
            Some(("index_fallback", _)) => {
                return Err(wrong("write `index_fallback: true` or `index_fallback: false`".to_owned()));
            }
            Some((key, _)) => {
                return Err(wrong(format!(
                    "unknown setting {key:?}: this version knows `root: FOLDER` and `pushstate: enabled`"
                )));
            }
            None => {
                return Err(wrong("write `root: FOLDER` or `pushstate: enabled`".to_owned()));
            }
        }
    }
    Ok(settings)
}

/// A folder below the root of the tree, in characters that mean nothing to nginx.
fn folder_path(folder: &str) -> Result<String, String> {
    let folder = folder.trim_start_matches("./").trim_matches('/');
    let folder = if folder == "." { "" } else { folder };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    if folder.split('/').any(|part| part == "..") {
        return Err("root must not leave the repository: write a folder inside of it".to_owned());
    }
    if !folder.chars().all(is_plain) {
        return Err(format!("root {folder:?} may hold only letters, digits, `-`, `_`, `.` and `/`: rename the folder"));
    }
    Ok(folder.to_owned())
}

fn check_root(tree: &dyn SourceTree, root: &str) -> Result<(), PlanError> {
    if root.is_empty() {
        let found = has(tree, "index.html");
        return found.then_some(()).ok_or(PlanError::StaticRoot);
    }
    let found = has(tree, &format!("{root}/index.html"));
    found.then_some(()).ok_or_else(|| PlanError::StaticFolder { folder: root.to_owned() })
}

pub(crate) fn note(settings: &Settings) -> String {
    let folder = if settings.root.is_empty() { "the repository's root".to_owned() } else { settings.root.clone() };
    match settings.unknown_paths {
        UnknownPaths::NotFound => format!("nginx serves {folder}"),
        UnknownPaths::StartPage => {
            format!("nginx serves {folder}, and index.html for unknown paths")
        }
    }
}

pub(crate) fn serve_command(settings: &Settings) -> String {
    let folder = if settings.root.is_empty() { "/app".to_owned() } else { format!("/app/{}", settings.root) };
    let folder = command::quote(&folder);
    match settings.unknown_paths {
        UnknownPaths::NotFound => format!("paas-static {folder}"),
        UnknownPaths::StartPage => format!("paas-static {folder} pushstate"),
    }
}

pub(crate) fn nginx(base: &StackImage) -> StackImage {
    StackImage::new(
        "nginx",
        Some(base),
        &[
            "USER root".to_owned(),
            stack::run(&stack::apt_install(&["nginx"])),
            stack::install_script("/usr/local/bin/paas-static", SERVE),
            "USER app".to_owned(),
            // SIGTERM would cut off who is being answered.
            "STOPSIGNAL SIGQUIT".to_owned(),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_and_unknown_ones_refused() {
        let settings = parse("# ours\r\nroot: ./public/\npushstate: enabled\n").unwrap();
        let wanted = Staticfile { root: Some("public".to_owned()), unknown_paths: Some(UnknownPaths::StartPage) };
        assert_eq!(settings, wanted);
        assert_eq!(parse("index_fallback: true").unwrap().unknown_paths, Some(UnknownPaths::StartPage));
        assert_eq!(parse("root: .").unwrap().root.as_deref(), Some(""));
        for (text, line) in [
            ("rot: a", 1),
            ("\nroot: ../a", 2),
            ("root: a;b", 1),
            ("public", 1),
            ("pushstate: yes", 1),
            ("index_fallback: 1", 1),
        ] {
            let shown = parse(text).unwrap_err().to_string();
            assert!(shown.starts_with(&format!("Staticfile line {line}: ")), "{shown}");
        }
    }
}
