//! Workspaces: which of a repository's packages is the app, when the root itself has nothing to start.

use super::package::Package;
use super::pages;
use super::start;
use crate::PlanError;
use crate::members::matches_folder;
use crate::tree::{SourceTree, config_text, has};

/// So many packages are looked into, and no more.
const MEMBERS_MAX: usize = 100;

/// A package below the root.
pub(super) struct Member {
    pub(super) folder: String,
    package: Package,
}

/// What a search for the app comes to.
pub(super) enum Found {
    Nothing,
    One(Box<Member>),
    /// The folders of all that could be started.
    Several(Vec<String>),
}

/// The packages with a `start` script that serves.
pub(super) fn find(tree: &dyn SourceTree, package: &Package) -> Result<Found, PlanError> {
    let mut startable: Vec<Member> = Vec::new();
    for folder in folders(tree, package)? {
        let text = config_text(tree, &format!("{folder}/package.json"))?.unwrap_or_default();
        let member = Package::parse(&text).map_err(|error| {
            PlanError::Unclear(format!(
                "{folder}/{}",
                error.to_string().replace("`npm pkg get name`", "`npm pkg get name` there")
            ))
        })?;
        let serves = |script: &str| !pages::is_for_the_desk(tree, script, &member);
        if member.script("start").is_some_and(serves) {
            startable.push(Member { folder, package: member });
        }
    }
    Ok(match startable.len() {
        0 => Found::Nothing,
        1 => startable.pop().map_or(Found::Nothing, |member| Found::One(Box::new(member))),
        _ => Found::Several(startable.into_iter().map(|member| member.folder).collect()),
    })
}

impl Member {
    /// Starts it in its own folder, where the programs of its own packages are found.
    pub(super) fn start(&self) -> String {
        let line = start::spell_out("npm start", &self.package);
        let folder = crate::command::quote(&self.folder);
        let path = if line.starts_with("node ") {
            String::new()
        } else {
            format!("export PATH=/app/{folder}/node_modules/.bin:$PATH && ")
        };
        format!("cd {folder} && {path}{line}")
    }

    pub(super) fn has_build(&self) -> bool {
        self.package.script("build").is_some()
    }
}

/// The folders that the patterns name and that hold a package, in order.
fn folders(tree: &dyn SourceTree, package: &Package) -> Result<Vec<String>, PlanError> {
    let mut patterns = package.workspaces.clone();
    patterns.extend(config_text(tree, "pnpm-workspace.yaml")?.map(|text| listed(&text)).unwrap_or_default());
    if patterns.is_empty() {
        return Ok(Vec::new());
    }
    let (left_out, taken): (Vec<&str>, Vec<&str>) =
        patterns.iter().map(String::as_str).partition(|pattern| pattern.starts_with('!'));
    let below = tree.files().iter().filter_map(|file| file.path.strip_suffix("/package.json"));
    let is_named = |patterns: &[&str], folder: &str| {
        patterns.iter().any(|pattern| matches_folder(pattern.trim_start_matches('!'), folder))
    };
    let members = below.filter(|folder| !folder.split('/').any(|part| part == "node_modules"));
    let members = members.filter(|folder| is_named(&taken, folder) && !is_named(&left_out, folder));
    Ok(members.take(MEMBERS_MAX).map(str::to_owned).collect())
}

/// The list under `packages:`, which is all of YAML that such a file needs.
fn listed(text: &str) -> Vec<String> {
    let below = text.lines().skip_while(|line| line.trim_end() != "packages:").skip(1);
    let items = below.take_while(|line| line.trim().is_empty() || line.trim_start().starts_with(['-', '#']));
    let items = items.filter_map(|line| line.trim_start().strip_prefix('-'));
    items.map(|item| item.split(" #").next().unwrap_or(item).trim().trim_matches(['"', '\'']).to_owned()).collect()
}

/// What to add to the advice of an app without a start command.
pub(super) fn advice(tree: &dyn SourceTree, folders: &[String]) -> String {
    let first = folders.first().map_or("apps/web", String::as_str);
    let line = if has(tree, "pnpm-workspace.yaml") {
        format!("pnpm --filter ./{first} start")
    } else {
        format!("npm start -w {first}")
    };
    format!(
        "{} have a start script, and only one can be the app: give the root's package.json a start script such as \"{line}\"",
        folders.join(" and ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packages_of_a_pnpm_workspace_are_listed() {
        let text = "# ours\npackages:\n  - 'apps/*' # all\n\n  - \"!apps/old\"\nonlyBuiltDependencies:\n  - esbuild\n";
        assert_eq!(listed(text), ["apps/*", "!apps/old"]);
        assert_eq!(listed("catalog:\n  a: 1\n"), Vec::<String>::new());
    }
}
