//! A plan becomes the text of a Dockerfile and the files beside it.
//!
//! Values never stand in the text: a layer's history is there for everybody to read. Steps mount them
//! from `meta/` for as long as they run. Only what the builder inside Docker 20.10 knows is written.

use std::collections::BTreeMap;

use crate::command::quote;
use crate::language::Language;
use crate::plan::{BuildEnv, BuildPlan, DockerfileSource};
use crate::recipe::{EnvScope, Mount, Sharing, Stage, Step};

/// uid and gid of the user `app` of the stack images: looking the name up costs a moment per COPY.
const OWNER: &str = "1000:1000";

/// How the comment begins that tells whose the caches of a step are.
pub const CACHE_COMMENT: &str = " # cache ";

/// Where a step finds the values it is given.
const META: &str = "/tmp/paas-meta";

/// The names under which most tools look for certificate authorities; a language's own stand in its table.
const CA_NAMES: [&str; 3] = ["SSL_CERT_FILE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO"];

/// No Debug here and below: these hold the values of config vars.
#[derive(Clone, Copy)]
pub struct RenderContext<'a> {
    /// The app's secret random id: names its cache mounts.
    pub cache_id: &'a str,
    /// Stands behind steps that have a cache, for everybody to read: the engine tells by which step a cache was made, and
    /// not what it is called.
    pub cache_mark: &'a str,
    pub git_rev: &'a str,
    pub env: &'a BuildEnv,
    /// Extra certificate authorities the build's network wants, as PEM.
    pub ca_bundle: Option<&'a [u8]>,
    pub labels: &'a BTreeMap<String, String>,
}

/// What the context holds beside the app's files.
#[derive(Clone, PartialEq, Eq)]
pub struct Rendered {
    /// Empty when the app brings its own.
    pub dockerfile: String,
    pub meta: Vec<MetaFile>,
}

#[derive(Clone, PartialEq, Eq)]
pub struct MetaFile {
    /// From the root of the context, so it begins with `meta/`.
    pub path: String,
    pub contents: Vec<u8>,
    pub executable: bool,
}

pub fn render(plan: &BuildPlan, ctx: &RenderContext) -> Rendered {
    match plan.dockerfile {
        DockerfileSource::Users { .. } => Rendered { dockerfile: String::new(), meta: Vec::new() },
        DockerfileSource::Generated => Rendered { dockerfile: dockerfile(plan, ctx), meta: meta_files(plan, ctx) },
    }
}

fn dockerfile(plan: &BuildPlan, ctx: &RenderContext) -> String {
    let mut lines = Vec::new();
    for stage in &plan.stages {
        lines.push(format!("FROM {} AS {}", stage.from, stage.name));
        lines.extend(stage.steps.iter().map(|step| step_line(step, ctx)));
    }
    // Whatever the last stage stands on, apps do not run as root.
    lines.push("USER app".to_owned());
    // Labels change with every release: behind all else, they make nothing run again.
    if !ctx.labels.is_empty() {
        lines.push(label_line(ctx.labels));
    }
    lines.push(String::new());
    lines.join("\n")
}

fn step_line(step: &Step, ctx: &RenderContext) -> String {
    match step {
        Step::CopySource => format!("COPY --chown={OWNER} src/ /app/"),
        Step::CopyFolder { stage, path } => {
            format!("COPY --from={stage} --chown={OWNER} {path} {path}")
        }
        Step::Run { command, mounts, env } => run_line(command, mounts, *env, ctx),
    }
}

fn run_line(command: &str, mounts: &[Mount], env: EnvScope, ctx: &RenderContext) -> String {
    let has_cache = mounts.iter().any(|mount| matches!(mount, Mount::Cache { .. } | Mount::OwnCache { .. }));
    let mark = if has_cache && !ctx.cache_mark.is_empty() { cache_comment(ctx.cache_mark) } else { String::new() };
    let mut all = vec![format!("type=bind,source=meta/{},target={META}", scope_folder(env))];
    all.extend(mounts.iter().map(|mount| mount_options(mount, ctx)));
    let mounts: Vec<String> = all.iter().map(|mount| format!("--mount={mount}")).collect();
    // An installer's step does not hear of the commit: it would run again for each.
    let rev = match env {
        EnvScope::Install => String::new(),
        EnvScope::Everything => format!("export GIT_REV={} && ", quote(ctx.git_rev)),
        EnvScope::Files => format!("export GIT_REV={0} SOURCE_VERSION={0} && ", quote(ctx.git_rev)),
    };
    format!("RUN {} \\\n    . {META}/env && {rev}{command}{mark}", mounts.join(" \\\n    "))
}

/// A shell's comment: it runs to the end of the step's last line.
fn cache_comment(mark: &str) -> String {
    let mark: String = mark.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    format!("{CACHE_COMMENT}{mark}")
}

fn mount_options(mount: &Mount, ctx: &RenderContext) -> String {
    match mount {
        Mount::SourceFile { path } => format!("type=bind,source=src/{path},target=/app/{path}"),
        Mount::StageFolder { stage, path } => {
            format!("type=bind,from={stage},source={path},target={path},rw")
        }
        Mount::Cache { name, path, sharing } => {
            let sharing = match sharing {
                Sharing::Shared => "",
                Sharing::Locked => ",sharing=locked",
            };
            format!("type=cache,id={},target={path}{sharing}", cache_name(name, ctx))
        }
        Mount::OwnCache { name, path } => {
            let (user, group) = OWNER.split_once(':').unwrap_or((OWNER, OWNER));
            let name = cache_name(name, ctx);
            format!("type=cache,id={name},target={path},sharing=locked,uid={user},gid={group}")
        }
        Mount::Context { folder, path } => format!("type=bind,source={folder},target={path}"),
    }
}

fn cache_name(name: &str, ctx: &RenderContext) -> String {
    let id: String = ctx.cache_id.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    format!("{id}-{name}")
}

fn label_line(labels: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> =
        labels.iter().map(|(name, value)| format!("{}={}", label_quote(name), label_quote(value))).collect();
    format!("LABEL {}", pairs.join(" "))
}

/// Quotes a word for a Dockerfile, where a line break cannot be written at all.
fn label_quote(word: &str) -> String {
    let mut quoted = String::from("\"");
    for c in word.chars() {
        match c {
            '"' | '\\' | '$' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push(' '),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn scope_folder(env: EnvScope) -> &'static str {
    match env {
        EnvScope::Install => "install",
        EnvScope::Everything => "build",
        EnvScope::Files => "files",
    }
}

/// One folder for each kind of step there is, so that a value which only the build script may see does
/// not make the installer run again.
fn meta_files(plan: &BuildPlan, ctx: &RenderContext) -> Vec<MetaFile> {
    let runs = |wanted: EnvScope| {
        let is_wanted = |step: &Step| matches!(step, Step::Run { env, .. } if *env == wanted);
        let steps = |stage: &Stage| stage.steps.iter().any(is_wanted);
        plan.stages.iter().any(steps)
    };
    let none = Vec::new();
    let scopes =
        [(EnvScope::Install, &plan.install_env), (EnvScope::Everything, &plan.reads_env), (EnvScope::Files, &none)];
    let mut files = Vec::new();
    if runs(EnvScope::Files) {
        files.extend(var_files(&plan.reads_env, ctx));
    }
    for (scope, names) in scopes.into_iter().filter(|(scope, _)| runs(*scope)) {
        let folder = scope_folder(scope);
        files.push(meta_file(format!("meta/{folder}/env"), env_script(&plan.build_env, names, ctx).into_bytes()));
        if let Some(bundle) = ctx.ca_bundle {
            files.push(meta_file(format!("meta/{folder}/ca.crt"), bundle.to_vec()));
        }
    }
    files
}

/// A file for each value, named as the config var and holding the value alone.
fn var_files(names: &[String], ctx: &RenderContext) -> impl Iterator<Item = MetaFile> {
    let folder = scope_folder(EnvScope::Files);
    let given = names.iter().filter_map(|name| ctx.env.get_key_value(name.as_str()));
    given.map(move |(name, value)| meta_file(format!("meta/{folder}/vars/{name}"), value.clone().into_bytes()))
}

fn meta_file(path: String, contents: Vec<u8>) -> MetaFile {
    MetaFile { path, contents, executable: false }
}

/// What a step sources first. The app's own values come last: they win.
fn env_script(own: &BTreeMap<String, String>, names: &[String], ctx: &RenderContext) -> String {
    let mut lines = Vec::new();
    if ctx.ca_bundle.is_some() {
        let of_languages = Language::ALL.iter().flat_map(|language| &language.rules().about().ca_vars);
        let names = CA_NAMES.into_iter().chain(of_languages.map(String::as_str));
        lines.extend(names.map(|name| format!("export {name}={META}/ca.crt\n")));
    }
    let given = names.iter().filter_map(|name| ctx.env.get_key_value(name.as_str()));
    let own = own.iter().filter(|(name, _)| !ctx.env.contains_key(*name));
    let all = own.chain(given);
    lines.extend(all.map(|(name, value)| format!("export {name}='{}'\n", value.replace('\'', r"'\''"))));
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_cannot_leave_its_quotes() {
        assert_eq!(label_quote("a\"b\\c$d\ne"), "\"a\\\"b\\\\c\\$d e\"");
    }

    #[test]
    fn a_value_cannot_leave_its_quotes() {
        let env = BuildEnv::from([("A".to_owned(), "x'; rm -rf /; '\n$(id)".to_owned())]);
        let ctx = RenderContext {
            cache_id: "c",
            cache_mark: "",
            git_rev: "r",
            env: &env,
            ca_bundle: None,
            labels: &BTreeMap::new(),
        };
        let own = BTreeMap::from([("A".to_owned(), "loses".to_owned()), ("B".to_owned(), "the tree says".to_owned())]);
        assert_eq!(
            env_script(&own, &["A".to_owned(), "absent".to_owned()], &ctx),
            "export B='the tree says'\nexport A='x'\\''; rm -rf /; '\\''\n$(id)'\n"
        );
    }
}
