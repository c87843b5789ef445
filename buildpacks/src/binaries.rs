//! What compiled languages share: programs in /app/bin, and an image with nothing else but them and the app's data files.

use crate::PlanError;
use crate::command;
use crate::language::App;
use crate::plan::BuildPlan;
use crate::recipe::{Stage, Step};
use crate::stack::StackImage;
use crate::tree::SourceTree;

/// Where programs stand in the image; on PATH, so that a Procfile may name them with or without it.
pub(crate) const FOLDER: &str = "/app/bin";

/// Names which say by themselves that they are the web process.
const WEB_NAMES: [&str; 2] = ["web", "server"];

/// The image that compiled programs run on: Debian's C library, certificates, and a shell to start them by.
pub(crate) fn run_image(base: &StackImage) -> StackImage {
    let path = "ENV PATH=/app/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    StackImage::new("native", Some(base), &[path.to_owned()])
}

/// The last stage: the programs, and the app's files where it has any that a program could read.
pub(crate) fn app_stage(run: &StackImage, data: Option<&str>) -> Stage {
    let copied = data.map(|_| Step::CopySource);
    let programs = Step::CopyFolder { stage: "build".to_owned(), path: FOLDER.to_owned() };
    Stage { name: "app".to_owned(), from: run.reference(), steps: copied.into_iter().chain([programs]).collect() }
}

/// The first file which is neither source nor papers: templates, pages, migrations. A program may look for it.
pub(crate) fn data_file(tree: &dyn SourceTree, is_source: impl Fn(&str) -> bool) -> Option<&str> {
    let is_paper = |path: &str| {
        let name = path.rsplit('/').next().unwrap_or(path);
        let (stem, ending) = name.rsplit_once('.').unwrap_or((name, ""));
        path.starts_with('.')
            || ["md", "rst", "adoc", "txtar"].contains(&ending)
            || ["LICENSE", "COPYING", "NOTICE", "AUTHORS", "Makefile", "Procfile", "Aptfile", "justfile", "app"]
                .iter()
                .any(|paper| stem.starts_with(paper) && (ending.is_empty() || ending == "txt" || name == "app.json"))
            || ["paas.toml", "mise.toml"].contains(&name)
            || ["docs/", "test/", "tests/", "examples/", "testdata/"].iter().any(|folder| path.starts_with(folder))
    };
    let paths = tree.files().iter().map(|file| file.path.as_str());
    paths.into_iter().find(|path| !is_source(path) && !is_paper(path))
}

/// Sets what runs: the Procfile's lines, else the one program that is `web`.
pub(crate) fn set_processes(
    plan: &mut BuildPlan,
    app: &App<'_>,
    programs: &[String],
    preferred: &[&str],
) -> Result<(), PlanError> {
    if let Some(procfile) = app.procfile {
        let tools = &plan.language.rules().about().programs;
        for (name, line) in procfile.iter() {
            let first = line.split_whitespace().next().unwrap_or_default();
            if tools.iter().any(|tool| tool == first) {
                let program = preferred.first().copied().or(programs.first().map(String::as_str)).unwrap_or("NAME");
                return Err(PlanError::Unclear(format!(
                    "Procfile: `{name}` calls `{first}`, which builds the app and is not in its image: write `{name}: bin/{program}`; the build leaves {} in bin/",
                    programs.join(", ")
                )));
            }
        }
        plan.set_processes(procfile);
        return Ok(());
    }
    let named = |wanted: &&str| programs.iter().any(|program| program == wanted);
    let chosen = match programs {
        [only] => Some((only.as_str(), "the only program")),
        _ => {
            let mut names = preferred.iter().copied().chain(WEB_NAMES);
            names.find(named).map(|name| (name, "by its name"))
        }
    };
    let Some((name, why)) = chosen else {
        let lines: Vec<String> = programs.iter().map(|name| format!("`web: bin/{name}`")).collect();
        return Err(PlanError::NoStartCommand {
            fix: format!(
                "the app builds {} programs, and none is called web or server: add a Procfile with one of {}",
                programs.len(),
                lines.join(", ")
            ),
        });
    };
    let line = command::quote(&format!("bin/{name}"));
    plan.notes.push(format!("web: {line} ({why})"));
    plan.set_web(&line);
    Ok(())
}
