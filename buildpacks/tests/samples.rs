//! The sample apps under `tests/apps`, which the stories push: each is what its name says.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use buildpacks::{BuildEnv, Language, MemoryTree, Start, plan};

#[test]
fn every_sample_app_is_planned_without_a_warning() {
    let apps = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/apps");
    let mut seen = BTreeMap::new();
    for entry in fs::read_dir(&apps).unwrap() {
        let folder = entry.unwrap().path();
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let plan = plan(&read_tree(&folder), &BuildEnv::new()).unwrap();
        // A Python that Debian mends no more is what this one is for.
        let is_outdated = name == "hello-python39";
        assert_eq!(plan.warnings.len(), usize::from(is_outdated), "{name}: {:?}", plan.warnings);
        assert!(plan.processes.contains_key("web") || plan.asks_the_image(), "{name}");
        seen.insert(name, plan);
    }
    for (name, language) in [
        ("hello-docker", Language::Dockerfile),
        ("hello-static", Language::Static),
        ("hello-node", Language::Node),
        ("node-deps", Language::Node),
        ("echo", Language::Node),
        ("hello-flask", Language::Python),
        ("hello-ruby", Language::Ruby),
        ("hello-php", Language::Php),
        ("hello-java", Language::Java),
        ("hello-elixir", Language::Elixir),
        ("hello-deno", Language::Deno),
        ("hello-shell", Language::Shell),
        ("web-worker", Language::Shell),
        ("crasher", Language::Shell),
        ("hello-buildpack", Language::Classic),
    ] {
        assert_eq!(seen[name].language, language, "{name}");
    }
    assert!(seen["web-worker"].processes.contains_key("worker"));
    assert_eq!(seen["hello-docker"].processes["web"], Start::Image);
}

/// Programs that a Procfile names have to be executable.
#[test]
fn every_program_of_a_sample_app_can_be_run() {
    let apps = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/apps");
    for path in files_below(&apps) {
        let is_program = fs::read(&path).unwrap().starts_with(b"#!");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(is_program, mode & 0o100 != 0, "{}", path.display());
    }
}

/// All files below a folder; the sample apps have no symlinks.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a sample app");
    let paths = entries.map(|entry| entry.expect("an entry of a sample app").path());
    paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

fn read_tree(folder: &Path) -> MemoryTree {
    files_below(folder).into_iter().fold(MemoryTree::new(), |tree, path| {
        let name = path.strip_prefix(folder).expect("a file below the folder").to_str();
        let (name, contents) = (name.expect("a name in UTF-8"), fs::read(&path).expect("a readable file"));
        let is_executable = fs::metadata(&path).expect("a file").permissions().mode() & 0o100 != 0;
        if is_executable { tree.executable(name, contents) } else { tree.file(name, contents) }
    })
}
