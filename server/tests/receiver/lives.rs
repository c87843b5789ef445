//! Pushers who leave, servers that stop, and what stays.
use crate::town::{Checkout, Told, Town, file_names, run, until};
use rustix::process::{Pid, Signal, kill_process_group};
use std::process::Stdio;
use std::time::Duration;

/// Ctrl-C, as a terminal sends it: to git and the ssh that it has started.
fn interrupt(push: &tokio::process::Child) {
    signal(push, Signal::INT);
}

fn signal(push: &tokio::process::Child, signal: Signal) {
    let group = Pid::from_raw(push.id().unwrap().cast_signed()).unwrap();
    kill_process_group(group, signal).unwrap();
}

/// Starts a push that builds until it is cancelled.
async fn begin_endless_push(checkout: &Checkout<'_>) -> tokio::process::Child {
    checkout.town.builder.will(Told::Hang);
    let push = checkout.command(&["push", "paas", "main"]).process_group(0).stderr(Stdio::piped()).spawn().unwrap();
    until("the build", async || checkout.town.builder.is_building()).await;
    push
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pusher_who_leaves_cancels_the_build() {
    let town = Town::start().await;
    let checkout = town.checkout("blog").await;
    let push = begin_endless_push(&checkout).await;
    interrupt(&push);
    until("the cancel", async || !town.builder.cancelled.lock().unwrap().is_empty()).await;
    assert!(town.branch("blog", "main").await.is_zero());
    let _ = push.wait_with_output().await;
    until("git to go", async || processes_in(&town).is_empty()).await;
    town.builder.will(Told::Accept(vec![]));
    checkout.push(&["main"]).await.succeeds();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_cancels_the_build() {
    let town = Town::start().await;
    let checkout = town.checkout("blog").await;
    let push = begin_endless_push(&checkout).await;
    signal(&push, Signal::KILL);
    until("the cancel", async || !town.builder.cancelled.lock().unwrap().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_first_pushes_at_once_share_the_app_and_a_refused_one_does_not_take_it_away() {
    let town = Town::start().await;
    let checkout = town.checkout("blog").await;
    checkout.git(&["tag", "v1"]).await.succeeds();
    let slow = begin_endless_push(&checkout).await;
    checkout.push(&["v1"]).await.fails_with(&["tags are not deployed"]);
    assert!(town.app("blog").await.is_some());
    interrupt(&slow);
    until("the cancel", async || !town.builder.cancelled.lock().unwrap().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_answers_its_pushes_and_ends() {
    let town = Town::start().await;
    let checkout = town.checkout("blog").await;
    let mut push = checkout.command(&["push", "paas", "main"]);
    town.builder.will(Told::Hang);
    let (done, ()) = tokio::join!(run(&mut push), async {
        until("the build", async || town.builder.is_building()).await;
        town.stop.cancel();
        town.tracker.close();
        tokio::time::timeout(Duration::from_secs(15), town.tracker.wait()).await.expect("it does not end");
    });
    assert!(done.code != Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_process_left_behind_is_swept_up() {
    let town = Town::start().await;
    let checkout = town.checkout("blog").await;
    checkout.push(&["main"]).await.succeeds();
    let now = paas::domain::Moment::default();
    let half = town.store.app_for_push(&"half".parse().unwrap(), now).await.unwrap();
    let orphan = paas::domain::AppKey::new("0".repeat(32));
    town.repos.ensure(&half.key).unwrap();
    town.repos.ensure(&orphan).unwrap();
    let blog = town.repos.path(&town.app("blog").await.unwrap().key);
    std::fs::create_dir(blog.join("objects/tmp_objdir-incoming-abc")).unwrap();
    let kept = paas::domain::AppKey::new("1".repeat(32));
    copy_repository(&blog, &town.repos.path(&kept));
    drop(checkout);

    let town = town.restart().await;
    assert!(town.app("half").await.is_none());
    assert!(town.repos.path(&kept).exists(), "a repository with a branch was removed");
    let mut expected = vec![blog.file_name().unwrap().to_str().unwrap().to_owned(), format!("{kept}.git")];
    expected.sort();
    assert_eq!(file_names(blog.parent().unwrap()), expected);
    assert!(!blog.join("objects/tmp_objdir-incoming-abc").exists());
}

fn copy_repository(from: &std::path::Path, to: &std::path::Path) {
    git2::build::RepoBuilder::new().bare(true).clone(&format!("file://{}", from.display()), to).unwrap();
}

/// Processes that work in this town's repositories.
fn processes_in(town: &Town) -> Vec<String> {
    let data = town.dir.path().join("data").to_str().unwrap().to_owned();
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| std::fs::read_to_string(entry.ok()?.path().join("cmdline")).ok())
        .filter(|line| line.contains("receive-pack") && line.contains(&data))
        .collect()
}
