//! Trees as people push them: odd names, bits and links, many files, a folder of a larger repository, ignore files.
use crate::harness::{Town, Work, engine};
use std::collections::BTreeSet;
use std::process::Command;

/// Tells every file of the context, and fails where we build it: what a build says is all that is asked.
const LISTING: &str = "FROM debian:trixie-slim\nARG GIT_REV\nCOPY . /ctx\n\
    RUN cd /ctx && find . ! -type d -printf 'kept %y %m %p -> %l\\n' | sed 's/$/ ./'; test -z $GIT_REV || exit 3\n";

fn kept(said: &str) -> BTreeSet<String> {
    let lines = said.lines().filter(|line| !line.contains("RUN ") && !line.contains("printf"));
    lines.filter_map(|line| line.split_once("kept ").map(|(_, rest)| rest.trim().to_owned())).collect()
}

#[test]
fn odd_names_bits_and_links_reach_the_build_as_they_were_committed() {
    let town = Town::start();
    let work = Work::empty(&town, "odd");
    let long = "l".repeat(255);
    work.write("Dockerfile", LISTING).write_script("run.sh", "#!/bin/sh\n").write("a b", "").write("-x", "");
    work.write("ünï/код.txt", "").write(&format!("deep/{long}"), "").write(".hidden", "").write("q'\"$(id)`", "");
    work.write("two\nlines", "");
    std::os::unix::fs::symlink("a b", work.path("link")).expect("make a link");
    std::os::unix::fs::symlink("../run.sh", work.path("deep/up")).expect("make a link");
    std::os::unix::fs::symlink("nowhere", work.path("dangling")).expect("make a link");
    let push = work.commit("odd names").push();
    push.is_rejected_with("exited with status 3");
    let kept = kept(&push.stderr);
    for line in [
        "f 755 ./run.sh ->  .".to_owned(),
        "f 644 ./a b ->  .".to_owned(),
        "f 644 ./-x ->  .".to_owned(),
        "f 644 ./.hidden ->  .".to_owned(),
        "f 644 ./ünï/код.txt ->  .".to_owned(),
        format!("f 644 ./deep/{long} ->  ."),
        "f 644 ./q'\"$(id)` ->  .".to_owned(),
        "l 777 ./link -> a b .".to_owned(),
        "l 777 ./deep/up -> ../run.sh .".to_owned(),
        "l 777 ./dangling -> nowhere .".to_owned(),
    ] {
        assert!(kept.contains(&line), "{line} should be in {kept:?}");
    }
    assert!(kept.iter().any(|line| line.starts_with("f 644 ./two")), "{kept:?}");
    town.doctor_is_clean();
}

#[test]
fn twenty_thousand_files_are_pushed_and_served() {
    let town = Town::start();
    let work = town.work("hello-static", "large");
    for n in 0..20_000 {
        let path = work.path(&format!("pages/{:03}", n / 100));
        if n % 100 == 0 {
            std::fs::create_dir_all(&path).expect("make a folder");
        }
        std::fs::write(path.join(format!("{n:05}.html")), format!("page {n}")).expect("write a file");
    }
    let begun = std::time::Instant::now();
    work.commit("many").push().succeeds();
    println!("20,000 files were live after {:?}", begun.elapsed());
    assert_eq!(town.get("large", "/pages/199/19999.html").text(), "page 19999");
    town.doctor_is_clean();
}

#[test]
fn a_folder_of_a_larger_repository_is_the_app_by_its_paas_toml_or_by_command() {
    let town = Town::start();
    let work = town.work("hello-static", "web");
    let page = std::fs::read_to_string(work.path("index.html")).expect("read the page");
    for (folder, name) in [("apps/web", "the web"), ("apps/docs", "the docs")] {
        work.write(&format!("{folder}/index.html"), &page.replace("hello-static v1", name));
    }
    work.remove("index.html").remove("style.css").write("package.json", "{ \"private\": true }");
    work.write("paas.toml", "[build]\nroot = \"apps/web\"\n").commit("a monorepo").push().succeeds();
    town.shows("web", "the web");
    // What lies elsewhere changes nothing.
    work.write("apps/docs/more.html", "more").commit("docs").push().succeeds().says("no build needed");
    town.paas(&["builds:root", "apps/docs", "-a", "web"]).succeeds().says("the next push to web builds apps/docs");
    town.paas(&["builds:root", "-a", "web"]).succeeds().says("apps/docs");
    work.write("note", "x").commit("the docs").push().succeeds();
    town.shows("web", "the docs");
    town.paas(&["builds:root", "apps/none", "-a", "web"]).succeeds();
    let refused = work.write("note", "y").commit("nowhere").push();
    refused.is_rejected_with("`paas builds:root` names apps/none, and there is no such folder in the commit");
    town.paas(&["builds:root", "--unset", "-a", "web"]).succeeds();
    town.paas(&["builds:root", "../x", "-a", "web"]).fails_with(2, "is no folder of the repository");
    work.write("note", "z").commit("back").push().succeeds();
    town.shows("web", "the web");
    town.doctor_is_clean();
}

/// Docker's own client decides which files go into a context; here the same folder is built by both. What the older client
/// does otherwise than Docker's documentation says is not asked: it looks into no folder that a pattern with `**` brings back.
#[test]
fn a_dockerignore_leaves_out_what_dockers_own_client_leaves_out() {
    let town = Town::start();
    let work = Work::empty(&town, "ignored");
    for path in [
        "a",
        "b.md",
        "README.md",
        "docs/a.md",
        "docs/deep/b.md",
        "node_modules/x/y.js",
        "lib/node_modules/z.js",
        "tmp/a",
        "tmp/keep/b",
        "src/a.c",
        "src/b.h",
        "src/sub/c.c",
        "x y",
        "#hash",
        "!bang",
        "temp1/z",
        "tempa",
        ".env",
        ".git-keep",
        "keep/a",
        "keep/b/c",
        "keep/b/d",
        "foo/bar/foo/x",
        "bar/foo",
    ] {
        work.write(path, "");
    }
    work.write("Dockerfile", LISTING);
    let name = format!("paas-test/ignored-{}:1", std::process::id());
    for ignored in [
        "node_modules\n*.md\n!README.md\n",
        "**/node_modules\n**/*.md\n",
        "# a comment\n\n  tmp/  \n!tmp/keep\n",
        "*\n!src/**\nsrc/*.h\n",
        "*\n!keep/b\nkeep/b/d\n",
        "/a\n./docs/../b.md\ntemp?\nx y\n",
        "docs/**\n!docs/deep/b.md\n",
        "**/foo\n!foo/bar\n",
        "src/*/\n[a-b].md\n\\#hash\n.*\n",
        "Dockerfile\n.dockerignore\nkeep\n!keep/b/d\n",
        "**/*.h\n!src/**\n",
        "*/*.md\nsrc/**/c.c\nlib/\n",
    ] {
        work.write(".dockerignore", ignored);
        let theirs = Command::new("docker")
            .env("DOCKER_BUILDKIT", "0")
            .args(["build", "--no-cache", "--tag", &name, "."])
            .current_dir(work.path("."))
            .output()
            .expect("start docker");
        let theirs = kept(&String::from_utf8_lossy(&theirs.stdout));
        engine::untag(&name);
        let push = work.commit("ignore").push();
        // git's own folder is no part of what was pushed; the client sends it where nothing leaves it out. What the engine
        // needs to build at all stays in a context that comes whole.
        let needed = ["./Dockerfile ->", "./.dockerignore ->", " ./.git/"];
        let files = |lines: BTreeSet<String>| -> BTreeSet<String> {
            lines.into_iter().filter(|line| !needed.iter().any(|part| line.contains(part))).collect()
        };
        let (ours, theirs) = (files(kept(&push.stderr)), files(theirs));
        assert!(!theirs.is_empty(), "docker told nothing of {ignored:?}");
        assert_eq!(ours, theirs, "{ignored:?}");
    }
    town.doctor_is_clean();
}

#[test]
fn a_dockerfile_elsewhere_leaves_out_what_the_ignore_file_beside_it_names() {
    let town = Town::start();
    let work = Work::empty(&town, "elsewhere");
    work.write("paas.toml", "build.dockerfile = \"deploy/Dockerfile\"\n").write("deploy/Dockerfile", LISTING);
    work.write("deploy/Dockerfile.dockerignore", "secret\n").write(".dockerignore", "usual\n");
    let push = work.write("secret", "").write("usual", "").commit("ignore").push();
    let files = kept(&push.stderr);
    let has = |name: &str| files.iter().any(|line| line.contains(name));
    assert!(has("./usual") && !has("./secret"), "{}", push.stderr);
    town.doctor_is_clean();
}

/// As on Heroku: any depth without a slash in front, and no negation.
#[test]
fn a_slugignore_leaves_files_out_of_any_language() {
    let town = Town::start();
    let work = town.work("hello-static", "slug");
    work.write("art.psd", "")
        .write("deep/art.psd", "")
        .write("spec/a.html", "kept out")
        .write("docs/spec/b.html", "kept");
    work.write(".slugignore", "*.psd\n/spec\n# comment\n").commit("ignore").push().succeeds();
    assert_eq!(town.get("slug", "/docs/spec/b.html").status, 200);
    for path in ["/art.psd", "/deep/art.psd", "/spec/a.html"] {
        assert_eq!(town.get("slug", path).status, 404, "{path}");
    }
    town.doctor_is_clean();
}
