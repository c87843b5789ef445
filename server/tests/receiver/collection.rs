//! What refused and forced pushes leave in a repository goes, by the real git; what is needed stays.
use crate::town::{Checkout, Told, Town, run, until};
use paas::domain::{BuildId, Failure, Oid};
use paas::receiver::{CollectionLimits, Limits};
use std::time::Duration;

/// Garbage of any age goes, and every look collects.
fn at_once() -> Limits {
    let collection = CollectionLimits {
        look_every: Duration::from_millis(50),
        every: Duration::ZERO,
        age: Duration::ZERO,
        ..CollectionLimits::default()
    };
    Limits { collection, ..Limits::default() }
}

/// Nobody looks before the test is over.
fn never() -> Limits {
    Limits {
        collection: CollectionLimits { look_every: Duration::from_hours(1), ..CollectionLimits::default() },
        ..at_once()
    }
}

async fn holds(town: &Town, commit: &Oid) -> bool {
    let repo = git2::Repository::open_bare(town.repos.path(&town.app("blog").await.unwrap().key)).unwrap();
    repo.find_commit(git2::Oid::from_str(commit.as_str()).unwrap()).is_ok()
}

/// The builder of these tests leaves its pins, as a server that was killed does.
async fn unpin(town: &Town, kept: Option<BuildId>) {
    let key = town.app("blog").await.unwrap().key;
    for build in town.repos.pins(&key).unwrap() {
        if Some(build) != kept {
            town.repos.unpin(&key, build).unwrap();
        }
    }
}

/// A push of something new that is refused: its commit, and the newest pin.
async fn refused(checkout: &Checkout<'_>, content: &str) -> (Oid, BuildId) {
    let town = checkout.town;
    town.builder.will(Told::Refuse("no"));
    checkout.commit("index.html", content).await;
    checkout.push(&["main"]).await.fails_with(&["(no)"]);
    let commit = checkout.head().await;
    checkout.git(&["reset", "-q", "--hard", "HEAD~"]).await.succeeds();
    town.builder.will(Told::Accept(vec![]));
    let pins = town.repos.pins(&town.app("blog").await.unwrap().key).unwrap();
    (commit, pins.into_iter().max_by_key(|build| build.0).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_refused_pushes_have_left_goes_and_everything_needed_stays() {
    let town = Town::start_with(never()).await;
    let checkout = town.checkout("blog").await;
    checkout.push(&["main"]).await.succeeds();
    let forced_away = checkout.head().await;
    checkout.git(&["commit", "-q", "--amend", "-m", "other"]).await.succeeds();
    checkout.push(&["--force", "main"]).await.succeeds();
    let (garbage, _) = refused(&checkout, "refused").await;
    let (waiting, its_pin) = refused(&checkout, "its build goes on").await;
    unpin(&town, Some(its_pin)).await;
    assert!(holds(&town, &garbage).await, "a refused push leaves its objects");

    let town = town.restart_with(at_once()).await;
    until("the garbage is gone", async || !holds(&town, &garbage).await).await;
    assert!(holds(&town, &waiting).await, "a build is pinned");
    assert!(holds(&town, &forced_away).await, "a kept release is of it");
    let key = town.app("blog").await.unwrap().key;
    let repo = town.repos.path(&key);
    let fsck = ["--git-dir", repo.to_str().unwrap(), "fsck", "--full"];
    run(crate::town::command("git").args(fsck)).await.succeeds();
    let checkout = town.checkout_again("blog");
    let refs = checkout.git(&["ls-remote", &town.url("blog")]).await.succeeds().out;
    assert!(!refs.contains("refs/paas"), "{refs}");
    checkout.git(&["clone", "-q", &town.url("blog"), town.dir.path().join("back").to_str().unwrap()]).await.succeeds();
    // Nothing needs the pinned one any more, and it goes too.
    town.repos.unpin(&key, its_pin).unwrap();
    checkout.commit("index.html", "makes the repository untidy").await;
    checkout.git(&["push", &town.url("blog"), "main"]).await.succeeds();
    until("what was pinned is gone", async || !holds(&town, &waiting).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_that_is_young_stays() {
    let mut limits = at_once();
    limits.collection.age = CollectionLimits::default().age;
    let town = Town::start_with(limits).await;
    let checkout = town.checkout("blog").await;
    checkout.push(&["main"]).await.succeeds();
    let (garbage, _) = refused(&checkout, "refused").await;
    unpin(&town, None).await;
    let stamp = town.repos.path(&town.app("blog").await.unwrap().key).join("paas-collected");
    let _ = std::fs::remove_file(&stamp);
    until("it was collected", async || stamp.exists()).await;
    assert!(holds(&town, &garbage).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_and_clones_beside_collections_all_succeed() {
    let mut limits = at_once();
    limits.collection.look_every = Duration::from_millis(1);
    let town = Town::start_with(limits).await;
    let checkout = town.checkout("blog").await;
    for n in 0..15 {
        checkout.commit("index.html", &format!("page {n}")).await;
        checkout.push(&["main"]).await.succeeds();
        let back = town.dir.path().join(format!("back-{n}"));
        checkout.git(&["clone", "-q", &town.url("blog"), back.to_str().unwrap()]).await.succeeds();
        assert_eq!(std::fs::read_to_string(back.join("index.html")).unwrap(), format!("page {n}"));
    }
    let stamp = town.repos.path(&town.app("blog").await.unwrap().key).join("paas-collected");
    until("it was collected in between or after", async || stamp.exists()).await;
    assert_eq!(town.branch("blog", "main").await, checkout.head().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_without_room_is_refused_before_its_pack_comes() {
    let town = Town::start().await;
    let checkout = town.checkout("blog").await;
    let largest = vec!["logs of shop 1.0 GiB".to_owned()];
    let no_room =
        Failure::NoRoom { place: "/data/repos".to_owned(), needed_bytes: 1 << 30, free_bytes: 5 << 20, largest };
    *town.builder.no_room.lock().unwrap() = Some(no_room);
    checkout.push(&["main"]).await.fails_with(&[
        "paas: no room for a push to blog: needs 1.0 GiB free on /data/repos, 5.0 MiB are; largest: logs of shop 1.0 GiB",
        "paas: run `paas server:status`",
    ]);
    assert!(town.builder.taken.lock().unwrap().is_empty(), "the builder was bothered");
    town.has_nothing().await;
    *town.builder.no_room.lock().unwrap() = None;
    checkout.push(&["main"]).await.succeeds();
}
