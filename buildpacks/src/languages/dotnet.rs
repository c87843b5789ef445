//! .NET: the one program of a tree, published, on Microsoft's runtime. Debian has none: SDK and runtime come from Microsoft's
//! images, so that a registry has to answer when the stack image is made.

mod project;

use std::sync::LazyLock;

use project::Project;
use serde::Deserialize;

use crate::PlanError;
use crate::language::{About, App, Rules, table};
use crate::plan::BuildPlan;
use crate::recipe::{Mount, Sharing, Stage, Step};
use crate::stack::{self, StackImage};
use crate::tree::SourceTree;
use crate::{command, versions};

/// Where Heroku's buildpack publishes to as well.
const PUBLISHED: &str = "bin/publish";
const FOLDER: &str = "/usr/share/dotnet";

static TABLE: LazyLock<Table> = LazyLock::new(|| table(include_str!("dotnet.toml")));

#[derive(Debug, Deserialize)]
struct Table {
    language: About,
    images: Images,
}

#[derive(Debug, Deserialize)]
struct Images {
    sdk: String,
    runtime: String,
    majors: Vec<u32>,
    packages: Vec<String>,
}

pub(crate) struct Dotnet;

impl Rules for Dotnet {
    fn about(&self) -> &'static About {
        &TABLE.language
    }

    fn plan(&self, app: &App<'_>) -> Result<BuildPlan, PlanError> {
        let mut plan = BuildPlan::new(app.detection);
        let project = project::find(app)?;
        let (major, note) = version(app.tree, &project)?;
        plan.versions.insert("dotnet".to_owned(), major.to_string());
        plan.notes.push(format!("{note}, dotnet publish {}", project.path));
        if let Some(procfile) = app.procfile {
            plan.set_processes(procfile);
        } else {
            // A web app looks for its settings where it is started.
            let program = command::quote(&format!("{}.dll", project.assembly));
            let line = format!("cd {PUBLISHED} && env ASPNETCORE_URLS=http://0.0.0.0:$PORT dotnet {program}");
            plan.notes.push(format!("web: {line} ({})", project.path));
            plan.set_web(&line);
        }
        lay_out(&mut plan, app, &project, major);
        Ok(plan)
    }

    fn builds_by_itself(&self) -> bool {
        true
    }
}

fn version(tree: &dyn SourceTree, project: &Project) -> Result<(u32, String), PlanError> {
    let majors = &TABLE.images.majors;
    let newest = majors.last().copied().unwrap_or_default();
    let all = || majors.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    let known = |text: &str| {
        let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u32>().ok().filter(|major| majors.contains(major))
    };
    if let Some(request) = versions::find(tree, &TABLE.language)? {
        let refusal = || request.refused(".NET", format!("and there are {}: write \"{newest}.0\"", all()));
        let major = known(&request.text).ok_or_else(refusal)?;
        return Ok((major, format!(".NET {major} (Microsoft's SDK satisfies {} \"{}\")", request.place, request.text)));
    }
    let Some(framework) = &project.framework else {
        return Ok((newest, format!(".NET {newest} (Microsoft's SDK; {} names no TargetFramework)", project.path)));
    };
    // `net8.0`, `net8.0-windows`
    let major = framework.strip_prefix("net").and_then(known).ok_or_else(|| PlanError::Version {
        place: project.path.clone(),
        what: "TargetFramework".to_owned(),
        request: crate::text::excerpt(framework),
        fix: format!("and there are {}: write net{newest}.0", all()),
    })?;
    Ok((major, format!(".NET {major} (Microsoft's SDK satisfies TargetFramework \"{framework}\")")))
}

fn lay_out(plan: &mut BuildPlan, app: &App<'_>, project: &Project, major: u32) {
    let base = stack::base();
    let run = image("", &base, &TABLE.images.runtime, major, "USER app");
    let build = image("-build", &base, &TABLE.images.sdk, major, "USER root");
    let publish = format!("dotnet publish {} -c Release -o {PUBLISHED}", command::quote(&project.path));
    let cache = Mount::cache("nuget", "/root/.nuget/packages", Sharing::Shared);
    let steps = vec![Step::CopySource, Step::run(app.build_or(publish), vec![cache])];
    plan.stages = vec![
        Stage::new("build", &build.reference(), steps),
        Stage::new("app", &run.reference(), vec![Step::copy("build", &format!("/app/{PUBLISHED}"))]),
    ];
    plan.add_stack([base, run, build]);
}

fn image(kind: &str, base: &StackImage, from: &str, major: u32, user: &str) -> StackImage {
    let packages: Vec<&str> = TABLE.images.packages.iter().map(String::as_str).collect();
    StackImage::new(
        &format!("dotnet{major}{kind}"),
        Some(base),
        &[
            "USER root".to_owned(),
            stack::run(&stack::apt_install(&packages)),
            format!("COPY --from={from}:{major}.0 {FOLDER} {FOLDER}"),
            format!(
                "ENV DOTNET_ROOT={FOLDER} DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1 PATH={FOLDER}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
            ),
            user.to_owned(),
        ],
    )
}
