//! Pushes that go through, and clones back.
use crate::town::{Told, Town, command, peak_memory_bytes, run};
use paas::domain::Pusher;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_push_shows_its_progress_and_moves_the_branch() {
    let town = Town::start().await;
    for (app, git) in [("old", "/usr/bin/git"), ("new", "git")] {
        let mut checkout = town.checkout(app).await;
        checkout.git = PathBuf::from(git);
        town.builder.will(Told::Accept(vec![
            "-----> Static site".to_owned(),
            "       \u{1b}[31mred\u{1b}[0m \u{1b}]0;evil\u{7}".to_owned(),
        ]));
        let done = checkout.push(&["main"]).await.succeeds();
        assert!(done.err.contains("remote: -----> Static site"), "{done:?}");
        assert!(done.err.contains("remote:        red \\u{1b}]0;evil\\u{7}"), "{done:?}");
        assert!(done.err.contains("* [new branch]      main -> main"), "{done:?}");
        assert_eq!(town.branch(app, "main").await, checkout.head().await);
        let (moves, pusher) = town.builder.taken.lock().unwrap().pop().unwrap();
        assert!(moves.old.is_zero() && moves.branch == "main");
        assert!(matches!(pusher, Pusher::Key { name, .. } if name == "laptop"));
        checkout.push(&["main"]).await.succeeds().says("Everything up-to-date");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_push_and_a_force_push_deploy() {
    let town = Town::start().await;
    let checkout = town.checkout("blog").await;
    checkout.push(&["main"]).await.succeeds();
    checkout.commit("index.html", "two").await;
    checkout.push(&["main"]).await.succeeds();
    checkout.git(&["commit", "-q", "--amend", "-m", "other"]).await.succeeds();
    checkout.push(&["main"]).await.fails_with(&["non-fast-forward"]);
    checkout.push(&["--force", "main"]).await.succeeds().says("forced update");
    checkout.commit("index.html", "three").await;
    checkout.push(&["--atomic", "main"]).await.succeeds();
    assert_eq!(town.branch("blog", "main").await, checkout.head().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn any_branch_can_be_pushed_to_the_deploy_branch() {
    let town = Town::start().await;
    let checkout = town.checkout("blog").await;
    checkout.push(&["main"]).await.succeeds();
    checkout.git(&["switch", "-qc", "feature"]).await.succeeds();
    checkout.commit("index.html", "two").await;
    checkout
        .push(&["feature"])
        .await
        .fails_with(&["(blog deploys `main`; to deploy feature type `git push paas feature:main`)"]);
    checkout.push(&["feature:main"]).await.succeeds();
    assert_eq!(town.branch("blog", "main").await, checkout.head().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_build_says_that_it_goes_on() {
    let limits = paas::receiver::Limits { quiet: Duration::from_millis(300), ..Default::default() };
    let town = Town::start_with(limits).await;
    let checkout = town.checkout("blog").await;
    town.builder.will(Told::AcceptAfter(Duration::from_millis(1500)));
    checkout.push(&["main"]).await.succeeds().says("remote:        still working (1 s)");
}

#[tokio::test(flavor = "multi_thread")]
async fn shallow_clones_push_and_their_history_can_be_cloned_back() {
    let town = Town::start().await;
    let whole = town.checkout("whole").await;
    for n in 0..5 {
        whole.commit("index.html", &n.to_string()).await;
    }
    let source = format!("file://{}", whole.path.display());
    for git in ["/usr/bin/git", "git"] {
        let app = if git == "git" { "new" } else { "old" };
        let mut checkout = town.checkout(app).await;
        checkout.git = PathBuf::from(git);
        std::fs::remove_dir_all(&checkout.path).unwrap();
        let path = checkout.path.to_str().unwrap();
        run(command("git").args(["clone", "-q", "--depth", "2", &source, path])).await.succeeds();
        checkout.git(&["remote", "add", "paas", &town.url(app)]).await.succeeds();

        town.builder.will(Told::Refuse("no"));
        checkout.push(&["main"]).await.fails_with(&["(no)"]);
        let repo = town.repos.path(&town.app(app).await.unwrap().key);
        assert!(!repo.join("shallow").exists(), "a refused push leaves the history cut off");

        town.builder.will(Told::Accept(vec![]));
        checkout.push(&["main"]).await.succeeds();
        checkout.commit("index.html", "more").await;
        checkout.push(&["main"]).await.succeeds();
        run(command("git").args(["-C", repo.to_str().unwrap(), "fsck", "--connectivity-only"])).await.succeeds();
        let back = town.dir.path().join(format!("back-{app}"));
        checkout.git(&["clone", "-q", &town.url(app), back.to_str().unwrap()]).await.succeeds();
        assert_eq!(std::fs::read_to_string(back.join("index.html")).unwrap(), "more");
    }
    // A whole clone of the same history takes over.
    whole.commit("index.html", "whole again").await;
    whole.git(&["push", "--force", &town.url("new"), "main"]).await.succeeds();
    assert_eq!(town.branch("new", "main").await, whole.head().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_is_cloned_back_without_what_is_hidden() {
    let town = Town::start().await;
    let checkout = town.checkout("blog").await;
    checkout.push(&["main"]).await.succeeds();
    let refs = checkout.git(&["ls-remote", "paas"]).await.succeeds().out;
    assert!(refs.contains("refs/heads/main") && !refs.contains("refs/paas"), "{refs}");
    let back = town.dir.path().join("back");
    checkout.git(&["clone", "-q", &town.url("blog.git"), back.to_str().unwrap()]).await.succeeds();
    assert_eq!(std::fs::read_to_string(back.join("index.html")).unwrap(), "hello");
    let version_0 = ["-c", "protocol.version=0", "ls-remote", "paas"];
    assert!(!checkout.git(&version_0).await.succeeds().out.contains("refs/paas"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_without_commits_clones_as_empty_and_an_unknown_one_not_at_all() {
    let town = Town::start().await;
    let checkout = town.checkout("blog").await;
    let now = paas::domain::Moment::default();
    town.store.create_app(&"empty".parse().unwrap(), now).await.unwrap();
    let back = town.dir.path().join("back");
    checkout.git(&["clone", &town.url("empty"), back.to_str().unwrap()]).await.succeeds().says("empty repository");
    checkout.git(&["ls-remote", "paas"]).await.fails_with(&["paas: no such app: blog"]);
    assert!(town.app("blog").await.is_none(), "looking made an app");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_push_streams_through() {
    let town = Town::start().await;
    let checkout = town.checkout("blog").await;
    let mut file = std::fs::File::create(checkout.path.join("large")).unwrap();
    let mut noise = vec![0_u8; 1 << 20];
    for _ in 0..100 {
        getrandom_into(&mut noise);
        file.write_all(&noise).unwrap();
    }
    drop((file, noise));
    checkout.commit_all().await;
    let before = peak_memory_bytes();
    checkout.push(&["main"]).await.succeeds();
    let grown = peak_memory_bytes().saturating_sub(before);
    assert!(grown < 48 << 20, "the server grew by {} MiB for 100 MiB", grown >> 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_above_the_limit_is_refused() {
    let limits = paas::receiver::Limits { pack_bytes: 100_000, ..Default::default() };
    let town = Town::start_with(limits).await;
    let checkout = town.checkout("blog").await;
    let mut noise = vec![0_u8; 200_000];
    getrandom_into(&mut noise);
    std::fs::write(checkout.path.join("large"), noise).unwrap();
    checkout.commit_all().await;
    checkout.push(&["main"]).await.fails_with(&["pack exceeds maximum allowed size"]);
    town.has_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_files_are_looked_through_quickly() {
    let town = Town::start().await;
    let checkout = town.checkout("blog").await;
    for n in 0..20_000 {
        let dir = checkout.path.join(format!("d{}", n / 200));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join(format!("f{n}")), format!("file {n} {}", "x".repeat(n % 1500))).unwrap();
    }
    checkout.commit_all().await;
    let began = tokio::time::Instant::now();
    checkout.push(&["main"]).await.succeeds();
    println!("20,000 files: {:?}", began.elapsed());
    checkout.commit("index.html", "two").await;
    let began = tokio::time::Instant::now();
    checkout.push(&["main"]).await.succeeds();
    println!("one line after that: {:?}", began.elapsed());
}

fn getrandom_into(bytes: &mut [u8]) {
    use std::io::Read;
    std::fs::File::open("/dev/urandom").unwrap().read_exact(bytes).unwrap();
}
