//! Finds the app object, so that a Flask app needs no Procfile.

use super::requirements::Requirements;
use crate::PlanError;
use crate::tree::SourceTree;

/// Where the object usually stands, best first; then the packages of the root.
const FILES: &[&str] = &["wsgi.py", "app.py", "main.py", "application.py", "server.py", "run.py", "asgi.py"];

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
pub(super) fn web(tree: &dyn SourceTree, requirements: &Requirements) -> Result<(String, String), PlanError> {
    let Some(object) = find(tree) else {
        return Err(PlanError::NoStartCommand {
            fix: "no app object such as `app = Flask(__name__)` was found in app.py, main.py, wsgi.py and the like: add a Procfile with a line such as `web: gunicorn --bind 0.0.0.0:$PORT module:app`".to_owned(),
        });
    };
    let target = format!("{}:{}", module(&object.file), object.name);
    let (server, command) = match object.interface {
        Interface::Wsgi => ("gunicorn", format!("gunicorn --bind 0.0.0.0:$PORT {target}")),
        Interface::Asgi => ("uvicorn", format!("uvicorn --host 0.0.0.0 --port $PORT {target}")),
    };
    if !requirements.asks_for(server) {
        return Err(PlanError::NoStartCommand {
            fix: format!(
                "{} holds the app object `{}`, and requirements.txt has no server for it: add a line `{server}` to requirements.txt, or a Procfile with a `web:` line",
                object.file, object.name
            ),
        });
    }
    Ok((command, format!("`{}` in {}", object.name, object.file)))
}

fn find(tree: &dyn SourceTree) -> Option<AppObject> {
    let nested = |is_wanted: fn(&str) -> bool| {
        let paths = tree.files().iter().map(|file| file.path.as_str());
        paths.filter(move |path| is_wanted(path)).take(NESTED_MAX)
    };
    FILES
        .iter()
        .copied()
        .chain(nested(|path| in_package(path).is_some_and(|file| FILES.contains(&file))))
        .chain(nested(|path| in_package(path) == Some("__init__.py")))
        .find_map(|path| in_file(tree, path))
}

/// The `wsgi.py` of `mysite/wsgi.py`: one folder down, in a folder that can be imported.
fn in_package(path: &str) -> Option<&str> {
    let (folder, file) = path.split_once('/')?;
    (!folder.contains(['-', '.'])).then_some(file)
}

fn in_file(tree: &dyn SourceTree, path: &str) -> Option<AppObject> {
    let entry = crate::tree::entry(tree, path)?;
    if entry.size_bytes > SOURCE_BYTES_MAX {
        return None;
    }
    let text = tree.read(path)?;
    let text = String::from_utf8_lossy(&text);
    text.lines().find_map(|line| {
        let (name, interface) = assigned_app(line)?;
        Some(AppObject { file: path.to_owned(), name: name.to_owned(), interface })
    })
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
