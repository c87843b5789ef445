//! Pushes that are refused: the reason stands in git's own line, and nothing is left behind.
use crate::town::{Checkout, Told, Town};
use std::os::unix::fs::symlink;

/// Pushes what is committed and claims that this is refused for `reason`, in git's own line, and leaves nothing.
async fn is_refused(checkout: &Checkout<'_>, refs: &[&str], reason: &str) {
    let done = checkout.push(refs).await.fails_with(&["remote:  !     "]);
    let line = done.err.lines().find(|line| line.contains("[remote rejected]")).unwrap_or_default();
    assert!(line.contains(reason), "`{reason}` is not in git's line: {done:#?}");
    assert!(checkout.town.builder.taken.lock().unwrap().is_empty(), "the builder was bothered");
    checkout.town.has_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_the_builder_is_gits_reason_and_its_words_are_above() {
    let town = Town::start().await;
    let checkout = town.checkout("blog").await;
    town.builder.will(Told::Refuse("web.1 exited with status 1\nbefore it was ready; v1 still serves"));
    checkout.push(&["main"]).await.fails_with(&[
        "remote:  !     build failed",
        "! [remote rejected] main -> main (web.1 exited with status 1 before it was ready; v1 still serves)",
    ]);
    assert!(town.branch("blog", "main").await.is_zero());
    town.builder.will(Told::Stop);
    checkout.push(&["main"]).await.fails_with(&["(the server stopped; push again)"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_several_branches_and_other_refs_are_refused() {
    let town = Town::start().await;
    let checkout = town.checkout("blog").await;
    checkout.git(&["tag", "v1"]).await.succeeds();
    checkout.git(&["tag", "-a", "v2", "-m", "x"]).await.succeeds();
    checkout.git(&["branch", "other"]).await.succeeds();
    is_refused(&checkout, &["v1"], "tags are not deployed; push the branch: `git push paas main`").await;
    is_refused(&checkout, &["main", "v2"], "main -> main (refused together with refs/tags/v2").await;
    is_refused(&checkout, &["main", "other"], "push one branch at a time: `git push paas main`").await;
    is_refused(&checkout, &["--mirror"], "").await;
    is_refused(&checkout, &["main:refs/notes/x"], "refs/notes/x is no branch").await;
    is_refused(&checkout, &["v2^{tag}:refs/heads/main"], "is a tag and no commit").await;
    checkout.push(&["main:refs/paas/builds/1"]).await.fails_with(&["(deny updating a hidden ref)"]);
    checkout.push(&["main", "main:refs/paas/builds/1"]).await.fails_with(&["main -> main (refused together"]);
    town.has_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_of_very_many_refs_is_answered_for_each() {
    let town = Town::start().await;
    let checkout = town.checkout("blog").await;
    let id = checkout.head().await;
    let packed = (0..3000).map(|n| format!("{id} refs/tags/v{n:04}\n")).collect::<Vec<_>>().concat();
    std::fs::write(checkout.path.join(".git/packed-refs"), packed).unwrap();
    let done = checkout.push(&["--tags"]).await;
    assert_eq!(done.err.matches("[remote rejected]").count(), 3000);
    assert!(done.err.contains("tags are not deployed") && done.err.contains("push one branch at a time"));
    town.has_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deploy_branch_cannot_be_deleted() {
    let town = Town::start().await;
    let checkout = town.checkout("blog").await;
    checkout.push(&["main"]).await.succeeds();
    let delete = checkout.push(&["--delete", "main"]).await;
    delete.fails_with(&["[remote rejected] main (`main` is what blog runs and cannot be deleted; `paas apps:destroy"]);
    checkout.push(&[":other"]).await.fails_with(&["other"]);
    assert_eq!(town.branch("blog", "main").await, checkout.head().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn trees_that_cannot_be_built_are_refused() {
    let town = Town::start().await;
    let checkout = town.checkout("blog").await;
    let lfs = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 1234\n", "a".repeat(64));
    checkout.commit("big.bin", &lfs).await;
    is_refused(&checkout, &["main"], "`big.bin` is only a Git LFS pointer").await;

    checkout.git(&["rm", "-q", "big.bin"]).await.succeeds();
    symlink("../../etc/passwd", checkout.path.join("way-out")).unwrap();
    checkout.commit_all().await;
    is_refused(&checkout, &["main"], "the link `way-out` points to `../../etc/passwd`, outside the tree").await;

    std::fs::remove_file(checkout.path.join("way-out")).unwrap();
    let id = checkout.head().await.to_string();
    checkout.commit_all().await;
    checkout.git(&["update-index", "--add", "--cacheinfo", "160000", &id, "vendor/lib"]).await.succeeds();
    checkout.git(&["commit", "-qm", "submodule"]).await.succeeds();
    is_refused(&checkout, &["main"], "`vendor/lib` is a submodule").await;

    checkout.git(&["rm", "-rq", "--cached", "."]).await.succeeds();
    checkout.git(&["commit", "-qm", "empty"]).await.succeeds();
    is_refused(&checkout, &["main"], "the commit holds no files").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_with_a_git_folder_never_gets_in() {
    let town = Town::start().await;
    let checkout = town.checkout("blog").await;
    let blob = checkout.git(&["hash-object", "-w", "index.html"]).await.succeeds().out;
    let repo = git2::Repository::open(&checkout.path).unwrap();
    let blob = git2::Oid::from_str(blob.trim()).unwrap();
    let raw = [b"100644 .git\0".as_slice(), blob.as_bytes()].concat();
    let tree = repo.odb().unwrap().write(git2::ObjectType::Tree, &raw).unwrap().to_string();
    let commit = checkout.git(&["commit-tree", "-m", "x", &tree]).await.succeeds().out;
    checkout
        .push(&[&format!("{}:refs/heads/main", commit.trim())])
        .await
        .fails_with(&["hasDotgit", "[remote rejected]"]);
    town.has_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_and_reserved_app_names_are_refused() {
    let town = Town::start().await;
    let checkout = town.checkout("blog").await;
    let long = "a".repeat(70);
    for (name, reason) in [
        ("../x", "app name may hold only"),
        ("a b", "app name may hold only"),
        ("-x", "app name may hold only"),
        ("x;id", "app name may hold only"),
        ("blög", "app name may hold only"),
        (long.as_str(), "app name is 70 characters long"),
        ("www", "app name `www` is reserved"),
        ("admin", "app name `admin` is reserved"),
        ("", "app name is empty"),
    ] {
        checkout.git(&["push", &town.url(name), "main"]).await.fails_with(&["paas: ", reason]);
        checkout.git(&["ls-remote", &town.url(name)]).await.fails_with(&["paas: "]);
    }
    town.has_nothing().await;
}
