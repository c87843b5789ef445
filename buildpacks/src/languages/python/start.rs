//! Finds the app object, so that a Flask app needs no Procfile; where there is none, the script to run.

use super::TABLE;
use super::manager::Install;
use crate::PlanError;
use crate::tree::SourceTree;

/// Where the object usually stands, best first; then the packages of the root.
const FILES: &[&str] = &["wsgi.py", "app.py", "main.py", "application.py", "server.py", "run.py", "asgi.py"];

/// Frameworks whose app some server has to run: a script of theirs that was not understood is not run by chance.
const FRAMEWORKS: &[&str] = &["flask", "django", "fastapi", "starlette", "quart", "bottle"];

/// Source files longer than this are not looked into.
const SOURCE_BYTES_MAX: u64 = 1024 * 1024;

/// So many files one folder down are looked into, and no more: each is read from git.
const NESTED_MAX: usize = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Interface {
    Wsgi,
    Asgi,
}

/// `module:name` of an app object, and what it speaks.
#[derive(Debug, PartialEq, Eq)]
struct AppObject {
    file: String,
    name: String,
    interface: Interface,
}

/// The web command of an app without a Procfile, and where it comes from.
pub(super) fn web(tree: &dyn SourceTree, install: &Install) -> Result<(String, String), PlanError> {
    if install.asks_for("streamlit")
        && let Some(script) = script(tree).filter(|path| reads(tree, path).contains("streamlit"))
    {
        let line =
            format!("streamlit run {script} --server.address 0.0.0.0 --server.port $PORT --server.headless true");
        return Ok((line, format!("{script} is Streamlit's")));
    }
    let mut first = None;
    for object in objects(tree, install) {
        if let Some(command) = server_command(&object, install) {
            return Ok((command, format!("`{}` in {}", object.name, object.file)));
        }
        if TABLE.language.scripts.contains(&object.file) && serves_on_port(&reads(tree, &object.file)) {
            return Ok((format!("python {}", object.file), format!("{} starts its own server", object.file)));
        }
        // Of Django's two, the one that most are served by.
        if first.as_ref().is_none_or(|one: &AppObject| one.interface == Interface::Asgi) {
            first = Some(object);
        }
    }
    match first {
        Some(object) => Err(no_server(&object, install)),
        None => without_object(tree, install),
    }
}

impl Interface {
    /// The servers that speak it, and their command lines.
    fn servers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Wsgi => {
                &[("gunicorn", "gunicorn --bind 0.0.0.0:$PORT"), ("waitress", "waitress-serve --listen=0.0.0.0:$PORT")]
            }
            Self::Asgi => &[
                ("uvicorn", "uvicorn --host 0.0.0.0 --port $PORT"),
                ("hypercorn", "hypercorn --bind 0.0.0.0:$PORT"),
                ("daphne", "daphne -b 0.0.0.0 -p $PORT"),
            ],
        }
    }

    /// The command line of the first that the app installs.
    fn server(self, install: &Install) -> Option<&'static str> {
        self.servers().iter().find(|(server, _)| install.asks_for(server)).map(|(_, line)| *line)
    }
}

fn server_command(object: &AppObject, install: &Install) -> Option<String> {
    let target = format!("{}:{}", module(&object.file), object.name);
    let target = if object.name.contains('(') { format!("'{target}'") } else { target };
    Some(format!("{} {target}", object.interface.server(install)?))
}

/// The script at the root that an app of one file has: run as it is where there is no app object.
pub(super) fn script(tree: &dyn SourceTree) -> Option<&'static str> {
    TABLE.language.scripts.iter().map(String::as_str).find(|script| crate::tree::has(tree, script))
}

fn no_server(object: &AppObject, install: &Install) -> PlanError {
    let server = match object.interface {
        Interface::Wsgi => "gunicorn",
        Interface::Asgi => "uvicorn",
    };
    let file = install.file;
    let add = match file {
        "requirements.txt" | "setup.py" | "the app" => format!("add a line `{server}` to requirements.txt"),
        "Pipfile" | "Pipfile.lock" => format!("run `pipenv install {server}` and commit"),
        "poetry.lock" => format!("run `poetry add {server}` and commit"),
        "pdm.lock" => format!("run `pdm add {server}` and commit"),
        _uv => format!("run `uv add {server}` and commit"),
    };
    PlanError::NoStartCommand {
        fix: format!(
            "{} holds the app object `{}`, and {file} has no server for it: {add}, or a Procfile with a `web:` line",
            object.file, object.name
        ),
    }
}

fn without_object(tree: &dyn SourceTree, install: &Install) -> Result<(String, String), PlanError> {
    if let Some(script) = script(tree).filter(|script| is_plain(&reads(tree, script), install)) {
        return Ok((format!("python {script}"), format!("{script} is here")));
    }
    if let Some(program) = &install.program {
        return Ok((program.clone(), "project.scripts".to_owned()));
    }
    if let Some(package) = runnable_package(tree, install) {
        return Ok((format!("python -m {package}"), format!("{package}/__main__.py is here")));
    }
    Err(PlanError::NoStartCommand {
        fix: "no app object such as `app = Flask(__name__)` was found in app.py, main.py, wsgi.py and the like: add a Procfile with a line such as `web: gunicorn --bind 0.0.0.0:$PORT module:app`".to_owned(),
    })
}

/// A script that may be run as it is: it has nothing to do with the frameworks that are installed, or serves by itself.
fn is_plain(text: &str, install: &Install) -> bool {
    let mentions = |framework: &&&str| install.asks_for(framework) && text.to_ascii_lowercase().contains(**framework);
    serves_itself(text) || !FRAMEWORKS.iter().any(|framework| mentions(&framework))
}

/// The project's own package, where it can be run by its name.
fn runnable_package(tree: &dyn SourceTree, install: &Install) -> Option<String> {
    let name = install.project.clone()?;
    let names = [name.replace('-', "_"), name];
    names.into_iter().find(|name| crate::tree::has(tree, &format!("{name}/__main__.py")))
}

/// A script that starts its own server.
fn serves_itself(text: &str) -> bool {
    ["uvicorn.run(", ".run(", "serve("].iter().any(|call| text.contains(call))
}

/// The same, on the port that it is given.
fn serves_on_port(text: &str) -> bool {
    serves_itself(text) && ["\"PORT\"", "'PORT'"].iter().any(|name| text.contains(name))
}

fn reads(tree: &dyn SourceTree, path: &str) -> String {
    let is_short = |entry: &&crate::TreeEntry| entry.size_bytes <= SOURCE_BYTES_MAX;
    let bytes = crate::tree::entry(tree, path).filter(is_short).and_then(|_| tree.read(path)).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The app objects of the tree, the likeliest first.
fn objects<'a>(tree: &'a dyn SourceTree, install: &'a Install) -> impl Iterator<Item = AppObject> + 'a {
    let nested = |is_wanted: fn(&str) -> bool| {
        let paths = tree.files().iter().map(|file| file.path.as_str());
        paths.filter(move |path| is_wanted(path)).take(NESTED_MAX)
    };
    FILES
        .iter()
        .copied()
        .chain(nested(|path| in_package(path).is_some_and(|file| FILES.contains(&file))))
        .chain(nested(|path| in_package(path) == Some("__init__.py")))
        .filter_map(|path| in_file(tree, path, install))
}

/// The `wsgi.py` of `mysite/wsgi.py`: one folder down, in a folder that can be imported.
fn in_package(path: &str) -> Option<&str> {
    let (folder, file) = path.split_once('/')?;
    (!folder.contains(['-', '.'])).then_some(file)
}

fn in_file(tree: &dyn SourceTree, path: &str, install: &Install) -> Option<AppObject> {
    let text = reads(tree, path);
    let is_entry = !path.contains('/') || path.ends_with("wsgi.py") || path.ends_with("asgi.py");
    let imported = || text.lines().filter(|_| is_entry).find_map(|line| imported_app(line, install));
    let assigned = text.lines().find_map(assigned_app).or_else(imported);
    // Flask's documented shape without an object: a function that makes one.
    let makes = || text.contains("Flask(") && text.lines().any(|line| line.starts_with("def create_app("));
    let (name, interface) = assigned.or_else(|| makes().then_some(("create_app()", Interface::Wsgi)))?;
    Some(AppObject { file: path.to_owned(), name: name.to_owned(), interface })
}

/// `app = Flask(…)` at the left margin. Only a name that is assigned an app will do.
fn assigned_app(line: &str) -> Option<(&str, Interface)> {
    let (left, right) = line.split_once('=')?;
    // `app: Flask = …`, and FastHTML's `app, rt = fast_app()`.
    let name = left.split([':', ',']).next().unwrap_or(left).trim_end();
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !is_name {
        return None;
    }
    let call = right.trim_start().split('(').next().unwrap_or_default();
    let callee = call.rsplit('.').next().unwrap_or(call);
    let is_call = right.contains('(');
    match callee {
        "Flask" | "get_wsgi_application" | "Bottle" if is_call => Some((name, Interface::Wsgi)),
        "create_app" | "make_app" if is_call && ["app", "application"].contains(&name) => Some((name, Interface::Wsgi)),
        "FastAPI" | "Starlette" | "Quart" | "FastHTML" | "fast_app" | "get_asgi_application" if is_call => {
            Some((name, Interface::Asgi))
        }
        _ => None,
    }
}

/// `from shop import app` in a file whose name says that a server reads it; without one it may be a script as well.
fn imported_app<'a>(line: &'a str, install: &Install) -> Option<(&'a str, Interface)> {
    let (_, names) = line.strip_prefix("from ")?.split_once(" import ")?;
    let mut names = names.split(',').map(|name| name.rsplit(" as ").next().unwrap_or(name).trim());
    let name = names.find(|name| ["app", "application"].contains(name))?;
    let asks_for = |frameworks: &[&str]| frameworks.iter().any(|framework| install.asks_for(framework));
    let interface = if asks_for(&["flask", "bottle", "django"]) { Interface::Wsgi } else { Interface::Asgi };
    interface.server(install).map(|_| (name, interface))
}

fn module(file: &str) -> String {
    let path = file.strip_suffix(".py").unwrap_or(file);
    let path = path.strip_suffix("/__init__").unwrap_or(path);
    path.replace('/', ".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_objects_are_told_from_other_lines() {
        for (line, found) in [
            ("app = Flask(__name__)", Some(("app", Interface::Wsgi))),
            ("api: Flask = flask.Flask(__name__)", Some(("api", Interface::Wsgi))),
            ("application = get_wsgi_application()", Some(("application", Interface::Wsgi))),
            ("app = create_app()", Some(("app", Interface::Wsgi))),
            ("app=FastAPI(title='x')", Some(("app", Interface::Asgi))),
            ("app, rt = fast_app()", Some(("app", Interface::Asgi))),
            ("    app = Flask(__name__)", None),
            ("# app = Flask(__name__)", None),
            ("app == Flask(__name__)", None),
            ("x = create_app()", None),
            ("app = Flask", None),
            ("from flask import Flask", None),
        ] {
            assert_eq!(assigned_app(line), found, "{line}");
        }
    }

    #[test]
    fn modules_are_named_as_python_imports_them() {
        assert_eq!(module("app.py"), "app");
        assert_eq!(module("mysite/wsgi.py"), "mysite.wsgi");
        assert_eq!(module("app/__init__.py"), "app");
    }
}
