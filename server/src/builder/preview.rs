//! What a push of a folder, or of a commit, would be built as. Nothing is built, and no server is asked.
use super::image::{rooted, told};
use super::jobs::jobs_of;
use super::source::GitTree;
use crate::domain::Oid;
use anyhow::{Context, bail};
use buildpacks::{BuildEnv, BuildPlan, BuildRoot, EntryKind, SourceTree, Start, TreeEntry};
use git2::Repository;
use std::fmt::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Files of a folder; a push of more would be refused long before.
const FILES_MAX: usize = 200_000;

/// Plans what stands in a folder now, as it would be after `git add`. Config vars are not known here.
pub fn preview_folder(folder: &Path) -> anyhow::Result<BuildPlan> {
    let top = FolderTree::list(folder)?;
    match BuildRoot::of_tree(&top)? {
        None => planned(&top),
        Some(root) => {
            let inner = FolderTree::list(&folder.join(root.as_str())).context("follow build.root in paas.toml")?;
            root.check_inside(&inner)?;
            planned(&inner)
        }
    }
}

/// Plans a commit of the checkout that `folder` is in; `name` is whatever git takes for one.
pub fn preview_commit(folder: &Path, name: &str) -> anyhow::Result<BuildPlan> {
    let repo = Repository::discover(folder).with_context(|| format!("find a git checkout in {}", folder.display()))?;
    let commit = repo.revparse_single(name).and_then(|object| object.peel_to_commit());
    let oid = commit.with_context(|| format!("find the commit `{name}`"))?.id().to_string();
    let oid: Oid = oid.parse().map_err(anyhow::Error::msg)?;
    let tree = rooted(GitTree::open(repo, &oid)?, None)?.map_err(anyhow::Error::msg)?;
    let mut plan = planned(&tree)?;
    for submodule in tree.files().iter().filter(|entry| entry.kind == EntryKind::Submodule) {
        let path = &submodule.path;
        plan.warnings.push(format!("{path} is a submodule: a push fetches its files, which are not known here"));
    }
    Ok(plan)
}

/// A plan as a pusher would read it, and what would run.
pub fn plan_text(plan: &BuildPlan) -> String {
    let mut text = told(plan).join("\n");
    text.push_str("\n\n");
    let mut line = |key: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{key:<9}{value}");
    };
    for (name, start) in &plan.processes {
        line(
            name,
            match start {
                Start::Image => "as the image says",
                Start::Command(command) => command,
            },
        );
    }
    if let Some(command) = &plan.release_command {
        line("release", command);
    }
    for image in &plan.stack {
        line("image", &image.reference());
    }
    text
}

fn planned(tree: &dyn SourceTree) -> anyhow::Result<BuildPlan> {
    let plan = buildpacks::plan(tree, &BuildEnv::new())?;
    if let Err(failure) = jobs_of(&plan) {
        bail!("{failure}");
    }
    Ok(plan)
}

/// The files of a folder on this machine, without those that git ignores.
struct FolderTree {
    root: PathBuf,
    entries: Vec<TreeEntry>,
}

impl FolderTree {
    fn list(root: &Path) -> anyhow::Result<Self> {
        let root = root.canonicalize().with_context(|| format!("find the folder {}", root.display()))?;
        let repo = Repository::discover(&root).ok();
        let (mut entries, mut folders) = (Vec::new(), vec![root.clone()]);
        while let Some(folder) = folders.pop() {
            let listed = std::fs::read_dir(&folder).with_context(|| format!("read the folder {}", folder.display()))?;
            for entry in listed {
                let path = entry?.path();
                let is_ignored = repo.as_ref().is_some_and(|repo| repo.is_path_ignored(&path).unwrap_or(false));
                if is_ignored || path.file_name().is_some_and(|name| name == ".git") {
                    continue;
                }
                let about = path.symlink_metadata().with_context(|| format!("look at {}", path.display()))?;
                if about.is_dir() {
                    folders.push(path);
                    continue;
                }
                entries.push(entry_of(&root, &path, &about)?);
                if entries.len() > FILES_MAX {
                    bail!("{} holds more than {FILES_MAX} files", root.display());
                }
            }
        }
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self { root, entries })
    }
}

fn entry_of(root: &Path, path: &Path, about: &std::fs::Metadata) -> anyhow::Result<TreeEntry> {
    let inside = path.strip_prefix(root)?.to_str();
    let inside = inside.with_context(|| format!("the name of {} is not UTF-8", path.display()))?;
    let kind = if about.is_symlink() {
        EntryKind::Symlink
    } else if about.permissions().mode() & 0o100 != 0 {
        EntryKind::Executable
    } else {
        EntryKind::File
    };
    Ok(TreeEntry { path: inside.to_owned(), kind, size_bytes: about.len() })
}

impl SourceTree for FolderTree {
    fn files(&self) -> &[TreeEntry] {
        &self.entries
    }

    fn read(&self, path: &str) -> Option<Vec<u8>> {
        let path = self.root.join(path);
        let is_file = path.symlink_metadata().is_ok_and(|about| about.is_file());
        is_file.then(|| std::fs::read(path).ok()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_planned_as_it_would_be_pushed_and_a_commit_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let repo = Repository::init(dir.path()).unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write(".gitignore", "go.mod\n");
        write("go.mod", "module ignored\n");
        write("Procfile", "web: ./server\n");
        assert_eq!(preview_folder(dir.path()).unwrap().language.id(), "shell");
        assert!(preview_commit(dir.path(), "HEAD").is_err(), "there is none yet");

        let mut index = repo.index().unwrap();
        index.add_path(Path::new("Procfile")).unwrap();
        let tree = repo.find_tree(index.write_tree().unwrap()).unwrap();
        let me = git2::Signature::now("me", "me@example.com").unwrap();
        repo.commit(Some("HEAD"), &me, &me, "first", &tree, &[]).unwrap();
        write("index.html", "<p>hello");
        std::fs::remove_file(dir.path().join("Procfile")).unwrap();
        assert_eq!(preview_folder(dir.path()).unwrap().language.id(), "static");
        let before = preview_commit(dir.path(), "HEAD").unwrap();
        assert_eq!(before.language.id(), "shell");
        let text = plan_text(&before);
        assert!(text.starts_with("-----> ") && text.contains("\nweb      ./server\n"), "{text}");
    }

    #[test]
    fn what_cannot_be_built_is_told_as_a_push_would_tell_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("notes.txt"), "nothing to run").unwrap();
        let told = preview_folder(dir.path()).unwrap_err().to_string();
        assert!(told.contains("Procfile"), "{told}");
        assert!(preview_folder(&dir.path().join("nowhere")).unwrap_err().to_string().contains("nowhere"));
    }
}
