//! Apps that are only files after their build: which folder is served, and whether they route in the browser.

use serde::Deserialize;
use serde_json::Value;

use super::install::Install;
use super::package::Package;
use super::version::AVAILABLE;
use crate::PlanError;
use crate::language::App;
use crate::languages::static_site::{self, Settings, UnknownPaths};
use crate::overrides::FILE;
use crate::tree::{SourceTree, config_text};

/// A framework whose build leaves pages, as the table has it.
#[derive(Debug, Deserialize)]
pub(super) struct Framework {
    package: String,
    /// The folder, or the file that names it.
    root: String,
    spa: bool,
    dev: Vec<String>,
}

/// What is served after the build, and why.
#[derive(Debug)]
pub(super) struct Pages {
    pub(super) settings: Settings,
    pub(super) why: String,
}

/// A Staticfile, or the framework that the app is built with.
pub(super) fn find(app: &App<'_>, package: &Package, install: &Install) -> Result<Option<Pages>, PlanError> {
    let tree = app.tree;
    if install.build.is_none() {
        return Ok(None);
    }
    if let Some(settings) = static_site::settings(app)? {
        let why = if app.overrides.root.is_some() { FILE } else { "Staticfile" };
        return Ok(Some(Pages { settings, why: why.to_owned() }));
    }
    let Some(framework) = framework(package) else { return Ok(None) };
    let root = match framework.root.as_str() {
        "angular.json" => angular_root(tree)?,
        "vite.config" => vite_root(tree)?,
        plain => plain.to_owned(),
    };
    let unknown_paths = if framework.spa { UnknownPaths::StartPage } else { UnknownPaths::NotFound };
    let why = format!("{} is in package.json, and nothing there starts a server", framework.package);
    Ok(Some(Pages { settings: Settings { root, unknown_paths }, why }))
}

/// A folder to serve was named, and nothing is built that could leave it.
pub(super) fn no_build(app: &App<'_>) -> PlanError {
    PlanError::Manifest {
        file: FILE.to_owned(),
        line: app.overrides.root.as_ref().map_or(0, |set| set.line),
        reason: "pages.root names what a build leaves, and package.json has no `build` script: add one, or `build.command` here; for files as they are, `build.language = \"static\"`".to_owned(),
    }
}

fn framework(package: &Package) -> Option<&'static Framework> {
    AVAILABLE.pages.iter().find(|framework| package.asks_for(&framework.package))
}

/// Whether a `start` script is a server for the desk: slow, and bound to 127.0.0.1.
pub(super) fn is_for_the_desk(script: &str, package: &Package) -> bool {
    let Some(framework) = framework(package) else { return false };
    let is_noise = |word: &&str| word.contains('=') || word.starts_with('-') || *word == "cross-env";
    let plain: Vec<&str> = script.split_whitespace().filter(|word| !is_noise(word)).collect();
    framework.dev.iter().any(|dev| {
        let dev: Vec<&str> = dev.split_whitespace().collect();
        // `vite` alone serves, `vite build` does not.
        let is_build = dev.len() == 1 && plain.get(1) == Some(&"build");
        !is_build && plain.starts_with(&dev)
    })
}

/// The output folder of the default project; the builder of Angular 17 and later puts pages into `browser`.
fn angular_root(tree: &dyn SourceTree) -> Result<String, PlanError> {
    let text = config_text(tree, "angular.json")?.unwrap_or_default();
    let json: Value = serde_json::from_str(&text).map_err(|error| PlanError::Manifest {
        file: "angular.json".to_owned(),
        line: error.line(),
        reason: "this is no valid JSON: correct it, then push again".to_owned(),
    })?;
    let projects = json.get("projects").and_then(Value::as_object);
    let default = json.get("defaultProject").and_then(Value::as_str);
    let is_app = |project: &Value| project.get("projectType").and_then(Value::as_str) != Some("library");
    let chosen = projects.and_then(|all| match default {
        Some(name) => all.get_key_value(name),
        None => all.iter().find(|(_, project)| is_app(project)),
    });
    let Some((name, project)) = chosen else { return Ok("dist".to_owned()) };
    let build = project.pointer("/architect/build").or_else(|| project.pointer("/targets/build"));
    let output = build.and_then(|build| build.pointer("/options/outputPath"));
    let has_browser = build
        .and_then(|build| build.get("builder"))
        .and_then(Value::as_str)
        .is_some_and(|builder| builder.ends_with(":application"));
    let (folder, browser) = match output {
        Some(Value::String(folder)) => (folder.clone(), "browser"),
        Some(Value::Object(paths)) => {
            let text = |key: &str| paths.get(key).and_then(Value::as_str);
            (text("base").unwrap_or("dist").to_owned(), text("browser").unwrap_or("browser"))
        }
        Some(_) | None => (format!("dist/{name}"), "browser"),
    };
    let folder = folder.trim_end_matches('/').to_owned();
    Ok(if has_browser && !browser.is_empty() { format!("{folder}/{browser}") } else { folder })
}

/// `outDir` of the configuration where it is a plain text, else `dist`.
fn vite_root(tree: &dyn SourceTree) -> Result<String, PlanError> {
    for ending in ["ts", "js", "mjs", "mts", "cjs"] {
        let Some(text) = config_text(tree, &format!("vite.config.{ending}"))? else { continue };
        let value = text.split("outDir:").nth(1).map(str::trim_start);
        let quoted = value.and_then(|value| {
            let quote = value.chars().next().filter(|c| ['"', '\''].contains(c))?;
            value[1..].split(quote).next()
        });
        let folder = quoted.unwrap_or("dist").trim_start_matches("./").trim_end_matches('/');
        if !folder.is_empty() && !folder.contains("..") {
            return Ok(folder.to_owned());
        }
    }
    Ok("dist".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_for_the_desk_are_told_from_builds_and_servers() {
        let with = |name: &str| Package::parse(&format!("{{\"devDependencies\":{{\"{name}\":\"1\"}}}}")).unwrap();
        for (package, script, is_desk) in [
            ("vite", "vite", true),
            ("vite", "vite --port 3000", true),
            ("vite", "vite preview", true),
            ("vite", "vite build", false),
            ("vite", "node server.js", false),
            ("react-scripts", "BROWSER=none react-scripts start", true),
            ("react-scripts", "serve -s build", false),
            ("@angular/core", "ng serve --open", true),
            ("parcel", "parcel src/index.html", true),
            ("express", "vite", false),
        ] {
            assert_eq!(is_for_the_desk(script, &with(package)), is_desk, "{script}");
        }
    }
}
