//! What every kind of app gets: its plan and its Dockerfile, as snapshots; and every mistake, as the
//! sentence its author reads. Accept changes with `INSTA_UPDATE=always cargo test -p buildpacks`.

mod fixtures;

use std::collections::BTreeMap;
use std::fmt::Write;

use buildpacks::{
    BuildEnv, BuildPlan, MemoryTree, Mount, RenderContext, SourceTree, Start, Step, Versions, fingerprint, plan,
    plan_with, render,
};

/// Plan and Dockerfile as one text, without the tags of stack images: they change with every recipe.
fn shown(plan: &BuildPlan, env: &BuildEnv) -> String {
    let labels = BTreeMap::from([("paas.app".to_owned(), "7".to_owned())]);
    let rendered = render(
        plan,
        &RenderContext {
            cache_id: "c4f3",
            cache_mark: "",
            git_rev: "0123abc",
            env,
            ca_bundle: Some(b"PEM"),
            labels: &labels,
        },
    );
    let mut text = format!("{} ({})\n", plan.language.name(), plan.because.join(", "));
    let mut line = |mark: &str, line: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{mark} {line}");
    };
    plan.notes.iter().for_each(|note| line("      ", note));
    plan.warnings.iter().for_each(|warning| line(" !    ", warning));
    for (name, start) in &plan.processes {
        match start {
            Start::Image => line("run   ", &format!("{name}: (the image's own command)")),
            Start::Command(command) => line("run   ", &format!("{name}: {command}")),
        }
    }
    plan.release_command.iter().for_each(|command| line("once  ", command));
    plan.cron.iter().for_each(|entry| line("cron  ", &format!("{} {}", entry.schedule, entry.command)));
    plan.stack.iter().for_each(|image| line("stack ", &image.name));
    plan.reads_env.iter().for_each(|name| line("reads ", name));
    for file in &rendered.meta {
        line("meta  ", &file.path);
    }
    let mut dockerfile = rendered.dockerfile;
    for image in &plan.stack {
        dockerfile = dockerfile.replace(&format!(":{}", image.tag), ":TAG");
    }
    format!("{text}---\n{dockerfile}")
}

#[test]
fn every_good_app_gets_this_plan() {
    let env = fixtures::env();
    for (name, tree) in fixtures::good() {
        let plan = plan(&tree, &env).unwrap_or_else(|error| panic!("{name}: {error}"));
        insta::assert_snapshot!(name, shown(&plan, &env));
    }
}

#[test]
fn every_bad_app_gets_this_sentence() {
    let mut text = String::new();
    for (name, tree) in fixtures::bad() {
        let error = plan(&tree, &BuildEnv::new()).unwrap_err();
        let _ = writeln!(text, "{name}\n    {error}");
    }
    insta::assert_snapshot!("errors", text);

    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    for case in fixtures::cases::all().into_iter().filter(|case| !case.is_good) {
        let Err(error) = plan(&case.tree, &BuildEnv::new()) else { panic!("{}: {} is planned", case.file, case.name) };
        let text = texts.entry(case.file).or_default();
        let _ = writeln!(text, "{}\n    {error}", case.name);
    }
    for (file, text) in texts {
        insta::assert_snapshot!(format!("errors_{file}"), text);
    }
}

#[test]
fn the_stack_recipes_are_these() {
    let mut recipes: BTreeMap<String, String> = BTreeMap::new();
    for (_, tree) in fixtures::good() {
        for image in plan(&tree, &BuildEnv::new()).unwrap().stack {
            recipes.insert(image.reference(), image.dockerfile);
        }
    }
    let text: Vec<String> =
        recipes.iter().map(|(reference, dockerfile)| format!("# {reference}\n{dockerfile}")).collect();
    insta::assert_snapshot!("stack", text.join("\n"));
}

#[test]
fn the_stack_is_listed_in_the_order_it_is_made() {
    for (name, tree) in fixtures::good() {
        let plan = plan(&tree, &BuildEnv::new()).unwrap();
        let mut made: Vec<String> = Vec::new();
        for image in &plan.stack {
            if let Some(base) = &image.base {
                assert!(made.contains(base), "{name}: {base} comes too late");
                assert!(image.dockerfile.starts_with(&format!("FROM {base}\n")));
            }
            made.push(image.reference());
        }
        for stage in &plan.stages {
            let earlier = plan.stages.iter().any(|other| other.name == stage.from);
            assert!(earlier || made.contains(&stage.from), "{name}: {}", stage.from);
        }
    }
}

#[test]
fn the_same_tree_gives_the_same_plan_and_text_and_survives_json() {
    let env = fixtures::env();
    for (name, tree) in fixtures::good() {
        let first = plan(&tree, &env).unwrap();
        let again = plan(&tree.clone(), &env.clone()).unwrap();
        assert_eq!(first, again, "{name}");
        assert_eq!(shown(&first, &env), shown(&again, &env), "{name}");
        let json = serde_json::to_string(&first).unwrap();
        assert_eq!(serde_json::from_str::<BuildPlan>(&json).unwrap(), first);
    }
}

#[test]
fn a_version_that_nobody_asks_for_stays_that_of_the_release_before() {
    let node = MemoryTree::new().file("package.json", "{}").file("server.js", "");
    let python = MemoryTree::new().file("main.py", "print()");
    let java = MemoryTree::new().file("Main.java", "");
    for (tree, language, before, now) in [
        (&node, "node", "18.20.0", "18.20.8"),
        // Today's usual line, whatever its patch was.
        (&node, "node", "20.1.0", "20.19.2"),
        // One that nobody has any more is no reason to fail.
        (&node, "node", "4.0.0", "20.19.2"),
        (&python, "python", "3.11.2", "3.11.2"),
        (&python, "python", "2.7.18", "3.13.5"),
        (&java, "java", "25", "25"),
        (&java, "java", "11", "21"),
    ] {
        let before = Versions::from([(language.to_owned(), before.to_owned())]);
        let plan = plan_with(tree, &BuildEnv::new(), &before, &[]).unwrap();
        assert_eq!(plan.versions[language], now, "{before:?}");
    }
    let asks = node.file(".nvmrc", "22\n");
    let before = Versions::from([("node".to_owned(), "18.20.0".to_owned())]);
    assert!(plan_with(&asks, &BuildEnv::new(), &before, &[]).unwrap().versions["node"].starts_with("22."));
}

#[test]
fn no_value_stands_in_a_dockerfile() {
    let env = fixtures::env();
    for (name, tree) in fixtures::good() {
        let text = shown(&plan(&tree, &env).unwrap(), &env);
        for value in env.values() {
            assert!(!text.contains(value.as_str()), "{name} shows {value}");
        }
    }
}

#[test]
fn a_fingerprint_changes_with_what_the_build_is_given_and_with_nothing_else() {
    let tree = fixtures::named("node_build_script");
    let env = fixtures::env();
    let plan_of = |env: &BuildEnv| plan(&tree, env).unwrap();
    let print = |oid: &str, env: &BuildEnv| fingerprint(&plan_of(env), oid, env);
    let first = print("a", &env);
    assert_eq!(first.len(), 64);
    assert_eq!(first, print("a", &env));
    assert_ne!(first, print("b", &env));
    let mut changed = env.clone();
    changed.insert("SECRET".to_owned(), "another".to_owned());
    assert_ne!(first, print("a", &changed));
    assert!(plan_of(&env).reads("NOT_SET_YET"));

    let tree = fixtures::named("node_dependencies");
    let plan_of = |env: &BuildEnv| plan(&tree, env).unwrap();
    let print = |env: &BuildEnv| fingerprint(&plan_of(env), "a", env);
    assert_eq!(print(&env), print(&changed), "npm ci is not given SECRET");
    changed.insert("NPM_TOKEN".to_owned(), "another".to_owned());
    assert_ne!(print(&env), print(&changed));
    assert!(plan_of(&env).reads("NPM_TOKEN") && !plan_of(&env).reads("SECRET"));
}

#[test]
fn files_that_the_build_reads_are_in_the_context_whatever_is_ignored() {
    let tree = fixtures::named("node_dependencies").file(".dockerignore", "*\n!server.js\n").file("README.md", "");
    let plan = plan(&tree, &BuildEnv::new()).unwrap();
    let rules = plan.ignore_rules(&tree);
    let taken: Vec<&str> =
        tree.files().iter().map(|file| file.path.as_str()).filter(|path| plan.takes(path, &rules)).collect();
    assert_eq!(taken, [".npmrc", "package-lock.json", "package.json", "server.js"]);
    assert_eq!(plan.context_path("server.js"), "src/server.js");
}

/// A small generator of our own: the same trees at every run, and no dependency.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap_or_default()
    }

    /// A fragment of a file that means something to some reader, cut anywhere.
    fn bytes(&mut self) -> Vec<u8> {
        let pieces: [&[u8]; 28] = [
            b"web: node x\n",
            b"{\"scripts\":{\"start\":\"npm run a\"}}",
            b"\xff\xfe",
            b"\0",
            b"flask\n",
            b"-r a.txt\n",
            b"root: ..\n",
            b"app = Flask(",
            b"**/a*[",
            b"!b\\",
            b"20.x || ^",
            b"<<<<<<<",
            b"{\"engines\":{\"node\":\">=1\"}}",
            b"\r\n",
            b"ARG A\\\n",
            b"module x\ngo 1.24\nrequire (\n",
            b"package main\n",
            b"[package]\nname = \"a\"\n",
            b"[workspace]\nmembers = [\"*\"]\n",
            b"[tools]\nnode = [\"22\"]\n",
            b"[project]\nrequires-python = \"~=3.\"\n",
            b"lockfileVersion: '9.0'\n",
            b"{\"packageManager\":\"yarn@4.1.0\"}",
            b"{\"scripts\":{\"build\":\"vite build\"},\"devDependencies\":{\"vite\":\"5\"}}",
            b"ruby \"~> 3\"\n",
            b"{\"require\":{\"php\":\"~8|\"}}",
            b"export default { build: { outDir: '",
            "\u{202e}é".as_bytes(),
        ];
        let mut all = Vec::new();
        for _ in 0..self.roll(6) {
            let piece = pieces[self.roll(pieces.len())];
            all.extend_from_slice(&piece[..=self.roll(piece.len())]);
        }
        all
    }
}

/// cargo compares file times, and the builder freezes them: a cached target/ would ship the program from before a revert.
#[test]
fn a_cached_target_is_never_built_in_before_every_source_is_touched() {
    let (mut seen, env) = (0, BuildEnv::new());
    for (name, tree) in fixtures::good() {
        let steps = plan(&tree, &env).unwrap().stages.into_iter().flat_map(|stage| stage.steps);
        for step in steps {
            let Step::Run { command, mounts, .. } = step else { continue };
            let is_target = |mount: &Mount| matches!(mount, Mount::Cache { path, .. } if path == "/app/target");
            if mounts.iter().any(is_target) {
                let touch = command.find("find . -path ./target -prune -o -type f -exec touch {} +").expect(&name);
                assert!(touch < command.find("cargo build").expect(&name), "{name}");
                seen += 1;
            }
        }
    }
    assert!(seen >= 5, "{seen}");
}

/// Measured, never asserted: run it with `--release -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn how_long_a_large_tree_takes() {
    for name in ["go_single_main", "rust_workspace", "node_pnpm", "python_django", "ruby_rails", "php_laravel"] {
        let mut tree = fixtures::named(name);
        for n in 0..10_000 {
            tree = tree.file(&format!("src/{}/{n}.txt", n % 100), "x");
        }
        let started = std::time::Instant::now();
        let planned = plan(&tree, &BuildEnv::new()).unwrap();
        println!("{name}: {:?} for {} files, {}", started.elapsed(), tree.files().len(), planned.language.id());
    }
}

#[test]
fn no_tree_makes_it_panic_and_every_tree_gets_one_answer() {
    let names = [
        "Dockerfile",
        "Procfile",
        "Staticfile",
        "package.json",
        "package-lock.json",
        ".npmrc",
        ".nvmrc",
        "requirements.txt",
        "runtime.txt",
        "index.html",
        "app.py",
        ".dockerignore",
        ".slugignore",
        "a/b.txt",
        "go.mod",
        "go.work",
        "main.go",
        "cmd/a/main.go",
        "Cargo.toml",
        "Cargo.lock",
        "rust-toolchain",
        "src/main.rs",
        "a/Cargo.toml",
        "yarn.lock",
        "pnpm-lock.yaml",
        "vite.config.ts",
        "angular.json",
        "pyproject.toml",
        "uv.lock",
        "Pipfile",
        "Pipfile.lock",
        "main.py",
        "Gemfile",
        "Gemfile.lock",
        "composer.json",
        "index.php",
        "deno.json",
        ".tool-versions",
        "mise.toml",
    ];
    let mut dice = Dice(0x5eed);
    for _ in 0..6000 {
        let mut tree = MemoryTree::new();
        for _ in 0..dice.roll(6) {
            tree = tree.file(names[dice.roll(names.len())], dice.bytes());
        }
        let env = fixtures::env();
        let answer = plan(&tree, &env);
        let again = plan(&tree, &env);
        match (answer, again) {
            (Ok(one), Ok(two)) => assert_eq!(one, two),
            (Err(one), Err(two)) => {
                let sentence = one.to_string();
                assert_eq!(sentence, two.to_string());
                assert!(!sentence.contains(['\n', '\0']), "{sentence:?}");
            }
            (one, two) => panic!("two answers: {one:?} and {two:?}"),
        }
        let rules = buildpacks::ignore::IgnoreRules::from_tree(&tree);
        for name in names {
            assert_eq!(rules.keeps(name), rules.keeps(name));
        }
    }
}

#[test]
fn a_tree_in_two_languages_is_told_how_the_other_is_chosen() {
    let tree = MemoryTree::new()
        .file("go.mod", "module example.com/app\n\ngo 1.22\n")
        .file("main.go", "package main\n\nfunc main() {}\n")
        .file("requirements.txt", "");
    let told = plan(&tree, &BuildEnv::new()).unwrap().warnings.join("\n");
    assert!(told.contains("`build.language = \"python\"`") && told.contains("add a Dockerfile"), "{told}");
    // What it says to write does what it says.
    let chosen = tree.file("paas.toml", "build.language = \"python\"\n").file("main.py", "");
    assert_eq!(plan(&chosen, &BuildEnv::new()).unwrap().language.id(), "python");
}

#[test]
fn a_dockerfile_elsewhere_is_built_without_what_its_own_ignore_file_names() {
    let tree = MemoryTree::new()
        .file("paas.toml", "build.dockerfile = \"deploy/Dockerfile\"\n")
        .file("deploy/Dockerfile", "FROM scratch\n")
        .file("deploy/Dockerfile.dockerignore", "secrets\n")
        .file("secrets/key", "")
        .file("app", "");
    let kept = |tree: &MemoryTree| {
        let plan = plan(tree, &BuildEnv::new()).unwrap();
        let rules = plan.ignore_rules(tree);
        ["secrets/key", "app", "deploy/Dockerfile"].map(|path| plan.takes(path, &rules))
    };
    assert_eq!(kept(&tree), [false, true, true]);
    // Of heroku.yml each image has its own folder, whose tree is looked at.
    let folder = MemoryTree::new().file("web.docker.dockerignore", "secrets\n").file("secrets/key", "");
    let yml = MemoryTree::new()
        .file("heroku.yml", "build:\n  docker:\n    web: deploy/web.docker\n")
        .file("deploy/web.docker", "FROM scratch\n");
    let of_images = plan(&yml, &BuildEnv::new()).unwrap().of_images();
    assert!(!of_images[0].takes("secrets/key", &of_images[0].ignore_rules(&folder)));
    let linked = tree.symlink("deploy/Dockerfile.dockerignore", "../.dockerignore");
    let refused = plan(&linked, &BuildEnv::new()).unwrap_err().to_string();
    assert!(refused.contains("deploy/Dockerfile.dockerignore is a symlink"), "{refused}");
}
