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
    /// The framework serves by a program unless its configuration says otherwise.
    only_with: Option<OnlyWith>,
}

/// What a configuration file or the build script has to hold.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OnlyWith {
    /// `file` has no ending: `next.config` is read from next.config.ts, .js and the like; `text` no spaces and quotes.
    Config {
        file: String,
        text: String,
    },
    Build(String),
}

const CONFIG_ENDINGS: [&str; 5] = ["ts", "js", "mjs", "mts", "cjs"];

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
    let staticfile = static_site::staticfile(app)?;
    let by = if app.overrides.root.is_some() { FILE } else { "Staticfile" };
    let Some(framework) = framework(tree, package) else {
        let settings = staticfile.map(|staticfile| staticfile.or(Settings::default()));
        return Ok(settings.map(|settings| Pages { settings, why: by.to_owned() }));
    };
    let root = match framework.root.as_str() {
        "angular.json" => angular_root(tree)?,
        "vite.config" => vite_root(tree, package)?,
        "vitepress" => vitepress_root(package),
        plain => plain.to_owned(),
    };
    let unknown_paths = if framework.spa { UnknownPaths::StartPage } else { UnknownPaths::NotFound };
    let usual = Settings { root, unknown_paths };
    let why = if staticfile.is_some() {
        format!("{by}, and {} is in package.json", framework.package)
    } else {
        format!("{} is in package.json, and nothing there starts a server", framework.package)
    };
    Ok(Some(Pages { settings: staticfile.unwrap_or_default().or(usual), why }))
}

/// A folder to serve was named, and nothing is built that could leave it.
pub(super) fn no_build(app: &App<'_>) -> PlanError {
    PlanError::Manifest {
        file: FILE.to_owned(),
        line: app.overrides.root.as_ref().map_or(0, |set| set.line),
        reason: "pages.root names what a build leaves, and package.json has no `build` script: add one, or `build.command` here; for files as they are, `build.language = \"static\"`".to_owned(),
    }
}

fn framework(tree: &dyn SourceTree, package: &Package) -> Option<&'static Framework> {
    AVAILABLE.pages.iter().find(|framework| package.asks_for(&framework.package) && framework.is_chosen(tree, package))
}

/// Whether a framework that would bring a server is told to leave pages and nothing else.
pub(super) fn are_asked_for(tree: &dyn SourceTree, package: &Package) -> bool {
    package.script("build").is_some() && framework(tree, package).is_some_and(|framework| framework.only_with.is_some())
}

impl Framework {
    fn is_chosen(&self, tree: &dyn SourceTree, package: &Package) -> bool {
        match &self.only_with {
            None => true,
            Some(OnlyWith::Build(text)) => package.script("build").is_some_and(|script| script.contains(text.as_str())),
            Some(OnlyWith::Config { file, text }) => {
                let mut files = CONFIG_ENDINGS.iter().filter_map(|ending| tree.read(&format!("{file}.{ending}")));
                files.any(|bytes| squeezed(&String::from_utf8_lossy(&bytes)).contains(text.as_str()))
            }
        }
    }
}

/// Code without its comments of one line, spaces and quotes.
fn squeezed(text: &str) -> String {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(str::chars).filter(|c| !" \t\"'`".contains(*c)).collect()
}

/// Whether a `start` script is a server for the desk: slow, and bound to 127.0.0.1.
pub(super) fn is_for_the_desk(tree: &dyn SourceTree, script: &str, package: &Package) -> bool {
    let Some(framework) = framework(tree, package) else { return false };
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

/// `--outDir` of the build script, `outDir` of the configuration where it is a plain text, else `dist`.
fn vite_root(tree: &dyn SourceTree, package: &Package) -> Result<String, PlanError> {
    let script = package.script("build").unwrap_or_default();
    let flag = script.split_once("--outDir").map(|(_, rest)| rest.trim_start_matches(['=', ' ']));
    if let Some(folder) = flag.and_then(|rest| rest.split_whitespace().next()).and_then(folder_below) {
        return Ok(folder);
    }
    for ending in CONFIG_ENDINGS {
        let Some(text) = config_text(tree, &format!("vite.config.{ending}"))? else { continue };
        let value = text.split("outDir:").nth(1).map(str::trim_start);
        let quoted = value.and_then(|value| {
            let quote = value.chars().next().filter(|c| ['"', '\''].contains(c))?;
            value[1..].split(quote).next()
        });
        if let Some(folder) = quoted.and_then(folder_below) {
            return Ok(folder);
        }
    }
    Ok("dist".to_owned())
}

/// `vitepress build docs` writes below its folder of pages.
fn vitepress_root(package: &Package) -> String {
    let script = package.script("build").unwrap_or_default();
    let named = script.split_once("vitepress build").and_then(|(_, rest)| rest.split_whitespace().next());
    let folder = named.filter(|word| !word.starts_with(['-', '&'])).and_then(folder_below);
    folder.map_or(".vitepress/dist".to_owned(), |folder| format!("{folder}/.vitepress/dist"))
}

/// A folder of the tree, unless it is written in a way that only a program can resolve.
fn folder_below(folder: &str) -> Option<String> {
    let folder = folder.trim_matches(['"', '\'']).trim_start_matches("./").trim_end_matches('/');
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let is_below = !folder.is_empty() && !folder.contains("..") && !folder.starts_with('/');
    (is_below && folder.chars().all(is_plain)).then(|| folder.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryTree;

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
            assert_eq!(is_for_the_desk(&MemoryTree::new(), script, &with(package)), is_desk, "{script}");
        }
    }
}
