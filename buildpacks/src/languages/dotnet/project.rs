//! Which project of a tree is the app.

use crate::PlanError;
use crate::language::App;
use crate::tree::{SourceTree, config_text, ending};

/// So many projects are read, and no more.
const PROJECTS_MAX: usize = 100;

#[derive(Debug)]
pub(super) struct Project {
    pub(super) path: String,
    /// The name of its program, without `.dll`.
    pub(super) assembly: String,
    pub(super) framework: Option<String>,
    is_web: bool,
    is_program: bool,
}

/// The one web project, else the one program; of several, the one that the Procfile's web line starts.
pub(super) fn find(app: &App<'_>) -> Result<Project, PlanError> {
    let tree = app.tree;
    let is_project = |path: &&str| ["csproj", "fsproj", "vbproj"].contains(&ending(path));
    let paths = tree.files().iter().map(|file| file.path.as_str()).filter(is_project).take(PROJECTS_MAX);
    let projects = paths.map(|path| read(tree, path)).collect::<Result<Vec<_>, _>>()?;
    let (webs, others): (Vec<Project>, Vec<Project>) =
        projects.into_iter().filter(|project| project.is_program).partition(|project| project.is_web);
    let mut programs = if webs.is_empty() { others } else { webs };
    let web = app.procfile.and_then(|procfile| procfile.get("web")).unwrap_or_default();
    if let Some(at) = programs.iter().position(|project| web.contains(&format!("{}.dll", project.assembly))) {
        return Ok(programs.remove(at));
    }
    match programs.len() {
        1 => Ok(programs.remove(0)),
        0 => Err(PlanError::NoStartCommand {
            fix: "no project is a program: give one `<Project Sdk=\"Microsoft.NET.Sdk.Web\">`, or `<OutputType>Exe</OutputType>`".to_owned(),
        }),
        _ => {
            let names: Vec<&str> = programs.iter().map(|project| project.path.as_str()).collect();
            Err(PlanError::NoStartCommand {
                fix: format!(
                    "{} are programs: say which one in a Procfile, `web: cd bin/publish && dotnet {}.dll --urls http://0.0.0.0:$PORT`",
                    names.join(", "),
                    programs[0].assembly
                ),
            })
        }
    }
}

fn read(tree: &dyn SourceTree, path: &str) -> Result<Project, PlanError> {
    let text = config_text(tree, path)?.unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or(path);
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let is_web = text.contains("Microsoft.NET.Sdk.Web");
    let is_worker = text.contains("Microsoft.NET.Sdk.Worker");
    let is_exe = element(&text, "OutputType").is_some_and(|kind| kind.eq_ignore_ascii_case("exe"));
    let is_test = text.contains("Microsoft.NET.Test.Sdk");
    Ok(Project {
        path: path.to_owned(),
        assembly: element(&text, "AssemblyName").unwrap_or_else(|| stem.to_owned()),
        framework: element(&text, "TargetFramework"),
        is_web,
        is_program: !is_test && (is_web || is_worker || is_exe),
    })
}

/// The text of an element that has no children.
fn element(text: &str, name: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (value, _) = rest.split_once("</")?;
    let value = value.trim();
    (!value.is_empty() && !value.contains('$')).then(|| value.to_owned())
}
