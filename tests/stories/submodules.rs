//! Submodules: fetched by https from hosts that the server allows, and put into their places before anything is planned.
use crate::harness::{Forge, Town, Work};
use std::path::{Path, PathBuf};

fn town_beside(forge: &Forge) -> Town {
    let environment = forge.environment();
    let environment: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Town::start_with(&environment)
}

/// A folder to publish, with these files.
fn folder(town: &Town, name: &str, files: &[(&str, &str)]) -> PathBuf {
    let folder = town.home().join(name);
    for (file, text) in files {
        write(&folder, file, text);
    }
    folder
}

fn write(folder: &Path, file: &str, text: &str) {
    let path = folder.join(file);
    std::fs::create_dir_all(path.parent().expect("it is inside the folder")).expect("make a folder");
    std::fs::write(path, text).expect("write a file");
}

/// What git itself leaves behind `git submodule`, without asking the address.
fn commit_submodule(work: &Work, path: &str, url: &str, commit: &str) {
    work.write(".gitmodules", &format!("[submodule \"{path}\"]\n\tpath = {path}\n\turl = {url}\n"));
    work.git(&["add", ".gitmodules"]).succeeds();
    work.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},{path}")]).succeeds();
    work.git(&["commit", "--quiet", "--allow-empty", "-m", "a submodule"]).succeeds();
}

#[test]
fn submodules_are_part_of_what_is_built_also_those_inside_others_and_are_fetched_once() {
    let forge = Forge::start();
    let town = town_beside(&forge);
    let inner = folder(&town, "inner", &[("deep.txt", "deep words\n")]);
    let inner_commit = forge.publish(&inner, "inner.git");
    let outer = folder(&town, "outer", &[("words.txt", "words of v1\n")]);
    forge.clone_into("inner.git", &outer.join("in"));
    write(&outer, ".gitmodules", "[submodule \"in\"]\n\tpath = in\n\turl = ../inner.git\n");
    let first = forge.publish(&outer, "outer.git");

    let work = town.work("hello-static", "blog");
    let authority = forge.authority();
    let add = ["submodule", "add", "--quiet", &forge.url("outer.git"), "shared/outer"];
    work.git_trusting(&authority, &add).succeeds();
    let push = work.commit("with a submodule").push();
    push.succeeds()
        .says("-----> Fetching submodules")
        .says(&format!("shared/outer is {} of {}", &first[..12], forge.url("outer.git")))
        .says(&format!("shared/outer/in is {} of {}", &inner_commit[..12], forge.url("inner.git")));
    assert_eq!(town.get("blog", "/shared/outer/words.txt").text(), "words of v1\n");
    assert_eq!(town.get("blog", "/shared/outer/in/deep.txt").text(), "deep words\n");
    work.commit("nothing else").push().succeeds().says("(kept from an earlier build)").says("no build needed");

    write(&outer, "words.txt", "words of v2\n");
    forge.publish(&outer, "outer.git");
    let update = ["submodule", "update", "--quiet", "--remote", "shared/outer"];
    work.git_trusting(&authority, &update).succeeds();
    work.commit("another commit of it").push().succeeds();
    assert_eq!(town.get("blog", "/shared/outer/words.txt").text(), "words of v2\n");
    town.paas(&["rollback", "-a", "blog"]).succeeds();
    assert_eq!(town.get("blog", "/shared/outer/words.txt").text(), "words of v1\n");
    // From scratch, and with nobody to ask.
    drop(forge);
    town.paas(&["builds:run", "-a", "blog"]).succeeds().says("(kept from an earlier build)");
    assert_eq!(town.get("blog", "/shared/outer/words.txt").text(), "words of v2\n");
    town.doctor_is_clean();
}

#[test]
fn an_app_may_be_a_submodule_as_a_whole() {
    let forge = Forge::start();
    let town = town_beside(&forge);
    let commit = forge.publish(&folder(&town, "site", &[("index.html", "a page of its own\n")]), "site.git");
    let work = Work::empty(&town, "blog");
    work.write("paas.toml", "[build]\nroot = \"site\"\n").write("README", "nothing to run\n").commit("around it");
    commit_submodule(&work, "site", &forge.url("site.git"), &commit);
    work.push().succeeds();
    town.shows("blog", "a page of its own");
    town.doctor_is_clean();
}

#[test]
fn a_submodule_that_may_not_be_fetched_is_refused_with_path_address_and_fix() {
    let forge = Forge::start();
    let town = town_beside(&forge);
    let work = town.work("hello-static", "blog");
    work.push().succeeds();
    let commit = work.head();
    for (url, words) in [
        (
            "ssh://git@github.com/a/b.git",
            "`lib` is a submodule of ssh://git@github.com/a/b.git: submodules are fetched by https",
        ),
        ("git@github.com:a/b.git", "`lib` is a submodule of git@github.com:a/b.git"),
        ("http://github.com/a/b.git", "write an address in .gitmodules that begins with https://"),
        ("../b.git", "`lib` is a submodule of ../b.git: a relative address leads nowhere here"),
        ("https://git.invalid/b.git", "git.invalid is not among the hosts that builds may fetch from"),
        ("https://git.invalid/b.git", "adds it to `fetch_allow`"),
        ("https://s3cret@git.invalid/b.git", "its address holds a user or a password"),
    ] {
        commit_submodule(&work, "lib", url, &commit);
        work.push().is_rejected_with(words).does_not_say("s3cret");
    }
    work.remove(".gitmodules");
    work.git(&["add", ".gitmodules"]).succeeds();
    work.git(&["commit", "--quiet", "-m", "no address"]).succeeds();
    work.push().is_rejected_with("`lib` is a submodule: .gitmodules has no address for it");
    town.shows("blog", "hello-static v1");
    town.doctor_is_clean();
}

#[test]
fn a_submodule_that_cannot_be_had_or_holds_what_no_push_may_fails_the_build() {
    let forge = Forge::start();
    let town = town_beside(&forge);
    let work = town.work("hello-static", "blog");
    work.push().succeeds();
    let refused = |repository: &str, commit: &str, words: &[&str]| {
        commit_submodule(&work, "lib", &forge.url(repository), commit);
        let push = work.push();
        push.fails_with(words[0]).says("v1 still serves");
        for more in words {
            push.says(more);
        }
    };
    let published = forge.publish(&folder(&town, "good", &[("words.txt", "words\n")]), "good.git");
    let nowhere = "1".repeat(40);
    let sentence = format!("cannot fetch the submodule `lib`, commit {nowhere} of {}", forge.url("good.git"));
    refused("good.git", &nowhere, &[&sentence]);
    refused("nothing.git", &published, &["cannot fetch the submodule `lib`", "404"]);
    refused("redirect/good.git", &published, &["sent us on to https://elsewhere.example/: write that address"]);

    let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 12345\n", "4d".repeat(32));
    let large = forge.publish(&folder(&town, "large", &[("film.mp4", &pointer)]), "large.git");
    refused("large.git", &large, &["`lib/film.mp4` is only a Git LFS pointer"]);
    let links = folder(&town, "links", &[("words.txt", "words\n")]);
    std::os::unix::fs::symlink("../../etc/passwd", links.join("way-out")).expect("make a link");
    let links = forge.publish(&links, "links.git");
    refused("links.git", &links, &["the link `lib/way-out` points to `../../etc/passwd`, outside the tree"]);
    let outer =
        folder(&town, "outer", &[(".gitmodules", "[submodule \"in\"]\n\tpath = in\n\turl = ssh://a.example/b\n")]);
    forge.clone_into("good.git", &outer.join("in"));
    let outer = forge.publish(&outer, "outer.git");
    refused(
        "outer.git",
        &outer,
        &["`lib/in` is a submodule of ssh://a.example/b: submodules are fetched by https alone"],
    );
    town.shows("blog", "hello-static v1");
    town.doctor_is_clean();
}
