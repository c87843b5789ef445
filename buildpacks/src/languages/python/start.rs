//! Finds the app object, so that a Flask app needs no Procfile; where there is none, the script to run.

use super::manager::Install;
use crate::PlanError;
use crate::tree::SourceTree;

/// Where the object usually stands, best first; then the packages of the root.
const FILES: &[&str] = &["wsgi.py", "app.py", "main.py", "application.py", "server.py", "run.py", "asgi.py"];

/// Scripts that are run as they are where there is no app object.
const SCRIPTS: &[&str] = &["main.py", "app.py", "server.py", "run.py", "bot.py"];

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
    for object in objects(tree) {
        if let Some(command) = server_command(&object, install) {
            return Ok((command, format!("`{}` in {}", object.name, object.file)));
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

/// The command of the first server that the app installs.
fn server_command(object: &AppObject, install: &Install) -> Option<String> {
    let target = format!("{}:{}", module(&object.file), object.name);
    let target = if object.name.contains('(') { format!("'{target}'") } else { target };
    let servers: &[(&str, &str)] = match object.interface {
        Interface::Wsgi => {
            &[("gunicorn", "gunicorn --bind 0.0.0.0:$PORT"), ("waitress", "waitress-serve --listen=0.0.0.0:$PORT")]
        }
        Interface::Asgi => &[
            ("uvicorn", "uvicorn --host 0.0.0.0 --port $PORT"),
            ("hypercorn", "hypercorn --bind 0.0.0.0:$PORT"),
            ("daphne", "daphne -b 0.0.0.0 -p $PORT"),
        ],
    };
    let (_, line) = servers.iter().find(|(server, _)| install.asks_for(server))?;
    Some(format!("{line} {target}"))
}

/// The script at the root that an app of one file has.
pub(super) fn script(tree: &dyn SourceTree) -> Option<&'static str> {
    SCRIPTS.iter().copied().find(|script| crate::tree::has(tree, script))
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
    let is_served = FRAMEWORKS.iter().any(|framework| install.asks_for(framework));
    if let Some(script) = script(tree).filter(|script| !is_served || serves_itself(&reads(tree, script))) {
        return Ok((format!("python {script}"), format!("{script} is here")));
    }
    Err(PlanError::NoStartCommand {
        fix: "no app object such as `app = Flask(__name__)` was found in app.py, main.py, wsgi.py and the like: add a Procfile with a line such as `web: gunicorn --bind 0.0.0.0:$PORT module:app`".to_owned(),
    })
}

/// A script that starts its own server.
fn serves_itself(text: &str) -> bool {
    ["uvicorn.run(", ".run(", "serve("].iter().any(|call| text.contains(call))
}

fn reads(tree: &dyn SourceTree, path: &str) -> String {
    let is_short = |entry: &&crate::TreeEntry| entry.size_bytes <= SOURCE_BYTES_MAX;
    let bytes = crate::tree::entry(tree, path).filter(is_short).and_then(|_| tree.read(path)).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The app objects of the tree, the likeliest first.
fn objects(tree: &dyn SourceTree) -> impl Iterator<Item = AppObject> {
    let nested = |is_wanted: fn(&str) -> bool| {
        let paths = tree.files().iter().map(|file| file.path.as_str());
        paths.filter(move |path| is_wanted(path)).take(NESTED_MAX)
    };
    FILES
        .iter()
        .copied()
        .chain(nested(|path| in_package(path).is_some_and(|file| FILES.contains(&file))))
        .chain(nested(|path| in_package(path) == Some("__init__.py")))
        .filter_map(|path| in_file(tree, path))
}

/// The `wsgi.py` of `mysite/wsgi.py`: one folder down, in a folder that can be imported.
fn in_package(path: &str) -> Option<&str> {
    let (folder, file) = path.split_once('/')?;
    (!folder.contains(['-', '.'])).then_some(file)
}

fn in_file(tree: &dyn SourceTree, path: &str) -> Option<AppObject> {
    let text = reads(tree, path);
    let assigned = text.lines().find_map(assigned_app);
    // Flask's documented shape without an object: a function that makes one.
    let makes = || text.contains("Flask(") && text.lines().any(|line| line.starts_with("def create_app("));
    let (name, interface) = assigned.or_else(|| makes().then_some(("create_app()", Interface::Wsgi)))?;
    Some(AppObject { file: path.to_owned(), name: name.to_owned(), interface })
}

/// `app = Flask(…)` at the left margin. Only a name that is assigned an app will do.
fn assigned_app(line: &str) -> Option<(&str, Interface)> {
    let (left, right) = line.split_once('=')?;
    let name = left.split(':').next().unwrap_or(left).trim_end();
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
        "FastAPI" | "Starlette" | "Quart" | "get_asgi_application" if is_call => Some((name, Interface::Asgi)),
        _ => None,
    }
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
