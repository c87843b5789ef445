//! Java with Maven, with Gradle's wrapper, or a Main.java without either.

use std::sync::LazyLock;

use serde::Deserialize;

use crate::PlanError;
use crate::language::{About, App, Rules, table};
use crate::plan::BuildPlan;
use crate::recipe::{Mount, Sharing, Stage, Step};
use crate::stack::{self, StackImage};
use crate::tree::{SourceTree, has};
use crate::versions;

static TABLE: LazyLock<Table> = LazyLock::new(|| table(include_str!("java.toml")));

#[derive(Debug, Deserialize)]
struct Table {
    language: About,
    debian: Debian,
}

#[derive(Debug, Deserialize)]
struct Debian {
    majors: Vec<u32>,
}

/// Any of them at the root is Gradle's.
const GRADLE: [&str; 4] = ["build.gradle", "build.gradle.kts", "settings.gradle", "settings.gradle.kts"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tool {
    Maven,
    Gradle,
    Javac,
}

pub(crate) struct Java;

impl Rules for Java {
    fn about(&self) -> &'static About {
        &TABLE.language
    }

    fn plan(&self, app: &App<'_>) -> Result<BuildPlan, PlanError> {
        let mut plan = BuildPlan::new(app.detection);
        let tool = tool(app.tree)?;
        let (major, note) = version(app)?;
        plan.versions.insert("java".to_owned(), major.to_string());
        plan.notes.push(format!("{note}, {}", tool.shown()));
        if let Some(procfile) = app.procfile {
            plan.set_processes(procfile);
        } else {
            // Spring takes the port from a property, most others from PORT itself.
            let command = match tool {
                Tool::Maven | Tool::Gradle => {
                    "java -XX:MaxRAMPercentage=75 $JAVA_OPTS -Dserver.port=$PORT -jar bin/app.jar"
                }
                Tool::Javac => "java -XX:MaxRAMPercentage=75 $JAVA_OPTS -cp bin Main",
            };
            plan.notes.push(format!("web: {command} ({})", tool.origin()));
            plan.set_web(command);
        }
        lay_out(&mut plan, app, tool, major);
        Ok(plan)
    }

    fn builds_by_itself(&self) -> bool {
        true
    }
}

impl Tool {
    fn shown(self) -> &'static str {
        match self {
            Self::Maven => "mvn package",
            Self::Gradle => "gradlew assemble",
            Self::Javac => "javac",
        }
    }

    fn origin(self) -> &'static str {
        match self {
            Self::Maven => "the jar in target",
            Self::Gradle => "the jar in build/libs",
            Self::Javac => "Main.java is here",
        }
    }

    /// Builds, and puts the one jar that can be started where the start command looks for it.
    fn command(self, app: &App<'_>) -> String {
        let pick = |jars: &str| {
            format!(
                "mkdir -p bin && jar=$(ls -S {jars} 2>/dev/null | grep -v -e '-sources.jar$' -e '-javadoc.jar$' -e '-plain.jar$' -e '/original-' | head -n 1) && cp \"$jar\" bin/app.jar"
            )
        };
        match self {
            Self::Maven => {
                let build = app.build_or("mvn --batch-mode --no-transfer-progress -DskipTests package".to_owned());
                format!("{build} && {}", pick("target/*.jar"))
            }
            Self::Gradle => {
                let build = app.build_or("sh ./gradlew --no-daemon --console=plain assemble".to_owned());
                // An app of several projects has its jars one folder down.
                format!("{build} && {}", pick("build/libs/*.jar */build/libs/*.jar"))
            }
            Self::Javac => app.build_or(
                "mkdir -p bin && find . -name '*.java' -not -path './bin/*' > /tmp/sources && javac -d bin @/tmp/sources"
                    .to_owned(),
            ),
        }
    }
}

fn tool(tree: &dyn SourceTree) -> Result<Tool, PlanError> {
    if has(tree, "pom.xml") {
        return Ok(Tool::Maven);
    }
    if !GRADLE.iter().any(|file| has(tree, file)) {
        return Ok(Tool::Javac);
    }
    for file in ["gradlew", "gradle/wrapper/gradle-wrapper.jar"] {
        if !has(tree, file) {
            return Err(PlanError::Unclear(format!(
                "Gradle's wrapper is not whole: {file} is not in the commit; run `gradle wrapper`, then `git add -f gradlew gradle/wrapper` and commit"
            )));
        }
    }
    Ok(Tool::Gradle)
}

/// The smallest of Debian's that is not older than what is asked for.
fn version(app: &App<'_>) -> Result<(u32, String), PlanError> {
    let majors = &TABLE.debian.majors;
    let default = majors.first().copied().unwrap_or_default();
    let Some(request) = versions::find(app.tree, &TABLE.language)? else {
        let kept = app.kept("java", 1, &default.to_string()).and_then(|major| major.parse().ok());
        if let Some(kept) = kept.filter(|major| majors.contains(major)) {
            return Ok((kept, format!("java {kept} (Debian's OpenJDK; as the release before, no system.properties)")));
        }
        return Ok((default, format!("java {default} (Debian's OpenJDK; no system.properties)")));
    };
    // `temurin-21.0.2+13`, `21.0.2-tem`, `1.8`: the first number, but for Java 8 and before.
    let text = request.text.trim_start_matches(|c: char| !c.is_ascii_digit());
    let text = text.strip_prefix("1.").unwrap_or(text);
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    let chosen = digits.parse::<u32>().ok().and_then(|wanted| majors.iter().find(|major| **major >= wanted));
    match chosen {
        Some(major) => {
            Ok((*major, format!("java {major} (Debian's OpenJDK satisfies {} \"{}\")", request.place, request.text)))
        }
        None => {
            let all: Vec<String> = majors.iter().map(u32::to_string).collect();
            let fix = format!("and there are Debian's {}: write {default}, or add a Dockerfile", all.join(" and "));
            Err(request.refused("Java", fix))
        }
    }
}

fn lay_out(plan: &mut BuildPlan, app: &App<'_>, tool: Tool, major: u32) {
    let base = stack::base();
    let (run, build) = images(&base, major);
    let mounts = match tool {
        Tool::Maven => vec![Mount::cache("maven", "/root/.m2", Sharing::Locked)],
        Tool::Gradle => vec![Mount::cache("gradle", "/root/.gradle", Sharing::Locked)],
        Tool::Javac => Vec::new(),
    };
    plan.stages = vec![
        Stage::new("build", &build.reference(), vec![Step::CopySource, Step::run(tool.command(app), mounts)]),
        Stage::new("app", &run.reference(), vec![Step::copy("build", "/app")]),
    ];
    plan.add_stack([base, run, build]);
}

fn images(base: &StackImage, major: u32) -> (StackImage, StackImage) {
    let user = || "USER root".to_owned();
    let runtime = format!("openjdk-{major}-jre-headless");
    let run = StackImage::new(
        &format!("java{major}"),
        Some(base),
        &[user(), stack::run(&stack::apt_install(&[&runtime])), "USER app".to_owned()],
    );
    let kit = format!("openjdk-{major}-jdk-headless");
    let mut commands = stack::apt_install(&[&kit, "maven"]);
    // Maven brings Debian's default kit along: the one that was asked for is to be found first.
    commands.push(format!("ln -s /usr/lib/jvm/java-{major}-openjdk-$(dpkg --print-architecture) /opt/java"));
    let lines = [user(), stack::run(&commands), "ENV JAVA_HOME=/opt/java".to_owned()];
    (run.clone(), StackImage::new(&format!("java{major}-build"), Some(&run), &lines))
}
