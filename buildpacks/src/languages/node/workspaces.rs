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

/// A line that runs a script of one package, as `cd apps/web && npm start`, `npm start -w web`, `pnpm --filter web start`
/// or `yarn workspace web start` do: the script itself, in its folder. None for any other line.
pub(super) fn spell_out(tree: &dyn SourceTree, package: &Package, line: &str) -> Result<Option<String>, PlanError> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (named, rest) = match words.as_slice() {
        ["cd", folder, "&&", rest @ ..] => (*folder, rest.to_vec()),
        ["yarn", "workspace", name, rest @ ..] => (*name, [&["yarn"], rest].concat()),
        words => match without_filter(words) {
            Some(found) => found,
            None => return Ok(None),
        },
    };
    let Some(member) = member(tree, package, named)? else { return Ok(None) };
    let command = rest.join(" ");
    let line = start::spell_out(&command, &member.package);
    let is_whole = line != command && !start::needs_manager(&line);
    Ok(is_whole.then(|| member.in_folder(&line)))
}

/// Takes `-w web`, `--workspace=web` or `--filter web` out of a manager's words.
fn without_filter<'a>(words: &[&'a str]) -> Option<(&'a str, Vec<&'a str>)> {
    let options = ["-w", "--workspace", "--filter", "-F"];
    let at = words.iter().position(|word| options.contains(&word.split('=').next().unwrap_or(word)))?;
    let (before, behind) = (&words[..at], &words[at + 1..]);
    match words[at].split_once('=') {
        Some((_, name)) => Some((name, [before, behind].concat())),
        None => behind.split_first().map(|(name, behind)| (*name, [before, behind].concat())),
    }
}

/// The package in a folder, or of a name.
fn member(tree: &dyn SourceTree, package: &Package, named: &str) -> Result<Option<Member>, PlanError> {
    let wanted = named.trim_start_matches("./").trim_end_matches('/');
    let mut folders = folders(tree, package)?;
    if has(tree, &format!("{wanted}/package.json")) {
        folders = vec![wanted.to_owned()];
    }
    for folder in folders {
        let text = config_text(tree, &format!("{folder}/package.json"))?.unwrap_or_default();
        let Ok(package) = Package::parse(&text) else { continue };
        if folder == wanted || package.name.as_deref() == Some(named) {
            return Ok(Some(Member { folder, package }));
        }
    }
    Ok(None)
}

impl Member {
    /// Starts it in its own folder.
    pub(super) fn start(&self) -> String {
        self.in_folder(&start::spell_out("npm start", &self.package))
    }

    /// A line that is run where the programs of the package's own packages are found.
    fn in_folder(&self, line: &str) -> String {
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
    use crate::MemoryTree;

    #[test]
    fn lines_that_run_a_package_s_script_are_spelled_out() {
        let tree = MemoryTree::new()
            .file(
                "apps/web/package.json",
                r#"{"name":"@shop/web","scripts":{"start":"next start","echo":"npm run x"}}"#,
            )
            .file("apps/api/package.json", r#"{"name":"api","scripts":{"prestart":"./check","start":"node api.js"}}"#);
        let package = Package::parse(r#"{"workspaces":["apps/*"]}"#).unwrap();
        let web = Some("cd apps/web && export PATH=/app/apps/web/node_modules/.bin:$PATH && next start");
        for (line, wanted) in [
            ("cd apps/web && npm start", web),
            ("cd ./apps/web/ && yarn start", web),
            ("npm start -w apps/web", web),
            ("npm run start --workspace=@shop/web", web),
            ("pnpm --filter @shop/web start", web),
            ("yarn workspace @shop/web start", web),
            ("cd apps/web && npm run echo", None),
            ("cd apps/none && npm start", None),
            ("npm start", None),
            ("node server.js -w apps/web", None),
        ] {
            assert_eq!(spell_out(&tree, &package, line).unwrap().as_deref(), wanted, "{line}");
        }
        let api = spell_out(&tree, &package, "npm start -w api").unwrap().unwrap();
        assert!(api.ends_with("./check && node api.js"), "{api}");
    }

    #[test]
    fn the_packages_of_a_pnpm_workspace_are_listed() {
        let text = "# ours\npackages:\n  - 'apps/*' # all\n\n  - \"!apps/old\"\nonlyBuiltDependencies:\n  - esbuild\n";
        assert_eq!(listed(text), ["apps/*", "!apps/old"]);
        assert_eq!(listed("catalog:\n  a: 1\n"), Vec::<String>::new());
    }
}
